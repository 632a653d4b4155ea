//! Blobs that no event names yet, and that must stay until one does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::BlobHash;

/// Which blobs are on their way into the log. Anyone who writes one pins it
/// before, and lets go once the event that names it is durable or will never
/// come. A sweep leaves alone what was pinned at any time since it began.
#[derive(Debug, Default)]
pub struct Pins {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: BTreeMap<BlobHash, u32>,
    /// Pinned since the sweep in hand began; none between sweeps.
    touched: Option<BTreeSet<BlobHash>>,
}

/// Holds a blob until it is dropped.
pub struct Pin {
    pins: Arc<Pins>,
    blob: BlobHash,
}

impl Pins {
    /// Nothing pinned.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Keeps a blob, which may not be there yet.
    pub fn pin(self: &Arc<Self>, blob: BlobHash) -> Pin {
        let mut table = self.table();
        *table.held.entry(blob).or_default() += 1;
        if let Some(touched) = &mut table.touched {
            touched.insert(blob);
        }
        drop(table);
        Pin {
            pins: self.clone(),
            blob,
        }
    }

    /// From here on what is pinned stays, also once it is let go of.
    pub fn begin_sweep(&self) {
        let mut table = self.table();
        table.touched = Some(table.held.keys().copied().collect());
    }

    /// Has those of these blobs removed that were not pinned since the sweep
    /// began; none if no sweep goes on. Anyone who pins one meanwhile waits, and
    /// then writes it again.
    pub fn unpinned<T>(&self, blobs: &[BlobHash], remove: impl FnOnce(&[BlobHash]) -> T) -> T {
        let table = self.table();
        let touched = table.touched.as_ref();
        let is_free = |blob: &BlobHash| touched.is_some_and(|touched| !touched.contains(blob));
        let free: Vec<_> = blobs.iter().copied().filter(is_free).collect();
        remove(&free)
    }

    /// The sweep is over.
    pub fn end_sweep(&self) {
        self.table().touched = None;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = self.pins.table();
        if let Some(count) = table.held.get_mut(&self.blob) {
            *count -= 1;
            if *count == 0 {
                table.held.remove(&self.blob);
            }
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.blob.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these may go.
    fn free(pins: &Pins, blob: BlobHash) -> usize {
        pins.unpinned(&[blob], <[BlobHash]>::len)
    }

    #[test]
    fn what_was_pinned_during_a_sweep_stays_to_its_end() {
        let pins = Pins::new();
        let blob = BlobHash::of(b"a");
        assert_eq!(free(&pins, blob), 0, "no sweep goes on");
        pins.begin_sweep();
        assert_eq!(free(&pins, blob), 1);
        drop(pins.pin(blob));
        assert_eq!(free(&pins, blob), 0);
        pins.end_sweep();
        pins.begin_sweep();
        assert_eq!(free(&pins, blob), 1);
    }

    #[test]
    fn a_blob_is_held_until_the_last_lets_go() {
        let pins = Pins::new();
        let blob = BlobHash::of(b"a");
        let first = pins.pin(blob);
        let second = pins.pin(blob);
        drop(first);
        pins.begin_sweep();
        assert_eq!(free(&pins, blob), 0);
        drop(second);
        assert_eq!(free(&pins, blob), 0);
        pins.begin_sweep();
        assert_eq!(free(&pins, blob), 1);
    }
}
