//! Rows to learn from, and rows to judge a model by.

use common::task::InputKind;

use super::Dataset;
use super::sample::StandsFor;

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
    /// What the rows to learn from stand for, where there are more than are
    /// held.
    pub stands_for: Option<StandsFor>,
}

/// Row numbers of the two parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SplitRows {
    pub(super) training: Vec<usize>,
    pub(super) held_out: Vec<usize>,
}

/// Which part of the data a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Training = 0,
    HeldOut = 1,
}

/// Tells the sides of one file's rows, one after the other. The choice depends
/// on the content of the first row of each group of blocks, so it is the same
/// on every run, and rows that are appended do not move those that were there
/// to the other side.
#[derive(Debug)]
pub(super) struct Splitter {
    rule: SplitRule,
    row: usize,
    /// Where the group begins, and the one after it.
    start: usize,
    next: usize,
    /// Where the group's held-out block begins, and the one after it.
    first: usize,
    last: usize,
}

impl Splitter {
    pub(super) fn new(rule: SplitRule) -> Self {
        Self {
            rule,
            row: 0,
            start: 0,
            next: 0,
            first: 0,
            last: 0,
        }
    }

    /// The side of the next row, whose hash `content` tells if it is asked;
    /// none for a row that is used on neither.
    pub(super) fn side(&mut self, content: impl FnOnce() -> u64) -> Option<Side> {
        let row = self.row;
        self.row += 1;
        if self.rule.one_in == 0 {
            return Some(Side::Training);
        }
        if row == self.next {
            let block_rows = self.rule.block_rows.max(1);
            let blocks = match row {
                0 => self.rule.first_one_in.clamp(1, self.rule.one_in),
                _ => self.rule.one_in,
            };
            let chosen = (content() % blocks as u64) as usize;
            (self.start, self.next) = (row, row + blocks * block_rows);
            self.first = self.start + chosen * block_rows;
            self.last = self.first + block_rows;
        }
        if !(self.first..self.last).contains(&row) {
            return Some(Side::Training);
        }
        // Guards depend on the block's full extent, not on where the file
        // happens to end today; a row never changes its side.
        let low = match self.first {
            0 => 0,
            first => first + self.rule.guard_rows,
        };
        let high = self.last.saturating_sub(self.rule.guard_rows);
        (low..high).contains(&row).then_some(Side::HeldOut)
    }
}

impl SplitRule {
    /// Splits one file's rows.
    pub(super) fn rows(&self, file: &Dataset) -> SplitRows {
        let mut split = SplitRows::default();
        let mut splitter = Splitter::new(*self);
        for row in 0..file.rows() {
            match splitter.side(|| file.row_hash(row, 0)) {
                Some(Side::Training) => split.training.push(row),
                Some(Side::HeldOut) => split.held_out.push(row),
                None => {}
            }
        }
        split
    }
}
