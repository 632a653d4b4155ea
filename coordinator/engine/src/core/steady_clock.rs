//! The time that engines are told: a wall clock that nobody sets.

use protocol::ids::Time;

/// Deadlines are counted in this time. It starts at what the wall clock
/// reads and goes on at the pace of the machine's uptime, so that a wall
/// clock that is set back does not hold a phase open for as long, nor one
/// that is set forward end it before its time. Only while nothing is counted
/// does it follow a wall clock that is ahead; it never runs backward.
#[derive(Clone, Copy, Debug)]
pub struct SteadyTime {
    base: Time,
    /// Uptime at which it read `base`.
    since_ms: u64,
}

impl SteadyTime {
    /// Begins at what the wall clock reads, at this uptime in milliseconds.
    pub fn begin(wall: Time, uptime_ms: u64) -> Self {
        Self {
            base: wall,
            since_ms: uptime_ms,
        }
    }

    /// What it reads now. `idle` says that nothing is counted in it.
    pub fn read(&mut self, wall: Time, uptime_ms: u64, idle: bool) -> Time {
        let steady = self.base.after_ms(uptime_ms.saturating_sub(self.since_ms));
        if idle && wall > steady {
            *self = Self::begin(wall, uptime_ms);
            return wall;
        }
        steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_clock_does_not_move_a_phase() {
        let mut time = SteadyTime::begin(Time(1_000_000), 50);
        assert_eq!(time.read(Time(1_000_010), 60, false), Time(1_000_010));
        assert_eq!(time.read(Time(5), 70, false), Time(1_000_020));
        assert_eq!(time.read(Time(9_000_000), 80, false), Time(1_000_030));
    }

    #[test]
    fn an_idle_clock_follows_forward_only() {
        let mut time = SteadyTime::begin(Time(1_000), 0);
        assert_eq!(time.read(Time(500), 10, true), Time(1_010));
        assert_eq!(time.read(Time(90_000), 20, true), Time(90_000));
        assert_eq!(time.read(Time(2_000), 30, true), Time(90_010));
    }
}
