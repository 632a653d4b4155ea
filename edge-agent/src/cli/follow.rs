//! `predict --follow`: a prediction for each window or row of a stream.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use tracing::{info, warn};

use super::student::choose;
use super::{ExitCode, Failure};
use crate::config::Config;
use crate::data::{LiveEvent, Schema, follow_lines, follow_rows};
use crate::mqtt::{Feed, MqttSettings};
use crate::predictions::{Follower, Piped, Refusal, StudentCache, Tail};
use crate::state::StateDir;

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) source: Source,
    pub(super) task: Option<&'a str>,
    pub(super) hold: u32,
    pub(super) publish: Option<&'a str>,
}

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Standard input.
    Input,
    /// A file that grows.
    File(PathBuf),
    /// The broker and topics of the configuration.
    Configured,
    /// Another broker or topic.
    Broker {
        host: String,
        port: u16,
        topic: String,
    },
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("mqtt://") else {
            return Ok(match text {
                "-" => Self::Input,
                "mqtt" => Self::Configured,
                path => Self::File(path.into()),
            });
        };
        let (broker, topic) = rest.split_once('/').unwrap_or((rest, ""));
        if broker.is_empty() || topic.is_empty() {
            return Err(
                "expected mqtt://HOST[:PORT]/TOPIC, such as mqtt://localhost/pump/#".into(),
            );
        }
        if broker.contains('@') {
            return Err("a name and its password belong into [mqtt] of agent.toml".into());
        }
        // A port follows the last colon, unless that is inside an IPv6 address.
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !broker.ends_with(']') => (host, port),
            _ => (broker, MQTT_PORT),
        };
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        Ok(Self::Broker {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            topic: topic.to_owned(),
        })
    }
}

const MQTT_PORT: &str = "1883";

pub(super) fn run(config: &Config, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let release = choose(config, wanted.task)?;
    let schema = config.reading().schema(release.task());
    let schema = schema.map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
    let schema = schema.with_optional_labels();
    let students = StudentCache::new(StateDir::at(&config.state));
    let task = release.task().hash().to_string();
    let mut session = Session {
        follower: Follower::new(students, Some(task), wanted.hold),
        feed: None,
        topic: wanted.publish,
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

struct Session<'a> {
    follower: Follower,
    /// The broker that predictions are published by.
    feed: Option<std::rc::Rc<std::cell::RefCell<Feed>>>,
    topic: Option<&'a str>,
    /// Rows and windows that were answered.
    answered: u64,
    /// Rows that were left out.
    bad: u64,
    failed: Option<Ending>,
}

impl Session<'_> {
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
        if let (Some(topic), Some(feed)) = (self.topic, &self.feed) {
            feed.borrow().publish(topic, text);
            return ControlFlow::Continue(());
        }
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.failed = Some(Ending::Closed);
                ControlFlow::Break(())
            }
            Err(error) => {
                let what = format!("cannot write the predictions: {error}");
                self.end(Failure::new(ExitCode::Failed, what))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_it_looks_like() {
        let broker = |host: &str, port, topic: &str| Source::Broker {
            host: host.to_owned(),
            port,
            topic: topic.to_owned(),
        };
        let good = [
            ("-", Source::Input),
            ("mqtt", Source::Configured),
            ("a/b.csv", Source::File("a/b.csv".into())),
            ("mqtt://pi/pump/#", broker("pi", 1883, "pump/#")),
            ("mqtt://[::1]:99/x", broker("::1", 99, "x")),
            ("mqtt://[::1]/x", broker("::1", 1883, "x")),
        ];
        for (text, expected) in good {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in [
            "mqtt://",
            "mqtt://pi",
            "mqtt:///x",
            "mqtt://pi:x/y",
            "mqtt://a:b@pi/x",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
