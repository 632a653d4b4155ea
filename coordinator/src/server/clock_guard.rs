//! A wall clock that is believed only as far as something else agrees.
//!
//! Certificates end by the clock, and a clock that somebody sets a year ahead
//! for a moment would end all of them at once. So a jump of this machine's
//! clock is noticed against its uptime, and held until devices' clocks say
//! which of the two is right.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use common::ids::{DeviceId, Time};
use common::trust::clock::Clock;

use crate::status::format;

/// Milliseconds that this machine is up, which nobody sets.
pub type Uptime = fn() -> u64;

/// Milliseconds since this machine started, time asleep included.
pub fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    1_000 * seconds + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000
}

/// The guard. What it gives out is the wall clock while that goes at the pace
/// of the uptime, and the last time believed plus uptime while it does not.
///
/// | situation | what is believed |
/// |---|---|
/// | the wall clock is within 10 min of the count | the wall clock |
/// | it jumped | the count, until more devices' clocks agree with the wall clock than with the count |
/// | it jumped, and for an hour no device said anything to the contrary | the wall clock |
/// | it begins before the newest time in the log | the log's; then the first later time that it shows |
/// | it begins 180 days after that | the log's, as if it had jumped |
pub(crate) struct ClockGuard {
    wall: Clock,
    uptime: Option<Uptime>,
    state: Mutex<State>,
}

struct State {
    /// Believed at uptime `since_ms`.
    base: Time,
    since_ms: u64,
    /// Whether it began behind the log, so that a jump forward is expected.
    began_behind: bool,
    /// Whether a device's clock has agreed with the time given out.
    has_witness: bool,
    doubt: Option<Doubt>,
}

/// The wall clock is elsewhere.
struct Doubt {
    since_ms: u64,
    for_wall: BTreeSet<DeviceId>,
    for_count: BTreeSet<DeviceId>,
}

impl ClockGuard {
    /// Guards a wall clock. Without uptime to compare it with it is believed
    /// whatever it shows, as tests need it that choose the day.
    pub(crate) fn new(wall: Clock, uptime: Option<Uptime>) -> Arc<Self> {
        let state = State {
            base: wall.now(),
            since_ms: uptime.map_or(0, |uptime| uptime()),
            began_behind: false,
            has_witness: false,
            doubt: None,
        };
        Arc::new(Self {
            wall,
            uptime,
            state: Mutex::new(state),
        })
    }

    /// The clock that all else goes by.
    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        let guard = self.clone();
        Clock::new(move || guard.now())
    }

    /// Compares the clock with the newest time that the log or a signature
    /// names, once, before anybody is judged.
    pub(crate) fn begin(&self, newest: Time) {
        let Some(uptime) = self.uptime else { return };
        let wall = self.wall.now();
        let mut state = self.state();
        let behind = wall.after_ms(TOLERATED_MS) < newest;
        if !behind && wall < newest.after_ms(BEGIN_AHEAD_MS) {
            return;
        }
        if newest == Time(0) {
            return;
        }
        (state.base, state.since_ms) = (newest, uptime());
        state.began_behind = behind;
        let (at, log) = (format::instant(wall), format::instant(newest));
        match behind {
            true => tracing::error!(
                "this machine's clock shows {at} UTC, but the log goes to {log}; it is taken to be \
                 later than that until the clock is right: set it (`timedatectl`)"
            ),
            false => tracing::warn!(
                "this machine's clock shows {at} UTC, {} after the newest time in the log; nobody \
                 is expired by it until a device's clock agrees; if it is wrong, set it \
                 (`timedatectl`)",
                format::span(wall.since_ms(newest))
            ),
        }
    }

    /// The time to go by.
    pub(crate) fn now(&self) -> Time {
        let wall = self.wall.now();
        match self.uptime {
            Some(uptime) => self.state().read(wall, uptime()),
            None => wall,
        }
    }

    /// Hears what a device's clock shows.
    pub(crate) fn hear(&self, device: DeviceId, shown: Time) {
        let Some(uptime) = self.uptime else { return };
        let (wall, uptime_ms) = (self.wall.now(), uptime());
        let mut state = self.state();
        let believed = state.read(wall, uptime_ms);
        let agrees = |time: Time| apart_ms(shown, time) <= AGREED_MS;
        let Some(doubt) = &mut state.doubt else {
            state.has_witness |= agrees(believed);
            return;
        };
        if agrees(believed) {
            doubt.for_count.insert(device);
        } else if agrees(wall) {
            doubt.for_wall.insert(device);
        }
        if doubt.for_wall.len() > doubt.for_count.len() {
            state.believe(wall, uptime_ms, "devices' clocks agree with it");
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(&mut self, wall: Time, uptime_ms: u64) -> Time {
        let counted = self.base.after_ms(uptime_ms.saturating_sub(self.since_ms));
        if apart_ms(wall, counted) <= TOLERATED_MS {
            if self.doubt.take().is_some() {
                tracing::info!("this machine's clock is as it was before it jumped");
            }
            (self.base, self.since_ms) = (wall, uptime_ms);
            self.began_behind = false;
            return wall;
        }
        if self.began_behind && wall > counted {
            self.believe(wall, uptime_ms, "it was behind the log before");
            return wall;
        }
        let has_witness = self.has_witness;
        let doubt = self.doubt.get_or_insert_with(|| {
            let direction = if wall > counted { "ahead" } else { "back" };
            tracing::error!(
                "this machine's clock jumped {} {direction}, from {} to {} UTC; until devices' \
                 clocks agree, nobody is expired and nothing is dated by it: look at `timedatectl`",
                format::span(apart_ms(wall, counted)),
                format::instant(counted),
                format::instant(wall)
            );
            Doubt {
                since_ms: uptime_ms,
                for_wall: BTreeSet::new(),
                for_count: BTreeSet::new(),
            }
        });
        let is_denied = has_witness || !doubt.for_count.is_empty();
        if !is_denied && uptime_ms.saturating_sub(doubt.since_ms) >= HELD_MS {
            self.believe(wall, uptime_ms, "nothing has spoken against it for an hour");
            return wall;
        }
        counted
    }

    fn believe(&mut self, wall: Time, uptime_ms: u64, why: &str) {
        tracing::warn!(
            "this machine's clock is believed again, {} UTC: {why}",
            format::instant(wall)
        );
        (self.base, self.since_ms) = (wall, uptime_ms);
        (self.began_behind, self.has_witness) = (false, false);
        self.doubt = None;
    }
}

impl fmt::Debug for ClockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockGuard")
    }
}

fn apart_ms(one: Time, other: Time) -> u64 {
    one.0.abs_diff(other.0)
}

/// A clock that is set by less than this is followed at once.
const TOLERATED_MS: u64 = 10 * 60_000;
/// Two clocks agree that are no further apart.
const AGREED_MS: u64 = 3_600_000;
/// How long a jump is held that nothing speaks against.
const HELD_MS: u64 = 3_600_000;
/// A clock that begins this long after the log is not believed at once.
const BEGIN_AHEAD_MS: u64 = 180 * 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    thread_local! {
        static UPTIME: Cell<u64> = const { Cell::new(0) };
    }

    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    const HOUR_MS: u64 = 3_600_000;
    const BEGIN: u64 = 1_800_000_000_000;

    /// A guard over a wall clock that the test sets, and an uptime that it
    /// lets pass.
    struct Case {
        wall: Arc<AtomicU64>,
        guard: Arc<ClockGuard>,
    }

    impl Case {
        fn new() -> Self {
            UPTIME.set(0);
            let wall = Arc::new(AtomicU64::new(BEGIN));
            let shown = wall.clone();
            let clock = Clock::new(move || Time(shown.load(Ordering::Relaxed)));
            let guard = ClockGuard::new(clock, Some(|| UPTIME.get()));
            Self { wall, guard }
        }

        fn jump(&self, to: u64) {
            self.wall.store(to, Ordering::Relaxed);
        }

        fn pass(&self, ms: u64) {
            UPTIME.set(UPTIME.get() + ms);
            self.wall.fetch_add(ms, Ordering::Relaxed);
        }

        fn now(&self) -> u64 {
            self.guard.now().0
        }

        fn hear(&self, device: u8, shown: u64) {
            self.guard.hear(DeviceId([device; 16]), Time(shown));
        }
    }

    #[test]
    fn a_clock_a_year_ahead_for_a_moment_changes_nothing() {
        let case = Case::new();
        case.hear(1, BEGIN);
        case.pass(1_000);
        case.jump(BEGIN + YEAR_MS);
        assert_eq!(case.now(), BEGIN + 1_000);
        case.pass(15_000);
        assert_eq!(case.now(), BEGIN + 16_000);
        case.jump(BEGIN + 16_000);
        assert_eq!(case.now(), BEGIN + 16_000);
        // Nor does it while it lasts, if a device knew better before.
        case.jump(BEGIN + YEAR_MS);
        case.now();
        case.pass(48 * HOUR_MS);
        assert_eq!(case.now(), BEGIN + 16_000 + 48 * HOUR_MS);
    }

    #[test]
    fn a_clock_a_year_back_changes_nothing() {
        let case = Case::new();
        case.jump(BEGIN - YEAR_MS);
        case.pass(5_000);
        assert_eq!(case.now(), BEGIN + 5_000);
    }

    #[test]
    fn a_clock_jump_needs_a_device_that_agrees() {
        let case = Case::new();
        case.jump(BEGIN + YEAR_MS);
        assert_eq!(case.now(), BEGIN);
        case.hear(1, BEGIN + YEAR_MS + 60_000);
        assert_eq!(case.now(), BEGIN + YEAR_MS);

        let case = Case::new();
        case.jump(BEGIN + YEAR_MS);
        case.hear(1, BEGIN);
        case.hear(2, BEGIN + YEAR_MS);
        assert_eq!(case.now(), BEGIN, "one against one");
        case.hear(3, BEGIN + YEAR_MS);
        assert_eq!(case.now(), BEGIN + YEAR_MS);

        let case = Case::new();
        case.jump(BEGIN + YEAR_MS);
        assert_eq!(case.now(), BEGIN);
        case.pass(HOUR_MS - 1);
        assert_eq!(case.now(), BEGIN + HOUR_MS - 1);
        case.pass(1);
        assert_eq!(case.now(), BEGIN + YEAR_MS + HOUR_MS);
    }

    #[test]
    fn a_clock_that_is_corrected_a_little_is_followed() {
        let case = Case::new();
        for step in [60_000i64, -90_000, 590_000] {
            let to = case.now().saturating_add_signed(step);
            case.jump(to);
            assert_eq!(case.now(), to);
        }
    }

    #[test]
    fn a_machine_started_in_1970_goes_by_its_log() {
        let case = Case::new();
        case.jump(5_000);
        case.guard.begin(Time(BEGIN));
        assert_eq!(case.now(), BEGIN);
        case.pass(60_000);
        assert_eq!(case.now(), BEGIN + 60_000);
        case.jump(BEGIN + 20 * 24 * HOUR_MS);
        assert_eq!(case.now(), BEGIN + 20 * 24 * HOUR_MS);
    }

    #[test]
    fn a_machine_far_ahead_of_its_log_asks_a_device() {
        let case = Case::new();
        case.guard.begin(Time(BEGIN - 30 * 24 * HOUR_MS));
        assert_eq!(case.now(), BEGIN, "a month off is no doubt");
        case.guard.begin(Time(BEGIN - YEAR_MS));
        assert_eq!(case.now(), BEGIN - YEAR_MS);
        case.hear(1, BEGIN);
        assert_eq!(case.now(), BEGIN);
    }

    #[test]
    fn without_uptime_the_wall_clock_is_followed() {
        let guard = ClockGuard::new(Clock::fixed(Time(7)), None);
        guard.begin(Time(BEGIN));
        assert_eq!(guard.clock().now(), Time(7));
    }
}
