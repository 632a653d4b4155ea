//! The loop: actions out of the engine, results into it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::ids::{BlobHash, TaskHash, Time, Version};
use common::pulse::PROCESS;
use common::round::{ContributionKey, Reason};
use common::service::Service;
use common::transport::{Connection, TransportError};
use common::trial::Trial;
use common::wire::messages::{
    Announcement, Call, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer, Welcome,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::link::{self, Closer, Link, LinkError, Route};
use super::status::{Bytes, RunStatus};
use super::workshop::{Built, Verdict, Workshop, WorkshopError};
use crate::cache::{Cache, CacheError};
use crate::enrol::EnrolError;
use crate::identity::{Identity, TimeFloor};
use crate::renewal;
use crate::session::{Action, Engine, Input, Pending};
use crate::state::StateDir;
use crate::trust::Trust;

/// Why the agent could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The outbox cannot be read, so nothing could be kept.
    #[error("the outbox cannot be read: {0}")]
    Outbox(WorkshopError),
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
    /// The data folder, for whoever asks how the device does.
    pub data: Option<PathBuf>,
    /// The service manager, told how it goes.
    pub service: Service,
}

/// A running device.
pub struct Agent<W> {
    settings: AgentSettings,
    state: StateDir,
    cache: Cache,
    workshop: Arc<W>,
    engine: Engine,
    began: Instant,
    events: mpsc::Receiver<Event>,
    back: mpsc::Sender<Event>,
    session: u64,
    live: Option<Live>,
    work: JoinSet<()>,
    needed: BTreeMap<TaskHash, BTreeSet<BlobHash>>,
    /// The newest release of each task, which may come as a delta.
    released: BTreeMap<BlobHash, TaskHash>,
    counting: bool,
    soaking: bool,
    /// After a failure.
    soak_after: Instant,
    /// Until when the coordinator's word is fresh, and when it was heard.
    fresh_until: Option<(Time, Instant)>,
    renewal: Renewal,
    /// When to ask for what could not be kept.
    ask_again: Option<Instant>,
    status: RunStatus,
}

/// When the next certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// At this time of day.
    At(Time),
    /// At this moment, after a failure.
    Again(Instant),
    /// It was asked for.
    Asked,
    /// Never: the coordinator will not give one.
    Hopeless,
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
    Built(Call, Result<Built, WorkshopError>),
    Judged(Announcement, Result<Verdict, WorkshopError>),
    Counted(Result<Vec<TaskHash>, WorkshopError>),
    Soaked(Result<Vec<(TaskHash, Version, Trial)>, WorkshopError>),
    Renewed(Result<Arc<Identity>, EnrolError>),
}

enum SessionEvent {
    Opened(Result<Box<Link>, LinkError>),
    Message(ToDevice),
    Lost(LinkError),
    Fetched(BlobHash, Result<bool, LinkError>),
    Answered(ContributionKey, Result<TransferAnswer, LinkError>),
}

impl<W: Workshop> Agent<W> {
    /// An agent that has not started. The caller holds the state directory's
    /// lock.
    pub fn new(settings: AgentSettings, state: StateDir, cache: Cache, workshop: Arc<W>) -> Self {
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
            workshop,
            engine: Engine::new(u64::from_le_bytes(seed)),
            began: Instant::now(),
            events,
            back,
            session: 0,
            live: None,
            work: JoinSet::new(),
            needed: BTreeMap::new(),
            released: BTreeMap::new(),
            counting: false,
            soaking: false,
            soak_after: Instant::now(),
            fresh_until: None,
            renewal,
            ask_again: None,
            status,
        }
    }

    /// Runs until `shutdown` is done. What is under way is left so that the
    /// next start goes on with it.
    ///
    /// # Errors
    /// Before the first action only: [`AgentError`].
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        let started = Input::Started {
            outbox: self.workshop.unanswered().map_err(AgentError::Outbox)?,
            partial: self.workshop.partial().map_err(AgentError::Outbox)?,
            cached: self.cache.blobs()?,
        };
        self.publish();
        self.input(started);
        self.tell_trials();
        let mut glance = tokio::time::interval(Duration::from_millis(self.settings.glance_ms));
        glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        loop {
            self.settings.service.feed(std::time::Instant::now());
            let (wake, renewal) = (self.wake(), self.renewal_wake());
            tokio::select! {
                () = &mut shutdown => break,
                Some(event) = self.events.recv() => self.event(event),
                () = sleep_until(wake) => self.input(Input::Tick),
                _ = glance.tick() => {
                    self.glance();
                    self.soak_if_due();
                    self.refresh();
                    self.ask_again_if_due();
                }
                () = sleep_until(renewal) => self.renew_if_due(),
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
            Action::Fetch(blob) => self.fetch(blob),
            Action::Upload(pending) => self.upload(pending),
            Action::Settle { pending, settled } => {
                info!(kind = %pending.key.kind, round = %pending.key.round, ?settled, "answered");
                if let Err(problem) = self.workshop.settle(&pending, settled) {
                    self.complain("cannot record an answer", &problem);
                }
                self.publish();
            }
            Action::Build(call) => self.build(call),
            Action::Install(release) => self.install(release),
        }
    }

    fn connect(&mut self) {
        self.session += 1;
        let hello = Hello {
            minor: PROTOCOL_MINOR,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            installed: self.workshop.installed(),
        };
        let (back, session) = (self.back.clone(), self.session);
        let route = self.settings.route.clone();
        self.work.spawn(async move {
            let opened = Link::open(&route, hello).await.map(Box::new);
            report(&back, session, SessionEvent::Opened(opened)).await;
        });
    }

    fn send(&mut self, message: ToCoordinator) {
        let Some(live) = &self.live else { return };
        // The queue is full only if the coordinator has stopped reading.
        if live.outgoing.try_send(message).is_err() {
            live.connection.close(
                common::transport::CloseCode::Stalled,
                "control stream stands still",
            );
        }
    }

    fn fetch(&mut self, blob: BlobHash) {
        let (back, session, cache) = (self.back.clone(), self.session, self.cache.clone());
        let Some(live) = &mut self.live else { return };
        let connection = live.connection.clone();
        let (workshop, task) = (self.workshop.clone(), self.released.get(&blob).copied());
        live.tasks.spawn(async move {
            let base = task.and_then(|task| workshop.base(task));
            let by_delta = match &base {
                Some(base) => link::fetch_against(&connection, &cache, blob, base).await,
                None => Ok(false),
            };
            let fetched = match by_delta {
                Ok(false) => link::fetch(&connection, &cache, blob).await,
                other => other,
            };
            report(&back, session, SessionEvent::Fetched(blob, fetched)).await;
        });
    }

    fn upload(&mut self, pending: Pending) {
        let (back, session) = (self.back.clone(), self.session);
        let bytes = self.workshop.bytes(&pending);
        let Some(live) = &mut self.live else { return };
        let connection = live.connection.clone();
        let span = info_span!("upload", kind = %pending.key.kind, round = %pending.key.round);
        let sending = async move {
            let answer = match bytes {
                Ok(bytes) => link::offer(&connection, &pending, &bytes).await,
                Err(problem) => {
                    error!("dropping a damaged contribution: {problem}");
                    Ok(TransferAnswer::Refused(Reason::HashMismatch))
                }
            };
            report(&back, session, SessionEvent::Answered(pending.key, answer)).await;
        };
        live.tasks.spawn(sending.instrument(span));
    }

    fn build(&mut self, call: Call) {
        let (back, workshop) = (self.back.clone(), self.workshop.clone());
        let cache = self.cache.clone();
        let span = info_span!(
            "round", task = %call.task.short(), round = %call.round, phase = %call.phase
        );
        self.work.spawn(async move {
            let asked = call.clone();
            let built = in_thread(move || {
                let _entered = span.entered();
                info!("working");
                workshop.build(&asked, &|blob| cache.read(blob))
            });
            let event = Event::Built(call, built.await);
            // Fails only if the agent has stopped.
            let _ = back.send(event).await;
        });
    }

    fn install(&mut self, release: Announcement) {
        let (back, workshop) = (self.back.clone(), self.workshop.clone());
        let cache = self.cache.clone();
        self.work.spawn(async move {
            let judged =
                in_thread(move || workshop.install(&release, &|blob| cache.read(blob))).await;
            let _ = back.send(Event::Judged(release, judged)).await;
        });
    }

    /// When to look whether the next certificate is due. The clock may be
    /// set meanwhile, so it is looked at now and then.
    fn renewal_wake(&self) -> Instant {
        match self.renewal {
            Renewal::At(due) => {
                let left_ms = due.since_ms(self.settings.route.floor.clock().now());
                Instant::now() + Duration::from_millis(left_ms).min(LONG)
            }
            Renewal::Again(at) => at,
            Renewal::Asked | Renewal::Hopeless => Instant::now() + LONG,
        }
    }

    fn renew_if_due(&mut self) {
        let is_due = match self.renewal {
            Renewal::At(due) => due <= self.settings.route.floor.clock().now(),
            Renewal::Again(at) => at <= Instant::now(),
            Renewal::Asked | Renewal::Hopeless => false,
        };
        if !is_due {
            return;
        }
        self.renewal = Renewal::Asked;
        let (back, state) = (self.back.clone(), self.state.clone());
        let route = self.settings.route.clone();
        self.work.spawn(async move {
            let renewed = renewal::renew(&state, &route).await;
            // Fails only if the agent has stopped.
            let _ = back.send(Event::Renewed(renewed)).await;
        });
    }

    /// The open session goes on with the certificate that opened it.
    fn renewed(&mut self, result: Result<Arc<Identity>, EnrolError>) {
        match result {
            Ok(identity) => {
                let end_ms = identity.certificate.not_after.0;
                info!(end_ms, "the certificate was renewed");
                self.renewal = Renewal::At(renewal::due(&identity.certificate));
                self.settings.route.identity = identity;
                self.raise_floor();
            }
            Err(problem) if renewal::is_final(&problem) => {
                let advice = problem.advice().unwrap_or_default();
                error!("the certificate is not renewed: {problem}; {advice}");
                self.renewal = Renewal::Hopeless;
            }
            Err(problem) => {
                let wait_ms = renewal::retry_ms(&self.settings.route.identity.certificate);
                warn!(wait_ms, "the certificate could not be renewed: {problem}");
                self.renewal = Renewal::Again(Instant::now() + Duration::from_millis(wait_ms));
            }
        }
    }

    /// What was signed since tells how late it is at least.
    fn raise_floor(&mut self) {
        self.settings.route.floor = TimeFloor::load(&self.state);
    }

    fn glance(&mut self) {
        if self.counting || !self.workshop.glance() {
            return;
        }
        self.counting = true;
        let (back, workshop) = (self.back.clone(), self.workshop.clone());
        self.work.spawn(async move {
            let counted = in_thread(move || workshop.count()).await;
            let _ = back.send(Event::Counted(counted)).await;
        });
    }

    /// Looked at with each glance at the data: a soak is minutes long, and
    /// the clock may be set meanwhile.
    fn soak_if_due(&mut self) {
        let now = self.settings.route.floor.clock().now();
        let waits = self.soaking || self.soak_after > Instant::now();
        if waits || self.workshop.soak_due().is_none_or(|due| due > now) {
            return;
        }
        self.soaking = true;
        let (back, workshop) = (self.back.clone(), self.workshop.clone());
        self.work.spawn(async move {
            let soaked = in_thread(move || workshop.soak()).await;
            let _ = back.send(Event::Soaked(soaked)).await;
        });
    }

    fn soaked(&mut self, result: Result<Vec<(TaskHash, Version, Trial)>, WorkshopError>) {
        self.soaking = false;
        match result {
            Ok(found) => {
                for (task, version, trial) in found {
                    info!(task = %task.short(), %version, "after its soak, the student is {trial}");
                }
            }
            Err(problem) => {
                self.soak_after = Instant::now() + SOAK_AGAIN;
                self.complain("a student could not be tried once more", &problem);
            }
        }
        self.tell_trials();
        self.publish();
    }

    fn tell_trials(&mut self) {
        for (task, version, trial) in self.workshop.trials() {
            self.input(Input::Tried {
                task,
                version,
                trial,
            });
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

    fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened(Ok(link)) => self.opened(*link),
            SessionEvent::Opened(Err(problem)) | SessionEvent::Lost(problem) => self.lost(&problem),
            SessionEvent::Message(message) => self.message(message),
            SessionEvent::Fetched(blob, Ok(found)) => {
                self.make_room();
                self.input(Input::Fetched { blob, found });
            }
            SessionEvent::Fetched(blob, Err(problem)) => match problem {
                // The next try starts from the first byte.
                LinkError::Cache(CacheError::Damaged { .. }) => {
                    warn!("{problem}");
                    self.lost(&problem);
                }
                LinkError::Cache(_) | LinkError::Transport(TransportError::Keep(_)) => {
                    self.cannot_keep(blob, &problem);
                }
                _ => {
                    debug!(blob = %blob.short(), "fetch broke off");
                    self.lost(&problem);
                }
            },
            // Nothing came through for long. QUIC doubles its pauses between
            // probes and may be quiet for as long again once the way is free; a
            // new session begins with short ones, and the transfer goes on
            // where it stopped.
            SessionEvent::Answered(
                _,
                Err(problem @ LinkError::Transport(TransportError::Stalled { .. })),
            ) => self.lost(&problem),
            SessionEvent::Answered(key, answer) => {
                if let Err(problem) = &answer {
                    debug!("no answer to {key}: {problem}");
                }
                self.input(Input::Answered {
                    key,
                    answer: answer.ok(),
                });
            }
        }
    }

    fn opened(&mut self, link: Link) {
        let (connection, mut sender, mut receiver, closer) = link.split();
        let (outgoing, mut queue) = mpsc::channel(OUTGOING_MAX);
        let (back, session) = (self.back.clone(), self.session);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(message) = queue.recv().await {
                // The receiving task hears of a lost connection as well.
                if sender.send(&message).await.is_err() {
                    return;
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let event = match receiver.receive().await {
                    Ok(message) => SessionEvent::Message(message),
                    Err(problem) => SessionEvent::Lost(problem),
                };
                let last = matches!(event, SessionEvent::Lost(_));
                report(&back, session, event).await;
                if last {
                    return;
                }
            }
        });
        if let Some(facts) = connection.peer_certificate()
            && let Err(problem) = TimeFloor::raise(&self.state, facts.not_before)
        {
            warn!("{problem}");
        }
        self.raise_floor();
        info!(coordinator = %connection.remote_address(), "connected");
        self.live = Some(Live {
            connection,
            outgoing,
            closer,
            tasks,
        });
        self.status.connected = true;
        self.status.link_error = None;
        self.heard();
        self.publish();
        self.input(Input::Connected);
    }

    fn lost(&mut self, problem: &LinkError) {
        // Whatever is still reported by this session is not heard.
        self.session += 1;
        let was_open = self.live.is_some();
        if let Some(live) = self.live.take() {
            self.count_bytes(&live.connection);
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "starting over");
        }
        let text = problem.to_string();
        if self.status.link_error.as_ref() != Some(&text) {
            let advice = problem
                .advice()
                .unwrap_or_else(|| "trying again".to_owned());
            warn!("not connected: {text}; {advice}");
        }
        // Whatever this device's clock says, the coordinator's says it is over.
        // An open session ends with the certificate that opened it, and that
        // may have been renewed.
        if problem.is_expiry()
            && !was_open
            && let Renewal::At(_) = self.renewal
        {
            self.renewal = Renewal::Again(Instant::now());
        }
        self.status.connected = false;
        self.status.link_error = Some(text);
        self.publish();
        self.input(Input::Disconnected);
    }

    fn message(&mut self, message: ToDevice) {
        self.heard();
        match &message {
            ToDevice::Welcome(welcome) => {
                debug!(
                    minor = welcome.minor,
                    tasks = welcome.tasks.len(),
                    "welcome"
                );
                self.hear(welcome);
            }
            ToDevice::Call(call) => {
                info!(round = %call.round, phase = %call.phase, "called");
                let blobs = call.context.blobs().collect();
                self.needed.insert(call.task, blobs);
            }
            ToDevice::PhaseClosed { round, phase, .. } => {
                debug!(%round, %phase, "phase closed");
            }
            ToDevice::Released(release) => {
                let newest = self.workshop.seen();
                let at_hand = |(task, version): &(TaskHash, _)| {
                    *task == release.task && *version >= release.version
                };
                if newest.iter().any(at_hand) || self.workshop.pinned().contains(&release.task) {
                    return;
                }
                info!(version = %release.version, "a student is released");
                let needed = self.needed.entry(release.task).or_default();
                needed.insert(release.blob);
                self.released.retain(|_, task| *task != release.task);
                self.released.insert(release.blob, release.task);
            }
        }
        self.input(Input::Received(message));
    }

    /// Keeps what the coordinator says of the keys that sign releases. Where
    /// that is not believed, nothing it offers will be.
    fn hear(&mut self, welcome: &Welcome) {
        let now = self.settings.route.floor.clock().now();
        match Trust::hear(&self.state, &welcome.charter, &welcome.freshness, now) {
            Ok(trust) => {
                self.status.trust_error = None;
                let heard = Instant::now();
                self.fresh_until = trust.fresh_until().map(|end| (end, heard));
            }
            Err(problem) => {
                error!(
                    "the coordinator's keys are not believed: {problem}; {}",
                    problem.advice()
                );
                self.status.trust_error = Some(problem.to_string());
            }
        }
        self.raise_floor();
    }

    /// A session outlives the coordinator's word: a new one begins with a new
    /// one, well before the old one is over.
    fn refresh(&mut self) {
        let now = self.settings.route.floor.clock().now();
        // A clock that is days ahead finds every word old: not more than one
        // session a day is given for a new one.
        let is_old = self.fresh_until.is_some_and(|(end, heard)| {
            end.since_ms(now) < FRESH_LEFT_MS && heard.elapsed() >= REFRESH_AFTER
        });
        if is_old && let Some(live) = &self.live {
            self.fresh_until = None;
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "for a fresh word");
        }
    }

    fn built(&mut self, call: Call, result: Result<Built, WorkshopError>) {
        let built = match result {
            Err(WorkshopError::Blob(blob)) => return self.input(Input::Evicted(blob)),
            Ok(built) => {
                let bytes: u64 = built.entries.iter().map(|entry| entry.bytes).sum();
                info!(
                    round = %call.round, phase = %call.phase,
                    entries = built.entries.len(), bytes, partial = built.partial, "built"
                );
                self.status.work_error = None;
                built
            }
            Err(problem) => {
                self.complain("abstaining", &problem);
                Built {
                    entries: Vec::new(),
                    partial: true,
                }
            }
        };
        self.publish();
        self.input(Input::Built {
            call,
            entries: built.entries,
            partial: built.partial,
        });
    }

    fn judged(&mut self, release: Announcement, result: Result<Verdict, WorkshopError>) {
        match result {
            Err(WorkshopError::Blob(blob)) => return self.input(Input::Evicted(blob)),
            Ok(verdict) => info!(version = %release.version, "{verdict}"),
            Err(problem) => self.complain("the student at hand stays", &problem),
        }
        self.publish();
        self.input(Input::Installed { release });
        self.tell_trials();
    }

    /// The disk, not the link, is in the way: another session would find it
    /// there too. Whoever waits for this device is told, and the coordinator is
    /// asked again later.
    fn cannot_keep(&mut self, blob: BlobHash, problem: &LinkError) {
        let advice = problem.advice().unwrap_or_default();
        error!(blob = %blob.short(), "what came cannot be kept: {problem}; {advice}");
        self.status.work_error = Some(problem.to_string());
        self.ask_again = Some(Instant::now() + ASK_AGAIN);
        self.publish();
        self.input(Input::Fetched { blob, found: false });
    }

    /// Begins a new session some time after the disk was in the way, for what
    /// was released meanwhile.
    fn ask_again_if_due(&mut self) {
        if self.ask_again.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.ask_again = None;
        self.status.work_error = None;
        if let Some(live) = &self.live {
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "for what could not be kept");
        }
    }

    fn make_room(&mut self) {
        let protected = self.needed.values().flatten().copied().collect();
        match self.cache.evict(&protected) {
            Ok(gone) => {
                for blob in gone {
                    self.input(Input::Evicted(blob));
                }
            }
            Err(problem) => warn!("{problem}"),
        }
    }

    fn complain(&mut self, what: &str, problem: &WorkshopError) {
        match problem {
            WorkshopError::Failed { advice, .. } => error!("{what}: {problem}; {advice}"),
            WorkshopError::Blob(_) => error!("{what}: {problem}"),
        }
        self.status.work_error = Some(problem.to_string());
    }

    fn heard(&mut self) {
        let clock = self.settings.route.floor.clock();
        self.status.last_contact_ms = Some(clock.now().0);
    }

    fn count_bytes(&mut self, connection: &Connection) {
        let (handshake, work) = link::traffic(connection);
        self.status.handshake_bytes = self.status.handshake_bytes + Bytes::from(handshake);
        self.status.work_bytes = self.status.work_bytes + Bytes::from(work);
    }

    fn publish(&mut self) {
        let mut status = self.status.clone();
        if let Some(live) = &self.live {
            let (handshake, work) = link::traffic(&live.connection);
            status.handshake_bytes = status.handshake_bytes + handshake.into();
            status.work_bytes = status.work_bytes + work.into();
        }
        if let Err(problem) = status.publish(&self.state, self.workshop.memory_elsewhere_kib()) {
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

async fn report(back: &mpsc::Sender<Event>, session: u64, event: SessionEvent) {
    // Fails only if the agent has stopped.
    let _ = back.send(Event::Session(session, event)).await;
}

/// Runs heavy work in the blocking thread. A panic there is this work's
/// failure and no other's.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkshopError> + Send + 'static,
) -> Result<T, WorkshopError> {
    let caught = tokio::task::spawn_blocking(|| {
        let _working = PROCESS.work();
        catch_unwind(AssertUnwindSafe(work))
    });
    match caught.await {
        Ok(Ok(result)) => result,
        _ => Err(WorkshopError::Failed {
            what: "a fault in this program stopped a piece of work".to_owned(),
            advice: "report it with the lines above; the agent goes on".to_owned(),
        }),
    }
}

/// Reports that wait for the loop; tasks wait when it is full.
const EVENTS_MAX: usize = 16;
/// Messages that wait for the coordinator.
const OUTGOING_MAX: usize = 64;
/// How long a stopping agent waits for the coordinator's goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// A word is not asked for anew before this.
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// A word with less time left is asked for anew.
const FRESH_LEFT_MS: u64 = 3 * 24 * 3_600_000;
/// Wait before a soak that failed is tried again.
const SOAK_AGAIN: Duration = Duration::from_secs(60);
/// Wait after the disk was in the way.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A sleep that other events end.
const LONG: Duration = Duration::from_secs(3_600);
