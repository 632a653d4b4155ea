//! Every set of rows that anything which left has described, whatever it was
//! for: two tasks that speak of nearly the same rows give away the difference
//! just as two rounds of one task do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use common::ids::TaskHash;
use common::limits::BLOB_BYTES_MAX;
use common::wire::codec;

use super::rows::{RowHash, RowSet, RowSetDigest};
use crate::outbox::{DiskError, disk};

/// Most bytes of row hashes that are remembered. When they are reached,
/// contributions repeat rows that were sent before, for they cannot be compared
/// with what would be forgotten.
pub const HISTORY_BYTES_MAX: usize = 12 * 1024 * 1024;

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

/// Rows that a contribution describes together, and those that it describes by
/// themselves: the rows of each class, and those without one. Of each a sum can
/// be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    whole: RowSet,
    parts: Vec<RowSet>,
}

impl Described {
    /// Of rows with their classes, in order; a row that occurs again counts
    /// where it came first.
    pub fn of(rows: impl IntoIterator<Item = (RowHash, Option<u16>)>) -> Self {
        let mut classes = BTreeMap::new();
        for (row, class) in rows {
            classes.entry(row).or_insert(class);
        }
        let mut parts: BTreeMap<Option<u16>, Vec<RowHash>> = BTreeMap::new();
        for (row, class) in classes {
            parts.entry(class).or_default().push(row);
        }
        Self::joined(parts.into_values().map(RowSet::from_iter).collect())
    }

    /// All of them.
    pub fn whole(&self) -> &RowSet {
        &self.whole
    }

    /// Whether there is no row: nothing may leave.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    fn joined(mut parts: Vec<RowSet>) -> Self {
        parts.retain(|part| !part.is_empty());
        let rows = parts.iter().flat_map(RowSet::iter);
        Self {
            whole: rows.collect(),
            parts,
        }
    }

    /// What is left of each part within `rows`.
    fn within(&self, rows: &RowSet) -> Self {
        Self::joined(self.parts.iter().map(|part| part.shared(rows)).collect())
    }

    fn sets(&self) -> impl Iterator<Item = &RowSet> {
        self.parts.iter().chain([&self.whole])
    }
}

/// What is kept in the file.
#[derive(Clone, Debug, Default, Encode, Decode)]
struct Kept {
    sets: Vec<RowSet>,
    last: BTreeMap<TaskHash, RowSetDigest>,
}

/// The sets of rows described so far, by contributions to any task, kept in one
/// file.
///
/// Comparing with the last one alone would not do: twenty rows added and
/// then nineteen of them and another one removed passes twice, and yet the
/// first and the third differ by two rows.
#[derive(Debug)]
pub struct RowHistory {
    folder: PathBuf,
    kept: Kept,
}

impl RowHistory {
    /// The device's history in `folder`, made if it is missing.
    ///
    /// # Errors
    /// [`HistoryError::Damaged`] or [`HistoryError::Disk`].
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        disk::create_folder(folder)?;
        let path = folder.join(FILE);
        let kept = match disk::read(&path)? {
            None => Kept::default(),
            Some(bytes) => disk::unseal(&bytes)
                .and_then(|body| codec::decode_blob(body).ok())
                .ok_or(HistoryError::Damaged(path))?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            kept,
        })
    }

    /// What was described last for a task, if anything was.
    pub fn last(&self, task: TaskHash) -> Option<RowSetDigest> {
        self.kept.last.get(&task).copied()
    }

    /// The rows of `current` that the next contribution describes: they, and
    /// the rows of each class, differ from each set described before as
    /// [`RowSet::admit`] demands. Empty if nothing may leave. Cost:
    /// O(sets · rows), a few times.
    pub fn admit(&self, current: &Described, rows_min: u64) -> Described {
        let admitted = self.narrow(current.clone(), rows_min);
        if self.has_room(&admitted) {
            return admitted;
        }
        let repeated = |sent: &RowSet| {
            let again = current.within(sent);
            let known = again.sets().all(|set| self.kept.sets.contains(set));
            (again.whole == *sent && sent.len() as u64 >= rows_min && known).then_some(again)
        };
        let found = self.kept.sets.iter().rev().find_map(repeated);
        found.unwrap_or_default()
    }

    /// Remembers that `described` is described for a task. To be called before
    /// anything that describes it leaves; durable when this returns.
    ///
    /// # Errors
    /// [`HistoryError::Disk`] or [`HistoryError::Full`]; then nothing may
    /// leave.
    pub fn record(&mut self, task: TaskHash, described: &Described) -> Result<(), HistoryError> {
        let digest = described.whole.digest();
        let known = self.kept.last.get(&task) == Some(&digest);
        let is_fresh = |set: &&RowSet| !self.kept.sets.contains(set);
        let fresh = described.sets().any(|set| is_fresh(&set));
        if described.is_empty() || (known && !fresh) {
            return Ok(());
        }
        if !self.has_room(described) {
            return Err(HistoryError::Full {
                path: self.folder.join(FILE),
                rows: described.whole.len(),
            });
        }
        // What is kept may be large, so no second one is made. What a failed
        // write leaves here is more than was described, which is safe.
        self.kept.last.insert(task, digest);
        for set in described.sets() {
            self.kept.sets.retain(|sent| sent != set);
            self.kept.sets.push(set.clone());
        }
        disk::replace(&self.folder, FILE, &disk::seal(&codec::encode(&self.kept)))?;
        Ok(())
    }

    /// Every step takes rows away or changes nothing, so this ends; then no
    /// set has an objection to the whole or to a part.
    fn narrow(&self, current: Described, rows_min: u64) -> Described {
        let mut admitted = current;
        loop {
            let before = admitted.whole.len();
            let parts = admitted.parts.into_iter();
            let parts = parts.map(|part| self.narrow_set(part, rows_min));
            admitted = Described::joined(parts.collect());
            let whole = self.narrow_set(admitted.whole.clone(), rows_min);
            admitted = admitted.within(&whole);
            if admitted.whole.len() == before {
                return admitted;
            }
        }
    }

    fn narrow_set(&self, current: RowSet, rows_min: u64) -> RowSet {
        let mut admitted = RowSet::admit(None, current, rows_min);
        loop {
            let before = admitted.len();
            for sent in &self.kept.sets {
                admitted = RowSet::admit(Some(sent), admitted, rows_min);
            }
            if admitted.len() == before {
                return admitted;
            }
        }
    }

    fn has_room(&self, described: &Described) -> bool {
        let fresh = described.sets().filter(|set| !self.kept.sets.contains(set));
        let rows = self.kept.sets.iter().chain(fresh).map(RowSet::len);
        rows.sum::<usize>().saturating_mul(16) <= HISTORY_BYTES_MAX
    }
}

/// The history's file in its folder.
const FILE: &str = "device.rows";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::rows::tests::{is_sound, sets};
    use super::*;
    use proptest::prelude::*;

    const TASK: TaskHash = TaskHash([7; 32]);
    const OTHER: TaskHash = TaskHash([8; 32]);

    fn row(row: u8) -> RowHash {
        RowHash([row; 16])
    }

    /// Rows of one class.
    fn rows(rows: impl IntoIterator<Item = u8>) -> Described {
        Described::of(rows.into_iter().map(|at| (row(at), Some(0))))
    }

    fn open(folder: &tempfile::TempDir) -> RowHistory {
        RowHistory::open(folder.path()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_two_contributions_differ_by_nothing_or_enough(
            data in prop::collection::vec((sets(), 0u8..3, 0u16..4), 2..7), rows_min in 2usize..12,
        ) {
            let folder = tempfile::tempdir().unwrap();
            for (current, task, classes) in data {
                let mut history = open(&folder);
                let class = |row: RowHash| (u16::from(row.0[0]) % (classes + 1)).checked_sub(1);
                let current = Described::of(current.iter().map(|row| (row, class(row))));
                let admitted = history.admit(&current, rows_min as u64);
                history.record(TaskHash([task; 32]), &admitted).unwrap();
                let sets = &history.kept.sets;
                for one in sets {
                    prop_assert!(sets.iter().all(|other| is_sound(one, other, rows_min)));
                }
            }
        }
    }

    #[test]
    fn another_task_does_not_reveal_the_new_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = open(&folder);
        history.record(TASK, &rows(0..60)).unwrap();
        let mut history = open(&folder);
        assert_eq!(history.last(OTHER), None);
        let admitted = history.admit(&rows(0..61), 20);
        assert_eq!(admitted, rows(0..60));
        history.record(OTHER, &admitted).unwrap();
        let digest = Some(rows(0..60).whole().digest());
        assert_eq!((history.last(TASK), history.last(OTHER)), (digest, digest));
    }

    #[test]
    fn a_class_gains_no_row_or_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = open(&folder);
        let of = |first: std::ops::Range<u8>, second: std::ops::Range<u8>| {
            let first = first.map(|at| (row(at), Some(0)));
            Described::of(first.chain(second.map(|at| (row(at), Some(1)))))
        };
        history.record(TASK, &of(0..30, 100..130)).unwrap();
        // Twenty new rows, but one of the first class alone.
        let next = history.admit(&of(0..31, 100..149), 20);
        assert_eq!(next, of(0..30, 100..130));
        let next = history.admit(&of(0..31, 100..150), 20);
        assert_eq!(next, of(0..30, 100..150));
    }

    #[test]
    fn a_corrected_label_is_not_told_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = open(&folder);
        let labelled = |corrected: u8| {
            Described::of((0..80).map(|at| (row(at), Some(u16::from(at < 40 || at == corrected)))))
        };
        history.record(TASK, &labelled(0)).unwrap();
        let next = history.admit(&labelled(50), 20);
        for part in next.sets() {
            assert!(
                history
                    .kept
                    .sets
                    .iter()
                    .all(|sent| is_sound(sent, part, 20))
            );
        }
        history.record(OTHER, &next).unwrap();
    }

    #[test]
    fn rows_that_come_and_go_do_not_uncover_one_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = open(&folder);
        for current in [rows(0..50), rows(0..70), rows((1..50).chain([69]))] {
            let admitted = history.admit(&current, 20);
            history.record(TASK, &admitted).unwrap();
        }
        let sets = &history.kept.sets;
        for one in sets {
            assert!(sets.iter().all(|other| is_sound(one, other, 20)));
        }
    }

    #[test]
    fn the_same_rows_are_described_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).record(TASK, &rows(0..30)).unwrap();
        let history = open(&folder);
        assert_eq!(history.admit(&rows(0..35), 20), rows(0..30));
        assert_eq!(history.last(TASK), Some(rows(0..30).whole().digest()));
    }

    #[test]
    fn a_damaged_history_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).record(TASK, &rows(0..30)).unwrap();
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[80] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = RowHistory::open(folder.path()).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged(at) if at == path));
    }
}
