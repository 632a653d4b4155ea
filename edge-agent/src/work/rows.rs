//! Rows on their way from raw inputs to the task's normalised feature space.

use ndarray::{Array2, ArrayView2, Axis};

use common::features::Normaliser;
use common::task::Task;

use super::{Privacy, Work, WorkError};
use crate::teacher::LabelledRows;

/// Raw rows, some of them labelled.
#[derive(Clone, Copy, Debug)]
pub struct RawRows<'a> {
    /// Inputs, shape (rows, values of one input).
    pub inputs: ArrayView2<'a, f32>,
    /// The class of each row, where there is one.
    pub labels: &'a [Option<u16>],
}

/// Rows that may be spoken of: labelled rows of classes with at least
/// `rows_min` rows first, then unlabelled ones.
#[derive(Clone, Debug)]
pub struct View {
    /// Normalised inputs, shape (rows, features).
    pub inputs: Array2<f32>,
    /// Labels of the first rows.
    pub labels: Vec<u16>,
    /// Labelled rows of each class; zero for classes that are left out.
    pub class_counts: Vec<u64>,
}

impl View {
    /// Features, privacy and normaliser applied, in this order.
    pub(super) fn of(work: &Work<'_>, normaliser: &Normaliser) -> Result<Self, WorkError> {
        let described = Described::of(work);
        let mut inputs = described.features(work.task, work.rows)?;
        inputs = normaliser.apply(inputs.view())?;
        Ok(Self {
            inputs,
            labels: described.labels,
            class_counts: described.class_counts,
        })
    }

    /// How many.
    pub fn rows(&self) -> u64 {
        self.inputs.nrows() as u64
    }

    /// The labelled ones.
    pub(super) fn labelled(&self) -> LabelledRows<'_> {
        LabelledRows {
            inputs: self.inputs.slice(ndarray::s![..self.labels.len(), ..]),
            labels: &self.labels,
            classes: self.class_counts.len(),
        }
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

    /// Features of the chosen rows, before the normaliser.
    pub(super) fn features(
        &self,
        task: &Task,
        rows: RawRows<'_>,
    ) -> Result<Array2<f32>, WorkError> {
        let raw = rows.inputs.select(Axis(0), &self.chosen);
        Ok(task
            .definition()
            .features
            .compute(task.input_shape(), raw.view())?)
    }
}
