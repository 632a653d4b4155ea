//! Every set of rows that contributions to one task have described.

use std::path::{Path, PathBuf};

use common::ids::TaskHash;
use common::limits::BLOB_BYTES_MAX;
use common::wire::codec;

use super::rows::RowSet;
use crate::outbox::{DiskError, disk};

/// Most bytes of row hashes that are remembered for one task. When they are
/// reached, contributions repeat rows that were sent before, for they cannot
/// be compared with what would be forgotten.
pub const HISTORY_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!((HISTORY_BYTES_MAX as u64) < BLOB_BYTES_MAX / 2 + 1);

/// Why the history cannot be used. Without it nothing may leave.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has changed since it was written.
    #[error("{} is damaged: it is not known which rows were described before", .0.display())]
    Damaged(PathBuf),
    /// A set that does not fit beside the others: a fault in this program.
    #[error("no room for {rows} rows in the history {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Rows of the set.
        rows: usize,
    },
}

impl HistoryError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Disk(error) => error.advice(),
            Self::Damaged(path) => format!(
                "restore {} from a copy; removing it makes the device contribute again, but \
                 then two contributions may differ by few rows",
                path.display()
            ),
            Self::Full { .. } => "report this as a fault of the agent".to_owned(),
        }
    }
}

/// The sets of rows described so far, kept in one file.
///
/// Comparing with the last one alone would not do: twenty rows added and
/// then nineteen of them and another one removed passes twice, and yet the
/// first and the third differ by two rows.
#[derive(Debug)]
pub struct RowHistory {
    folder: PathBuf,
    name: String,
    sets: Vec<RowSet>,
}

impl RowHistory {
    /// The history of `task` in `folder`, made if it is missing.
    ///
    /// # Errors
    /// [`HistoryError::Damaged`] or [`HistoryError::Disk`].
    pub fn open(folder: &Path, task: TaskHash) -> Result<Self, HistoryError> {
        disk::create_folder(folder)?;
        let name = format!("{task}.rows");
        let path = folder.join(&name);
        let sets = match disk::read(&path)? {
            None => Vec::new(),
            Some(bytes) => disk::unseal(&bytes)
                .and_then(|body| codec::decode_blob(body).ok())
                .ok_or(HistoryError::Damaged(path))?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            name,
            sets,
        })
    }

    /// The set described last.
    pub fn last(&self) -> Option<&RowSet> {
        self.sets.last()
    }

    /// The rows of `current` that the next contribution describes: each set
    /// described before differs from them as [`RowSet::admit`] demands. Empty
    /// if nothing may leave. Cost: O(sets · rows), a few times.
    pub fn admit(&self, current: RowSet, rows_min: u64) -> RowSet {
        let admitted = self.narrow(current.clone(), rows_min);
        if self.has_room(&admitted) {
            return admitted;
        }
        let repeated = |sent: &&RowSet| sent.len() as u64 >= rows_min && sent.is_within(&current);
        self.sets
            .iter()
            .rev()
            .find(repeated)
            .cloned()
            .unwrap_or_default()
    }

    /// Remembers that `set` is described. To be called before anything that
    /// describes it leaves; durable when this returns.
    ///
    /// # Errors
    /// [`HistoryError::Disk`] or [`HistoryError::Full`]; then nothing may
    /// leave.
    pub fn record(&mut self, set: RowSet) -> Result<(), HistoryError> {
        if set.is_empty() || self.last() == Some(&set) {
            return Ok(());
        }
        if !self.has_room(&set) {
            return Err(HistoryError::Full {
                path: self.folder.join(&self.name),
                rows: set.len(),
            });
        }
        let mut sets = self.sets.clone();
        sets.retain(|sent| *sent != set);
        sets.push(set);
        disk::replace(&self.folder, &self.name, &disk::seal(&codec::encode(&sets)))?;
        self.sets = sets;
        Ok(())
    }

    /// Every step takes rows away or changes nothing, so this ends; then no
    /// set has an objection.
    fn narrow(&self, current: RowSet, rows_min: u64) -> RowSet {
        let mut admitted = RowSet::admit(None, current, rows_min);
        loop {
            let before = admitted.len();
            for sent in &self.sets {
                admitted = RowSet::admit(Some(sent), admitted, rows_min);
            }
            if admitted.len() == before {
                return admitted;
            }
        }
    }

    fn has_room(&self, set: &RowSet) -> bool {
        let rows: usize = self.sets.iter().map(RowSet::len).sum();
        self.sets.contains(set) || (rows + set.len()).saturating_mul(16) <= HISTORY_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::rows::RowHash;
    use super::super::rows::tests::{is_sound, sets};
    use super::*;
    use proptest::prelude::*;

    const TASK: TaskHash = TaskHash([7; 32]);

    fn set(rows: impl IntoIterator<Item = u8>) -> RowSet {
        rows.into_iter().map(|row| RowHash([row; 16])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_two_contributions_differ_by_nothing_or_enough(
            data in prop::collection::vec(sets(), 2..7), rows_min in 2usize..12,
        ) {
            let folder = tempfile::tempdir().unwrap();
            for current in data {
                let mut history = RowHistory::open(folder.path(), TASK).unwrap();
                let admitted = history.admit(current, rows_min as u64);
                history.record(admitted).unwrap();
                for one in &history.sets {
                    for other in &history.sets {
                        prop_assert!(is_sound(one, other, rows_min));
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_come_and_go_do_not_uncover_one_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = RowHistory::open(folder.path(), TASK).unwrap();
        for rows in [set(0..50), set(0..70), set((1..50).chain([69]))] {
            let admitted = history.admit(rows, 20);
            history.record(admitted).unwrap();
        }
        for one in &history.sets {
            assert!(history.sets.iter().all(|other| is_sound(one, other, 20)));
        }
    }

    #[test]
    fn the_same_rows_are_described_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = RowHistory::open(folder.path(), TASK).unwrap();
        history.record(set(0..30)).unwrap();
        let history = RowHistory::open(folder.path(), TASK).unwrap();
        assert_eq!(history.admit(set(0..35), 20), set(0..30));
        assert_eq!(history.last(), Some(&set(0..30)));
    }

    #[test]
    fn a_damaged_history_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = RowHistory::open(folder.path(), TASK).unwrap();
        history.record(set(0..30)).unwrap();
        let path = folder.path().join(&history.name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[80] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = RowHistory::open(folder.path(), TASK).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged(at) if at == path));
    }
}
