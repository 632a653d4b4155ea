//! The coordinator: the real engine and store under the driver's rules. One
//! append for all that is ready, then its effects; nothing before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::round::{Kind, Reason};
use common::task::Task;
use common::trial::Trial;
use common::wire::messages::{ToCoordinator, ToDevice, TransferAnswer};
use coordinator::core::SteadyTime;
use coordinator::journal::{Compaction, Pin, Pins};
use coordinator::journal::{LogEntry, replay};
use coordinator::rollout::{Order, Rollout, Standing};
use coordinator::round::{Engine, Event, Input, Job, JobOutput, TaskEvent, Ticket};
use coordinator::store::{AppendFault, Epoch, MemoryStore, Position, Store};
use edge_agent::session::Pending;

use super::world::{Happening, World};

pub(super) struct Server {
    pub(super) store: MemoryStore,
    pub(super) life: u64,
    pub(super) process: Option<Process>,
    /// How far its wall clock is from the true time, forward or back.
    pub(super) skew_ms: i64,
    /// Until when its disk is slow.
    pub(super) slow_until: u64,
}

/// What is gone when the process is.
pub(super) struct Process {
    /// What its engine is told.
    pub(super) time: SteadyTime,
    pub(super) epoch: Epoch,
    pub(super) next: Position,
    /// None while the store is out of order.
    pub(super) engine: Option<Engine>,
    pub(super) sessions: BTreeMap<usize, Session>,
    pub(super) commands: VecDeque<Command>,
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) effects: Vec<Effect>,
    pub(super) appending: Option<Vec<Vec<u8>>>,
    pub(super) appends: u64,
    pub(super) tickets: u64,
    pub(super) waiting: BTreeMap<Ticket, Waiting>,
    pub(super) runs: u64,
    pub(super) run: Option<u64>,
    /// Contributions that were taken a second time; for a planted fault.
    pub(super) resent: Vec<(DeviceId, Kind, BlobHash)>,
    /// The timeout that a tick is under way for.
    pub(super) awaited: Option<Time>,
    /// Blobs on their way into the log.
    pub(super) pins: Arc<Pins>,
    /// Pins that nobody else knows of; for a planted fault.
    pub(super) blind: Arc<Pins>,
    pub(super) compaction: Option<Compaction>,
}

pub(super) struct Session {
    pub(super) id: u64,
    pub(super) installed: Option<Version>,
    /// What it said of a release, once; the engine may be rebuilt meanwhile.
    pub(super) tried: Option<(Version, Trial)>,
    /// Whether it has new rows that it was not asked for since.
    pub(super) changed: bool,
}

/// What waits for the driver.
pub(super) enum Command {
    Hello {
        device: usize,
        session: u64,
        installed: Option<Version>,
    },
    Gone {
        device: usize,
        session: u64,
    },
    Said {
        device: usize,
        session: u64,
        message: ToCoordinator,
    },
    Offered(Waiting),
    Arrived {
        waiting: Waiting,
        checked: Result<u64, Reason>,
        pin: Arc<Pin>,
    },
    Computed {
        run: u64,
        result: Result<JobOutput, String>,
        pin: Option<Arc<Pin>>,
    },
    Start,
    Cancel,
    Order(Order),
    Rollback,
}

/// An offer whose device waits for the answer.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) device: usize,
    pub(super) session: u64,
    pub(super) stream: u64,
    pub(super) pending: Pending,
}

pub(super) enum Effect {
    Answer {
        waiting: Waiting,
        answer: TransferAnswer,
    },
    Send {
        device: usize,
        message: ToDevice,
    },
    Compute {
        run: u64,
        job: Job,
    },
    /// What was on its way into the log has arrived.
    LetGo(Arc<Pin>),
}

impl Server {
    /// An empty coordinator with one task.
    pub(super) fn new(task: &Task) -> Self {
        let store = MemoryStore::new();
        let event = Event::TaskCreated {
            spec: BlobHash::of(task.bytes()),
            at: Time(0),
        };
        let entry = LogEntry::Task(TaskEvent {
            task: task.hash(),
            event,
        });
        // A new store in memory refuses nothing.
        let _ = store.put_blob(task.bytes());
        let _ = store
            .open_epoch()
            .and_then(|epoch| store.append(epoch, None, &[entry.to_bytes()]));
        Self {
            store,
            life: 0,
            process: None,
            skew_ms: 0,
            slow_until: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        self.process.as_ref()?.engine.as_ref()
    }

    /// Whether no round is open and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        let idle = |process: &Process| process.appending.is_none() && process.commands.is_empty();
        self.process.as_ref().is_some_and(idle)
            && self
                .engine()
                .is_some_and(|engine| engine.state().round.is_none() && !rolls_on(engine))
    }

    /// Whether it knows that this device has new rows, or its task asks for
    /// points alone, which are not asked for again once there are enough.
    pub(super) fn knows_news(&self, device: DeviceId) -> bool {
        self.engine().is_some_and(|engine| {
            engine.policy().contribute.is_empty() || engine.state().changed.contains(&device)
        })
    }

    pub(super) fn describe(&self) -> String {
        match self.engine() {
            None => "the coordinator is out of service".to_owned(),
            Some(engine) => match &engine.state().round {
                None => format!(
                    "no round is open, the rollout is {:?}",
                    engine.state().rollout
                ),
                Some(round) => {
                    format!(
                        "round {} is in {:?}",
                        round.id,
                        round.phase.as_ref().map(|o| o.phase)
                    )
                }
            },
        }
    }

    pub(super) fn public(&self) -> BTreeSet<BlobHash> {
        let Some(state) = self.engine().map(Engine::state) else {
            return BTreeSet::new();
        };
        let shared = [
            state.spec,
            state.normaliser,
            state.transfer.map(|set| set.blob),
            state.teacher,
        ];
        let releases = state.releases.iter().map(|release| release.blob);
        shared.into_iter().flatten().chain(releases).collect()
    }
}

/// Whether a rollout goes on that will end by itself: some device keeps it.
fn rolls_on(engine: &Engine) -> bool {
    let state = engine.state();
    let running = |rollout: &&Rollout| rollout.standing == Standing::Running;
    state
        .rollout
        .as_ref()
        .filter(running)
        .is_some_and(|rollout| {
            let tally = rollout.tally(engine.connected(), &state.trials);
            tally.kept + tally.untested > 0 || tally.soaking > 0
        })
}

impl World {
    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.server.process.as_mut()
    }

    pub(super) fn start_server(&mut self) {
        if self.server.is_up() {
            return;
        }
        self.server.life += 1;
        let wall = self.wall();
        self.server.process = Some(Process {
            time: SteadyTime::begin(wall, self.now),
            epoch: Epoch(0),
            next: Position(0),
            engine: None,
            sessions: BTreeMap::new(),
            commands: VecDeque::new(),
            entries: Vec::new(),
            effects: Vec::new(),
            appending: None,
            appends: 0,
            tickets: 0,
            waiting: BTreeMap::new(),
            runs: 0,
            run: None,
            resent: Vec::new(),
            awaited: None,
            pins: Pins::new(),
            blind: Pins::new(),
            compaction: None,
        });
        self.mend_store(self.server.life);
    }

    /// Opens the store and builds the engine from its log.
    pub(super) fn mend_store(&mut self, life: u64) {
        if life != self.server.life || self.server.engine().is_some() {
            return;
        }
        self.server.store.restart();
        let Ok(epoch) = self.server.store.open_epoch() else {
            let at = self.now + 1_000;
            return self.at(at, Happening::StoreMended { life });
        };
        let blob_rounds = self.weather.retention.blob_rounds;
        let read = self.witness.read_again(&self.server.store, blob_rounds);
        self.hold(read);
        let mut replayed = match replay(&self.server.store) {
            Ok(replayed) => replayed,
            Err(error) => return self.hold(Err(format!("the log does not fold: {error}"))),
        };
        let Some((_, state)) = replayed.tasks.pop() else {
            return self.hold(Err("the task is gone".to_owned()));
        };
        let engine = Engine::new(
            self.task.hash(),
            self.weather.policy.clone(),
            epoch.0,
            state,
        );
        let held = self.witness.state(&engine);
        self.hold(held);
        let held = self.witness.folded(engine.state());
        self.hold(held);
        let held = self.witness.kept(engine.state(), &self.server.store);
        self.hold(held);
        let Some(process) = self.process() else {
            return;
        };
        process.epoch = epoch;
        process.next = replayed.next;
        process.engine = Some(engine);
        let connected: Vec<_> = process
            .sessions
            .iter()
            .map(|(device, session)| (*device, session.installed, session.tried, session.changed))
            .collect();
        self.phase_since = self.now;
        self.next_compaction();
        self.feed(Input::Started);
        for (device, installed, ..) in &connected {
            let (device, installed) = (self.devices[*device].id, *installed);
            self.feed(Input::Connected { device, installed });
        }
        for (device, _, tried, changed) in connected {
            let device = self.devices[device].id;
            if let Some((version, trial)) = tried {
                self.feed(Input::Tried {
                    device,
                    version,
                    trial,
                });
            }
            if changed {
                self.feed(Input::DataChanged { device });
            }
        }
        self.settle();
        self.wake_server();
    }

    /// The process is gone, with or without all that was only written.
    pub(super) fn crash_server(&mut self, power_lost: bool) {
        let Some(process) = self.server.process.take() else {
            return;
        };
        self.survived.coordinator_crashes += 1;
        if let Some(entries) = &process.appending
            && self.dice.chance(0.5)
        {
            // It was on the disk, and nobody was told so.
            let _ = self
                .server
                .store
                .append(process.epoch, Some(process.next), entries);
        }
        if power_lost {
            self.server.store.lose_unflushed();
        }
        for (device, session) in process.sessions {
            let at = self.now + self.dice.duration(1, 30_000);
            self.at(
                at,
                Happening::LinkLost {
                    device,
                    session: session.id,
                },
            );
        }
    }

    /// Nothing was acknowledged; the state, ahead of the log, is thrown away.
    pub(super) fn fail_store(&mut self) {
        self.survived.outages += 1;
        let life = self.server.life;
        let Some(process) = self.process() else {
            return;
        };
        process.engine = None;
        process.compaction = None;
        process.pins.end_sweep();
        process.run = None;
        process.entries.clear();
        process.resent.clear();
        let mut refused: Vec<_> = std::mem::take(&mut process.waiting).into_values().collect();
        for effect in std::mem::take(&mut process.effects) {
            if let Effect::Answer { waiting, .. } = effect {
                refused.push(waiting);
            }
        }
        for waiting in refused {
            self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        }
        let at = self.now + 1_000;
        self.at(at, Happening::StoreMended { life });
    }

    /// The next append fails, and with it the store.
    pub(super) fn break_store(&mut self) {
        let fault = match self.dice.chance(0.5) {
            true => AppendFault::BeforeFlush,
            false => AppendFault::AfterFlush,
        };
        self.server.store.fail_next_append(fault);
    }
}
