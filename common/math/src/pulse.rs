//! Signs of life of long computations.
//!
//! A training of ten minutes and a loop that stands still look alike from
//! outside. So the computations beat between bounded pieces of their work (a
//! batch, a block of a kernel, an iteration), and a watchdog of the process
//! sees whether anything moved. Beating costs one atomic addition.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How often the computations of a process have beaten, and how many are
/// under way.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    working: AtomicUsize,
}

/// The pulse of this process.
pub static PROCESS: Pulse = Pulse::new();

impl Pulse {
    /// A pulse that has not beaten.
    pub const fn new() -> Self {
        Self {
            beats: AtomicU64::new(0),
            working: AtomicUsize::new(0),
        }
    }

    /// Says that a bounded piece of work is done.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has beaten.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Marks a computation as under way until the result is dropped.
    #[must_use = "the computation counts as over when this is dropped"]
    pub fn work(&self) -> Working<'_> {
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(self)
    }

    /// Whether a computation is under way.
    pub fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed) > 0
    }
}

/// A computation that is under way; over when dropped, also by a panic.
#[derive(Debug)]
pub struct Working<'a>(&'a Pulse);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Beats for this process: see [`Pulse::beat`].
pub fn beat() {
    PROCESS.beat();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_under_way_until_the_last_of_it_ends() {
        let pulse = Pulse::new();
        let one = pulse.work();
        let other = pulse.work();
        drop(one);
        assert!(pulse.is_working());
        drop(other);
        assert!(!pulse.is_working());
        assert_eq!(pulse.beats(), 2);
    }

    #[test]
    fn work_that_panics_is_over() {
        let pulse = Pulse::new();
        let broken = std::panic::catch_unwind(|| {
            let _working = pulse.work();
            panic!("as intended");
        });
        assert!(broken.is_err());
        assert!(!pulse.is_working());
    }
}
