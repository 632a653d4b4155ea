//! The device's rows as the backend wants them.

use common::task::Task;

use crate::data::{Dataset, Split};
use crate::driver::BackendError;
use crate::policy::{Described, RowHash, RowSet};
use crate::work::RawRows;

/// Where rows come from.
pub trait Source: Send + Sync + 'static {
    /// Whether there is anything else than when [`load`](Self::load) last
    /// looked. Cheap.
    fn glance(&self) -> bool;

    /// Whether rows could be read at all, before a task is known.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    fn probe(&self) -> Result<(), BackendError>;

    /// All rows, read for a task, in two parts: those to learn from and those
    /// only to try students on.
    ///
    /// # Errors
    /// The first thing that does not fit, and what to do about it.
    fn load(&self, task: &Task) -> Result<Split, BackendError>;

    /// All rows as they were read, copies too: none is left out because of
    /// another.
    ///
    /// # Errors
    /// The first thing that does not fit, and what to do about it.
    fn all(&self, task: &Task) -> Result<Dataset, BackendError>;
}

/// The rows, borrowed.
pub(super) fn view(rows: &Dataset) -> RawRows<'_> {
    RawRows {
        inputs: rows.inputs(),
        seen: rows.seen(),
        labels: rows.labels(),
        numbers: rows.numbers(),
        soft: rows.soft(),
    }
}

/// Names of the rows, in order.
pub(super) fn hashes(rows: &Dataset) -> Vec<RowHash> {
    RowHash::of_inputs(rows.inputs())
}

/// What a contribution of these rows describes: all of them, and those of each
/// class.
pub(super) fn described(names: &[RowHash], labels: &[Option<u16>]) -> Described {
    Described::of(names.iter().copied().zip(labels.iter().copied()))
}

/// Only the rows of a set, in order. If all are, nothing is copied.
pub(super) fn only(rows: Dataset, hashes: &[RowHash], set: &RowSet) -> Dataset {
    keep(rows, &set.select(hashes))
}

/// Only the labelled rows, in order, and their labels.
pub(super) fn labelled(rows: Dataset) -> (Dataset, Vec<u16>) {
    let selected: Vec<bool> = rows.labels().iter().map(Option::is_some).collect();
    let rows = keep(rows, &selected);
    let labels = rows.labels().iter().flatten().copied().collect();
    (rows, labels)
}

fn keep(rows: Dataset, selected: &[bool]) -> Dataset {
    if selected.iter().all(|selected| *selected) {
        return rows;
    }
    let chosen: Vec<usize> = (0..selected.len()).filter(|row| selected[*row]).collect();
    rows.select(&chosen)
}
