//! The core: round engines, registry and sessions, as one state machine.
//!
//! Like the engines it holds, it does no I/O. [`Core::handle`] takes a
//! command and queues what follows from it: log entries and effects. Anyone who
//! drives it takes effects with [`Core::poll_effect`] and makes the entries
//! durable. [`Core::committed`] then releases the effects that waited for
//! them; or [`Core::failed`] tells all who wait that nothing was stored, and
//! throws the state away until [`Core::restore`] brings it back from the log.

mod admin;
pub mod answer;
pub mod command;
mod contributions;
mod effect;
pub mod freshness;
mod groups;
mod members;
pub mod progress;
mod sessions;
mod shared_keys;
mod snapshot;
mod steady_clock;
mod students;
mod tasks;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::close::CloseCode;
use protocol::ids::{TaskHash, Time, Version};
use protocol::task::{BudgetPlan, Task};

use self::answer::{Answer, Reply};
use self::command::RunId;
pub use self::command::{AdminCommand, Command, Evidence, ReReleaseOf};
use self::effect::{Answers, Pending};
pub use self::effect::{Effect, Work};
use self::freshness::FreshnessSigner;
use self::progress::{Context, ProgressTracker};
use self::sessions::{Arrival, Sessions};
pub use self::steady_clock::SteadyTime;
use crate::entry::LogEntry;
use crate::registry::{Registry, RegistryEvent};
use crate::rollout::Releases;
use crate::round::{Action, Engine, Event, Input, RoundPolicy, State, TaskEvent};

/// The rules of a task's rounds, from its definition.
pub type Policies = Arc<dyn Fn(&Task) -> RoundPolicy + Send + Sync>;

/// What tasks say of their rounds, with what the operator's configuration
/// adds: who is offered what rounds release, and the most rows that one
/// contribution may claim.
pub fn policies(releases: Releases, rows_max: u64) -> Policies {
    Arc::new(move |task| RoundPolicy {
        releases: releases.clone(),
        rows_max,
        ..RoundPolicy::of(task.definition())
    })
}

/// A fault planted in the core, to show that the simulation finds it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// Answers do not wait for the log.
    AnswerAtOnce,
    /// What could not be stored stays in memory.
    KeepStateAhead,
}

/// What does not change while the server runs.
#[derive(Clone)]
pub struct About {
    /// Where devices reach the coordinator.
    pub address: SocketAddr,
    /// When the server started.
    pub started: Time,
    /// The rules of a task's rounds.
    pub policies: Policies,
    /// What each session begins with.
    pub freshness: FreshnessSigner,
    /// Devices whose certificates end before this are to renew at once.
    pub renew_ending_before: Option<Time>,
}

/// All tasks' engines, the registry and the sessions.
pub struct Core {
    about: About,
    epoch: u32,
    registry: Registry,
    tasks: Vec<Runner>,
    /// The highest versions that tasks deleted in this life of the store
    /// released. Those of earlier lives lie below its epoch.
    released: BTreeMap<TaskHash, Version>,
    sessions: Sessions,
    answers: Answers,
    entries: Vec<Vec<u8>>,
    pending: Vec<Pending>,
    ready: VecDeque<Effect>,
    runs: u64,
    /// Length of the contribution that is being taken.
    arriving_bytes: u64,
    in_service: bool,
    storage_failures: u64,
    planted: Option<PlantedFault>,
}

/// One task at work.
struct Runner {
    task: Arc<Task>,
    engine: Engine,
    tracker: ProgressTracker,
    /// The computation whose result is awaited.
    run: Option<RunId>,
    /// Whether the log says that devices run newer students.
    told_of_ahead: bool,
}

impl Core {
    /// A core that is out of service until [`Self::restore`].
    pub fn new(about: About) -> Self {
        Self {
            about,
            epoch: 0,
            registry: Registry::default(),
            tasks: Vec::new(),
            released: BTreeMap::new(),
            sessions: Sessions::default(),
            answers: Answers::default(),
            entries: Vec::new(),
            pending: Vec::new(),
            ready: VecDeque::new(),
            runs: 0,
            arriving_bytes: 0,
            in_service: false,
            storage_failures: 0,
            planted: None,
        }
    }

    #[doc(hidden)]
    pub fn plant(&mut self, fault: PlantedFault) {
        self.planted = Some(fault);
    }

    /// The engine of a task, if it is in service.
    pub fn engine(&self, task: TaskHash) -> Option<&Engine> {
        self.position(task).map(|at| &self.tasks[at].engine)
    }

    /// Who belongs to the fleet.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes the state that the log folds to, and goes on from there with
    /// the sessions that are open.
    pub fn restore(
        &mut self,
        now: Time,
        epoch: u32,
        registry: Registry,
        tasks: Vec<(Arc<Task>, State)>,
    ) {
        self.epoch = epoch;
        self.registry = registry;
        let revoked = self.revoked();
        self.ready.push_back(revoked);
        self.close_revoked();
        self.in_service = true;
        self.tasks.clear();
        for (task, state) in tasks {
            self.add_runner(now, task, state);
        }
    }

    /// Takes one command.
    pub fn handle(&mut self, now: Time, command: Command) {
        match command {
            Command::Connect {
                device,
                session,
                installed,
                speaker,
                meter,
            } => {
                let arrival = Arrival {
                    device,
                    session,
                    installed,
                    speaker,
                    meter,
                };
                self.connect(now, arrival);
            }
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
                let answer = self.in_service.then(|| self.is_public(blob));
                self.answer_or_not(reply, answer);
            }
            Command::IsGateway { member, reply } => {
                let answer = self.in_service.then(|| self.registry.is_gateway(member));
                self.answer_or_not(reply, answer);
            }
            Command::Newest {
                device,
                task,
                reply,
            } => {
                let answer = self.in_service.then(|| self.newest(device, task));
                self.answer_or_not(reply, answer);
            }
            Command::TaskOf { task, reply } => {
                let found = self.position(task).map(|at| self.tasks[at].task.clone());
                self.answer(reply, found);
            }
            Command::EvidenceOf { task, reply } => {
                let evidence = self.evidence(task);
                self.answer(reply, evidence);
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
            Command::Computed { task, run, result } => self.computed(now, task, run, result),
            Command::Admin(command) => self.admin(now, command),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
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
    pub fn timeout(&self) -> Option<Time> {
        let timeouts = self.tasks.iter().map(|runner| runner.engine.poll_timeout());
        timeouts.flatten().min()
    }

    /// Entries that wait to become durable.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Takes those entries, for the log.
    pub fn take_entries(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.entries)
    }

    /// All entries so far are durable: what follows from them may happen.
    pub fn committed(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Answer { to, stored, .. } => {
                    self.ready.push_back(Effect::Answer { to, answer: stored });
                }
                Pending::Send { device, message } => self.send(device, message),
                Pending::Effect(effect @ Effect::Revoked(_)) => {
                    self.ready.push_back(effect);
                    self.close_revoked();
                }
                Pending::Effect(effect) => self.ready.push_back(effect),
            }
        }
    }

    /// Nothing since the last commit was stored: all who wait for it are
    /// told, and the state, which is ahead of the log, is thrown away.
    pub fn failed(&mut self) {
        self.storage_failures += 1;
        self.in_service = false;
        self.entries.clear();
        for pending in std::mem::take(&mut self.pending) {
            if let Pending::Answer { to, lost, .. } = pending {
                self.ready.push_back(Effect::Answer { to, answer: lost });
            }
        }
        self.ready.extend(self.answers.refuse_all());
        if self.planted == Some(PlantedFault::KeepStateAhead) {
            self.in_service = true;
            return;
        }
        self.tasks.clear();
        self.registry = Registry::default();
    }

    /// What to do next. Commands are answered here at once or after
    /// [`Self::committed`] or [`Self::failed`].
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.ready.pop_front()
    }

    /// Answers at once: nothing waits for the log.
    fn answer<T: Into<Answer>>(&mut self, reply: Reply<T>, answer: T) {
        let effect = Effect::Answer {
            to: reply.id(),
            answer: answer.into(),
        };
        self.ready.push_back(effect);
    }

    /// The same, where it may be that nothing can be said.
    fn answer_or_not<T: Into<Answer>>(&mut self, reply: Reply<T>, answer: Option<T>) {
        match answer {
            Some(answer) => self.answer(reply, answer),
            None => self.ready.push_back(Effect::NoAnswer { to: reply.id() }),
        }
    }

    /// Whether there is a state to work on.
    pub fn in_service(&self) -> bool {
        self.in_service
    }

    /// Rounds of all tasks so far.
    pub fn rounds(&self) -> u64 {
        let states = self.tasks.iter().map(|runner| runner.engine.state());
        states.map(|state| state.last_round.0).sum()
    }

    /// Rounds of all tasks that have ended.
    pub fn ended(&self) -> u64 {
        let states = self.tasks.iter().map(|runner| runner.engine.state());
        let open = states.filter(|state| state.round.is_some()).count();
        self.rounds().saturating_sub(open as u64)
    }

    /// Whether no round is open, so that no deadline is counted. A standing
    /// task's has none.
    pub fn is_idle(&self) -> bool {
        let open = |runner: &Runner| {
            let engine = &runner.engine;
            engine.state().round.is_some() && !engine.is_standing()
        };
        !self.tasks.iter().any(open)
    }

    fn position(&self, task: TaskHash) -> Option<usize> {
        self.tasks
            .iter()
            .position(|runner| runner.task.hash() == task)
    }

    fn add_runner(&mut self, now: Time, task: Arc<Task>, state: State) {
        let hash = task.hash();
        let task = match &state.planned {
            Some(budget) => planned(&task, &budget.plan),
            None => task,
        };
        let policy = (self.about.policies)(&task);
        let tracker = ProgressTracker::new(hash, policy.clone(), &state);
        let mut engine = Engine::new(hash, policy, self.epoch, state);
        engine.go_above(self.released.get(&hash).copied());
        self.tasks.push(Runner {
            task,
            engine,
            tracker,
            run: None,
            told_of_ahead: false,
        });
        let at = self.tasks.len() - 1;
        let members = self.registry.members().iter();
        let members = members.filter(|(device, member)| {
            let is_in = !member.is_gateway() && !self.registry.revoked().contains_key(device);
            is_in && self.is_for(&self.tasks[at].task, **device)
        });
        let members = members.map(|(device, _)| *device).collect();
        self.feed(now, at, Input::Members(members));
        self.feed(now, at, Input::Started);
        let is_its = |core: &Self, device| core.position_for(hash, device) == Some(at);
        for (device, installed) in self.sessions.connected(hash) {
            if is_its(self, device) {
                self.feed(now, at, Input::Connected { device, installed });
            }
        }
        for (device, version, evaluation) in self.sessions.tried(hash) {
            if !is_its(self, device) {
                continue;
            }
            let tried = Input::Tried {
                device,
                version,
                evaluation,
            };
            self.feed(now, at, tried);
        }
        for device in self.sessions.changed(hash) {
            if is_its(self, device) {
                self.feed(now, at, Input::DataChanged { device });
            }
        }
        for (device, round, phase) in self.sessions.abstained(hash) {
            if is_its(self, device) {
                let abstained = Input::Abstained {
                    device,
                    round,
                    phase,
                };
                self.feed(now, at, abstained);
            }
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
                    self.pending.push(Pending::Effect(Effect::Progress(step)));
                }
                if let Event::Planned { budget, .. } = &event {
                    runner.task = planned(&runner.task, &budget.plan);
                }
                let task = runner.task.hash();
                let entry = LogEntry::Task(TaskEvent { task, event });
                self.entries.push(entry.to_bytes());
            }
            Action::Answer { ticket, answer } => {
                if self.planted == Some(PlantedFault::AnswerAtOnce)
                    && let Some(Pending::Answer { to, stored, .. }) =
                        self.answers.transfer(ticket, answer)
                {
                    self.ready.push_back(Effect::Answer { to, answer: stored });
                    return;
                }
                self.pending.extend(self.answers.transfer(ticket, answer));
            }
            Action::RoundStarted { ticket, result } => {
                let task = runner.task.hash();
                self.pending
                    .extend(self.answers.round(ticket, task, result));
            }
            Action::Send { device, message } => {
                self.pending.push(Pending::Send { device, message });
            }
            Action::Compute(job) => {
                self.runs += 1;
                let run = RunId(self.runs);
                runner.run = Some(run);
                let task = runner.task.clone();
                let work = Effect::Compute(Work { run, task, job });
                self.pending.push(Pending::Effect(work));
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

    /// The devices whose connections are to be refused.
    fn revoked(&self) -> Effect {
        Effect::Revoked(self.registry.revoked().keys().copied().collect())
    }

    /// A device may have come in between its revocation and that.
    fn close_revoked(&mut self) {
        let revoked: Vec<_> = self.registry.revoked().keys().copied().collect();
        for device in revoked {
            self.close(device, CloseCode::Revoked, "revoked by an operator");
        }
    }
}

/// The task as its budget was planned.
fn planned(task: &Arc<Task>, plan: &BudgetPlan) -> Arc<Task> {
    task.planned(plan)
        .map_or_else(|_| Arc::clone(task), Arc::new)
}

#[cfg(test)]
mod tests;
