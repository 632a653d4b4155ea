//! A fleet in one thread: the real engines, codec and computations, with an
//! in-memory transport and a simulated clock.

mod blob_store;
mod bytes;
mod device;
mod liar;
mod protection;
mod standing;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use common::contribution::StandsOn;
use common::ids::{BlobHash, DeviceId, Time, Version};
use common::model::Release;
use common::round::{Kind, Phase};
use common::task::Task;
use common::trust::keys::SigningKey;
use common::wire::messages::{ToDevice, TransferAnswer};
use coordinator::compute::{self, Setting};
use coordinator::round::{
    Action, Engine, Event, ExclusionReason, Input, JobKind, Outcome, RoundPolicy, Standing, State,
    Ticket,
};
use coordinator::status::OutcomeStatus;
use edge_agent::data::Dataset as DeviceRows;
use edge_agent::session;
use edge_agent::work::Privacy;

use self::blob_store::BlobStore;
pub use self::bytes::DeviceBytes;
use self::bytes::framed;
use self::device::Device;
pub(crate) use self::liar::drawn as drawn_liars;
pub use self::liar::{Heard, Lie};
use self::liar::{Liars, TwistedLabels};
use crate::data::{Labelling, Part};
pub use protection::Protection;
pub use standing::{Sleep, Visits};

/// Why a simulation stopped.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A round ended without a student.
    #[error("round {round} {outcome}; {limits}")]
    NoStudent {
        /// The round.
        round: u64,
        /// How it ended.
        outcome: String,
        /// What devices have, and of how many rows they speak.
        limits: String,
    },
    /// The file that contributions are put away in failed.
    #[error("cannot put contributions away in a temporary file: {0}; is the disk of TMPDIR full?")]
    BlobStore(#[from] std::io::Error),
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

/// What a device contributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Its number.
    pub device: usize,
    /// The contribution.
    pub blob: BlobHash,
    /// Rows it describes.
    pub rows: u64,
}

/// What goes on in a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A device computes.
    Device {
        /// What for.
        phase: Phase,
        /// Devices that have begun in this phase, this one included.
        begun: usize,
        /// Devices in all.
        devices: usize,
    },
    /// The coordinator computes.
    Job {
        /// What for.
        phase: Phase,
    },
    /// The student is trained.
    Step {
        /// Optimiser steps done.
        step: u32,
        /// Optimiser steps in all.
        steps: u32,
    },
}

type Watch = Box<dyn FnMut(Seen)>;

/// What a round left behind.
#[derive(Debug)]
pub struct RoundResult {
    /// Its number.
    pub round: u64,
    /// The released student.
    pub release: Arc<Release>,
    /// It and the students of the round before it: those that it was refined from,
    /// and one that it took the place of again. Oldest first.
    pub releases: Vec<Arc<Release>>,
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
    train: Arc<Part>,
    labelling: Option<Labelling>,
    index: BTreeMap<DeviceId, usize>,
    opened: Option<(BlobHash, Arc<Release>)>,
    blobs: RefCell<BlobStore>,
    signer: SigningKey,
    /// A trust root and a statement of freshness, as each session begins with.
    word: (Vec<u8>, Vec<u8>),
    now: Time,
    tickets: BTreeMap<Ticket, TransferAnswer>,
    next_ticket: u64,
    inbox: VecDeque<(usize, ToDevice)>,
    log: Vec<Event>,
    privacy: Privacy,
    watch: Option<Watch>,
    begun: (Option<Phase>, usize),
    rounds_begun: u64,
    liars: Liars,
    histories: Option<PathBuf>,
    protection: Option<Protection>,
}

impl Simulation {
    /// A fleet whose devices hold these rows of `train` each. Keeps row
    /// numbers only: a device's rows are copied while it computes.
    ///
    /// # Errors
    /// If no signing key or temporary file can be made.
    pub fn new(
        task: Task,
        train: Arc<Part>,
        rows: Vec<Vec<usize>>,
        privacy: Privacy,
        seed: u64,
    ) -> Result<Self, SimulationError> {
        let device = |index| DeviceId::of_public_key(format!("{seed}/{index}").as_bytes());
        let ids = (0..rows.len()).map(device).collect();
        Self::with_ids(task, train, rows, ids, privacy)
    }

    /// The same with the names of real devices, which their seeds follow
    /// from.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_ids(
        task: Task,
        train: Arc<Part>,
        rows: Vec<Vec<usize>>,
        ids: Vec<DeviceId>,
        privacy: Privacy,
    ) -> Result<Self, SimulationError> {
        let policy = RoundPolicy::of(task.definition());
        let mut engine = Engine::new(task.hash(), policy, 1, State::default());
        let spec = BlobHash::of(task.bytes());
        let mut log = vec![Event::TaskCreated { spec, at: Time(0) }];
        let mut state = State::default();
        state.apply(&log[0]);
        engine = Engine::new(engine.task(), engine.policy().clone(), 1, state);
        let index = ids.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        let devices = rows
            .into_iter()
            .zip(ids)
            .map(|(rows, id)| Device {
                id,
                engine: session::Engine::new(device::seed(id)),
                rows,
                installed: None,
                judged: None,
                outbox: BTreeMap::new(),
                bytes: DeviceBytes::default(),
                label_base: None,
                trips: (0, 0),
            })
            .collect();
        log.clear();
        let signer = SigningKey::generate()?;
        let word = device::word(&signer)?;
        let mut blobs = BlobStore::new()?;
        blobs.keep(spec, task.bytes().to_vec());
        Ok(Self {
            train,
            labelling: None,
            index,
            opened: None,
            blobs: RefCell::new(blobs),
            task,
            engine,
            devices,
            signer,
            word,
            now: Time(1_000),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            inbox: VecDeque::new(),
            log,
            privacy,
            watch: None,
            begun: (None, 0),
            rounds_begun: 0,
            liars: Liars::default(),
            histories: None,
            protection: None,
        })
    }

    /// From now on this share of the devices, drawn by `seed`, lies in its
    /// labels.
    pub fn corrupt(&mut self, share: f64, seed: u64) {
        let devices = liar::drawn(self.devices.len(), share, seed);
        self.lie(devices, 1, Box::new(TwistedLabels));
    }

    /// From round `from_round` on these devices do as `lie` has it; the lie
    /// before, if there was one, is forgotten.
    pub fn lie(&mut self, devices: BTreeSet<usize>, from_round: u64, lie: Box<dyn Lie>) {
        self.liars = Liars::of(devices, from_round, lie);
    }

    /// From now on devices know of their rows what this says.
    pub fn know(&mut self, labelling: Labelling) {
        self.labelling = Some(labelling);
    }

    /// What went over a device's connection beside the simulated messages: the
    /// bytes of messages that it sent and received.
    pub fn charge(&mut self, device: usize, sent: &[u64], received: &[u64]) {
        let bytes = &mut self.devices[device].bytes;
        sent.iter().for_each(|&message| bytes.sends(message));
        received.iter().for_each(|&message| bytes.receives(message));
    }

    /// From now on devices tell what they tell under differential privacy.
    pub fn protect(&mut self, protection: Protection) {
        self.protection = Some(protection);
    }

    /// From now on devices remember in `folder` which rows they described, as
    /// an agent does in its state directory, and describe what its policy
    /// admits beside that.
    pub fn remember(&mut self, folder: PathBuf) {
        self.histories = Some(folder);
    }

    /// What a device learns from: its rows without those that it holds out,
    /// before its policy leaves out small classes.
    pub fn learns_from(&self, device: usize) -> DeviceRows {
        self.split(device).training
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
                partial: Vec::new(),
            };
            self.drive(index, started)?;
        }
        Ok(())
    }

    /// The coordinator starts, with nobody there.
    pub fn start(&mut self) {
        self.coordinate(Input::Started);
    }

    /// Runs one round to its end, and the rounds that refine its student.
    ///
    /// # Errors
    /// If it ends without a student, or a device's work fails.
    pub fn round(&mut self) -> Result<RoundResult, SimulationError> {
        self.rounds_begun += 1;
        let before = self.engine.state().release.as_ref();
        let before = before.map(|release| release.version);
        let ticket = self.ticket();
        self.coordinate(Input::StartRound { ticket });
        // The rounds that refine its student belong to it.
        while self.engine.state().round.is_some() || self.engine.refines_next() {
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
        self.result(before)
    }

    /// Takes a device and its contributions out, as `device forget` does.
    pub fn forget(&mut self, index: usize) {
        let device = self.devices[index].id;
        self.coordinate(Input::Dismissed { device });
        self.coordinate(Input::Forgotten { device });
    }

    /// Devices of which the newest normaliser, transfer set or teacher was made
    /// without something.
    pub fn excluded(&self) -> BTreeSet<DeviceId> {
        let excluded = self.engine.state().excluded.keys();
        excluded.map(|(device, _)| *device).collect()
    }

    /// Why something of a device was left out, by the device's number.
    pub fn why_excluded(&self) -> BTreeMap<usize, ExclusionReason> {
        let excluded = self.engine.state().excluded.iter();
        let numbered = excluded.filter_map(|((device, _), why)| {
            let at = self.devices.iter().position(|one| one.id == *device)?;
            Some((at, *why))
        });
        numbered.collect()
    }

    /// Every event so far.
    pub fn log(&self) -> &[Event] {
        &self.log
    }

    /// The name of a device.
    pub fn device_id(&self, device: usize) -> DeviceId {
        self.devices[device].id
    }

    /// What a device's policy asks for.
    pub fn privacy(&self) -> Privacy {
        self.privacy
    }

    /// The task.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The newest contributions of a kind, by device; of those that stand on a
    /// transfer set only what stands on the newest.
    pub fn contributions(&self, kind: Kind) -> Vec<Contribution> {
        let state = self.engine.state();
        let transfer = state.transfer.map(|transfer| transfer.blob);
        let on_set = kind.stands_on() == StandsOn::TransferSet;
        let counts = |standing: &&Standing| !on_set || standing.transfer == transfer;
        let of = |(index, device): (usize, &Device)| {
            let standing = state.newest.get(&(device.id, kind)).filter(counts)?;
            Some(Contribution {
                device: index,
                blob: standing.blob,
                rows: standing.rows,
            })
        };
        self.devices.iter().enumerate().filter_map(of).collect()
    }

    /// From now on `watch` hears what goes on.
    pub fn watch(&mut self, watch: impl FnMut(Seen) + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// A stored blob.
    pub fn blob(&self, name: BlobHash) -> Option<Vec<u8>> {
        self.blobs.borrow().read(name)
    }

    /// What devices have to learn from, and from how many rows on they speak: why a
    /// round may have nothing to learn from.
    fn limits(&self) -> String {
        let labelled = self.labelling.as_ref();
        if labelled.is_some_and(|labelling| labelling.learnt.iter().all(Option::is_none)) {
            return "no row of any device has a label: let some keep theirs (--labelled), or \
                    give a model that labels them (--device-teacher, --server-teacher)"
                .to_owned();
        }
        let split = (0..self.devices.len()).map(|index| self.split(index).training.rows());
        let rows: Vec<usize> = split.collect();
        let (least, most) = (rows.iter().min(), rows.iter().max());
        let each = u64::from(self.privacy.rows_per_direction);
        let mut told = vec![format!(
            "of {} rows, in all and of a class (--rows-min)",
            self.privacy.rows_min
        )];
        if self.task.learns_normaliser() {
            told.push(format!(
                "the mean of each feature of {} (twice --rows-per-direction)",
                2 * each
            ));
        }
        if self
            .task
            .definition()
            .contribute
            .kinds()
            .contains(&Kind::Moments)
        {
            told.push(format!("moments of {} (three times)", 3 * each));
        }
        format!(
            "its devices have {} to {} rows to learn from, and one tells {} at least; fewer \
             devices (--agents) have more rows each, and lower limits protect rows less",
            least.copied().unwrap_or(0),
            most.copied().unwrap_or(0),
            told.join(", ")
        )
    }

    /// What came of a round, and after the release `before` it.
    fn result(&mut self, before: Option<Version>) -> Result<RoundResult, SimulationError> {
        let state = self.engine.state();
        let blob = state.release.as_ref().map(|release| release.blob);
        let ended = state.history.last();
        let round = ended.map_or(state.last_round.0, |ended| ended.id.0);
        let outcome = ended.map(|ended| ended.outcome.clone());
        let (
            Some(Outcome::Completed { .. }),
            Some(blob),
            Some(teacher),
            Some(transfer),
            Some(normaliser),
        ) = (
            &outcome,
            blob,
            state.teacher,
            state.transfer,
            state.normaliser,
        )
        else {
            return Err(SimulationError::NoStudent {
                round,
                outcome: match &outcome {
                    Some(outcome) => OutcomeStatus::from(outcome).to_string(),
                    None => "ended without a student".to_owned(),
                },
                limits: self.limits(),
            });
        };
        let of_round = state.releases.iter();
        let of_round = of_round.filter(|release| Some(release.version) > before);
        let blobs: Vec<BlobHash> = of_round.map(|release| release.blob).collect();
        let mut releases = Vec::new();
        for blob in blobs {
            releases.push(self.open(blob)?);
        }
        Ok(RoundResult {
            round,
            release: self.open(blob)?,
            releases,
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
                    if let Some(&index) = self.index.get(&device) {
                        self.inbox.push_back((index, message));
                    }
                }
                Action::Compute(job) => {
                    let read = |name: BlobHash| self.blobs.borrow().read(name);
                    let setting = Setting {
                        task: &self.task,
                        read: &read,
                        signer: &self.signer,
                        now: self.now,
                    };
                    let phase = match &job.kind {
                        JobKind::Normalise { .. } => Phase::Profile,
                        JobKind::Gather { .. } => Phase::Summarise,
                        JobKind::Solve { .. } => Phase::Solve,
                        JobKind::Distil { .. } | JobKind::Refine { .. } => Phase::Distil,
                        JobKind::Sign { .. } => Phase::Release,
                        JobKind::Compare { .. } | JobKind::SignAgain { .. } => Phase::Report,
                    };
                    let mut watch = self.watch.take();
                    let mut tell = |seen: Seen| {
                        if let Some(watch) = &mut watch {
                            watch(seen);
                        }
                    };
                    tell(Seen::Job { phase });
                    let result = compute::run(&job, setting, |step, steps| {
                        tell(Seen::Step { step, steps });
                    });
                    let result = result.map_err(|error| error.to_string()).map(|made| {
                        let name = BlobHash::of(&made.bytes);
                        self.blobs.borrow_mut().keep(name, made.bytes);
                        made.output
                    });
                    self.watch = watch;
                    self.engine.handle(self.now, Input::Computed { result });
                }
            }
        }
    }
}
