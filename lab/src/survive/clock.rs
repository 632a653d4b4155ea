//! The coordinator's clock: what it reads, when the engine is woken by it, and
//! whether every phase ends in its time.

use common::ids::Time;
use common::round::Phase;
use coordinator::round::Input;

use super::Planted;
use super::world::{Happening, World};

impl World {
    /// What the coordinator's wall clock reads.
    pub(super) fn wall(&self) -> Time {
        Time((START_MS + self.now).saturating_add_signed(self.server.skew_ms))
    }

    /// What its engine is told.
    pub(super) fn server_time(&mut self) -> Time {
        let (wall, now) = (self.wall(), self.now);
        let idle = self
            .server
            .engine()
            .is_none_or(|engine| engine.state().round.is_none());
        match self.process() {
            Some(process) => process.time.read(wall, now, idle),
            None => wall,
        }
    }

    /// Sees to it that the engine is woken when it wants to be.
    pub(super) fn wake_server(&mut self) {
        let (now, time, life) = (self.now, self.server_time(), self.server.life);
        let forgets = self.planted == Some(Planted::ForgetTimeout);
        let Some(process) = self.process() else {
            return;
        };
        let Some(engine) = &process.engine else {
            return;
        };
        let phase = engine.state().open().map(|open| open.phase);
        if forgets && phase == Some(Phase::Contribute) {
            return;
        }
        let due = engine.poll_timeout();
        if due == process.awaited {
            return;
        }
        process.awaited = due;
        if let Some(due) = due {
            let at = now + due.since_ms(time);
            self.at(at, Happening::ServerTick { life, due: due.0 });
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
            return self.at(at, Happening::ServerTick { life, due });
        }
        process.awaited = None;
        if time >= Time(due) {
            self.feed(Input::Tick);
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
        let Some(open) = self
            .server
            .engine()
            .and_then(|engine| engine.state().open())
        else {
            return;
        };
        let policy = &self.weather.policy;
        let most = match open.phase.gathers() && !open.closed {
            true => policy.deadline_of(open.phase),
            false => WORK_MS_MAX,
        };
        if self.now > self.phase_since + most + SLACK_MS {
            let phase = open.phase;
            let ms = self.now - self.phase_since;
            self.hold(Err(format!(
                "{phase} has been open for {ms} ms, {most} are allowed"
            )));
        }
    }
}

/// The true time when the simulation begins.
const START_MS: u64 = 1_700_000_000_000;
/// Longest computation that a seed has.
const WORK_MS_MAX: u64 = 4_000;
/// Flushes and queues on the way to the next phase.
const SLACK_MS: u64 = 30_000;
