//! The coordinator's clock: what it reads, when the core is woken by it, and
//! whether every phase ends in its time.

use std::sync::Arc;

use common::ids::{TaskHash, Time};
use common::round::Phase;
use common::task::Task;
use coordinator::round::Engine;

use super::Planted;
use super::server::START_MS;
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    /// What the coordinator's wall clock reads.
    pub(super) fn wall(&self) -> Time {
        Time((START_MS + self.now).saturating_add_signed(self.server.skew_ms))
    }

    /// What its core is told.
    pub(super) fn server_time(&mut self) -> Time {
        let (wall, now) = (self.wall(), self.now);
        match self.process() {
            Some(process) => {
                let idle = process.core.is_idle();
                process.time.read(wall, now, idle)
            }
            None => wall,
        }
    }

    /// Sees to it that the core is woken when it wants to be.
    pub(super) fn wake_server(&mut self) {
        let (now, time, life) = (self.now, self.server_time(), self.server.life);
        let forgets = self.planted == Some(Planted::ForgetTimeout);
        let contributes = |task: &Arc<Task>| {
            let engine = self.server.engine(task.hash());
            let open = engine.and_then(|engine| engine.state().open());
            open.is_some_and(|open| open.phase == Phase::Contribute)
        };
        if forgets && self.tasks.iter().any(contributes) {
            return;
        }
        let Some(process) = self.process() else {
            return;
        };
        if !process.core.in_service() {
            return;
        }
        let due = process.core.timeout();
        if due == process.awaited {
            return;
        }
        process.awaited = due;
        if let Some(due) = due {
            let at = now + due.since_ms(time);
            self.at(at, SimulatorEvent::ServerTick { life, due: due.0 });
        }
    }

    pub(super) fn server_tick(&mut self, life: u64, due: u64) {
        if life != self.server.life {
            return;
        }
        let time = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        if process.awaited != Some(Time(due)) {
            return;
        }
        if process.appending.is_some() {
            let at = self.now + 1;
            return self.at(at, SimulatorEvent::ServerTick { life, due });
        }
        process.awaited = None;
        if time >= Time(due) {
            process.core.tick(time);
            self.perform();
            self.settle();
        }
        self.pump();
    }

    /// The wall clock was set; anyone who waits for it looks again.
    pub(super) fn set_clock(&mut self, skew_ms: i64) {
        self.server.skew_ms = skew_ms;
        if let Some(process) = self.process() {
            process.awaited = None;
        }
        self.wake_server();
    }

    /// Every phase ends in its time, while the coordinator is there.
    pub(super) fn check_progress(&mut self) {
        if self.is_paused() {
            let now = self.now;
            return self.phase_since.values_mut().for_each(|since| *since = now);
        }
        for task in self.tasks.clone() {
            self.check_progress_of(task.hash());
        }
    }

    fn check_progress_of(&mut self, task: TaskHash) {
        let Some(state) = self.server.engine(task).map(Engine::state) else {
            return;
        };
        let open = state.open();
        let phase = open.map(|open| (open.phase, open.closed));
        let at = (state.last_round, phase);
        if self.phases.insert(task, at) != Some(at) {
            self.phase_since.insert(task, self.now);
        }
        let Some((phase, closed)) = phase else { return };
        let policy = &self.scenario.policy;
        let most = match phase.gathers() && !closed {
            true => policy.deadline_of(phase),
            false => WORK_MS_MAX * self.tasks.len() as u64,
        };
        let since = self.phase_since.get(&task).copied().unwrap_or(self.now);
        if self.now > since + most + SLACK_MS {
            let ms = self.now - since;
            self.hold(Err(format!(
                "{phase} has been open for {ms} ms, {most} are allowed"
            )));
        }
    }
}

/// Longest computation that a seed has.
const WORK_MS_MAX: u64 = 4_000;
/// Flushes and queues on the way to the next phase.
const SLACK_MS: u64 = 30_000;
