//! Signs of life of long computations.
//!
//! A training of ten minutes and a loop that stands still look alike from
//! outside. So the computations beat between bounded pieces of their work (a
//! batch, a block of a kernel, an iteration), and a watchdog of the process
//! sees whether anything moved. Beating costs one atomic addition, and a look at
//! whether this thread has a listener.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

/// Beats for this process: see [`Pulse::beat`]. Does not return where this thread's
/// listener has had enough: see [`interruptible`].
pub fn beat() {
    PROCESS.beat();
    let enough = LISTENER.with(|listener| match listener.try_borrow_mut() {
        Ok(mut listener) => listener.as_mut().is_some_and(|listen| listen()),
        Err(_) => false,
    });
    if enough {
        resume_unwind(Box::new(Interrupted));
    }
}

type Listener = Box<dyn FnMut() -> bool>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// A computation was ended because its listener wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Does `work` on this thread and asks `enough` at each of its beats; once that says so, the
/// work is unwound, as by a panic that nobody reports. Other panics go through.
///
/// # Errors
/// [`Interrupted`], if the work was ended so.
pub fn interruptible<R>(
    enough: impl FnMut() -> bool + 'static,
    work: impl FnOnce() -> R,
) -> Result<R, Interrupted> {
    let before = LISTENER.replace(Some(Box::new(enough)));
    let done = catch_unwind(AssertUnwindSafe(work));
    LISTENER.set(before);
    done.or_else(
        |cause: Box<dyn Any + Send>| match cause.downcast::<Interrupted>() {
            Ok(interrupted) => Err(*interrupted),
            Err(other) => resume_unwind(other),
        },
    )
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
    fn work_ends_at_the_beat_at_which_its_listener_has_enough() {
        let mut left = 3;
        let enough = move || {
            left -= 1;
            left == 0
        };
        let mut done = 0;
        let ended = interruptible(enough, || {
            for _ in 0..10 {
                beat();
                done += 1;
            }
        });
        assert_eq!((ended, done), (Err(Interrupted), 2));
        beat();
        assert_eq!(interruptible(|| false, beat), Ok(()));
        let other = std::panic::catch_unwind(|| interruptible(|| false, || panic!("as intended")));
        assert!(other.is_err());
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
