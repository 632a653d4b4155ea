//! Rows on their way from raw inputs to the task's normalised feature space.

use ndarray::{Array2, ArrayView2, Axis};

use common::features::Normaliser;
use common::scales::Scales;
use common::task::Task;

use super::{Privacy, Work, WorkError};
use crate::data::{Resolution, originals};
use crate::teacher::LabelledRows;

/// Raw rows, some of them labelled.
#[derive(Clone, Copy, Debug)]
pub struct RawRows<'a> {
    /// Inputs, shape (rows, values of one input).
    pub inputs: ArrayView2<'a, f32>,
    /// What the task's frozen model made of each row, shape (rows, its values), where
    /// rows go through one.
    pub seen: Option<ArrayView2<'a, f32>>,
    /// The class of each row, where there is one; of a task without classes 0
    /// where its answer is known.
    pub labels: &'a [Option<u16>],
    /// The numbers of each row, shape (rows, numbers), where the task asks for
    /// numbers.
    pub numbers: Option<ArrayView2<'a, f32>>,
    /// The probability of each class of each row, shape (rows, classes), where a
    /// model labelled some of them.
    pub soft: Option<ArrayView2<'a, f32>>,
}

impl<'a> RawRows<'a> {
    /// What the task's feature stage sees of each row.
    pub fn stage_inputs(&self) -> ArrayView2<'a, f32> {
        self.seen.unwrap_or(self.inputs)
    }
}

/// Rows that may be spoken of: labelled rows of classes with at least
/// `rows_min` rows first, then unlabelled ones.
#[derive(Clone, Debug)]
pub struct View {
    /// Normalised inputs, shape (rows, features).
    pub inputs: Array2<f32>,
    /// Labels of the first rows.
    pub labels: Vec<u16>,
    /// Numbers of the first rows in standard deviations from the fleet's mean,
    /// shape (labelled rows, numbers), where the task asks for numbers.
    pub numbers: Option<Array2<f32>>,
    /// The probability of each class of the first rows, shape (labelled rows,
    /// classes), where a model labelled some of them.
    pub soft: Option<Array2<f32>>,
    /// Labelled rows of each class; zero for classes that are left out.
    pub class_counts: Vec<u64>,
    /// The labelled rows that differ from all before them by more than the
    /// resolution of what is sent, in order.
    pub(super) distinct: Vec<usize>,
    /// How many unlabelled rows do.
    distinct_unlabelled: u64,
}

impl View {
    /// Features, privacy and scales applied, in this order.
    pub(super) fn of(work: &Work<'_>, scales: &Scales) -> Result<Self, WorkError> {
        let described = Described::of(work);
        let inputs = described.features(work.task, work.rows, Some(&scales.normaliser))?;
        let numbers = described.numbers(work);
        let numbers = numbers.zip(scales.targets.as_ref());
        let labelled = &described.chosen[..described.labels.len()];
        let soft = work.rows.soft.map(|all| all.select(Axis(0), labelled));
        let view = Self {
            inputs,
            soft,
            labels: described.labels,
            numbers: numbers.map(|(numbers, scale)| scale.standardise(numbers.view())),
            class_counts: described.class_counts,
            distinct: Vec::new(),
            distinct_unlabelled: 0,
        };
        Ok(view.told_apart(work.privacy.rows_min))
    }

    /// The same without classes of fewer than `rows_min` rows that can be told
    /// apart once they are sent, and without unlabelled rows if those are
    /// fewer: raw rows may differ where their features do not.
    fn told_apart(mut self, rows_min: u64) -> Self {
        let labelled = self.labels.len();
        let mut labels: Vec<Option<u16>> = self.labels.iter().copied().map(Some).collect();
        labels.resize(self.inputs.nrows(), None);
        let resolution = Resolution::uniform(self.inputs.ncols(), SENT_STEP);
        let distinct = originals(self.inputs.view(), &labels, &resolution);
        let mut counts = vec![0u64; self.class_counts.len()];
        let mut unlabelled = 0u64;
        for &row in &distinct {
            match self.labels.get(row) {
                Some(&label) => counts[usize::from(label)] += 1,
                None => unlabelled += 1,
            }
        }
        let speaks = |row: usize| match self.labels.get(row) {
            Some(&label) => counts[usize::from(label)] >= rows_min,
            None => unlabelled >= rows_min,
        };
        let kept: Vec<usize> = (0..self.inputs.nrows())
            .filter(|&row| speaks(row))
            .collect();
        let place = |row: &usize| kept.binary_search(row).ok();
        self.distinct = distinct
            .iter()
            .take_while(|&&row| row < labelled)
            .filter_map(place)
            .collect();
        self.distinct_unlabelled = if unlabelled < rows_min { 0 } else { unlabelled };
        if kept.len() < self.inputs.nrows() {
            self.inputs = self.inputs.select(Axis(0), &kept);
            let kept_labelled = kept.partition_point(|&row| row < labelled);
            let numbers = self.numbers.as_ref();
            self.numbers = numbers.map(|all| all.select(Axis(0), &kept[..kept_labelled]));
            let soft = self.soft.as_ref();
            self.soft = soft.map(|all| all.select(Axis(0), &kept[..kept_labelled]));
            let labels = kept.iter().filter_map(|&row| self.labels.get(row).copied());
            self.labels = labels.collect();
            for (count, distinct) in self.class_counts.iter_mut().zip(counts) {
                if distinct < rows_min {
                    *count = 0;
                }
            }
        }
        self
    }

    /// How many.
    pub fn rows(&self) -> u64 {
        self.inputs.nrows() as u64
    }

    /// How many can be told apart once they are sent.
    pub(super) fn distinct_rows(&self) -> u64 {
        self.distinct.len() as u64 + self.distinct_unlabelled
    }

    /// The labelled ones.
    pub(super) fn labelled(&self) -> LabelledRows<'_> {
        LabelledRows {
            inputs: self.inputs.slice(ndarray::s![..self.labels.len(), ..]),
            labels: &self.labels,
            classes: self.class_counts.len(),
            numbers: self.numbers.as_ref().map(|all| all.view()),
            soft: self.soft.as_ref().map(|all| all.view()),
        }
    }

    /// The labelled ones that can be told apart: what may stand behind a
    /// distilled point.
    pub(super) fn distinct(&self) -> (Array2<f32>, Vec<u16>, Option<Array2<f32>>) {
        let labels = self.distinct.iter().map(|&row| self.labels[row]);
        let numbers = self.numbers.as_ref();
        (
            self.inputs.select(Axis(0), &self.distinct),
            labels.collect(),
            numbers.map(|all| all.select(Axis(0), &self.distinct)),
        )
    }

    /// The probability of each class of the same rows, where a model labelled
    /// some.
    pub(super) fn distinct_soft(&self) -> Option<Array2<f32>> {
        let soft = self.soft.as_ref();
        soft.map(|all| all.select(Axis(0), &self.distinct))
    }

    /// The unlabelled ones.
    pub(super) fn unlabelled(&self) -> ArrayView2<'_, f32> {
        self.inputs.slice(ndarray::s![self.labels.len().., ..])
    }
}

/// Which rows may be spoken of: a class of fewer than `rows_min` rows is as
/// if it were not there, counts included.
pub(super) struct Described {
    pub(super) chosen: Vec<usize>,
    pub(super) labels: Vec<u16>,
    pub(super) class_counts: Vec<u64>,
}

impl Described {
    pub(super) fn of(work: &Work<'_>) -> Self {
        let classes = work.task.classes();
        let known = |label: &u16| usize::from(*label) < classes;
        let mut class_counts = vec![0u64; classes];
        for label in work
            .rows
            .labels
            .iter()
            .flatten()
            .filter(|label| known(label))
        {
            class_counts[usize::from(*label)] += 1;
        }
        let Privacy { rows_min, .. } = work.privacy;
        for count in &mut class_counts {
            if *count < rows_min {
                *count = 0;
            }
        }
        let speaks = |label: u16| known(&label) && class_counts[usize::from(label)] > 0;
        let (mut chosen, mut labels, mut unlabelled) = (Vec::new(), Vec::new(), Vec::new());
        for (row, label) in work.rows.labels.iter().enumerate() {
            match label {
                Some(label) if speaks(*label) => {
                    chosen.push(row);
                    labels.push(*label);
                }
                Some(_) => {}
                None => unlabelled.push(row),
            }
        }
        if unlabelled.len() as u64 >= rows_min {
            chosen.extend(unlabelled);
        }
        Self {
            chosen,
            labels,
            class_counts,
        }
    }

    /// Of a sample, the chosen rows of the part in which every class has its
    /// share; else all.
    pub(super) fn uniform(&self, work: &Work<'_>) -> Self {
        let is_uniform = |row: usize| {
            let values = work.rows.inputs.row(row);
            let sample = work.stands_for;
            sample.is_none_or(|sample| sample.is_uniform(values.iter().copied()))
        };
        let (labelled, unlabelled) = self.chosen.split_at(self.labels.len());
        let labelled = labelled.iter().zip(&self.labels);
        let (mut chosen, labels): (Vec<usize>, Vec<u16>) =
            labelled.filter(|(row, _)| is_uniform(**row)).unzip();
        chosen.extend(unlabelled.iter().filter(|row| is_uniform(**row)));
        Self {
            chosen,
            labels,
            class_counts: self.class_counts.clone(),
        }
    }

    /// The numbers of the labelled rows among the chosen, within their limits,
    /// where the task asks for numbers.
    pub(super) fn numbers(&self, work: &Work<'_>) -> Option<Array2<f32>> {
        let all = work.rows.numbers?;
        let labelled = &self.chosen[..self.labels.len()];
        Some(work.task.target().within(all.select(Axis(0), labelled)))
    }

    /// Features of the chosen rows: as the stage makes them, or brought to one scale
    /// where there is a normaliser. Beside the rows and the result, memory for one block.
    pub(super) fn features(
        &self,
        task: &Task,
        rows: RawRows<'_>,
        normaliser: Option<&Normaliser>,
    ) -> Result<Array2<f32>, WorkError> {
        let width = match normaliser {
            Some(_) => task.features(),
            None => task.stage_features(),
        };
        let mut features = Array2::zeros((self.chosen.len(), width));
        let blocks = features.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS);
        for (mut block, chosen) in blocks.zip(self.chosen.chunks(BLOCK_ROWS)) {
            let raw = rows.stage_inputs().select(Axis(0), chosen);
            let mut computed = task.features_of(raw.view())?;
            if let Some(normaliser) = normaliser {
                normaliser.apply_in_place(&mut computed)?;
            }
            block.assign(&computed);
            common::liveness::heartbeat();
        }
        if normaliser.is_none() && task.input().fills_gaps() {
            fill_gaps(&mut features);
        }
        Ok(features)
    }
}

/// Puts the mean of the other rows where a value is missing: it moves no mean,
/// and the fleet's takes its place once there is a normaliser.
fn fill_gaps(features: &mut Array2<f32>) {
    for mut column in features.columns_mut() {
        let known = column.iter().filter(|value| !value.is_nan());
        let (sum, count) = known.fold((0.0, 0usize), |(sum, count), &value| {
            (sum + f64::from(value), count + 1)
        });
        let mean = (sum / count.max(1) as f64) as f32;
        column.mapv_inplace(|value| if value.is_nan() { mean } else { value });
    }
}

/// Rows whose features are computed at once.
const BLOCK_ROWS: usize = 256;
/// Normalised values have a mean square of one, and points of them travel at
/// about eight bits of a range of ±4.
const SENT_STEP: f32 = 4.0 / 256.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::Rng as _;

    /// `distinct` rows of each class, the first of them `copies` times over,
    /// with a noise that nothing sent can show.
    fn view(distinct: &[usize], copies: usize) -> View {
        let mut random = common::math::random::rng(1, "view");
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for (class, &distinct) in distinct.iter().enumerate() {
            for row in 0..distinct {
                let values: Vec<f32> = (0..6).map(|_| random.random_range(-2.0..2.0)).collect();
                for _ in 0..if row == 0 { copies } else { 1 } {
                    let noise = random.random_range(-1e-3..1e-3);
                    rows.extend(values.iter().map(|value| value + noise));
                    labels.push(class as u16);
                }
            }
        }
        let mut class_counts = vec![0; distinct.len()];
        labels
            .iter()
            .for_each(|&label| class_counts[usize::from(label)] += 1);
        View {
            inputs: Array2::from_shape_vec((labels.len(), 6), rows).unwrap(),
            labels,
            numbers: None,
            soft: None,
            class_counts,
            distinct: Vec::new(),
            distinct_unlabelled: 0,
        }
    }

    #[test]
    fn near_copies_do_not_fill_a_class() {
        let view = view(&[30, 5], 40).told_apart(20);
        assert_eq!(view.class_counts, [69, 0]);
        assert_eq!((view.rows(), view.labels.len()), (69, 69));
        assert_eq!(view.distinct_rows(), 30);
        let (rows, labels, _) = view.distinct();
        assert_eq!((rows.nrows(), labels.len()), (30, 30));
    }

    #[test]
    fn rows_that_differ_are_all_told_apart() {
        let view = view(&[30, 25], 1).told_apart(20);
        assert_eq!(view.distinct, (0..55).collect::<Vec<_>>());
        assert_eq!(view.class_counts, [30, 25]);
    }

    #[test]
    fn blocks_of_rows_give_the_features_of_all() {
        let text = "name = \"t\"\n[input]\nshape = [16, 3]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [features]\nstage = \"window\"";
        let task = common::task::RawTask::parse(text).unwrap();
        let mut random = common::math::random::rng(2, "blocks");
        let rows = 2 * BLOCK_ROWS + 7;
        let inputs = Array2::from_shape_fn((rows, 48), |_| random.random_range(-1.0f32..1.0));
        let described = Described {
            chosen: (0..rows).rev().collect(),
            labels: Vec::new(),
            class_counts: Vec::new(),
        };
        let labels = vec![None; rows];
        let raw = RawRows {
            inputs: inputs.view(),
            seen: None,
            labels: &labels,
            numbers: None,
            soft: None,
        };
        let blocked = described.features(&task, raw, None).unwrap();
        let stage = &task.definition().features;
        let whole = stage.compute(task.input_shape(), inputs.view()).unwrap();
        assert_eq!(blocked, whole.slice(ndarray::s![..;-1, ..]));
    }
}
