//! `predict --follow`: a prediction for each window or row of a stream.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::student::choose;
use super::{ExitCode, Failure};
use crate::config::Config;
use crate::data::{LiveEvent, Schema, follow_lines, follow_rows};
use crate::mqtt::{Feed, MqttSettings};
use crate::predictions::{
    FollowSettings, Follower, Piped, Record, Refusal, Source, StudentCache, Tail,
};
use crate::state::StateDir;

/// What is asked for.
pub(super) struct Wanted {
    pub(super) source: Source,
    pub(super) task: Option<String>,
    pub(super) hold: u32,
    pub(super) out: Out,
    /// Whether a file that is there is followed from its end on.
    pub(super) from_end: bool,
}

/// Where predictions go.
#[derive(Clone)]
pub(super) enum Out {
    /// To standard output.
    Printed,
    /// To this topic of the broker that the stream comes from.
    Published(String),
    /// To a file that is replaced when it is long.
    Recorded(PathBuf, u64),
}

/// Answers the stream of the configuration for as long as the program runs. What
/// ends it, such as a student that is not there yet, is said once and tried again.
pub(super) fn serve(config: &Config, settings: &FollowSettings) {
    let mut said = String::new();
    loop {
        let wanted = Wanted {
            source: settings.source.clone(),
            task: settings.task.clone(),
            hold: settings.hold,
            out: match &settings.publish {
                Some(topic) => Out::Published(topic.clone()),
                None => Out::Recorded(settings.output.clone(), settings.output_bytes_max),
            },
            from_end: true,
        };
        let ended = run(config, &wanted);
        let text = match ended {
            Ok(()) => "the stream ended".to_owned(),
            Err(failure) => failure.to_string(),
        };
        if text != said {
            warn!("predictions of {} wait: {text}", settings.source);
            said = text;
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

/// Time between two attempts at a stream.
const TRY_AGAIN: Duration = Duration::from_secs(5);

pub(super) fn run(config: &Config, wanted: &Wanted) -> Result<(), Failure> {
    let release = choose(config, wanted.task.as_deref())?;
    let schema = config.reading().schema(release.task());
    let schema = schema.map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
    let schema = schema.with_optional_labels();
    let students = StudentCache::new(StateDir::at(&config.state));
    let task = release.task().hash().to_string();
    let mut session = Session {
        follower: Follower::new(students, Some(task), wanted.hold),
        feed: None,
        sink: match &wanted.out {
            Out::Printed => Sink::Printed,
            Out::Published(topic) => Sink::Published(topic.clone()),
            Out::Recorded(path, bytes_max) => {
                let record = Record::open(path, *bytes_max);
                Sink::Recorded(record.map_err(|error| unwritten(&error))?)
            }
        },
        answered: 0,
        bad: 0,
        failed: None,
    };
    let read = match &wanted.source {
        Source::Input => {
            let mut lines = Piped::new(io::stdin().lock());
            let read = session.follow(&mut || lines.next_line(), &schema);
            if session.answered == 0 && session.failed.is_none() {
                warn!("the stream ended before a first row or window was whole");
            }
            read
        }
        Source::File(path) => {
            let mut tail =
                Tail::open(path).map_err(|error| unread(&path.display().to_string(), &error))?;
            if wanted.from_end {
                tail.skip()
                    .map_err(|error| unread(&path.display().to_string(), &error))?;
            }
            info!("following {}", path.display());
            loop {
                session.follower.begin();
                let read = session.follow(&mut || tail.next_line(), &schema);
                if read.is_err() || session.failed.is_some() {
                    break read;
                }
                info!("{} begins anew", path.display());
            }
        }
        Source::Configured | Source::Broker { .. } => {
            let settings = settings(config, &wanted.source)?;
            let feed = Feed::new(&settings).map_err(|error| unread("the broker", &error))?;
            session.follow_broker(feed, &schema)
        }
    };
    match (session.failed, read) {
        (Some(Ending::Closed), _) | (None, Ok(())) => Ok(()),
        (Some(Ending::Failure(failure)), _) => Err(failure),
        (None, Err(error)) => Err(unread("the stream", &error)),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    let what = format!("cannot write the predictions: {error}");
    Failure::new(ExitCode::Failed, what)
}

fn unread(what: &str, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => ExitCode::NotFound,
        _ => ExitCode::Usage,
    };
    Failure::new(code, format!("{what} cannot be read: {error}"))
        .advise("check its path and permissions, and that each row is a line of text")
}

/// The broker that is meant; the user of the configuration's serves for the same
/// broker.
fn settings(config: &Config, source: &Source) -> Result<MqttSettings, Failure> {
    let known = config.mqtt.clone();
    match source {
        Source::Broker { host, port, topic } => {
            let same = known.filter(|one| one.host == *host && one.port == *port);
            Ok(MqttSettings {
                host: host.clone(),
                port: *port,
                topics: vec![topic.clone()],
                user: same.and_then(|one| one.user),
                mib_max: 0,
            })
        }
        _ => known.ok_or_else(|| {
            Failure::new(ExitCode::Usage, "no broker is configured").advise(
                "set mqtt.broker and mqtt.topics in agent.toml, or name it: \
                 --follow mqtt://HOST/TOPIC",
            )
        }),
    }
}

/// Why a stream is not followed any further.
enum Ending {
    /// The reader of the predictions has gone, as in `… | head`.
    Closed,
    Failure(Failure),
}

enum Sink {
    Printed,
    Published(String),
    Recorded(Record),
}

struct Session {
    follower: Follower,
    /// The broker that predictions are published by.
    feed: Option<std::rc::Rc<std::cell::RefCell<Feed>>>,
    sink: Sink,
    /// Rows and windows that were answered.
    answered: u64,
    /// Rows that were left out.
    bad: u64,
    failed: Option<Ending>,
}

impl Session {
    fn follow(
        &mut self,
        next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
        schema: &Schema,
    ) -> io::Result<()> {
        follow_lines(next, schema, &mut |event| self.hear(event))
    }

    fn follow_broker(&mut self, feed: Feed, schema: &Schema) -> io::Result<()> {
        let feed = std::rc::Rc::new(std::cell::RefCell::new(feed));
        self.feed = Some(feed.clone());
        let mut next = || Ok(Some(feed.borrow_mut().next_row()));
        follow_rows(&mut next, schema, &mut |event| self.hear(event))
    }

    fn hear(&mut self, event: LiveEvent) -> ControlFlow<()> {
        let input = match event {
            LiveEvent::Input(input) => input,
            LiveEvent::Bad(error) => {
                self.bad += 1;
                // All of a stream may be wrong in the same way.
                if self.bad <= BAD_TOLD || self.bad.is_multiple_of(BAD_TOLD_EVERY) {
                    warn!("left out ({} so far): {error}", self.bad);
                }
                return ControlFlow::Continue(());
            }
            LiveEvent::Unreadable(error) => {
                return self.end(Failure::new(ExitCode::Usage, error.to_string()));
            }
            LiveEvent::Note(note) => {
                info!("{note}");
                return ControlFlow::Continue(());
            }
        };
        let prediction = match self.follower.predict(&input) {
            Ok(prediction) => prediction,
            Err(error @ Refusal::NoStudent(_)) => {
                return self.end(Failure::new(ExitCode::NotFound, error.to_string()));
            }
            Err(error) => return self.end(Failure::new(ExitCode::Failed, error.to_string())),
        };
        self.answered += 1;
        let text = match serde_json::to_string(&prediction) {
            Ok(text) => text,
            Err(error) => return self.end(Failure::new(ExitCode::Failed, error.to_string())),
        };
        let written = match (&mut self.sink, &self.feed) {
            (Sink::Published(topic), Some(feed)) => {
                feed.borrow().publish(topic, text);
                Ok(())
            }
            (Sink::Recorded(record), _) => record.write(&text),
            (Sink::Printed | Sink::Published(_), _) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush())
            }
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.failed = Some(Ending::Closed);
                ControlFlow::Break(())
            }
            Err(error) => self.end(unwritten(&error)),
        }
    }

    fn end(&mut self, failure: Failure) -> ControlFlow<()> {
        self.failed = Some(Ending::Failure(failure));
        ControlFlow::Break(())
    }
}

/// Rows that are told one by one as they are left out, and how often after them.
const BAD_TOLD: u64 = 5;
const BAD_TOLD_EVERY: u64 = 1_000;
