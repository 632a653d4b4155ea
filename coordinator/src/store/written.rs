//! A value on a disk that can lose what was not flushed.

/// A value as it is written, and as it would be after a crash.
#[derive(Debug, Default)]
pub(super) struct Written<T> {
    /// As the process sees it.
    pub(super) now: T,
    durable: T,
}

impl<T: Clone> Written<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            now: value.clone(),
            durable: value,
        }
    }

    /// Writes a value; on a lying disk it never becomes durable.
    pub(super) fn set(&mut self, value: T, lying: bool) {
        if !lying {
            self.durable = value.clone();
        }
        self.now = value;
    }

    /// What a loss of power leaves.
    pub(super) fn lose(&mut self) {
        self.now = self.durable.clone();
    }
}
