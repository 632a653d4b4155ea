//! A coordinator that grows old in a moment: the real engine, store and
//! compaction, rounds of tiny contributions, no network and no mathematics.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, Time};
use common::round::{ContributionKey, Kind, Phase};
use common::task::{RawTask, Task};
use common::wire::messages::{Call, ToDevice};
use coordinator::journal::{Compaction, Done, Pin, Pins, Retention};
use coordinator::journal::{LogEntry, replay};
use coordinator::rollout::Releases;
use coordinator::round::{
    Action, Comparison, Engine, Event, Input, Job, JobKind, JobOutput, Product, RoundPolicy, State,
    TaskEvent, Ticket,
};
use coordinator::store::{Epoch, Position, SledStore, Store};

/// The coordinator and its devices.
pub struct Aging {
    /// Its store.
    pub store: SledStore,
    epoch: Epoch,
    next: Position,
    engine: Engine,
    task: Task,
    retention: Retention,
    pins: Arc<Pins>,
    held: Vec<Pin>,
    devices: Vec<DeviceId>,
    now: u64,
    made: u64,
    /// Blobs written, whatever became of them.
    pub blobs_written: u64,
}

impl Aging {
    /// A store in an empty folder, and this many devices.
    pub fn begin(folder: &Path, devices: u16, retention: Retention) -> Self {
        let store = SledStore::open(folder).unwrap();
        let epoch = store.open_epoch().unwrap();
        let text = "name = \"ages\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(text).unwrap();
        let spec = store.put_blob(task.bytes()).unwrap();
        let created = Event::TaskCreated { spec, at: Time(0) };
        let mut state = State::default();
        state.apply(&created);
        let entry = LogEntry::Task(TaskEvent {
            task: task.hash(),
            event: created,
        });
        let next = store.append(epoch, None, &[entry.to_bytes()]).unwrap();
        let engine = Engine::new(task.hash(), policy(), epoch.0, state);
        let device = |number: u16| {
            let mut id = [7; 16];
            id[..2].copy_from_slice(&number.to_le_bytes());
            DeviceId(id)
        };
        let mut aging = Self {
            store,
            epoch,
            next,
            engine,
            task,
            retention,
            pins: Pins::new(),
            held: Vec::new(),
            devices: (0..devices).map(device).collect(),
            now: 1_000,
            made: 0,
            blobs_written: 1,
        };
        aging.input(vec![Input::Started]);
        let connected = aging.devices.clone().into_iter();
        let installed = None;
        aging.input(
            connected
                .map(|device| Input::Connected { device, installed })
                .collect(),
        );
        aging
    }

    /// Another program takes over, as after a restart: the log is folded.
    pub fn restarted(self, folder: &Path) -> Self {
        let Self {
            store,
            task,
            retention,
            devices,
            now,
            made,
            blobs_written,
            ..
        } = self;
        drop(store);
        let store = SledStore::open(folder).unwrap();
        let epoch = store.open_epoch().unwrap();
        let mut replayed = replay(&store).unwrap();
        let (_, state) = replayed.tasks.pop().unwrap();
        let mut aging = Self {
            engine: Engine::new(task.hash(), policy(), epoch.0, state),
            next: replayed.next,
            store,
            epoch,
            task,
            retention,
            pins: Pins::new(),
            held: Vec::new(),
            devices,
            now,
            made,
            blobs_written,
        };
        aging.input(vec![Input::Started]);
        let connected = aging.devices.clone().into_iter();
        let installed = None;
        aging.input(
            connected
                .map(|device| Input::Connected { device, installed })
                .collect(),
        );
        aging
    }

    /// Rounds that ended so far.
    pub fn rounds(&self) -> u64 {
        self.engine.state().last_round.0
    }

    /// Runs one round to its end.
    pub fn round(&mut self) {
        let ticket = Ticket(0);
        self.input(vec![Input::StartRound { ticket }]);
        assert!(self.engine.state().round.is_none(), "it has not ended");
    }

    /// What the server does now and then.
    pub fn keep(&mut self) -> Done {
        let compaction = Compaction::begin(self.epoch, self.retention);
        compaction.run_all(&self.store, &self.pins).unwrap()
    }

    /// Inputs, one append, and all that follows from it.
    fn input(&mut self, inputs: Vec<Input>) {
        let mut inputs = inputs;
        while !inputs.is_empty() {
            let (mut calls, mut job) = (Vec::new(), None);
            let mut entries = Vec::new();
            for input in inputs.drain(..) {
                self.now += 1;
                self.engine.handle(Time(self.now), input);
                while let Some(action) = self.engine.poll_action() {
                    match action {
                        Action::Append(event) => {
                            let task = self.task.hash();
                            let entry = LogEntry::Task(TaskEvent { task, event });
                            entries.push(entry.to_bytes());
                        }
                        Action::Send {
                            device,
                            message: ToDevice::Call(call),
                        } => calls.push((device, call)),
                        Action::Compute(wanted) => job = Some(wanted),
                        _ => {}
                    }
                }
            }
            if !entries.is_empty() {
                let at = Some(self.next);
                self.next = self.store.append(self.epoch, at, &entries).unwrap();
            }
            self.held.clear();
            for (device, call) in calls {
                inputs.extend(self.answer(device, &call));
            }
            inputs.extend(job.map(|job| self.compute(&job)));
        }
    }

    fn answer(&mut self, device: DeviceId, call: &Call) -> Vec<Input> {
        let open = self.engine.state().open().map(|open| open.phase);
        if open != Some(call.phase) {
            return Vec::new();
        }
        let wanted = match call.phase {
            Phase::Contribute => vec![Kind::Moments],
            Phase::Report => vec![Kind::Report],
            other => other.kinds().to_vec(),
        };
        let answer = |kind| {
            let blob = self.blob(BLOB_BYTES);
            Input::Arrived {
                device,
                key: ContributionKey {
                    task: call.task,
                    transfer: call.context.transfer,
                    round: call.round,
                    phase: call.phase,
                    kind,
                },
                blob,
                bytes: BLOB_BYTES as u64,
                checked: Ok(10),
                ticket: Ticket(0),
            }
        };
        wanted.into_iter().map(answer).collect()
    }

    fn compute(&mut self, job: &Job) -> Input {
        let blob = self.blob(4 * BLOB_BYTES);
        let points = POINTS_MAX;
        let product = match &job.kind {
            JobKind::Normalise { .. } => Product::Normaliser(blob),
            JobKind::Gather { .. } => Product::TransferSet { blob, points },
            JobKind::Solve { .. } => Product::Teacher(blob),
            JobKind::Distil { .. } | JobKind::Refine { .. } => Product::Student(blob),
            JobKind::Compare { .. } => {
                let result = Ok(JobOutput::Compared(Comparison::Better));
                return Input::Computed { result };
            }
            JobKind::Sign { .. } | JobKind::SignAgain { .. } => {
                let bytes = 4 * BLOB_BYTES as u64;
                let result = Ok(JobOutput::Release { blob, bytes });
                return Input::Computed { result };
            }
        };
        let result = Ok(JobOutput::Product(product));
        Input::Computed { result }
    }

    /// A blob like no other, pinned until the next append.
    fn blob(&mut self, bytes: usize) -> BlobHash {
        self.made += 1;
        self.blobs_written += 1;
        let mut content = vec![0; bytes];
        content[..8].copy_from_slice(&self.made.to_le_bytes());
        self.held.push(self.pins.pin(BlobHash::of(&content)));
        self.store.put_blob(&content).unwrap()
    }
}

/// Everyone answers at once, so nobody is waited for.
fn policy() -> RoundPolicy {
    RoundPolicy {
        standing: None,
        devices_min: 1,
        quorum: 1.0,
        deadline_ms: [1_000_000; 7],
        grace_ms: 0,
        interval_ms: None,
        new_data_devices_min: 1,
        contribute: vec![Kind::Moments],
        contribution_bytes_max: 1 << 16,
        round_bytes_max: 1 << 20,
        rows_max: common::limits::ROWS_MAX,
        points_max: POINTS_MAX,
        refinement_steps: 0,
        releases: Releases::default(),
    }
}

const POINTS_MAX: u32 = 10;
const BLOB_BYTES: usize = 200;
