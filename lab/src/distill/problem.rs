//! The rows that points are to stand for, and those that judge them.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;

use common::math::kernel::Ntk;
use common::math::random::rng;

use super::{DistilError, FeatureView};
use crate::data::{Dataset, Part};

/// One distillation problem, in the view of a feature view.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The kernel.
    pub kernel: Ntk,
    /// What is learnt from, in random order.
    pub fit: Rows,
    /// What judges: ridge, kernel, when to stop. Never the test set.
    pub held_out: Rows,
    /// Class names.
    pub classes: Vec<String>,
    /// Points wanted of each class.
    pub per_class: usize,
    /// Seed of every random choice.
    pub seed: u64,
}

/// Labelled rows as the kernel sees them.
#[derive(Clone, Debug)]
pub struct Rows {
    /// n × features.
    pub inputs: Array2<f32>,
    /// The class of each row.
    pub labels: Vec<u16>,
    /// One-hot labels less 1/C, n × C.
    pub targets: Array2<f32>,
}

/// Which training rows are learnt from and which are held out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to learn from, in random order.
    pub fit: Vec<usize>,
    /// Rows to judge by.
    pub held_out: Vec<usize>,
}

impl Split {
    /// Holds out a tenth of the training rows, at most `HELD_OUT_MAX`. Where
    /// the data says whose rows they are, whole people are held out, a fifth
    /// of them: neighbouring windows of one person are all but equal.
    ///
    /// # Errors
    /// If that leaves nothing to judge by.
    pub fn of(rows: &Part, seed: u64) -> Result<Self, DistilError> {
        let mut random = rng(seed, "held out");
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut random);
        let (held_out, fit): (Vec<usize>, Vec<usize>) = match people(rows) {
            Some((users, mut names)) => {
                names.shuffle(&mut random);
                names.truncate(names.len().div_ceil(5));
                order
                    .into_iter()
                    .partition(|&row| names.contains(&users[row]))
            }
            None => {
                let rest = order.split_off((rows.len() / 10).min(HELD_OUT_MAX));
                (order, rest)
            }
        };
        if held_out.is_empty() {
            return Err(DistilError::NothingHeldOut);
        }
        Ok(Self { fit, held_out })
    }
}

/// Whose rows they are, and everybody's name, if there are several people.
fn people(rows: &Part) -> Option<(&[u32], Vec<u32>)> {
    let users = rows.users.as_deref()?;
    let mut names = users.to_vec();
    names.sort_unstable();
    names.dedup();
    (names.len() > 1).then_some((users, names))
}

impl Problem {
    /// The problem of `per_class` points a class on these rows.
    ///
    /// # Errors
    /// If a class has fewer rows to learn from than points.
    pub fn new(
        data: &Dataset,
        feature_view: &FeatureView,
        split: &Split,
        per_class: usize,
        seed: u64,
    ) -> Result<Self, DistilError> {
        let classes = data.classes.len();
        let fit = Rows::of(&data.train, feature_view, &split.fit, classes)?;
        for (class, name) in data.classes.iter().enumerate() {
            let rows = fit.of_class(class as u16).len();
            if rows < per_class {
                return Err(DistilError::Rows {
                    class: name.clone(),
                    rows,
                    needed: per_class,
                });
            }
        }
        Ok(Self {
            kernel: feature_view.kernel(),
            fit,
            held_out: Rows::of(&data.train, feature_view, &split.held_out, classes)?,
            classes: data.classes.clone(),
            per_class,
            seed,
        })
    }
}

impl Rows {
    /// These rows of a part, through the feature view.
    ///
    /// # Errors
    /// As [`FeatureView::see`].
    pub fn of(
        part: &Part,
        feature_view: &FeatureView,
        rows: &[usize],
        classes: usize,
    ) -> Result<Self, DistilError> {
        let labels: Vec<u16> = rows.iter().map(|&row| part.labels[row]).collect();
        let targets = centred_one_hot(&labels, classes);
        Ok(Self {
            inputs: feature_view.see(part.inputs.select(Axis(0), rows).view())?,
            labels,
            targets,
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The numbers of the rows of one class.
    pub fn of_class(&self, class: u16) -> Vec<usize> {
        (0..self.len())
            .filter(|&row| self.labels[row] == class)
            .collect()
    }

    /// Share of rows whose largest answer (n × C) is at their class.
    pub fn accuracy(&self, answers: ArrayView2<'_, f32>) -> f64 {
        let right = answers.rows().into_iter().zip(&self.labels);
        let right = right.filter(|(row, label)| largest(row.iter()) == usize::from(**label));
        right.count() as f64 / self.len().max(1) as f64
    }
}

/// One-hot labels less 1/C.
pub(super) fn centred_one_hot(labels: &[u16], classes: usize) -> Array2<f32> {
    let mean = 1.0 / classes.max(1) as f32;
    Array2::from_shape_fn((labels.len(), classes), |(row, class)| {
        f32::from(u8::from(usize::from(labels[row]) == class)) - mean
    })
}

/// The place of the largest value; of equal ones the first.
pub(super) fn largest<'a>(values: impl Iterator<Item = &'a f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// Rows held out at most: enough to tell half a percent apart.
const HELD_OUT_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(rows: usize, users: Option<Vec<u32>>) -> Part {
        Part {
            inputs: Array2::zeros((rows, 1)),
            labels: vec![0; rows],
            numbers: None,
            users,
            groups: None,
        }
    }

    #[test]
    fn every_row_is_learnt_from_or_held_out() {
        let split = Split::of(&part(95, None), 3).unwrap();
        assert_eq!(split.held_out.len(), 9);
        let mut all = [split.fit.clone(), split.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..95).collect::<Vec<_>>());
        assert_eq!(Split::of(&part(95, None), 3).unwrap(), split);
        assert!(matches!(
            Split::of(&part(9, None), 3),
            Err(DistilError::NothingHeldOut)
        ));
    }

    #[test]
    fn whole_people_are_held_out() {
        let users: Vec<u32> = (0..60).map(|row| row / 10).collect();
        let split = Split::of(&part(60, Some(users.clone())), 1).unwrap();
        assert_eq!(split.held_out.len(), 20);
        assert!(
            split
                .held_out
                .iter()
                .all(|&held| split.fit.iter().all(|&fit| users[fit] != users[held]))
        );
    }
}
