//! Which rows a contribution describes, and which it may describe next.

use bincode::{Decode, Encode};
use ndarray::ArrayView2;

/// A row, named by the first 16 bytes of the BLAKE3 hash of its values. It
/// never leaves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RowHash(pub [u8; 16]);

impl RowHash {
    /// Names of rows of inputs, in order, whatever their labels, so that a
    /// corrected label does not make another row.
    pub fn of_inputs(inputs: ArrayView2<'_, f32>) -> Vec<Self> {
        let mut bytes = Vec::with_capacity(4 * inputs.ncols());
        let names = inputs.rows().into_iter().map(|row| {
            bytes.clear();
            for value in row {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            Self::of(&bytes)
        });
        names.collect()
    }

    /// The name of the row with these bytes.
    pub fn of(row: &[u8]) -> Self {
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&blake3::hash(row).as_bytes()[..16]);
        Self(bytes)
    }
}

/// Rows by their hashes, in order, each once: copies of a row are left out
/// before anything is computed, and count for nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RowSet(Vec<RowHash>);

impl FromIterator<RowHash> for RowSet {
    fn from_iter<I: IntoIterator<Item = RowHash>>(rows: I) -> Self {
        let mut rows: Vec<RowHash> = rows.into_iter().collect();
        rows.sort_unstable();
        rows.dedup();
        Self(rows)
    }
}

/// Stands for a [`RowSet`] where only equality matters: the BLAKE3 hash of its
/// hashes in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RowSetDigest(pub [u8; 32]);

/// How a set of rows differs from an earlier one.
struct Difference {
    kept: Vec<RowHash>,
    added: Vec<RowHash>,
    removed: usize,
}

impl RowSet {
    /// Rows in the set.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row: nothing may leave.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set's digest. Cost: O(rows).
    pub fn digest(&self) -> RowSetDigest {
        let mut hasher = blake3::Hasher::new();
        for row in &self.0 {
            hasher.update(&row.0);
        }
        RowSetDigest(*hasher.finalize().as_bytes())
    }

    /// Which of `rows` are in the set; of rows that are alike, the first.
    /// Cost: O(n log n).
    pub fn select(&self, rows: &[RowHash]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| rows[*at]);
        let mut selected = vec![false; rows.len()];
        let mut left = self.0.iter().peekable();
        for at in order {
            while left.next_if(|row| **row < rows[at]).is_some() {}
            selected[at] = left.next_if_eq(&&rows[at]).is_some();
        }
        selected
    }

    /// The rows that the next contribution describes: `current` if, against
    /// `previous`, the rows added and the rows removed are each none or at
    /// least `rows_min`; otherwise the rows of `current` that are left after
    ///
    /// 1. additions that are too few wait until there are more, and
    /// 2. removals that are too few are filled up with further rows, those
    ///    with the lowest hashes, which stay away as if they were new; if
    ///    only copies of added rows could fill them up, nothing is added.
    ///
    /// Empty if fewer than `rows_min` remain: then nothing may leave.
    ///
    /// Contributions are sums over rows, or can be turned back into sums
    /// (moments by definition, a profile's counts, a centre times its
    /// cluster's size). Anyone who holds the sums over two sets subtracts them
    /// and holds the sum over the rows added minus that over the rows
    /// removed. If one row was added, that difference *is* the row, however
    /// large both sets are. Removed rows count on their own, since a row
    /// removed among many added could be found again by anyone who knows those.
    ///
    /// A `previous` of fewer than `rows_min` rows (the owner has raised the
    /// limit since) is not built upon: the result shares no row with it.
    ///
    /// This compares two contributions; [`super::RowHistory`] applies it to
    /// all there were. Cost: O(rows).
    #[must_use]
    pub fn admit(previous: Option<&Self>, current: Self, rows_min: u64) -> Self {
        let rows_min = usize::try_from(rows_min).unwrap_or(usize::MAX);
        let admitted = match previous {
            None => current,
            Some(previous) => current.admit_after(previous, rows_min),
        };
        if admitted.len() < rows_min {
            return Self::default();
        }
        admitted
    }

    /// The rows, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = RowHash> {
        self.0.iter().copied()
    }

    /// The rows that are among those of `other`.
    pub(super) fn shared(&self, other: &Self) -> Self {
        Self(self.against(other).kept)
    }

    fn admit_after(self, previous: &Self, rows_min: usize) -> Self {
        let difference = self.against(previous);
        let withheld = match difference.removed {
            0 if previous.len() >= rows_min => 0,
            removed => rows_min.saturating_sub(removed).min(difference.kept.len()),
        };
        if difference.added.len() >= rows_min {
            let kept = without(&difference.kept, withheld, &difference.added);
            if kept.len() + withheld <= difference.kept.len() {
                return kept.into_iter().chain(difference.added).collect();
            }
        }
        Self(without(&difference.kept, withheld, &[]))
    }

    fn against(&self, previous: &Self) -> Difference {
        let mut earlier = previous.0.iter().peekable();
        let (mut kept, mut added) = (Vec::new(), Vec::new());
        for row in &self.0 {
            while earlier.next_if(|old| *old < row).is_some() {}
            match earlier.next_if_eq(&row) {
                Some(_) => kept.push(*row),
                None => added.push(*row),
            }
        }
        let removed = previous.len() - kept.len();
        Difference {
            kept,
            added,
            removed,
        }
    }
}

/// The rows without the first `count` of those that are not among `added`: a
/// row withheld and a copy of it added would make up for each other.
fn without(rows: &[RowHash], count: usize, added: &[RowHash]) -> Vec<RowHash> {
    let mut left = count;
    let stays = |row: &&RowHash| {
        if left == 0 || added.binary_search(row).is_ok() {
            return true;
        }
        left -= 1;
        false
    };
    rows.iter().filter(stays).copied().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows out of a universe so small that sets overlap and rows repeat.
    pub(in crate::policy) fn sets() -> impl Strategy<Value = RowSet> {
        prop::collection::vec(0u8..30, 0..60)
            .prop_map(|rows| rows.into_iter().map(|row| RowHash([row; 16])).collect())
    }

    fn set(rows: impl IntoIterator<Item = u8>) -> RowSet {
        rows.into_iter().map(|row| RowHash([row; 16])).collect()
    }

    /// The rule itself, written the long way.
    pub(in crate::policy) fn is_sound(one: &RowSet, other: &RowSet, rows_min: usize) -> bool {
        let only_in = |one: &RowSet, other: &RowSet| {
            let mut left = other.0.clone();
            let is_new = |row: &&RowHash| match left.iter().position(|old| old == *row) {
                Some(at) => {
                    left.remove(at);
                    false
                }
                None => true,
            };
            one.0.iter().filter(is_new).count()
        };
        let fits = |rows: usize| rows == 0 || rows >= rows_min;
        fits(only_in(one, other)) && fits(only_in(other, one))
    }

    proptest! {
        #[test]
        fn what_follows_differs_by_nothing_or_enough(
            first in sets(), second in sets(), rows_min in 2usize..15,
        ) {
            let previous = RowSet::admit(None, first, rows_min as u64);
            prop_assume!(!previous.is_empty());
            let next = RowSet::admit(Some(&previous), second.clone(), rows_min as u64);
            prop_assert_eq!(&next.shared(&second), &next);
            if !next.is_empty() {
                prop_assert!(next.len() >= rows_min);
                prop_assert!(is_sound(&previous, &next, rows_min));
            }
            if second.len() >= rows_min && is_sound(&previous, &second, rows_min) {
                prop_assert_eq!(next, second);
            }
        }

        #[test]
        fn a_set_selects_its_own_rows(rows in prop::collection::vec(0u8..9, 0..40), keep in sets()) {
            let rows: Vec<RowHash> = rows.into_iter().map(|row| RowHash([row; 16])).collect();
            let whole: RowSet = rows.iter().copied().collect();
            let selected = whole.select(&rows).into_iter().filter(|selected| *selected);
            prop_assert_eq!(selected.count(), whole.len());
            let selected: RowSet = rows.iter().zip(keep.select(&rows))
                .filter(|(_, selected)| *selected).map(|(row, _)| *row).collect();
            let shared: RowSet = whole.against(&keep).kept.into_iter().collect();
            prop_assert_eq!(selected, shared);
        }
    }

    #[test]
    fn one_new_row_waits_and_one_lost_row_takes_others_along() {
        let previous = set(0..50);
        assert_eq!(RowSet::admit(Some(&previous), set(0..51), 20), previous);
        assert_eq!(RowSet::admit(Some(&previous), set(0..70), 20), set(0..70));
        assert_eq!(RowSet::admit(Some(&previous), set(1..50), 20), set(20..50));
        assert_eq!(RowSet::admit(Some(&previous), set(1..52), 20), set(20..50));
        assert_eq!(RowSet::admit(Some(&previous), set(35..50), 20), set([]));
    }

    #[test]
    fn copies_of_a_row_are_no_more_rows() {
        let previous = set(0..30);
        let copied = set((0..30).chain([7; 40]));
        assert_eq!(copied, previous);
        assert_eq!(RowSet::admit(Some(&previous), copied, 20), previous);
        // One new row, polled forty times.
        let polled = set((0..30).chain([99; 40]));
        assert_eq!(RowSet::admit(Some(&previous), polled, 20), previous);
        assert!(RowSet::admit(None, set([5; 40]), 20).is_empty());
    }

    #[test]
    fn a_set_below_a_raised_limit_is_not_extended() {
        let previous = set(0..10);
        assert_eq!(RowSet::admit(Some(&previous), set(0..60), 20), set(10..60));
    }
}
