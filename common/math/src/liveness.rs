//! Signs of life of long computations.
//!
//! A training of ten minutes and a loop that stands still look alike from
//! outside. So the computations send heartbeats between bounded pieces of their work (a
//! batch, a block of a kernel, an iteration), and a watchdog of the process
//! sees whether anything moved. A heartbeat costs one atomic addition, and a look at
//! whether this thread has a listener.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Heartbeats of the computations of a process, and how many are
/// under way.
#[derive(Debug, Default)]
pub struct Liveness {
    heartbeats: AtomicU64,
    working: AtomicUsize,
}

/// That of this process.
pub static PROCESS: Liveness = Liveness::new();

impl Liveness {
    /// Without a heartbeat yet.
    pub const fn new() -> Self {
        Self {
            heartbeats: AtomicU64::new(0),
            working: AtomicUsize::new(0),
        }
    }

    /// Says that a bounded piece of work is done.
    pub fn heartbeat(&self) {
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
    }

    /// Heartbeats so far.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
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
pub struct Working<'a>(&'a Liveness);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.heartbeat();
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A heartbeat of this process: see [`Liveness::heartbeat`]. Does not return where this thread's
/// listener has had enough: see [`interruptible`].
pub fn heartbeat() {
    PROCESS.heartbeat();
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

/// Does `work` on this thread and asks `enough` at each of its heartbeats; once that says so, the
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
        let liveness = Liveness::new();
        let one = liveness.work();
        let other = liveness.work();
        drop(one);
        assert!(liveness.is_working());
        drop(other);
        assert!(!liveness.is_working());
        assert_eq!(liveness.heartbeats(), 2);
    }

    #[test]
    fn a_listener_can_end_work_at_a_heartbeat() {
        let mut left = 3;
        let enough = move || {
            left -= 1;
            left == 0
        };
        let mut done = 0;
        let ended = interruptible(enough, || {
            for _ in 0..10 {
                heartbeat();
                done += 1;
            }
        });
        assert_eq!((ended, done), (Err(Interrupted), 2));
        heartbeat();
        assert_eq!(interruptible(|| false, heartbeat), Ok(()));
        let other = std::panic::catch_unwind(|| interruptible(|| false, || panic!("as intended")));
        assert!(other.is_err());
    }

    #[test]
    fn work_that_panics_is_over() {
        let liveness = Liveness::new();
        let broken = std::panic::catch_unwind(|| {
            let _working = liveness.work();
            panic!("as intended");
        });
        assert!(broken.is_err());
        assert!(!liveness.is_working());
    }
}
