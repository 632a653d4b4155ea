//! Everything that happens, in the order of the simulated clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use common::ids::{RoundId, TaskHash, Version};
use common::round::Phase;
use common::task::{RawTask, Task};
use coordinator::core::Core;
use coordinator::core::command::RunId;
use coordinator::round::JobOutput;

use super::checker::{Checker, Violation};
use super::device::{Device, DeviceWork};
use super::faults::Fault;
use super::network::{Down, Paths, Up};
use super::scenario::{Random, Scenario};
use super::server::Server;
use super::turn_steps::Step;
use super::turns::Turns;
use super::{Broken, Planted, Run, Survived};

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum SimulatorEvent {
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
    ServerStart {
        node: usize,
    },
    /// A coordinator's turn, where several take turns.
    Turn {
        node: usize,
        step: Step,
    },
    StoreMended {
        life: u64,
    },
    Fault,
    Freed(Fault),
    Operator,
    Calm,
}

pub(super) struct Simulator {
    seed: u64,
    pub(super) planted: Option<Planted>,
    pub(super) random: Random,
    pub(super) scenario: Scenario,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), SimulatorEvent>,
    sequence: u64,
    /// Sessions and streams so far; each has a number of its own.
    pub(super) sessions: u64,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) paths: Vec<Paths>,
    pub(super) devices: Vec<Device>,
    pub(super) server: Server,
    /// None if there is one coordinator.
    pub(super) turns: Option<Turns>,
    pub(super) checker: Checker,
    pub(super) survived: Survived,
    pub(super) broken: Option<Violation>,
    pub(super) is_calm: bool,
    /// Tasks and devices that came to rest since then, by number.
    rested: BTreeSet<usize>,
    /// Where each task's round is, and since when without a break.
    pub(super) phases: BTreeMap<TaskHash, At>,
    pub(super) phase_since: BTreeMap<TaskHash, u64>,
    trace: Option<VecDeque<String>>,
}

impl Simulator {
    pub(super) fn new(of: &Run, traced: bool) -> Self {
        let (seed, planted) = (of.seed, of.planted);
        let scenario = Scenario::of(seed);
        let tasks: Vec<_> = (0..scenario.tasks).map(task).collect();
        let mut simulator = Self {
            seed,
            planted,
            random: Random::new(seed, "fleet"),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            paths: vec![Paths::default(); scenario.devices],
            devices: (0..scenario.devices)
                .map(|index| Device::new(seed, index))
                .collect(),
            server: Server::new(&tasks, &scenario.join),
            turns: of.shared.then(|| Turns::new(seed)),
            tasks,
            checker: Checker::default(),
            survived: Survived {
                devices: scenario.devices as u64,
                further_tasks: scenario.tasks as u64 - 1,
                ..Survived::default()
            },
            broken: None,
            is_calm: false,
            rested: BTreeSet::new(),
            phases: BTreeMap::new(),
            phase_since: BTreeMap::new(),
            trace: traced.then(VecDeque::new),
            scenario,
        };
        simulator.first_steps();
        simulator
    }

    fn first_steps(&mut self) {
        self.at(0, SimulatorEvent::ServerStart { node: 0 });
        self.first_turns();
        for device in 0..self.devices.len() {
            let late = self.random.chance(0.2);
            let at = if late {
                self.random.between(0, 40_000)
            } else {
                self.random.between(0, 500)
            };
            self.at(at, SimulatorEvent::DeviceStart { device });
        }
        self.at(self.scenario.calm_at, SimulatorEvent::Calm);
        self.at(1_000, SimulatorEvent::Operator);
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
            match self.go_to(&next) {
                Some(until) => self.at(until, next),
                None => self.step(next),
            }
            self.go_to_leader();
            self.check_progress();
            if self.is_calm && self.is_settled() {
                self.survived.simulated_ms = self.now;
                self.survived.completed = self.checker.completed();
                (self.survived.rolled_out, self.survived.halted) = self.checker.rollouts();
                return Ok(self.survived);
            }
            if self.now > self.scenario.calm_at + SETTLED_MS_MAX {
                self.broken = Some(self.unsettled());
            }
            if self.survived.steps > STEPS_MAX {
                self.broken = Some(format!("{STEPS_MAX} steps and no end"));
            }
        }
        Err(Box::new(Broken {
            seed: self.seed,
            shared: self.turns.is_some(),
            at_ms: self.now,
            violation: self.broken.unwrap_or_default(),
            trace: self.trace.unwrap_or_default().into(),
        }))
    }

    pub(super) fn at(&mut self, at: u64, what: SimulatorEvent) {
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

    fn step(&mut self, event: SimulatorEvent) {
        match event {
            SimulatorEvent::Up {
                device,
                session,
                packet,
            } => self.heard(device, session, packet),
            SimulatorEvent::Down {
                device,
                session,
                packet,
            } => self.told(device, session, packet),
            SimulatorEvent::LinkLost { device, session } => self.link_lost(device, session),
            SimulatorEvent::SessionLost { device, session } => self.session_lost(device, session),
            SimulatorEvent::DeviceTick { device, life } => self.device_tick(device, life),
            SimulatorEvent::DeviceWork { device, life, work } => self.worked(device, life, work),
            SimulatorEvent::TransferStalled { device, stream } => self.stalled(device, stream),
            SimulatorEvent::DeviceStart { device } => self.start_device(device),
            SimulatorEvent::ServerTick { life, due } => self.server_tick(life, due),
            SimulatorEvent::Flushed { life, append } => self.flushed(life, append),
            SimulatorEvent::Computed {
                life,
                task,
                run,
                result,
            } => self.computed(life, task, run, result),
            SimulatorEvent::Compaction { epoch } => self.compaction(epoch),
            SimulatorEvent::Soaked {
                device,
                task,
                version,
            } => self.soaked(device, task, version),
            SimulatorEvent::ServerStart { .. } => self.start_server(),
            SimulatorEvent::Turn { step, .. } => self.take_step(step),
            SimulatorEvent::StoreMended { life } => self.mend_store(life),
            SimulatorEvent::Fault => self.fault(),
            SimulatorEvent::Freed(fault) => self.freed(fault),
            SimulatorEvent::Operator => self.operator(),
            SimulatorEvent::Calm => self.calm(),
        }
    }

    fn calm(&mut self) {
        self.is_calm = true;
        self.scenario.calm();
        self.server.store.set_full(false);
        self.server.slow_until = 0;
        for device in 0..self.devices.len() {
            self.paths[device].up.blocked_until = self.now;
            self.paths[device].down.blocked_until = self.now;
            self.devices[device].full = false;
            if !self.devices[device].is_up() {
                let at = self.now + self.random.between(0, 1_000);
                self.at(at, SimulatorEvent::DeviceStart { device });
            }
        }
        if !self.server.is_up() {
            let node = self.server.host.number;
            self.at(self.now, SimulatorEvent::ServerStart { node });
        }
    }

    /// Whether nothing that was begun is left to be ended. Of several tasks, and
    /// where coordinators take turns, it is enough that each task and each device
    /// came to rest: with rounds at short intervals they may never do so all at once.
    fn is_settled(&mut self) -> bool {
        if self.turns.is_none() && self.tasks.len() < 2 {
            return self.server.is_idle(&self.tasks)
                && self.devices.iter().all(|device| self.has_settled(device));
        }
        let mut rested = std::mem::take(&mut self.rested);
        let tasks = self.tasks.chunks(1).enumerate();
        rested.extend(tasks.filter_map(|(at, task)| self.server.is_idle(task).then_some(at)));
        let devices = self.devices.iter().enumerate();
        let settled = devices.filter(|(_, device)| self.has_settled(device));
        rested.extend(settled.map(|(at, _)| self.tasks.len() + at));
        self.rested = rested;
        self.rested.len() == self.tasks.len() + self.devices.len()
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

    fn note(&mut self, what: &SimulatorEvent) {
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
        "name = \"survive-{number}\"\ncontribute = \"both\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\""
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
