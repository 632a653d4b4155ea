//! The core: round engines, registry and sessions, behind one door.
//!
//! Like the engines it holds, it does no I/O. [`Core::handle`] takes a
//! command and queues what follows from it: log entries and effects. The
//! driver makes the entries durable and then calls [`Core::committed`], which
//! lets the effects happen; or it calls [`Core::failed`], which tells
//! everyone who waits that nothing was stored, and throws the state away
//! until [`Core::restore`] brings it back from the log.

mod admin;
pub(crate) mod command;
mod contributions;
mod effect;
pub(crate) mod freshness;
mod members;
pub(crate) mod peer_limits;
pub(crate) mod progress;
mod sessions;
mod snapshot;
mod steady_clock;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use common::ids::{DeviceId, TaskHash, Time};
use common::task::Task;
use common::transport::CloseCode;
use tokio::sync::broadcast;

use self::command::RunId;
pub(crate) use self::command::{AdminCommand, Command, Evidence, ReReleaseOf};
pub(crate) use self::effect::Work;
use self::effect::{Answers, Effect};
use self::freshness::Word;
pub(crate) use self::peer_limits::PeerLimits;
use self::progress::{Context, ProgressTracker};
use self::sessions::Sessions;
pub use self::steady_clock::SteadyTime;
use crate::journal::{LogEntry, Replayed};
use crate::registry::{Registry, RegistryEvent};
use crate::rollout::Releases;
use crate::round::{Action, Engine, Input, RoundPolicy, State, TaskEvent};
use crate::status::Progress;

/// Devices whose connections the listener refuses.
pub(crate) type Revoked = Arc<RwLock<BTreeSet<DeviceId>>>;

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) address: SocketAddr,
    pub(crate) started: Time,
    /// Who is offered what rounds release.
    pub(crate) releases: Releases,
    /// Most rows one contribution may claim.
    pub(crate) rows_max: u64,
    /// How devices behave.
    pub(crate) peer_limits: Arc<PeerLimits>,
    /// What each session begins with.
    pub(crate) word: Word,
}

pub(crate) struct Core {
    about: About,
    epoch: u32,
    registry: Registry,
    tasks: Vec<Runner>,
    sessions: Sessions,
    answers: Answers,
    entries: Vec<Vec<u8>>,
    effects: Vec<Effect>,
    runs: u64,
    /// Length of the contribution that is being taken.
    arriving_bytes: u64,
    in_service: bool,
    storage_failures: u64,
    progress: broadcast::Sender<Progress>,
    revoked: Revoked,
}

/// One task at work.
struct Runner {
    task: Arc<Task>,
    engine: Engine,
    tracker: ProgressTracker,
    /// The computation whose result is awaited.
    run: Option<RunId>,
}

impl Core {
    /// A core that is out of service until [`Self::restore`].
    pub(crate) fn new(
        about: About,
        progress: broadcast::Sender<Progress>,
        revoked: Revoked,
    ) -> Self {
        Self {
            about,
            epoch: 0,
            registry: Registry::default(),
            tasks: Vec::new(),
            sessions: Sessions::default(),
            answers: Answers::default(),
            entries: Vec::new(),
            effects: Vec::new(),
            runs: 0,
            arriving_bytes: 0,
            in_service: false,
            storage_failures: 0,
            progress,
            revoked,
        }
    }

    /// Takes the state that the log folds to, and goes on from there with
    /// the sessions that are open.
    pub(crate) fn restore(&mut self, now: Time, epoch: u32, replayed: Replayed) {
        self.epoch = epoch;
        self.registry = replayed.registry;
        self.publish_revoked();
        self.in_service = true;
        self.tasks.clear();
        for (task, state) in replayed.tasks {
            self.add_runner(now, task, state);
        }
    }

    /// Takes one command.
    pub(crate) fn handle(&mut self, now: Time, command: Command) {
        match command {
            Command::Connect {
                device,
                installed,
                link,
                outbox,
                reply,
            } => self.connect(now, device, installed, link, outbox, reply),
            Command::Disconnect { device, session } => self.disconnect(now, device, session),
            Command::Said {
                device,
                session,
                message,
            } => self.said(now, device, session, message),
            Command::Offer { offer, reply } => self.offered(now, offer, reply),
            Command::Arrived {
                offer,
                checked,
                reply,
            } => self.arrived(now, offer, checked, reply),
            Command::IsPublic { blob, reply } => {
                if self.in_service {
                    let _ = reply.send(self.is_public(blob));
                }
            }
            Command::Newest {
                device,
                task,
                reply,
            } => {
                if self.in_service {
                    let _ = reply.send(self.newest(device, task));
                }
            }
            Command::TaskOf { task, reply } => {
                let found = self.position(task).map(|at| self.tasks[at].task.clone());
                let _ = reply.send(found);
            }
            Command::EvidenceOf { task, reply } => {
                let _ = reply.send(self.evidence(task));
            }
            Command::Admit { admission, reply } => self.admit(now, admission, reply),
            Command::Renew {
                device,
                certificate,
                reply,
            } => self.renew(now, device, certificate, reply),
            Command::EnrolTraffic { device, traffic } => {
                self.sessions.count_handshake(device, traffic);
            }
            Command::Computed {
                task,
                run,
                result,
                pin,
            } => {
                self.computed(now, task, run, result);
                self.effects.extend(pin.map(Effect::LetGo));
            }
            Command::Admin(command) => self.admin(now, command),
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Time) {
        for at in 0..self.tasks.len() {
            if self.tasks[at]
                .engine
                .poll_timeout()
                .is_some_and(|due| due <= now)
            {
                self.feed(now, at, Input::Tick);
            }
        }
    }

    /// When the core wants [`Self::tick`].
    pub(crate) fn timeout(&self) -> Option<Time> {
        let timeouts = self.tasks.iter().map(|runner| runner.engine.poll_timeout());
        timeouts.flatten().min()
    }

    /// Entries that wait to become durable.
    pub(crate) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Takes those entries, for the log.
    pub(crate) fn take_entries(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.entries)
    }

    /// All entries so far are durable: their effects happen. Returns the
    /// computations to start.
    pub(crate) fn committed(&mut self) -> Vec<Work> {
        let mut works = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Reply(reply) => reply(true),
                Effect::Send { device, message } => self.sessions.send(device, message),
                Effect::Work(work) => works.push(work),
                Effect::Progress(step) => {
                    progress::log(&step);
                    // Fails only if nobody watches.
                    let _ = self.progress.send(step);
                }
                Effect::PublishRevoked => self.publish_revoked(),
                Effect::LetGo(pin) => drop(pin),
            }
        }
        works
    }

    /// Nothing since the last commit was stored: whoever waits for it is
    /// told, and the state, which is ahead of the log, is thrown away.
    pub(crate) fn failed(&mut self) {
        self.storage_failures += 1;
        self.in_service = false;
        self.entries.clear();
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::Reply(reply) = effect {
                reply(false);
            }
        }
        self.answers.refuse_all();
        self.tasks.clear();
        self.registry = Registry::default();
    }

    /// Whether there is a state to work on.
    pub(crate) fn in_service(&self) -> bool {
        self.in_service
    }

    /// Rounds of all tasks so far.
    pub(crate) fn rounds(&self) -> u64 {
        let states = self.tasks.iter().map(|runner| runner.engine.state());
        states.map(|state| state.last_round.0).sum()
    }

    /// Rounds of all tasks that have ended.
    pub(crate) fn ended(&self) -> u64 {
        let states = self.tasks.iter().map(|runner| runner.engine.state());
        let open = states.filter(|state| state.round.is_some()).count();
        self.rounds().saturating_sub(open as u64)
    }

    /// Whether no round is open, so that no deadline is counted.
    pub(crate) fn is_idle(&self) -> bool {
        let open = |runner: &Runner| runner.engine.state().round.is_some();
        !self.tasks.iter().any(open)
    }

    fn position(&self, task: TaskHash) -> Option<usize> {
        self.tasks
            .iter()
            .position(|runner| runner.task.hash() == task)
    }

    fn add_runner(&mut self, now: Time, task: Arc<Task>, state: State) {
        let hash = task.hash();
        let policy = RoundPolicy {
            releases: self.about.releases.clone(),
            rows_max: self.about.rows_max,
            ..policy(&task)
        };
        let tracker = ProgressTracker::new(hash, policy.clone(), &state);
        let engine = Engine::new(hash, policy, self.epoch, state);
        self.tasks.push(Runner {
            task,
            engine,
            tracker,
            run: None,
        });
        let at = self.tasks.len() - 1;
        let members = self.registry.members().keys();
        let members = members.filter(|device| !self.registry.revoked().contains_key(device));
        let members = members.copied().collect();
        self.feed(now, at, Input::Members(members));
        self.feed(now, at, Input::Started);
        for (device, installed) in self.sessions.connected(hash) {
            self.feed(now, at, Input::Connected { device, installed });
        }
        for (device, version, trial) in self.sessions.tried(hash) {
            let tried = Input::Tried {
                device,
                version,
                trial,
            };
            self.feed(now, at, tried);
        }
        for device in self.sessions.changed(hash) {
            self.feed(now, at, Input::DataChanged { device });
        }
    }

    /// Gives an engine one input and queues all that follows.
    fn feed(&mut self, now: Time, at: usize, input: Input) {
        self.tasks[at].engine.handle(now, input);
        while let Some(action) = self.tasks[at].engine.poll_action() {
            self.queue(at, action);
        }
        self.arriving_bytes = 0;
    }

    fn queue(&mut self, at: usize, action: Action) {
        let runner = &mut self.tasks[at];
        match action {
            Action::Append(event) => {
                let context = Context {
                    registry: &self.registry,
                    state: runner.engine.state(),
                    bytes: self.arriving_bytes,
                };
                if let Some(step) = runner.tracker.see(&event, context) {
                    self.effects.push(Effect::Progress(step));
                }
                let task = runner.task.hash();
                let entry = LogEntry::Task(TaskEvent { task, event });
                self.entries.push(entry.to_bytes());
            }
            Action::Answer { ticket, answer } => {
                self.effects.extend(self.answers.transfer(ticket, answer));
            }
            Action::RoundStarted { ticket, result } => {
                let task = runner.task.hash();
                self.effects
                    .extend(self.answers.round(ticket, task, result));
            }
            Action::Send { device, message } => {
                self.effects.push(Effect::Send { device, message });
            }
            Action::Compute(job) => {
                self.runs += 1;
                let run = RunId(self.runs);
                runner.run = Some(run);
                let task = runner.task.clone();
                self.effects.push(Effect::Work(Work { run, task, job }));
            }
        }
    }

    fn record(&mut self, event: RegistryEvent) {
        self.registry.apply(&event);
        self.entries.push(LogEntry::Registry(event).to_bytes());
    }

    /// A result counts only if the engine still waits for this very run; it
    /// may have been rebuilt, or the round cancelled, since the run began.
    fn computed(
        &mut self,
        now: Time,
        task: TaskHash,
        run: RunId,
        result: Result<crate::round::JobOutput, String>,
    ) {
        let Some(at) = self.position(task) else {
            return;
        };
        if self.tasks[at].run == Some(run) {
            self.tasks[at].run = None;
            self.feed(now, at, Input::Computed { result });
        }
    }

    fn publish_revoked(&mut self) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        *revoked = self.registry.revoked().keys().copied().collect();
        drop(revoked);
        // One may have come in between the revocation and this.
        for device in self.registry.revoked().keys() {
            self.sessions
                .close(*device, CloseCode::Revoked, "revoked by an operator");
        }
    }
}

/// A task's rules, as its engine takes them.
fn policy(task: &Task) -> RoundPolicy {
    RoundPolicy::of(task.definition())
}

#[cfg(test)]
mod tests;
