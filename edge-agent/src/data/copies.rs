//! Rows that say what another row says already.
//!
//! A row that stands in several exports, or that a program polled ten times
//! for one reading, is one row: what keeps a single row from being told of
//! (fewest rows of a contribution, of a class, of a point, of a difference
//! between two contributions) must not be met by its copies. So copies are
//! left out before anything is counted or computed, from training as well:
//! sums over rows can then be compared row by row, and a row with many copies
//! cannot outweigh the others. The price is that a table of few distinct rows,
//! such as one of categories only, no longer tells how often each occurs.

use std::collections::{BTreeMap, HashSet};

use ndarray::ArrayView2;

use super::Dataset;
use super::split::Split;

/// How far a copy may be from its original.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// Largest difference, for each value of a row.
    steps: Vec<f32>,
}

impl Resolution {
    /// The same for each value of rows of this many.
    pub fn uniform(values: usize, step: f32) -> Self {
        Self {
            steps: vec![step; values],
        }
    }

    /// Half a step of eight bits over the spread of each value: what cannot
    /// be told apart once it has travelled. The spread lies between the first
    /// and the last hundredth of the values, where those differ, so that one
    /// outlier does not make copies of all others. Cost: a sort of at most a
    /// thousand rows a value.
    pub fn of(rows: ArrayView2<'_, f32>) -> Self {
        let every = rows.nrows().div_ceil(SAMPLE_ROWS).max(1);
        let steps = rows.columns().into_iter().map(|column| {
            let known = column.iter().filter(|value| !value.is_nan());
            let mut sample: Vec<f32> = known.step_by(every).copied().collect();
            sample.sort_by(f32::total_cmp);
            let Some(last) = sample.len().checked_sub(1) else {
                return 0.0;
            };
            let inner = sample[last - last / 100] - sample[last / 100];
            let spread = match inner > 0.0 {
                true => inner,
                false => sample[last] - sample[0],
            };
            spread * HALF_STEP
        });
        Self {
            steps: steps.collect(),
        }
    }
}

/// The rows that are no copy of an earlier one with the same label, in order.
/// Each row stands for those within the resolution of it in every value.
///
/// Cost: O(n log n) and, for each row that stays, a look at the rows that lie
/// near it in one direction; rows of other shapes than the resolution's have
/// no near copies.
pub fn originals(
    rows: ArrayView2<'_, f32>,
    labels: &[Option<u16>],
    resolution: &Resolution,
) -> Vec<usize> {
    let (mut seen, mut bytes) = (HashSet::new(), Vec::new());
    let distinct: Vec<usize> = (0..rows.nrows().min(labels.len()))
        .filter(|&row| seen.insert(content(rows, labels, row, &mut bytes)))
        .collect();
    let search = Search::new(rows, resolution);
    if search.columns.is_empty() {
        return distinct;
    }
    let mut by_label: BTreeMap<Option<u16>, Vec<usize>> = BTreeMap::new();
    for &row in &distinct {
        by_label.entry(labels[row]).or_default().push(row);
    }
    let mut kept: Vec<usize> = Vec::with_capacity(distinct.len());
    for members in by_label.into_values() {
        kept.extend(search.leaders(&members));
    }
    kept.sort_unstable();
    kept
}

impl Split {
    /// The same without copies: of rows in both parts, the one to learn from
    /// stays, so that nothing is judged by what it was learnt from.
    #[must_use]
    pub fn without_copies(self) -> Self {
        let (training, held_out) = (self.training.rows(), self.held_out.rows());
        let values = self.training.inputs().ncols();
        let mut both = Dataset::joined(values, vec![self.training, self.held_out]);
        let kept = originals(both.inputs(), both.labels(), &Resolution::of(both.inputs()));
        if kept.len() == training + held_out {
            let second = both.split_off(training);
            return Self {
                training: both,
                held_out: second,
                stands_for: self.stands_for,
            };
        }
        let (first, second): (Vec<usize>, Vec<usize>) =
            kept.into_iter().partition(|&row| row < training);
        let held_out = both.select(&second);
        Self {
            training: both.select(&first),
            held_out,
            stands_for: self.stands_for,
        }
    }
}

/// A name for the content of a row, label included; `bytes` is working memory.
fn content(
    rows: ArrayView2<'_, f32>,
    labels: &[Option<u16>],
    row: usize,
    bytes: &mut Vec<u8>,
) -> [u8; 16] {
    bytes.clear();
    for value in rows.row(row) {
        // Zero and minus zero are one value.
        bytes.extend_from_slice(&(value + 0.0).to_le_bytes());
    }
    bytes.extend_from_slice(&labels[row].map_or(u32::MAX, u32::from).to_le_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    first
}

/// Finds rows near a row.
struct Search<'a> {
    rows: ArrayView2<'a, f32>,
    steps: &'a [f32],
    /// The values that differ at all.
    columns: Vec<usize>,
    /// Some of these, which rows are put in order by.
    keys: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(rows: ArrayView2<'a, f32>, resolution: &'a Resolution) -> Self {
        let fits = resolution.steps.len() == rows.ncols();
        let differs = |&column: &usize| {
            let values = rows.column(column);
            values.iter().any(|value| Some(value) != values.first())
        };
        let columns: Vec<usize> = (0..rows.ncols()).filter(|_| fits).filter(differs).collect();
        let told = |&&column: &&usize| resolution.steps[column] > 0.0;
        let keys: Vec<usize> = columns.iter().filter(told).copied().collect();
        let every = keys.len().div_ceil(KEYS_MAX).max(1);
        Self {
            rows,
            steps: &resolution.steps,
            columns,
            keys: keys.into_iter().step_by(every).collect(),
        }
    }

    /// Where a row stands in the order: near rows differ by one a key at most.
    fn key(&self, row: usize) -> f64 {
        let keys = self.keys.iter();
        // A missing value is near another missing one only.
        keys.map(|&column| f64::from(self.rows[[row, column]]) / f64::from(self.steps[column]))
            .filter(|key| !key.is_nan())
            .sum()
    }

    fn leaders(&self, members: &[usize]) -> Vec<usize> {
        let mut order: Vec<(f64, usize)> = (0..members.len())
            .map(|at| (self.key(members[at]), at))
            .collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut place = vec![0; members.len()];
        for (index, &(_, at)) in order.iter().enumerate() {
            place[at] = index;
        }
        let reach = self.keys.len() as f64 * (1.0 + 1e-6);
        let mut copy = vec![false; members.len()];
        for at in 0..members.len() {
            if copy[at] {
                continue;
            }
            let own = order[place[at]].0;
            let before = order[..place[at]].iter().rev();
            let after = order[place[at] + 1..].iter();
            let near = |(key, _): &&(f64, usize)| (key - own).abs() <= reach;
            for &(_, other) in before.take_while(near).chain(after.take_while(near)) {
                if other > at && !copy[other] && self.are_near(members[at], members[other]) {
                    copy[other] = true;
                }
            }
        }
        let left = members.iter().zip(copy).filter(|(_, copy)| !copy);
        left.map(|(&row, _)| row).collect()
    }

    fn are_near(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.rows.row(one), self.rows.row(other));
        self.columns.iter().all(|&column| {
            let (one, other) = (one[column], other[column]);
            one.is_nan() && other.is_nan() || (one - other).abs() <= self.steps[column]
        })
    }
}

/// Half of one of the 256 steps of a byte.
const HALF_STEP: f32 = 1.0 / 512.0;
const SAMPLE_ROWS: usize = 1_000;
/// Most values that rows are put in order by.
const KEYS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::Array2;
    use rand::Rng as _;

    fn rows(count: usize, values: usize, seed: u64) -> Array2<f32> {
        let mut random = common::math::random::rng(seed, "rows");
        Array2::from_shape_fn((count, values), |_| random.random_range(-1.0f32..1.0))
    }

    fn kept(rows: &Array2<f32>) -> Vec<usize> {
        let labels = vec![Some(0); rows.nrows()];
        originals(rows.view(), &labels, &Resolution::of(rows.view()))
    }

    #[test]
    fn distinct_rows_all_stay() {
        for values in [4, 30, 784] {
            let rows = rows(400, values, 1);
            assert_eq!(kept(&rows), (0..400).collect::<Vec<_>>(), "{values} values");
        }
    }

    #[test]
    fn forty_copies_and_near_copies_are_one_row() {
        for values in [4, 30, 784] {
            let others = rows(60, values, 2);
            let noise = rows(40, values, 3);
            let mut all = Array2::zeros((100, values));
            for row in 0..40 {
                // Far below what eight bits tell apart.
                let copy = &others.row(0) + &(&noise.row(row) * 1e-3);
                all.row_mut(2 * row).assign(&copy);
            }
            let places = (0..100).filter(|row| *row >= 80 || row % 2 == 1);
            for (row, place) in places.enumerate() {
                all.row_mut(place).assign(&others.row(row));
            }
            let left = kept(&all);
            // The row itself is among the others.
            assert_eq!(left.len(), 60, "{values} values");
        }
    }

    #[test]
    fn a_row_with_another_label_is_another_row() {
        let rows = Array2::from_elem((6, 3), 0.5f32);
        let labels = [Some(0), Some(1), None, Some(0), Some(1), None];
        let kept = originals(rows.view(), &labels, &Resolution::of(rows.view()));
        assert_eq!(kept, [0, 1, 2]);
    }

    #[test]
    fn an_outlier_makes_no_copies_of_the_others() {
        let mut rows = rows(300, 2, 4);
        rows[[17, 0]] = 1e9;
        rows[[18, 1]] = -1e9;
        assert!(kept(&rows).len() > 290);
    }

    #[test]
    fn what_is_learnt_from_is_not_judged_by() {
        let all = rows(30, 3, 5);
        let data = |range: std::ops::Range<usize>| {
            let inputs = all.slice(ndarray::s![range.clone(), ..]).to_owned();
            Dataset::new(inputs, vec![Some(0); range.len()]).unwrap()
        };
        let split = Split {
            training: data(0..20),
            held_out: data(10..30),
            stands_for: None,
        };
        let split = split.without_copies();
        assert_eq!((split.training.rows(), split.held_out.rows()), (20, 10));
        assert_eq!(split.held_out, data(20..30));
    }
}
