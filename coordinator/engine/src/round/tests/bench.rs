//! An engine with its log and its fleet on a table: every action is checked
//! against what is durable at that moment.

use std::collections::BTreeMap;

use protocol::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::wire::messages::{Call, ToDevice, TransferAnswer};

use crate::round::*;

pub(super) const TASK: TaskHash = TaskHash([1; 32]);

pub(super) fn device(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

pub(super) fn blob(text: &str) -> BlobHash {
    BlobHash::of(text.as_bytes())
}

/// Two devices at least, half of them, ten seconds, one of grace.
/// Most rows a contribution may claim.
pub(super) const ROWS_MAX: u64 = 1_000_000;

pub(super) fn policy() -> RoundPolicy {
    RoundPolicy {
        standing: None,
        devices_min: 2,
        quorum: 0.5,
        deadline_ms: [10_000; 7],
        grace_ms: 1_000,
        interval_ms: None,
        new_data_devices_min: 2,
        contribute: vec![Kind::Labels, Kind::Moments],
        contribution_bytes_max: 1_000,
        round_bytes_max: 100_000,
        points_max: 50,
        refinement_steps: 0,
        rows_max: ROWS_MAX,
        releases: crate::rollout::Releases::default(),
    }
}

pub(super) fn fold(events: &[Event]) -> State {
    let mut state = State::default();
    for event in events {
        state.apply(event);
    }
    state
}

/// Points of every transfer set here.
const POINTS: u32 = 50;

/// The length of every contribution here.
pub(super) const BYTES: u64 = 100;

pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) now: Time,
    pub(super) log: Vec<Event>,
    pub(super) calls: Vec<(DeviceId, Call)>,
    pub(super) sent: Vec<(DeviceId, ToDevice)>,
    pub(super) job: Option<Job>,
    /// What every comparison of reports finds.
    pub(super) comparison: Comparison,
    pub(super) started: Option<Result<RoundId, StartRefused>>,
    durable: State,
    asked: BTreeMap<Ticket, (DeviceId, ContributionKey, BlobHash)>,
    answered: Option<TransferAnswer>,
    tickets: u64,
}

impl Bench {
    pub(super) fn new(policy: RoundPolicy) -> Self {
        let created = Event::TaskCreated {
            spec: blob("task"),
            at: Time(0),
        };
        Self::restarted(policy, vec![created], Time(1_000))
    }

    /// A new engine over what an earlier one left in its log.
    pub(super) fn restarted(policy: RoundPolicy, log: Vec<Event>, now: Time) -> Self {
        let state = fold(&log);
        let mut bench = Self {
            engine: Engine::new(TASK, policy, 1, state.clone()),
            now,
            log,
            calls: Vec::new(),
            sent: Vec::new(),
            job: None,
            comparison: Comparison::Better,
            started: None,
            durable: state,
            asked: BTreeMap::new(),
            answered: None,
            tickets: 0,
        };
        let known = bench.log.iter().flat_map(|event| match event {
            Event::PhaseOpened { participants, .. } => participants.clone(),
            Event::Joined { device } => vec![*device],
            _ => Vec::new(),
        });
        let known = known.collect();
        bench.input(Input::Members(known));
        bench.input(Input::Started);
        bench
    }

    /// With these devices connected and round 1 in its profile phase.
    pub(super) fn in_round(policy: RoundPolicy, devices: &[u8]) -> Self {
        let mut bench = Self::new(policy);
        bench.connect(devices);
        assert_eq!(bench.start(), Ok(RoundId(1)));
        bench
    }

    /// The same, moved on until this phase is open.
    pub(super) fn in_phase(policy: RoundPolicy, devices: &[u8], phase: Phase) -> Self {
        let mut bench = Self::in_round(policy, devices);
        bench.run_to(phase);
        bench
    }

    pub(super) fn state(&self) -> &State {
        self.engine.state()
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.state().open().map(|open| open.phase)
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.state().history.last().map(|ended| &ended.outcome)
    }

    pub(super) fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(action) = self.engine.poll_action() {
            self.run_action(action);
        }
        assert_eq!(*self.engine.state(), self.durable, "state is the fold");
    }

    fn run_action(&mut self, action: Action) {
        let open = self.durable.open().map(|open| (open.phase, open.closed));
        let running = self.durable.round.as_ref().map(|round| round.id);
        match action {
            Action::Append(event) => {
                self.durable.apply(&event);
                self.log.push(event);
            }
            Action::Answer { ticket, answer } => {
                let (device, key, blob) = self.asked.remove(&ticket).unwrap();
                if answer == TransferAnswer::Accepted {
                    let held = self.durable.newest[&(device, key.kind)];
                    assert_eq!(held.blob, blob, "durable first");
                    let stands = self.engine.is_standing();
                    assert!(stands || held.round == key.round, "durable first");
                }
                self.answered = Some(answer);
            }
            Action::RoundStarted { ticket: _, result } => {
                assert!(result.is_err() || running == result.ok(), "durable first");
                self.started = Some(result);
            }
            Action::Send { device, message } => {
                match &message {
                    ToDevice::Call(call) => {
                        let gathers = open == Some((call.phase, false));
                        assert!(self.engine.is_standing() || gathers, "durable first");
                        assert_eq!(running, Some(call.round));
                        self.calls.push((device, call.clone()));
                    }
                    ToDevice::PhaseClosed { round, phase, .. } => {
                        let gathers = running == Some(*round) && open == Some((*phase, false));
                        assert!(!gathers, "durable first");
                    }
                    ToDevice::Released(announced) => {
                        let offered = self.durable.offered(device).unwrap();
                        assert_eq!(offered.version, announced.version, "durable first");
                    }
                    ToDevice::Welcome(_) | ToDevice::Renew => {
                        panic!("sessions say welcome, engines do not")
                    }
                }
                self.sent.push((device, message));
            }
            Action::Compute(job) => {
                assert_eq!(running, Some(job.round), "durable first");
                self.job = Some(job);
            }
        }
    }

    pub(super) fn connect(&mut self, devices: &[u8]) {
        for &number in devices {
            self.input(Input::Connected {
                device: device(number),
                installed: None,
            });
        }
    }

    pub(super) fn disconnect(&mut self, number: u8) {
        let device = device(number);
        self.calls.retain(|(called, _)| *called != device);
        self.input(Input::Disconnected { device });
    }

    pub(super) fn start(&mut self) -> Result<RoundId, StartRefused> {
        let ticket = self.ticket();
        self.input(Input::StartRound { ticket });
        self.started.take().unwrap()
    }

    pub(super) fn tick(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        self.input(Input::Tick);
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// The key of a contribution to the newest round on the newest set.
    pub(super) fn key(&self, kind: Kind) -> ContributionKey {
        let phase = Phase::ALL
            .into_iter()
            .find(|phase| phase.kinds().contains(&kind))
            .unwrap();
        let transfer = self.state().transfer.map(|transfer| transfer.blob);
        ContributionKey {
            task: TASK,
            transfer: transfer.filter(|_| phase == Phase::Contribute),
            round: self.state().last_round,
            phase,
            kind,
        }
    }

    pub(super) fn offer(&mut self, number: u8, key: ContributionKey, text: &str) -> TransferAnswer {
        let ticket = self.ticket();
        let (device, blob) = (device(number), blob(text));
        self.asked.insert(ticket, (device, key, blob));
        self.input(Input::Offered {
            device,
            key,
            blob,
            bytes: BYTES,
            ticket,
        });
        self.answered.take().unwrap()
    }

    pub(super) fn arrive(
        &mut self,
        number: u8,
        key: ContributionKey,
        text: &str,
        checked: Result<u64, Reason>,
    ) -> TransferAnswer {
        let ticket = self.ticket();
        let (device, blob) = (device(number), blob(text));
        self.asked.insert(ticket, (device, key, blob));
        self.input(Input::Arrived {
            device,
            key,
            blob,
            bytes: BYTES,
            checked,
            ticket,
        });
        self.answered.take().unwrap()
    }

    /// Offers, and sends the bytes if they are wanted.
    pub(super) fn give(&mut self, number: u8, key: ContributionKey, text: &str) -> TransferAnswer {
        match self.offer(number, key, text) {
            TransferAnswer::Send { offset: 0 } => self.arrive(number, key, text, Ok(40)),
            answer => answer,
        }
    }

    pub(super) fn give_kind(&mut self, number: u8, kind: Kind) -> TransferAnswer {
        let key = self.key(kind);
        self.give(number, key, &content(number, &key))
    }

    pub(super) fn abstain(&mut self, number: u8) {
        let (round, phase) = (self.state().last_round, self.phase().unwrap());
        self.input(Input::Abstained {
            device: device(number),
            round,
            phase,
        });
    }

    /// The open computation comes back with what its inputs determine.
    pub(super) fn compute(&mut self) -> bool {
        let Some(job) = self.job.take() else {
            return false;
        };
        let made = blob(&format!("{job:?}"));
        let output = match job.kind {
            JobKind::Normalise { .. } => JobOutput::Product(Product::Normaliser(made)),
            JobKind::Gather { .. } => JobOutput::Product(Product::TransferSet {
                blob: made,
                points: POINTS,
            }),
            JobKind::Solve { .. } => JobOutput::Product(Product::Teacher(made)),
            JobKind::Distil { .. } | JobKind::Refine { .. } => {
                JobOutput::Product(Product::Student(made))
            }
            JobKind::Compare { .. } => JobOutput::Compared(self.comparison),
            JobKind::Sign { .. } | JobKind::SignAgain { .. } => JobOutput::Release {
                blob: made,
                bytes: 999,
            },
        };
        self.input(Input::Computed { result: Ok(output) });
        true
    }

    /// One call is answered by its device in full.
    pub(super) fn answer_call(&mut self) -> bool {
        if self.calls.is_empty() {
            return false;
        }
        let (called, call) = self.calls.remove(0);
        let wanted = self.engine.policy().kinds(call.phase).to_vec();
        for kind in wanted {
            let transfer = call.context.transfer;
            let key = ContributionKey {
                task: TASK,
                transfer: transfer.filter(|_| call.phase == Phase::Contribute),
                round: call.round,
                phase: call.phase,
                kind,
            };
            self.give(called.0[0], key, &content(called.0[0], &key));
        }
        true
    }

    /// Devices and computations answer until nothing is left to answer.
    pub(super) fn run(&mut self) {
        while self.answer_call() || self.compute() {}
    }

    pub(super) fn run_to(&mut self, phase: Phase) {
        while self.phase() != Some(phase) {
            assert!(self.answer_call() || self.compute(), "stuck before {phase}");
        }
    }

    pub(super) fn accepted(&self) -> Vec<(u8, ContributionKey, BlobHash)> {
        let of_kind = |kind: Kind| {
            let mut phases = Phase::ALL.into_iter();
            phases.find(|phase| phase.kinds().contains(&kind)).unwrap()
        };
        let taken = self.log.iter().filter_map(|event| match event {
            Event::Accepted {
                device,
                kind,
                round,
                blob,
                transfer,
                ..
            } => {
                let key = ContributionKey {
                    task: TASK,
                    transfer: *transfer,
                    round: *round,
                    phase: of_kind(*kind),
                    kind: *kind,
                };
                Some((device.0[0], key, *blob))
            }
            _ => None,
        });
        taken.collect()
    }
}

/// What a device answers to a call: the same for the same round's support.
pub(super) fn content(number: u8, key: &ContributionKey) -> String {
    format!("{number} {} {:?}", key.kind, key.transfer)
}

pub(super) const REFUSED: fn(Reason) -> TransferAnswer = TransferAnswer::Refused;
