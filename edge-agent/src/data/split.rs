//! Rows to learn from, and rows to judge a model by.

use common::task::InputKind;

use super::Dataset;

/// How rows are held out: in whole blocks, so that windows of a signal that
/// overlap their neighbours do not appear on both sides.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `one_in` | 10 | of this many blocks one is held out; 0 holds out none |
/// | `first_one_in` | 5 | the same of a file's first blocks, so that a device of few rows holds out some |
/// | `block_rows` | 10 | consecutive rows of a file that stay together |
/// | `guard_rows` | 1 | rows at either end of a held-out block that are used on neither side |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRule {
    /// One block in this many is held out; 0 holds out none.
    pub one_in: usize,
    /// The same for the first blocks of a file; no more than `one_in`.
    pub first_one_in: usize,
    /// Consecutive rows of a file that stay together.
    pub block_rows: usize,
    /// Rows at either end of a held-out block, where it meets others, that
    /// are used on neither side.
    pub guard_rows: usize,
}

impl Default for SplitRule {
    fn default() -> Self {
        Self {
            one_in: 10,
            first_one_in: 5,
            block_rows: 10,
            guard_rows: 1,
        }
    }
}

impl SplitRule {
    /// The rule for rows of which each overlaps so many on either side: guards
    /// as wide, and blocks so long that guards do not take most of them.
    #[must_use]
    pub fn for_overlap(self, rows: usize) -> Self {
        let guard_rows = self.guard_rows.max(rows);
        Self {
            guard_rows,
            block_rows: self.block_rows.max(BLOCK_GUARDS * guard_rows),
            ..self
        }
    }

    /// The rule for inputs of this kind.
    #[must_use]
    pub fn for_input(self, input: &InputKind) -> Self {
        match input {
            InputKind::Series(series) => self.for_overlap(series.overlapping()),
            InputKind::Array(_) | InputKind::Table(_) => self,
        }
    }
}

/// Of a block that is held out, a fifth is guard at either end at most.
const BLOCK_GUARDS: usize = 5;

/// A data set in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Rows to learn from.
    pub training: Dataset,
    /// Rows to judge by.
    pub held_out: Dataset,
}

/// Row numbers of the two parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SplitRows {
    pub(super) training: Vec<usize>,
    pub(super) held_out: Vec<usize>,
}

impl SplitRule {
    /// Splits one file's rows. The choice depends on the content of the first
    /// row of each group of blocks, so it is the same on every run,
    /// and rows that are appended do not move those that were there to the
    /// other side.
    pub(super) fn rows(&self, file: &Dataset) -> SplitRows {
        let rows = file.rows();
        let mut split = SplitRows::default();
        if self.one_in == 0 {
            split.training = (0..rows).collect();
            return split;
        }
        let block_rows = self.block_rows.max(1);
        let (mut start, mut blocks) = (0, self.first_one_in.clamp(1, self.one_in));
        while start < rows {
            let end = (start + blocks * block_rows).min(rows);
            let chosen = (file.row_hash(start, 0) % blocks as u64) as usize;
            let first = (start + chosen * block_rows).min(end);
            let last = (first + block_rows).min(end);
            split.training.extend((start..first).chain(last..end));
            // Guards depend on the block's full extent, not on where the
            // file happens to end today; a row never changes its side.
            let low = if first == 0 {
                first
            } else {
                first + self.guard_rows
            };
            let high = (first + block_rows).saturating_sub(self.guard_rows);
            split.held_out.extend(low..high.min(last).max(low));
            (start, blocks) = (start + blocks * block_rows, self.one_in);
        }
        split
    }
}
