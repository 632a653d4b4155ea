//! The coordinator: the real core, log and store. This file holds the process
//! and its life; `driver` runs it, `reception` gives it what reaches it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use common::ids::{BlobHash, DeviceId, TaskHash, Time};
use common::task::Task;
use coordinator::core::answer::ReplyId;
use coordinator::core::command::{Command, RunId};
use coordinator::core::freshness::FreshnessSigner;
use coordinator::core::{About, Core, Policies, SteadyTime};
use coordinator::identity::Identity;
use coordinator::journal::{Compaction, Pin, Pins};
use coordinator::journal::{LogEntry, Replayed, replay};
use coordinator::registry::{Registry, RegistryEvent};
use coordinator::rollout::{Rollout, Standing};
use coordinator::round::{Engine, Event, RoundPolicy, TaskEvent};
use coordinator::store::{AppendFault, Epoch, MemoryStore, Position, Store, StoreError};
use edge_agent::session::Pending;

use super::scenario::Join;
use super::simulator::{Simulator, SimulatorEvent};
use super::turns::Host;

pub(super) struct Server {
    pub(super) store: MemoryStore,
    /// Which coordinator this is, where there are several.
    pub(super) host: Host,
    pub(super) life: u64,
    pub(super) process: Option<Process>,
    /// How far its wall clock is from the true time, forward or back.
    pub(super) skew_ms: i64,
    /// Until when its disk is slow.
    pub(super) slow_until: u64,
}

/// What is gone when the process is.
pub(super) struct Process {
    /// What its core is told.
    pub(super) time: SteadyTime,
    pub(super) epoch: Epoch,
    pub(super) next: Position,
    pub(super) core: Core,
    /// Sessions that are open, and whose they are.
    pub(super) sessions: BTreeMap<u64, usize>,
    /// Devices whose connections are refused.
    pub(super) revoked: BTreeSet<DeviceId>,
    pub(super) commands: VecDeque<Command>,
    pub(super) appending: Option<Vec<Vec<u8>>>,
    pub(super) appends: u64,
    /// What became of the append, if it was done before the process was paused.
    pub(super) landed: Option<Result<Position, StoreError>>,
    /// Questions to the core so far, and those without an answer.
    pub(super) questions: u64,
    pub(super) asked: BTreeMap<ReplyId, Asked>,
    /// Blobs that computations made and no event names yet, by run.
    pub(super) unnamed: BTreeMap<RunId, Pin>,
    /// Those whose result the core has been told.
    pub(super) told: Vec<Pin>,
    /// Contributions that were taken a second time; for a planted fault.
    pub(super) resent: Vec<(DeviceId, TaskHash, BlobHash)>,
    /// The timeout that a tick is under way for.
    pub(super) awaited: Option<Time>,
    /// Blobs on their way into the log.
    pub(super) pins: Arc<Pins>,
    /// Pins that nobody else knows of; for a planted fault.
    pub(super) blind: Arc<Pins>,
    pub(super) compaction: Option<Compaction>,
}

/// A question to the core, and who waits for the answer.
pub(super) enum Asked {
    /// A device, for what becomes of its contribution.
    Transfer {
        waiting: Waiting,
        /// Whether an event was recorded for it.
        recorded: bool,
        /// Keeps the bytes until the log names them.
        _pin: Option<Arc<Pin>>,
    },
    /// A device, for a blob.
    Fetch {
        device: usize,
        session: u64,
        stream: u64,
        blob: BlobHash,
    },
    /// A device that joins.
    Join { device: usize, session: u64 },
    /// An operator who revokes a device.
    Revoke { device: DeviceId },
    /// An operator who goes back to an earlier student.
    Plan,
    /// An operator who released one again.
    ReRelease { _pin: Pin },
    /// An operator who wants nothing but that it be done.
    Order,
}

/// An offer whose device waits for the answer.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) device: usize,
    pub(super) session: u64,
    pub(super) stream: u64,
    pub(super) pending: Pending,
}

impl Server {
    /// An empty coordinator with these tasks, and a token to join by.
    pub(super) fn new(tasks: &[Arc<Task>], join: &Join) -> Self {
        let store = MemoryStore::new();
        let created = tasks.iter().map(|task| {
            LogEntry::Task(TaskEvent {
                task: task.hash(),
                event: Event::TaskCreated {
                    spec: BlobHash::of(task.bytes()),
                    at: Time(0),
                },
            })
        });
        let token = LogEntry::Registry(RegistryEvent::TokenCreated {
            record: join.record.clone(),
            at: Time(0),
        });
        let entries: Vec<_> = created.chain([token]).map(|one| one.to_bytes()).collect();
        // A new store in memory refuses nothing.
        for task in tasks {
            let _ = store.put_blob(task.bytes());
        }
        let _ = store
            .open_epoch()
            .and_then(|epoch| store.append(epoch, None, &entries));
        Self {
            store,
            host: Host::default(),
            life: 0,
            process: None,
            skew_ms: 0,
            slow_until: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The core, while it has a state.
    pub(super) fn core(&self) -> Option<&Core> {
        let process = self.process.as_ref()?;
        process.core.in_service().then_some(&process.core)
    }

    pub(super) fn engine(&self, task: TaskHash) -> Option<&Engine> {
        self.core()?.engine(task)
    }

    /// Whether no round of these tasks is open and nothing waits.
    pub(super) fn is_idle(&self, tasks: &[Arc<Task>]) -> bool {
        let idle = |process: &Process| process.appending.is_none() && process.commands.is_empty();
        let rests = |task: &Arc<Task>| {
            let Some(core) = self.core() else {
                return false;
            };
            let engine = core.engine(task.hash());
            engine.is_some_and(|engine| {
                engine.state().round.is_none() && !rolls_on(engine, core.registry())
            })
        };
        self.process.as_ref().is_some_and(idle) && tasks.iter().all(rests)
    }

    /// Whether it knows that this device has new rows, or the task asks for
    /// points alone, which are not asked for again once there are enough.
    pub(super) fn knows_news(&self, task: TaskHash, device: DeviceId) -> bool {
        self.engine(task).is_some_and(|engine| {
            engine.policy().contribute.is_empty() || engine.state().changed.contains(&device)
        })
    }

    pub(super) fn describe(&self, tasks: &[Arc<Task>]) -> String {
        let of_task = |task: &Arc<Task>| match self.engine(task.hash()) {
            None => "the coordinator is out of service".to_owned(),
            Some(engine) => match &engine.state().round {
                None => format!(
                    "no round is open, the rollout is {:?}",
                    engine.state().rollout
                ),
                Some(round) => {
                    let phase = round.phase.as_ref().map(|open| open.phase);
                    format!("round {} is in {phase:?}", round.id)
                }
            },
        };
        tasks.iter().map(of_task).collect::<Vec<_>>().join("; ")
    }
}

/// Whether a rollout goes on that will end by itself: some device keeps it
/// that was not revoked.
fn rolls_on(engine: &Engine, registry: &Registry) -> bool {
    let state = engine.state();
    let running = |rollout: &&Rollout| rollout.standing == Standing::Running;
    state
        .rollout
        .as_ref()
        .filter(running)
        .is_some_and(|rollout| {
            let mut evaluations = state.evaluations.clone();
            evaluations.retain(|device, _| !registry.revoked().contains_key(device));
            let tally = rollout.tally(engine.connected(), &evaluations);
            tally.kept + tally.untested > 0 || tally.soaking > 0
        })
}

/// What each session begins with: the same for all seeds, for making a key
/// takes longer than many a seed.
fn freshness() -> FreshnessSigner {
    static MADE: OnceLock<FreshnessSigner> = OnceLock::new();
    let signer = MADE.get_or_init(|| {
        let identity = Identity::generate(&[], Time(START_MS))
            .expect("keys and certificates can be made of random numbers");
        FreshnessSigner::new(&identity.trust_root, identity.release_key)
    });
    signer.clone()
}

impl Simulator {
    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.server.process.as_mut()
    }

    fn new_core(&self) -> Core {
        let policy: RoundPolicy = self.scenario.policy.clone();
        let policies: Policies = Arc::new(move |_| policy.clone());
        let mut core = Core::new(About {
            address: ([127, 0, 0, 1], 1).into(),
            started: self.wall(),
            policies,
            freshness: freshness(),
            renew_ending_before: None,
        });
        if let Some(fault) = self.planted.and_then(super::Planted::in_core) {
            core.plant(fault);
        }
        core
    }

    pub(super) fn start_server(&mut self) {
        if self.turns.is_some() {
            return self.wait_for_turn();
        }
        if !self.server.is_up() {
            self.begin_process();
        }
    }

    pub(super) fn begin_process(&mut self) {
        self.server.life = self.next_life();
        self.opened();
        let wall = self.wall();
        self.server.process = Some(Process {
            time: SteadyTime::begin(wall, self.now),
            epoch: Epoch(0),
            next: Position(0),
            core: self.new_core(),
            sessions: BTreeMap::new(),
            revoked: BTreeSet::new(),
            commands: VecDeque::new(),
            appending: None,
            appends: 0,
            landed: None,
            questions: 0,
            asked: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            told: Vec::new(),
            resent: Vec::new(),
            awaited: None,
            pins: Pins::new(),
            blind: Pins::new(),
            compaction: None,
        });
        self.mend_store(self.server.life);
    }

    /// Opens the store and restores the core from its log.
    pub(super) fn mend_store(&mut self, life: u64) {
        if life != self.server.life || !self.server.is_up() || self.server.core().is_some() {
            return;
        }
        if self.is_led_by_another() {
            return self.end_process();
        }
        self.server.store.restart();
        let Ok(epoch) = self.server.store.open_epoch() else {
            let at = self.now + 1_000;
            return self.at(at, SimulatorEvent::StoreMended { life });
        };
        self.opened();
        let blob_rounds = self.scenario.retention.blob_rounds;
        let read = self.checker.read_again(&self.server.store, blob_rounds);
        self.hold(read);
        let replayed = match replay(&self.server.store) {
            Ok(replayed) => replayed,
            Err(error) => return self.hold(Err(format!("the log does not fold: {error}"))),
        };
        let held = self.check_replayed(&replayed);
        self.hold(held);
        let now = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        process.epoch = epoch;
        process.next = replayed.next;
        process
            .core
            .restore(now, epoch.0, replayed.registry, replayed.tasks);
        let now = self.now;
        self.phase_since.values_mut().for_each(|since| *since = now);
        self.next_compaction();
        self.perform();
        self.settle();
        self.wake_server();
    }

    /// What the log folds to from its snapshot on is what all records fold to,
    /// and what it needs is there.
    fn check_replayed(&self, replayed: &Replayed) -> Result<(), String> {
        if replayed.tasks.len() != self.tasks.len() {
            return Err("a task is gone".to_owned());
        }
        self.checker.registry(&replayed.registry)?;
        for (task, state) in &replayed.tasks {
            self.checker.folded(task.hash(), state)?;
            self.checker.kept(state, &self.server.store)?;
        }
        Ok(())
    }

    /// The process is gone, with or without all that was only written.
    pub(super) fn crash_server(&mut self, power_lost: bool) {
        let Some(process) = self.server.process.take() else {
            return;
        };
        self.survived.coordinator_crashes += 1;
        if let Some(entries) = &process.appending
            && self.random.chance(0.5)
            && process.landed.is_none()
        {
            // It was on the disk, and nobody was told so.
            let _ = self.append((process.epoch, process.next), entries);
        }
        if power_lost {
            self.server.store.lose_unflushed();
        }
        for (session, device) in process.sessions {
            let at = self.now + self.random.duration(1, 30_000);
            self.at(at, SimulatorEvent::LinkLost { device, session });
        }
    }

    /// Nothing was acknowledged; the state, ahead of the log, is thrown away.
    pub(super) fn fail_store(&mut self) {
        self.survived.outages += 1;
        let life = self.server.life;
        let Some(process) = self.process() else {
            return;
        };
        process.core.failed();
        process.compaction = None;
        process.pins.end_sweep();
        process.told.clear();
        process.resent.clear();
        self.perform();
        let at = self.now + 1_000;
        self.at(at, SimulatorEvent::StoreMended { life });
    }

    /// The next append fails, and with it the store.
    pub(super) fn break_store(&mut self) {
        let fault = match self.random.chance(0.5) {
            true => AppendFault::BeforeFlush,
            false => AppendFault::AfterFlush,
        };
        self.server.store.fail_next_append(fault);
    }
}

/// The true time when the simulation begins.
pub(super) const START_MS: u64 = 1_700_000_000_000;
