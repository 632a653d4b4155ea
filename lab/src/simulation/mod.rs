//! A fleet in one thread: the real engines, codec and computations, with an
//! in-memory transport and a simulated clock.

mod bytes;
mod device;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::ids::{BlobHash, DeviceId, Time};
use common::model::Release;
use common::task::{Rounds, Task};
use common::trust::keys::SigningKey;
use common::wire::messages::{ToDevice, TransferAnswer};
use coordinator::compute::{self, Setting};
use coordinator::round::{Action, Engine, Event, Input, Outcome, RoundPolicy, State, Ticket};
use edge_agent::session;
use edge_agent::work::Privacy;

pub use self::bytes::DeviceBytes;
use self::bytes::framed;
use self::device::{Device, split};
use crate::data::Part;

/// Why a simulation stopped.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A round ended without a student.
    #[error("round {round} ended without a student: {outcome}")]
    NoStudent {
        /// The round.
        round: u64,
        /// How it ended.
        outcome: String,
    },
    /// Keys could not be made.
    #[error(transparent)]
    Key(#[from] common::trust::keys::KeyError),
    /// The student of this very run is refused.
    #[error("the released student is refused: {0}")]
    Release(String),
    /// A device could not do its work.
    #[error("device {device}: {cause}")]
    Work {
        /// Its number.
        device: usize,
        /// Why.
        cause: String,
    },
}
/// What a round left behind.
#[derive(Debug)]
pub struct RoundResult {
    /// Its number.
    pub round: u64,
    /// The released student.
    pub release: Release,
    /// The global teacher's blob, the transfer set's and the normaliser's.
    pub teacher: [BlobHash; 3],
    /// Bytes of each device so far.
    pub bytes: Vec<DeviceBytes>,
}

/// A simulated coordinator and its devices.
pub struct Simulation {
    task: Task,
    engine: Engine,
    devices: Vec<Device>,
    blobs: RefCell<BTreeMap<BlobHash, Vec<u8>>>,
    signer: SigningKey,
    now: Time,
    seed: u64,
    tickets: BTreeMap<Ticket, TransferAnswer>,
    next_ticket: u64,
    inbox: VecDeque<(usize, ToDevice)>,
    log: Vec<Event>,
    privacy: Privacy,
}

impl Simulation {
    /// A fleet whose devices hold these rows.
    ///
    /// # Errors
    /// If no signing key can be made.
    pub fn new(
        task: Task,
        rows: impl IntoIterator<Item = Part>,
        privacy: Privacy,
        seed: u64,
    ) -> Result<Self, SimulationError> {
        let policy = policy(&task.definition().rounds, &task);
        let mut engine = Engine::new(task.hash(), policy, 1, State::default());
        let spec = BlobHash::of(task.bytes());
        let mut log = vec![Event::TaskCreated { spec, at: Time(0) }];
        let mut state = State::default();
        state.apply(&log[0]);
        engine = Engine::new(engine.task(), engine.policy().clone(), 1, state);
        let devices = rows
            .into_iter()
            .enumerate()
            .map(|(index, part)| Device {
                id: DeviceId::of_public_key(format!("{seed}/{index}").as_bytes()),
                engine: session::Engine::new(index as u64),
                rows: split(part),
                installed: None,
                judged: None,
                outbox: BTreeMap::new(),
                bytes: DeviceBytes::default(),
            })
            .collect();
        log.clear();
        Ok(Self {
            blobs: RefCell::new(BTreeMap::from([(spec, task.bytes().to_vec())])),
            task,
            engine,
            devices,
            signer: SigningKey::generate()?,
            now: Time(1_000),
            seed,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            inbox: VecDeque::new(),
            log,
            privacy,
        })
    }

    /// Connects every device.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub fn connect(&mut self) -> Result<(), SimulationError> {
        self.coordinate(Input::Started);
        for index in 0..self.devices.len() {
            let started = session::Input::Started {
                outbox: Vec::new(),
                cached: BTreeSet::new(),
            };
            self.drive(index, started)?;
        }
        Ok(())
    }

    /// Runs one round to its end.
    ///
    /// # Errors
    /// If it ends without a student, or a device's work fails.
    pub fn round(&mut self) -> Result<RoundResult, SimulationError> {
        let ticket = self.ticket();
        self.coordinate(Input::StartRound { ticket });
        while self.engine.state().round.is_some() {
            if let Some((device, message)) = self.inbox.pop_front() {
                self.devices[device].bytes.receives(framed(&message));
                self.drive(device, session::Input::Received(message))?;
            } else if let Some(due) = self.engine.poll_timeout() {
                self.now = self.now.max(due);
                self.coordinate(Input::Tick);
            } else {
                break;
            }
        }
        self.result()
    }

    /// Every event so far.
    pub fn log(&self) -> &[Event] {
        &self.log
    }

    /// The task.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// A stored blob.
    pub fn blob(&self, name: BlobHash) -> Option<Vec<u8>> {
        self.blobs.borrow().get(&name).cloned()
    }

    fn result(&self) -> Result<RoundResult, SimulationError> {
        let state = self.engine.state();
        let round = state.last_round.0;
        let outcome = state.history.last().map(|ended| ended.outcome.clone());
        let (
            Some(Outcome::Completed { .. }),
            Some(release),
            Some(teacher),
            Some(transfer),
            Some(normaliser),
        ) = (
            &outcome,
            &state.release,
            state.teacher,
            state.transfer,
            state.normaliser,
        )
        else {
            return Err(SimulationError::NoStudent {
                round,
                outcome: format!("{outcome:?}"),
            });
        };
        Ok(RoundResult {
            round,
            release: self.open(release.blob)?,
            teacher: [teacher, transfer.blob, normaliser],
            bytes: self.devices.iter().map(|device| device.bytes).collect(),
        })
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Feeds the coordinator's engine and runs its actions, jobs included.
    fn coordinate(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Append(event) => self.log.push(event),
                Action::Answer { ticket, answer } => {
                    self.tickets.insert(ticket, answer);
                }
                Action::RoundStarted { .. } => {}
                Action::Send { device, message } => {
                    if let Some(index) = self.devices.iter().position(|d| d.id == device) {
                        self.inbox.push_back((index, message));
                    }
                }
                Action::Compute(job) => {
                    let read = |name: BlobHash| self.blobs.borrow().get(&name).cloned();
                    let setting = Setting {
                        task: &self.task,
                        read: &read,
                        signer: &self.signer,
                        now: self.now,
                    };
                    let result = compute::run(&job, setting, |_, _| ());
                    let result = result.map_err(|error| error.to_string()).map(|made| {
                        let name = BlobHash::of(&made.bytes);
                        self.blobs.borrow_mut().insert(name, made.bytes);
                        made.output
                    });
                    self.engine.handle(self.now, Input::Computed { result });
                }
            }
        }
    }
}

/// The engine's rules out of a task's.
fn policy(rounds: &Rounds, task: &Task) -> RoundPolicy {
    RoundPolicy::of(
        rounds,
        &task.definition().budget,
        task.definition().contribute,
    )
}
