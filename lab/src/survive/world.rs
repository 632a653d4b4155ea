//! Everything that happens, in the order of the simulated clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use common::ids::{RoundId, TaskHash, Version};
use common::round::Phase;
use common::task::{RawTask, Task};
use coordinator::core::Core;
use coordinator::core::command::RunId;
use coordinator::round::JobOutput;

use super::device::{Device, DeviceWork};
use super::faults::Fault;
use super::network::{Down, Paths, Up};
use super::server::Server;
use super::weather::{Dice, Weather};
use super::witness::{Violation, Witness};
use super::{Broken, Planted, Survived};

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Up {
        device: usize,
        session: u64,
        packet: Up,
    },
    Down {
        device: usize,
        session: u64,
        packet: Down,
    },
    /// The device notices that its link is gone.
    LinkLost {
        device: usize,
        session: u64,
    },
    /// The coordinator notices.
    SessionLost {
        device: usize,
        session: u64,
    },
    DeviceTick {
        device: usize,
        life: u64,
    },
    DeviceWork {
        device: usize,
        life: u64,
        work: DeviceWork,
    },
    TransferStalled {
        device: usize,
        stream: u64,
    },
    DeviceStart {
        device: usize,
    },
    ServerTick {
        life: u64,
        due: u64,
    },
    Flushed {
        life: u64,
        append: u64,
    },
    Computed {
        life: u64,
        task: TaskHash,
        run: RunId,
        result: Result<JobOutput, String>,
    },
    /// The next step of a compaction, or its begin.
    Compaction {
        epoch: u32,
    },
    /// A device tries its student once more.
    Soaked {
        device: usize,
        task: TaskHash,
        version: Version,
    },
    ServerStart,
    StoreMended {
        life: u64,
    },
    Fault,
    Freed(Fault),
    Operator,
    Calm,
}

pub(super) struct World {
    seed: u64,
    pub(super) planted: Option<Planted>,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// Sessions and streams so far; each has a number of its own.
    pub(super) sessions: u64,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) paths: Vec<Paths>,
    pub(super) devices: Vec<Device>,
    pub(super) server: Server,
    pub(super) witness: Witness,
    pub(super) survived: Survived,
    pub(super) broken: Option<Violation>,
    pub(super) is_calm: bool,
    /// Where each task's round is, and since when without a break.
    pub(super) phases: BTreeMap<TaskHash, At>,
    pub(super) phase_since: BTreeMap<TaskHash, u64>,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, traced: bool) -> Self {
        let weather = Weather::of(seed);
        let tasks: Vec<_> = (0..weather.tasks).map(task).collect();
        let mut world = Self {
            seed,
            planted,
            dice: Dice::new(seed, "fleet"),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            paths: vec![Paths::default(); weather.devices],
            devices: (0..weather.devices)
                .map(|index| Device::new(seed, index))
                .collect(),
            server: Server::new(&tasks, &weather.join),
            tasks,
            witness: Witness::default(),
            survived: Survived {
                devices: weather.devices as u64,
                further_tasks: weather.tasks as u64 - 1,
                ..Survived::default()
            },
            broken: None,
            is_calm: false,
            phases: BTreeMap::new(),
            phase_since: BTreeMap::new(),
            trace: traced.then(VecDeque::new),
            weather,
        };
        world.first_steps();
        world
    }

    fn first_steps(&mut self) {
        self.at(0, Happening::ServerStart);
        for device in 0..self.devices.len() {
            let late = self.dice.chance(0.2);
            let at = if late {
                self.dice.between(0, 40_000)
            } else {
                self.dice.between(0, 500)
            };
            self.at(at, Happening::DeviceStart { device });
        }
        self.at(self.weather.calm_at, Happening::Calm);
        self.at(1_000, Happening::Operator);
        self.next_fault();
    }

    /// Runs to the end of the storm and on until all is settled.
    pub(super) fn run(mut self) -> Result<Survived, Box<Broken>> {
        while self.broken.is_none() {
            let Some(((at, _), next)) = self.queue.pop_first() else {
                self.broken = Some("nothing is left to happen".to_owned());
                break;
            };
            self.now = at;
            self.survived.steps += 1;
            self.note(&next);
            self.step(next);
            self.check_progress();
            if self.is_calm && self.is_settled() {
                self.survived.simulated_ms = self.now;
                self.survived.completed = self.witness.completed();
                (self.survived.rolled_out, self.survived.halted) = self.witness.rollouts();
                return Ok(self.survived);
            }
            if self.now > self.weather.calm_at + SETTLED_MS_MAX {
                self.broken = Some(self.unsettled());
            }
            if self.survived.steps > STEPS_MAX {
                self.broken = Some(format!("{STEPS_MAX} steps and no end"));
            }
        }
        Err(Box::new(Broken {
            seed: self.seed,
            at_ms: self.now,
            violation: self.broken.unwrap_or_default(),
            trace: self.trace.unwrap_or_default().into(),
        }))
    }

    pub(super) fn at(&mut self, at: u64, what: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), what);
    }

    pub(super) fn hold(&mut self, held: Result<(), Violation>) {
        if let Err(violation) = held
            && self.broken.is_none()
        {
            self.broken = Some(violation);
        }
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Up {
                device,
                session,
                packet,
            } => self.heard(device, session, packet),
            Happening::Down {
                device,
                session,
                packet,
            } => self.told(device, session, packet),
            Happening::LinkLost { device, session } => self.link_lost(device, session),
            Happening::SessionLost { device, session } => self.session_lost(device, session),
            Happening::DeviceTick { device, life } => self.device_tick(device, life),
            Happening::DeviceWork { device, life, work } => self.worked(device, life, work),
            Happening::TransferStalled { device, stream } => self.stalled(device, stream),
            Happening::DeviceStart { device } => self.start_device(device),
            Happening::ServerTick { life, due } => self.server_tick(life, due),
            Happening::Flushed { life, append } => self.flushed(life, append),
            Happening::Computed {
                life,
                task,
                run,
                result,
            } => self.computed(life, task, run, result),
            Happening::Compaction { epoch } => self.compaction(epoch),
            Happening::Soaked {
                device,
                task,
                version,
            } => self.soaked(device, task, version),
            Happening::ServerStart => self.start_server(),
            Happening::StoreMended { life } => self.mend_store(life),
            Happening::Fault => self.fault(),
            Happening::Freed(fault) => self.freed(fault),
            Happening::Operator => self.operator(),
            Happening::Calm => self.calm(),
        }
    }

    fn calm(&mut self) {
        self.is_calm = true;
        self.weather.calm();
        self.server.store.set_full(false);
        self.server.slow_until = 0;
        for device in 0..self.devices.len() {
            self.paths[device].up.blocked_until = self.now;
            self.paths[device].down.blocked_until = self.now;
            self.devices[device].full = false;
            if !self.devices[device].is_up() {
                let at = self.now + self.dice.between(0, 1_000);
                self.at(at, Happening::DeviceStart { device });
            }
        }
        if !self.server.is_up() {
            self.at(self.now, Happening::ServerStart);
        }
    }

    /// Whether nothing that was begun is left to be ended.
    fn is_settled(&self) -> bool {
        self.server.is_idle(&self.tasks)
            && self.devices.iter().all(|device| self.has_settled(device))
    }

    /// Whether a device waits for nothing, and what it has new is known; or
    /// is out for good.
    fn has_settled(&self, device: &Device) -> bool {
        let is_known = |task: &Arc<Task>| {
            !device.has_news_of(task.hash()) || self.server.knows_news(task.hash(), device.id)
        };
        let is_out = |core: &Core| core.registry().revoked().contains_key(&device.id);
        self.server.core().is_some_and(is_out)
            || device.is_settled() && self.tasks.iter().all(is_known)
    }

    fn unsettled(&self) -> String {
        let waiting: Vec<String> = self
            .devices
            .iter()
            .filter(|device| !self.has_settled(device))
            .map(Device::describe)
            .collect();
        format!(
            "{} ms of calm and the fleet has not settled: {}; devices: {}",
            SETTLED_MS_MAX,
            self.server.describe(&self.tasks),
            waiting.join(", ")
        )
    }

    fn note(&mut self, what: &Happening) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            if trace.len() >= TRACE_MAX {
                trace.pop_front();
            }
            let line = format!("{now:>7} {what:?}");
            trace.push_back(line.chars().take(LINE_CHARACTERS_MAX).collect());
        }
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn remark(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            let line = format!("{now:>7}   {}", line());
            trace.push_back(line.chars().take(LINE_CHARACTERS_MAX).collect());
        }
    }
}

/// A task's definition; the computations never look at it.
fn task(number: usize) -> Arc<Task> {
    let text = format!(
        "name = \"survive-{number}\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\""
    );
    Arc::new(RawTask::parse(&text).expect("a constant definition that the tests parse"))
}

/// The round and the phase of a task, and whether the phase has closed.
pub(super) type At = (RoundId, Option<(Phase, bool)>);

/// The calm after which everything must be done: longer than any deadlines
/// and waits of a round together.
const SETTLED_MS_MAX: u64 = 1_200_000;
const STEPS_MAX: u64 = 3_000_000;
const TRACE_MAX: usize = 40;
const LINE_CHARACTERS_MAX: usize = 240;
