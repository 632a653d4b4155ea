//! The engine's surface: inputs, actions, timeouts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::wire::messages::{Call, Context, ToDevice, TransferAnswer};

use super::budget::PlannedBudget;
use super::comparison::Comparison;
use super::event::{Event, Product};
use super::exclusion::Exclusion;
use super::policy::RoundPolicy;
use super::rollouts::ReRelease;
use super::standing::Memory;
use super::state::State;
use super::tally::{Standing, Tally};
use crate::rollout::Order;

/// Names a question the driver wants answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happens to the engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// These devices belong to the fleet, with or without a session. Said
    /// before [`Self::Started`], and whenever one is let in.
    Members(Vec<DeviceId>),
    /// The log has been replayed and the driver is ready.
    Started,
    /// A device said hello.
    Connected {
        /// Who.
        device: DeviceId,
        /// The student it runs, if any.
        installed: Option<Version>,
    },
    /// A device's newest session ended.
    Disconnected {
        /// Who.
        device: DeviceId,
    },
    /// A device has new rows. A standing task asks for them at once.
    DataChanged {
        /// Who.
        device: DeviceId,
    },
    /// A device will not contribute (further) to a phase.
    Abstained {
        /// Who.
        device: DeviceId,
        /// The round it was called for.
        round: RoundId,
        /// The phase it was called for.
        phase: Phase,
    },
    /// A device offers a contribution; nothing has been sent yet.
    Offered {
        /// Who.
        device: DeviceId,
        /// What.
        key: ContributionKey,
        /// Name of its bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
        /// Answered by [`Action::Answer`].
        ticket: Ticket,
    },
    /// A contribution's bytes arrived and were checked; the blob is durable.
    Arrived {
        /// Who.
        device: DeviceId,
        /// What.
        key: ContributionKey,
        /// Name of its bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
        /// Rows it describes, or what is wrong with it.
        checked: Result<u64, Reason>,
        /// Answered by [`Action::Answer`].
        ticket: Ticket,
    },
    /// A job finished.
    Computed {
        /// What it made, or why it could not.
        result: Result<JobOutput, String>,
    },
    /// An operator wants a round; of a standing task, a student of what is
    /// there.
    StartRound {
        /// Answered by [`Action::RoundStarted`].
        ticket: Ticket,
    },
    /// An operator ends the round.
    CancelRound,
    /// A device said how a release fares.
    Tried {
        /// Who.
        device: DeviceId,
        /// The release.
        version: Version,
        /// What it found.
        evaluation: Evaluation,
    },
    /// An operator orders something of rollouts; [`Engine::check_order`] found
    /// nothing against it.
    Ordered(Order),
    /// An earlier release was signed again; its blob is durable.
    ReReleased(ReRelease),
    /// A device is believed no more: nothing comes from it.
    Dismissed {
        /// Who.
        device: DeviceId,
    },
    /// A device's contributions are to be taken out of everything. Not while
    /// a round is open, but for a standing task's, which it ends.
    Forgotten {
        /// Whose.
        device: DeviceId,
    },
    /// Normaliser and transfer set are to be learnt anew. Not while a round is
    /// open, but for a standing task's, which it ends.
    Relearn,
    /// The task is to be put away.
    Archive,
    /// It is to be taken out again.
    Unarchive,
    /// A device's strikes are to be taken back.
    Pardoned {
        /// Whose.
        device: DeviceId,
    },
    /// Time has passed.
    Tick,
}

/// What the driver must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make this event durable before anything behind it happens.
    Append(Event),
    /// Answer an offer or an arrival.
    Answer {
        /// The question.
        ticket: Ticket,
        /// The answer.
        answer: TransferAnswer,
    },
    /// Answer a request for a round.
    RoundStarted {
        /// The question.
        ticket: Ticket,
        /// The round, or why there is none.
        result: Result<RoundId, StartRefused>,
    },
    /// Push a message to a device, if it is connected.
    Send {
        /// To whom.
        device: DeviceId,
        /// What.
        message: ToDevice,
    },
    /// Run a computation and hand its result back. Replaces any that runs.
    Compute(Job),
}

/// Why no round was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused {
    /// One is running.
    #[error("round {0} is still running")]
    Running(RoundId),
    /// The task is put away.
    #[error("the task is archived; take it out with `alambic-coordinator task unarchive`")]
    Archived,
}

/// A computation, fully named by its inputs: the same job gives the same
/// bytes, so it can be run again after a crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The round it belongs to.
    pub round: RoundId,
    /// What to compute.
    pub kind: JobKind,
}

/// The coordinator's computations.
#[derive(Clone, Debug, PartialEq)]
pub enum JobKind {
    /// Sum the profiles into one normaliser.
    Normalise {
        /// Profiles in device order.
        profiles: Vec<(DeviceId, BlobHash)>,
    },
    /// Join summaries into a transfer set.
    Gather {
        /// The shared normaliser.
        normaliser: BlobHash,
        /// The transfer set so far.
        previous: Option<BlobHash>,
        /// Summaries in device order.
        summaries: Vec<(DeviceId, BlobHash)>,
    },
    /// Solve the global teacher.
    Solve {
        /// The transfer set.
        transfer: BlobHash,
        /// Labels and moments in device order.
        inputs: Vec<(DeviceId, Kind, BlobHash)>,
    },
    /// Train the student.
    Distil {
        /// The transfer set.
        transfer: BlobHash,
        /// The global teacher.
        teacher: BlobHash,
    },
    /// Move the last layer of a released student towards the devices' own rows.
    Refine {
        /// The signed release.
        release: BlobHash,
        /// The transfer set that it was trained on.
        transfer: BlobHash,
        /// Its teacher.
        teacher: BlobHash,
        /// Gradients of it in device order.
        gradients: Vec<(DeviceId, BlobHash)>,
    },
    /// Sign the release.
    Sign {
        /// The student's weights.
        student: BlobHash,
        /// The shared normaliser.
        normaliser: BlobHash,
        /// The version to release.
        version: Version,
        /// Devices whose contributions are in it.
        lineage: Vec<DeviceId>,
        /// By how many steps it was refined.
        refined: u32,
    },
    /// Compare the newest release with what devices had before it.
    Compare {
        /// Its version.
        version: Version,
        /// Reports in device order.
        reports: Vec<(DeviceId, BlobHash)>,
    },
    /// Sign an earlier release again.
    SignAgain {
        /// Its signed bytes.
        release: BlobHash,
        /// Its version.
        from: Version,
        /// The version it gets.
        version: Version,
    },
}

/// What a job made; its blob is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum JobOutput {
    /// A normaliser, a transfer set, a teacher or a student, of everything
    /// that the job names.
    Product(Product),
    /// The same without some of the contributions, or of a normaliser whose task
    /// leaves its budget to the coordinator.
    Judged {
        /// What was made.
        product: Product,
        /// What was left out, in device order.
        excluded: Vec<Exclusion>,
        /// What bytes are spent on.
        planned: Option<PlannedBudget>,
    },
    /// How a release does; no blob goes with it.
    Compared(Comparison),
    /// A signed release.
    Release {
        /// The signed bytes.
        blob: BlobHash,
        /// Their length.
        bytes: u64,
    },
}

/// How many starts a lost state may have been ahead of its copy.
const EPOCHS_AHEAD_MAX: u32 = 1_000;

/// Bytes of contributions by device, within one round.
#[derive(Debug, Default)]
pub(super) struct Received {
    round: RoundId,
    bytes: BTreeMap<DeviceId, u64>,
}

impl Received {
    fn count(&mut self, round: RoundId, device: DeviceId, bytes: u64) {
        if self.round != round {
            self.round = round;
            self.bytes.clear();
        }
        let sum = self.bytes.entry(device).or_default();
        *sum = sum.saturating_add(bytes);
    }

    pub(super) fn from(&self, round: RoundId, device: DeviceId) -> u64 {
        let bytes = self.bytes.get(&device).filter(|_| self.round == round);
        bytes.copied().unwrap_or(0)
    }
}

/// The round engine of one task.
#[derive(Debug)]
pub struct Engine {
    pub(super) task: TaskHash,
    pub(super) policy: RoundPolicy,
    pub(super) epoch: u32,
    /// An epoch above that of students which this log has never released.
    pub(super) epoch_unknown: u32,
    /// The highest version that a deleted task of the same content released.
    pub(super) released_before: Option<Version>,
    pub(super) state: State,
    /// How far the open phase has come; always that of `state`.
    pub(super) tally: Tally,
    pub(super) connected: BTreeSet<DeviceId>,
    /// Devices that belong to the fleet, as far as the driver said.
    pub(super) members: BTreeSet<DeviceId>,
    /// Devices that contributed to the round before the restart, and are
    /// waited for in its next phase though they may not be back yet.
    pub(super) returning: BTreeSet<DeviceId>,
    /// Devices that were called since the phase opened, or since the restart
    /// if that came later. The others could not be.
    pub(super) called: BTreeSet<DeviceId>,
    pub(super) computing: bool,
    /// When the rollout wants to be looked at.
    pub(super) rollout_due: Option<Time>,
    /// What each device's newest strike was for, since the last restart.
    pub(super) struck_for: BTreeMap<DeviceId, Reason>,
    /// How often each device changed its word on the newest release it spoke
    /// of, since the last restart.
    pub(super) words: BTreeMap<DeviceId, (Version, u32)>,
    /// What devices have sent in the newest round, since the last restart.
    pub(super) received: Received,
    /// The last round, if it ended in what is now the future: the clock was
    /// set back while the coordinator was away. Waits count from here.
    pub(super) ended_ahead: Option<(RoundId, Time)>,
    /// The same for a rollout's stage that began in what is now the future:
    /// its time counts from the second of these.
    pub(super) stage_ahead: Option<(Time, Time)>,
    /// What a standing task's engine remembers.
    pub(super) memory: Memory,
    actions: VecDeque<Action>,
}

impl Engine {
    /// An engine for a task whose log so far folds to `state`. `epoch` is the
    /// store's fencing epoch, the first part of released versions.
    pub fn new(task: TaskHash, policy: RoundPolicy, epoch: u32, state: State) -> Self {
        let tally = tally(&state, &policy);
        let mut engine = Self {
            task,
            policy,
            epoch,
            epoch_unknown: 0,
            released_before: None,
            state,
            tally,
            connected: BTreeSet::new(),
            members: BTreeSet::new(),
            returning: BTreeSet::new(),
            called: BTreeSet::new(),
            computing: false,
            rollout_due: None,
            struck_for: BTreeMap::new(),
            words: BTreeMap::new(),
            received: Received::default(),
            ended_ahead: None,
            stage_ahead: None,
            memory: Memory::default(),
            actions: VecDeque::new(),
        };
        engine.recount();
        engine
    }

    /// What is released from now on lies above this version, which devices
    /// may have of a deleted task of the same content.
    pub fn go_above(&mut self, version: Option<Version>) {
        self.released_before = self.released_before.max(version);
    }

    /// The highest version that was released, of a deleted task of the same
    /// content too.
    pub fn highest_version(&self) -> Option<Version> {
        let newest = self.state.release.as_ref().map(|release| release.version);
        newest.max(self.released_before)
    }

    /// The task.
    pub fn task(&self) -> TaskHash {
        self.task
    }

    /// The rules.
    pub fn policy(&self) -> &RoundPolicy {
        &self.policy
    }

    /// What survives a restart.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What a device's newest strike was for, if there was one since the
    /// last restart.
    pub fn struck_for(&self, device: DeviceId) -> Option<Reason> {
        self.struck_for.get(&device).copied()
    }

    /// Devices with a session.
    pub fn connected(&self) -> &BTreeSet<DeviceId> {
        &self.connected
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes one input. Afterwards the driver drains [`Self::poll_action`].
    pub fn handle(&mut self, now: Time, input: Input) {
        // Contributions are many, and say nothing of releases.
        let is_contribution = matches!(input, Input::Offered { .. } | Input::Arrived { .. });
        match input {
            // It tells who is missing, and moves nothing.
            Input::Members(devices) => return self.members.extend(devices),
            Input::Started => {
                let ahead = self.state.history.last().filter(|last| last.ended > now);
                self.ended_ahead = ahead.map(|last| (last.id, now));
                let stage = self.state.rollout.as_ref().map(|rollout| rollout.since);
                let ahead = stage.filter(|since| *since > now);
                self.stage_ahead = ahead.map(|since| (since, now));
                if self.state.round.is_some() {
                    // Those that were revoked meanwhile do not return.
                    self.returning = self.state.contributors();
                    self.returning.retain(|one| self.members.contains(one));
                    self.record(Event::Resumed { at: now });
                }
            }
            Input::Connected { device, installed } => self.welcome(now, device, installed),
            Input::Disconnected { device } => {
                self.connected.remove(&device);
                self.unask(device);
            }
            Input::DataChanged { device } => {
                if self.asks_for_rows() && !self.state.changed.contains(&device) {
                    self.record(Event::DataChanged { device });
                }
                if self.is_standing() && self.connected.contains(&device) {
                    self.ask(device);
                }
            }
            Input::Abstained {
                device,
                round,
                phase,
            } => {
                self.unask(device);
                self.abstain(now, device, round, phase);
            }
            Input::Offered {
                device,
                key,
                blob,
                bytes,
                ticket,
            } => {
                let answer = self.offered(now, device, &key, blob, bytes);
                self.act(Action::Answer { ticket, answer });
            }
            Input::Arrived {
                device,
                key,
                blob,
                bytes,
                checked,
                ticket,
            } => {
                self.received.count(self.state.last_round, device, bytes);
                let answer = self.take(now, device, &key, blob, checked);
                self.act(Action::Answer { ticket, answer });
            }
            Input::Computed { result } => self.computed(now, result),
            Input::StartRound { ticket } => {
                let result = match &self.state.round {
                    _ if self.is_archived() => Err(StartRefused::Archived),
                    Some(_) if self.is_standing() => self.solve_now(now),
                    Some(round) => Err(StartRefused::Running(round.id)),
                    None => Ok(self.open_round(now)),
                };
                self.act(Action::RoundStarted { ticket, result });
            }
            Input::CancelRound => self.cancel(now),
            Input::Tried {
                device,
                version,
                evaluation,
            } => self.tried(now, device, version, evaluation),
            Input::Dismissed { device } => self.dismiss(now, device),
            Input::Forgotten { device } => {
                self.begin_standing_anew(now, self.state.has_of(device));
                if self.state.round.is_none() && self.state.has_of(device) {
                    self.record(Event::Forgotten { device, at: now });
                }
            }
            Input::Relearn => {
                self.begin_standing_anew(now, true);
                if self.state.round.is_none() && self.state.normaliser.is_some() {
                    self.record(Event::Relearnt { at: now });
                }
            }
            Input::Archive => self.archive(now),
            Input::Unarchive => self.unarchive(now),
            Input::Pardoned { device } => {
                if self.state.strikes.contains_key(&device) {
                    self.record(Event::Pardoned { device, at: now });
                    self.struck_for.remove(&device);
                }
            }
            Input::Ordered(order) => self.ordered(now, order),
            Input::ReReleased(again) => self.rereleased(now, again),
            Input::Tick => {}
        }
        self.advance(now);
        if !is_contribution {
            self.advance_rollout(now);
        }
    }

    /// Appends an event and applies it. What follows in the action queue is
    /// only run once the event is durable.
    pub(super) fn record(&mut self, event: Event) {
        match event {
            Event::Joined { device }
            | Event::Abstained { device, .. }
            | Event::Refused { device, .. } => self.apply_of(device, &event),
            Event::Accepted { device, .. } => {
                self.follow_share(device, |engine| engine.apply_of(device, &event));
            }
            Event::PhaseOpened { .. } | Event::RoundEnded { .. } => {
                self.called.clear();
                self.state.apply(&event);
                self.tally = tally(&self.state, &self.policy);
                self.recount();
            }
            Event::PhaseClosed { .. } | Event::Forgotten { .. } | Event::Relearnt { .. } => {
                self.state.apply(&event);
                self.recount();
            }
            _ => self.state.apply(&event),
        }
        self.actions.push_back(Action::Append(event));
    }

    /// Applies an event that changes where one device stands.
    fn apply_of(&mut self, device: DeviceId, event: &Event) {
        let (state, policy) = (&mut self.state, &self.policy);
        let stands = |state: &State| {
            let open = state.open()?;
            Some(Standing::of(open, device, policy.kinds(open.phase)))
        };
        let before = stands(state);
        state.apply(event);
        if let Some((before, after)) = before.zip(stands(state))
            && let Some(open) = state.open()
        {
            self.tally.follow(before, after, open);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn welcome(&mut self, now: Time, device: DeviceId, installed: Option<Version>) {
        self.connected.insert(device);
        self.pass_unknown_release(installed);
        self.pilot(device);
        self.offer(device, installed);
        if self.is_standing() {
            self.unask(device);
            return self.ask(device);
        }
        let Some(open) = self.state.open() else {
            return;
        };
        let wanted = self.policy.kinds(open.phase);
        if !open.phase.gathers() || open.closed || open.is_done(device, wanted) {
            return;
        }
        if self.is_struck_out(device) {
            return;
        }
        if !open.participants.contains(&device) {
            self.record(Event::Joined { device });
        }
        self.call(now, device);
    }

    /// A device that runs a student which this log has never released: the
    /// state was restored from an older copy. What is released from now on
    /// must lie above it, or devices would hold two students to be the same.
    /// Anyone who lies moves versions up by so much at most, however often: what
    /// was raised so is no reason to raise it again.
    fn pass_unknown_release(&mut self, installed: Option<Version>) {
        let newest = self.state.release.as_ref().map(|release| release.version);
        let Some(unknown) = installed.filter(|&version| Some(version) > newest) else {
            return;
        };
        let current = self.epoch.max(newest.map_or(0, |version| version.epoch));
        if unknown.epoch >= current && unknown.epoch - current <= EPOCHS_AHEAD_MAX {
            let above = unknown.epoch.saturating_add(1);
            self.epoch_unknown = self.epoch_unknown.max(above);
        }
    }

    /// Asks a device for its contributions to the open phase.
    pub(super) fn call(&mut self, now: Time, device: DeviceId) {
        let (Some(round), Some(open)) = (&self.state.round, self.state.open()) else {
            return;
        };
        let deadline = open
            .counts_from
            .after_ms(self.policy.deadline_of(open.phase));
        let message = ToDevice::Call(Call {
            task: self.task,
            round: round.id,
            phase: open.phase,
            context: self.context(open.phase),
            remaining_ms: deadline.since_ms(now),
        });
        self.called.insert(device);
        self.act(Action::Send { device, message });
    }

    pub(super) fn context(&self, phase: Phase) -> Context {
        let state = &self.state;
        // The points of a standing task stand beside those of earlier rounds,
        // so they are made alike.
        let learns = phase == Phase::Summarise && !self.is_standing();
        let teacher = state.teacher.filter(|_| learns);
        // The transfer set is large: it only travels where an answer stands
        // on it, or on the teacher that does.
        let stood_on = phase == Phase::Contribute || teacher.is_some();
        Context {
            task: state.spec.unwrap_or(BlobHash([0; 32])),
            normaliser: state.normaliser,
            transfer: state
                .transfer
                .map(|transfer| transfer.blob)
                .filter(|_| stood_on),
            teacher,
            release: (phase == Phase::Report)
                .then(|| state.release.as_ref().map(|release| release.blob))
                .flatten(),
        }
    }
}

/// How far the open phase has come; nothing if none is.
fn tally(state: &State, policy: &RoundPolicy) -> Tally {
    state.open().map_or_else(Tally::default, |open| {
        Tally::count(open, policy.kinds(open.phase))
    })
}
