//! The loop: actions out of the engine, results into it.

mod certificate;
mod session;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::evaluation::Evaluation;
use common::ids::{BlobHash, TaskHash, Time, Version};
use common::program_pages::give_up_code;
use common::round::ContributionKey;
use common::service::Service;
use common::transport::Connection;
use common::wire::messages::{Announcement, Call, ToCoordinator, ToDevice, TransferAnswer};
use common::withheld::RawWithheld;
use rand::TryRngCore as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::backend::{Backend, BackendError, Built, Verdict};
use super::link::{self, Closer, Link, LinkError};
use super::local::keep_models;
use super::status::RunStatus;
use crate::cache::{Cache, CacheError};
use crate::enrol::EnrolError;
use crate::identity::Identity;
use crate::policy::Disclose;
use crate::renewal;
use crate::route::Route;
use crate::session::{Action, Engine, Input};
use crate::state::StateDir;
use certificate::Renewal;

/// Why the agent could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The outbox cannot be read, so nothing could be kept.
    #[error("the outbox cannot be read: {0}")]
    Outbox(BackendError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// What the loop is told.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Where the coordinator is and who asks.
    pub route: Route,
    /// Milliseconds between two looks at the data folder.
    pub glance_ms: u64,
    /// The data folder, for anyone who asks how the device does.
    pub data: Option<PathBuf>,
    /// The service manager, told how it goes.
    pub service: Service,
    /// What the operator is told of what is kept back.
    pub disclose: Disclose,
    /// Why no readings come by MQTT, if they are asked for.
    pub broker: Option<watch::Receiver<Option<String>>>,
}

/// A running device.
pub struct Agent<W> {
    settings: AgentSettings,
    state: StateDir,
    cache: Cache,
    backend: Arc<W>,
    engine: Engine,
    began: Instant,
    events: mpsc::Receiver<Event>,
    back: mpsc::Sender<Event>,
    session: u64,
    /// A number of this process, told in each hello.
    instance: u64,
    live: Option<Live>,
    work: JoinSet<()>,
    needed: BTreeMap<TaskHash, BTreeSet<BlobHash>>,
    /// The newest release of each task, which may come as a delta.
    released: BTreeMap<BlobHash, TaskHash>,
    /// Models of tasks that were fetched, or are.
    models: BTreeSet<BlobHash>,
    counting: bool,
    soaking: bool,
    /// After a failure.
    soak_after: Instant,
    /// Until when the coordinator's word is fresh, and when it was heard.
    fresh_until: Option<(Time, Instant)>,
    renewal: Renewal,
    /// Renewals refused one after another.
    refusals: u32,
    /// Renewals one after another whose certificate was due already.
    ahead: u32,
    /// When to ask for what could not be kept.
    ask_again: Option<Instant>,
    /// When what was executed lately is given up, if it is still there.
    quiet_at: Option<Instant>,
    status: RunStatus,
    /// Why nothing was given to a task, as it was told last.
    withheld: BTreeMap<TaskHash, Option<RawWithheld>>,
}

/// An open session. Its tasks end with it.
struct Live {
    connection: Connection,
    outgoing: mpsc::Sender<ToCoordinator>,
    closer: Closer,
    tasks: JoinSet<()>,
}

/// What tasks report. Reports of a session that is over are not heard.
enum Event {
    Session(u64, SessionEvent),
    Built(Call, Result<Built, BackendError>),
    Judged(Announcement, Result<Verdict, BackendError>),
    Counted(Result<Vec<TaskHash>, BackendError>),
    Soaked(Result<Vec<(TaskHash, Version, Evaluation)>, BackendError>),
    Renewed(Result<Arc<Identity>, EnrolError>),
}

enum SessionEvent {
    Opened(Result<Box<Link>, LinkError>),
    Message(ToDevice),
    Lost(LinkError),
    Fetched(BlobHash, Result<bool, LinkError>),
    Answered(ContributionKey, Result<TransferAnswer, LinkError>),
}

impl<W: Backend> Agent<W> {
    /// An agent that has not started. The caller holds the state directory's
    /// lock.
    pub fn new(settings: AgentSettings, state: StateDir, cache: Cache, backend: Arc<W>) -> Self {
        let (back, events) = mpsc::channel(EVENTS_MAX);
        let device = settings.route.identity.membership.device;
        let mut seed = [0u8; 8];
        seed.copy_from_slice(&device.0[..8]);
        let renewal = Renewal::At(renewal::due(&settings.route.identity.certificate));
        let status = RunStatus {
            data: settings
                .data
                .as_ref()
                .map(|data| data.display().to_string()),
            ..RunStatus::begin(settings.route.floor.clock().now())
        };
        Self {
            settings,
            state,
            cache,
            backend,
            engine: Engine::new(u64::from_le_bytes(seed)),
            began: Instant::now(),
            events,
            back,
            session: 0,
            instance: instance(),
            live: None,
            work: JoinSet::new(),
            needed: BTreeMap::new(),
            released: BTreeMap::new(),
            models: BTreeSet::new(),
            counting: false,
            soaking: false,
            soak_after: Instant::now(),
            fresh_until: None,
            renewal,
            refusals: 0,
            ahead: 0,
            ask_again: None,
            quiet_at: Some(Instant::now() + QUIET),
            status,
            withheld: BTreeMap::new(),
        }
    }

    /// Runs until `shutdown` is done. What is under way is left so that the
    /// next start goes on with it.
    ///
    /// # Errors
    /// Before the first action only: [`AgentError`].
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        if let Err(problem) = keep_models(&self.state, &self.cache) {
            warn!("no model is removed from the cache: {problem}");
        }
        let started = Input::Started {
            outbox: self.backend.unanswered().map_err(AgentError::Outbox)?,
            partial: self.backend.partial().map_err(AgentError::Outbox)?,
            cached: self.cache.blobs()?,
        };
        self.publish();
        self.input(started);
        self.tell_evaluations();
        let mut glance = tokio::time::interval(Duration::from_millis(self.settings.glance_ms));
        glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        loop {
            self.settings.service.feed(std::time::Instant::now());
            let (wake, renewal) = (self.wake(), self.renewal_wake());
            let quiet = self.quiet_at.unwrap_or_else(|| Instant::now() + LONG);
            tokio::select! {
                () = &mut shutdown => break,
                Some(event) = self.events.recv() => {
                    self.event(event);
                    self.quiet_at = Some(Instant::now() + QUIET);
                }
                () = sleep_until(wake) => self.input(Input::Tick),
                _ = glance.tick() => {
                    self.glance();
                    self.soak_if_due();
                    self.refresh();
                    self.ask_again_if_due();
                    self.look_at_broker();
                }
                () = sleep_until(renewal) => self.renew_if_due(),
                () = sleep_until(quiet) => {
                    self.quiet_at = None;
                    give_up_code();
                    self.publish();
                }
            }
            while self.work.try_join_next().is_some() {}
        }
        info!("stopping; what is under way goes on at the next start");
        if let Some(live) = self.live.take() {
            self.count_bytes(&live.connection);
            // A coordinator that does not answer must not keep the agent.
            let _ = timeout(CLOSE_WAIT, live.closer.close()).await;
        }
        self.publish();
        self.work.detach_all();
        Ok(())
    }

    fn now(&self) -> Time {
        let elapsed = self.began.elapsed().as_millis();
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    fn wake(&self) -> Instant {
        let engine = match self.engine.poll_timeout() {
            Some(time) => self.began + Duration::from_millis(time.0),
            None => Instant::now() + LONG,
        };
        let watchdog = self.settings.service.due();
        watchdog.map_or(engine, |due| engine.min(Instant::from_std(due)))
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(self.now(), input);
        while let Some(action) = self.engine.poll_action() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect => self.connect(),
            Action::Send(message) => self.send(message),
            Action::Fetch(blobs) => blobs.into_iter().for_each(|blob| self.fetch(blob)),
            Action::Upload(pending) => self.upload(pending),
            Action::Settle { pending, settled } => {
                info!(kind = %pending.key.kind, round = %pending.key.round, ?settled, "answered");
                if let Err(problem) = self.backend.settle(&pending, settled) {
                    self.complain("cannot record an answer", &problem);
                }
                self.publish();
            }
            Action::Build(call) => self.build(call),
            Action::Install(release) => self.install(release),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Session(session, event) if session == self.session => self.session_event(event),
            Event::Session(..) => {}
            Event::Built(call, result) => self.built(call, result),
            Event::Judged(release, result) => self.judged(release, result),
            Event::Renewed(result) => self.renewed(result),
            Event::Soaked(result) => self.soaked(result),
            Event::Counted(result) => {
                self.counting = false;
                match result {
                    Ok(tasks) => {
                        for task in tasks {
                            info!(task = %task.short(), "new data");
                            self.input(Input::DataChanged { task });
                        }
                    }
                    Err(problem) => self.complain("the data cannot be read", &problem),
                }
            }
        }
    }

    /// What has become of the broker since is told in the status.
    fn look_at_broker(&mut self) {
        let broker = self.settings.broker.as_mut();
        let broker = broker.filter(|broker| broker.has_changed().unwrap_or(false));
        if let Some(broker) = broker {
            self.status.mqtt_error = broker.borrow_and_update().clone();
            self.publish();
        }
    }

    fn publish(&mut self) {
        let mut status = self.status.clone();
        if let Some(live) = &self.live {
            let (handshake, work) = link::traffic(&live.connection);
            status.handshake_bytes = status.handshake_bytes + handshake.into();
            status.work_bytes = status.work_bytes + work.into();
        }
        if let Err(problem) = status.publish(&self.state, self.backend.memory_elsewhere_kib()) {
            debug!("{problem}");
        }
        let line = match (&status.link_error, &status.work_error) {
            _ if status.connected && status.work_error.is_none() => "connected".to_owned(),
            (_, Some(problem)) => problem.clone(),
            (Some(problem), _) => format!("not connected: {problem}"),
            _ => "connecting".to_owned(),
        };
        self.settings.service.status(&line);
    }
}

/// Any number, another one in each process; 0, which says nothing, where the
/// system has no randomness yet.
fn instance() -> u64 {
    rand::rngs::OsRng.try_next_u64().unwrap_or_default()
}

/// Reports that wait for the loop; tasks wait when it is full.
const EVENTS_MAX: usize = 16;
/// How long a stopping agent waits for the coordinator's goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// So long after the last event an agent waits for the next one.
const QUIET: Duration = Duration::from_secs(1);
/// A sleep that other events end.
const LONG: Duration = Duration::from_secs(3_600);
