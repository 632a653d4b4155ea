//! A fleet in one thread: the real engines, codec and computations, with an
//! in-memory transport and a simulated clock.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::ids::{BlobHash, DeviceId, Time};
use common::model::Release;
use common::report::RawReport;
use common::round::{ContributionKey, Kind, Phase};
use common::task::{Rounds, Task};
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::wire::codec::encode;
use common::wire::messages::{
    Announcement, Call, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer,
    TransferRequest, Welcome,
};
use coordinator::compute::{self, Setting};
use coordinator::intake;
use coordinator::round::{Action, Engine, Event, Input, Outcome, RoundPolicy, State, Ticket};
use edge_agent::data::{Dataset, Split, SplitRule};
use edge_agent::driver::local::{Comparison, HeldOut};
use edge_agent::session;
use edge_agent::work::{Built, Entry, Privacy, RawRows, TeacherChoice, Work};

use crate::data::Part;
use crate::overhead::Wire;

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

/// What one device's connection carried, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeviceBytes {
    /// Device to coordinator.
    pub up: Wire,
    /// Coordinator to device.
    pub down: Wire,
}

impl DeviceBytes {
    fn sends(&mut self, bytes: u64) {
        self.up.write(bytes);
        self.down.acknowledge(bytes);
    }

    fn receives(&mut self, bytes: u64) {
        self.down.write(bytes);
        self.up.acknowledge(bytes);
    }

    fn ends_stream(&mut self) {
        self.up.end_stream();
        self.down.end_stream();
    }
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

struct Device {
    id: DeviceId,
    engine: session::Engine,
    rows: Split,
    installed: Option<Release>,
    judged: Option<Comparison>,
    outbox: BTreeMap<ContributionKey, Vec<u8>>,
    bytes: DeviceBytes,
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

    /// Feeds a device's engine and runs its actions.
    fn drive(&mut self, index: usize, input: session::Input) -> Result<(), SimulationError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.devices[index].engine.handle(self.now, input);
            while let Some(action) = self.devices[index].engine.poll_action() {
                if let Some(next) = self.act(index, action)? {
                    inputs.push_back(next);
                }
            }
        }
        Ok(())
    }

    fn act(
        &mut self,
        index: usize,
        action: session::Action,
    ) -> Result<Option<session::Input>, SimulationError> {
        let id = self.devices[index].id;
        Ok(match action {
            session::Action::Connect => {
                let hello = ToCoordinator::Hello(Hello {
                    minor: PROTOCOL_MINOR,
                    agent: env!("CARGO_PKG_VERSION").to_owned(),
                    installed: Vec::new(),
                });
                let welcome = ToDevice::Welcome(Welcome {
                    minor: PROTOCOL_MINOR,
                    time: self.now,
                    tasks: vec![(self.task.hash(), BlobHash::of(self.task.bytes()))],
                });
                self.devices[index].bytes.sends(framed(&hello));
                self.devices[index].bytes.receives(framed(&welcome));
                self.coordinate(Input::Connected {
                    device: id,
                    installed: None,
                });
                Some(session::Input::Connected)
            }
            session::Action::Send(message) => {
                self.devices[index].bytes.sends(framed(&message));
                if let ToCoordinator::Abstain { round, phase, .. } = message {
                    self.coordinate(Input::Abstained {
                        device: id,
                        round,
                        phase,
                    });
                }
                None
            }
            session::Action::Fetch(blob) => {
                let request = TransferRequest::Fetch { blob, offset: 0 };
                let found = self.blob(blob);
                let bytes = found.as_ref().map_or(0, Vec::len) as u64;
                let device = &mut self.devices[index].bytes;
                device.sends(framed(&request));
                device.receives(framed(&TransferAnswer::Blob { bytes }) + bytes);
                device.ends_stream();
                Some(session::Input::Fetched {
                    blob,
                    found: found.is_some(),
                })
            }
            session::Action::Build(call) => Some(self.build(index, call)?),
            session::Action::Upload(pending) => {
                let payload = self.devices[index]
                    .outbox
                    .get(&pending.key)
                    .cloned()
                    .unwrap_or_default();
                let answer = self.upload(index, id, pending, payload);
                Some(session::Input::Answered {
                    key: pending.key,
                    answer: Some(answer),
                })
            }
            session::Action::Settle { pending, .. } => {
                self.devices[index].outbox.remove(&pending.key);
                None
            }
            session::Action::Install(release) => {
                self.install(index, &release)?;
                Some(session::Input::Installed { release })
            }
        })
    }

    fn build(&mut self, index: usize, call: Call) -> Result<session::Input, SimulationError> {
        let built = if call.phase == Phase::Report {
            self.report(index, &call)?
        } else {
            self.compute(index, &call)?
        };
        let mut entries = Vec::new();
        for entry in built.entries {
            let key = ContributionKey {
                task: call.task,
                transfer: call.context.transfer,
                round: call.round,
                phase: call.phase,
                kind: entry.kind,
            };
            entries.push(session::Pending {
                key,
                blob: BlobHash::of(&entry.bytes),
                bytes: entry.bytes.len() as u64,
            });
            self.devices[index].outbox.insert(key, entry.bytes);
        }
        Ok(session::Input::Built {
            call,
            entries,
            partial: built.partial,
        })
    }

    /// What the device computes from the rows it learns from.
    fn compute(&self, index: usize, call: &Call) -> Result<Built, SimulationError> {
        let training = &self.devices[index].rows.training;
        if (training.rows() as u64) < self.privacy.rows_min {
            return Ok(ABSTAIN);
        }
        let blobs: BTreeMap<BlobHash, Vec<u8>> = call
            .context
            .blobs()
            .filter_map(|name| self.blob(name).map(|bytes| (name, bytes)))
            .collect();
        let work = Work {
            task: &self.task,
            blobs: &blobs,
            rows: RawRows {
                inputs: training.inputs(),
                labels: training.labels(),
            },
            privacy: self.privacy,
            teacher: &TeacherChoice::Kernel,
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
        };
        work.answer(call).map_err(|error| failed(index, &error))
    }

    /// How the release did on the rows the device held out.
    fn report(&self, index: usize, call: &Call) -> Result<Built, SimulationError> {
        let device = &self.devices[index];
        let rows = device.rows.held_out.rows() as u64;
        let Some(blob) = call.context.release else {
            return Ok(ABSTAIN);
        };
        if rows < self.privacy.rows_min {
            return Ok(ABSTAIN);
        }
        let release = self.open(blob)?;
        let installed = device.installed.as_ref().map(Release::version);
        let now = compare(index, &release, None, &device.rows.held_out)?;
        let report = RawReport {
            version: release.version(),
            rows,
            correct: now.correct,
            previous_correct: device.judged.and_then(|found| found.previous),
            installed: installed == Some(release.version()),
        };
        Ok(Built {
            entries: vec![Entry {
                kind: Kind::Report,
                bytes: encode(&report),
                rows,
            }],
            partial: false,
        })
    }

    /// Tries a release beside the student at hand, and switches to it unless
    /// it is worse.
    fn install(&mut self, index: usize, announced: &Announcement) -> Result<(), SimulationError> {
        let release = self.open(announced.blob)?;
        let device = &mut self.devices[index];
        if device.rows.held_out.is_empty() {
            device.installed = Some(release);
            return Ok(());
        }
        let previous = device.installed.as_ref();
        let found = compare(index, &release, previous, &device.rows.held_out)?;
        device.judged = Some(found);
        if !found.is_worse() {
            device.installed = Some(release);
        }
        Ok(())
    }

    /// A stored release, verified as a device does.
    fn open(&self, blob: BlobHash) -> Result<Release, SimulationError> {
        let refused = |error: String| SimulationError::Release(error);
        let bytes = self.blob(blob).unwrap_or_default();
        let signed = SignedRelease::from_bytes(&bytes).map_err(|e| refused(e.to_string()))?;
        let trusted = [self.signer.verifying_key()];
        let payload = signed
            .verify(&trusted)
            .map_err(|e| refused(e.to_string()))?;
        Release::from_bytes(payload).map_err(|e| refused(e.to_string()))
    }

    fn upload(
        &mut self,
        index: usize,
        id: DeviceId,
        pending: session::Pending,
        payload: Vec<u8>,
    ) -> TransferAnswer {
        let session::Pending { key, blob, bytes } = pending;
        self.devices[index]
            .bytes
            .sends(framed(&TransferRequest::Offer { key, blob, bytes }));
        let ticket = self.ticket();
        self.coordinate(Input::Offered {
            device: id,
            key,
            blob,
            bytes,
            ticket,
        });
        let mut answer = self
            .tickets
            .remove(&ticket)
            .unwrap_or(TransferAnswer::NotFound);
        self.devices[index].bytes.receives(framed(&answer));
        if let TransferAnswer::Send { .. } = answer {
            self.devices[index].bytes.sends(bytes);
            let checked = {
                let read = |name: BlobHash| self.blobs.borrow().get(&name).cloned();
                intake::check(&self.task, &key, &payload, &read)
            };
            self.blobs.borrow_mut().insert(blob, payload);
            let ticket = self.ticket();
            self.coordinate(Input::Arrived {
                device: id,
                key,
                blob,
                checked,
                ticket,
            });
            answer = self
                .tickets
                .remove(&ticket)
                .unwrap_or(TransferAnswer::NotFound);
            self.devices[index].bytes.receives(framed(&answer));
        }
        self.devices[index].bytes.ends_stream();
        answer
    }
}

const ABSTAIN: Built = Built {
    entries: Vec::new(),
    partial: true,
};

/// Rows as the device's own files would give them: learnt from and held out.
fn split(part: Part) -> Split {
    let labels = part.labels.into_iter().map(Some).collect();
    let values = part.inputs.ncols();
    let rows = Dataset::new(part.inputs, labels).unwrap_or_else(|| Dataset::empty(values));
    rows.split(SplitRule::default())
}

fn compare(
    device: usize,
    release: &Release,
    previous: Option<&Release>,
    held_out: &Dataset,
) -> Result<Comparison, SimulationError> {
    let labels: Vec<u16> = held_out.labels().iter().flatten().copied().collect();
    let rows = HeldOut {
        inputs: held_out.inputs(),
        labels: &labels,
    };
    Comparison::of(release, previous, rows).map_err(|error| failed(device, &error))
}

fn failed(device: usize, cause: &dyn std::fmt::Display) -> SimulationError {
    SimulationError::Work {
        device,
        cause: cause.to_string(),
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

/// Bytes of a message in its frame.
fn framed(message: &impl bincode::Encode) -> u64 {
    FRAME_BYTES + encode(message).len() as u64
}

/// Length and checksum before each message.
const FRAME_BYTES: u64 = 8;
