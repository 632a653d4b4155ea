//! A model at the coordinator, which sees means of rows and labels those.

use ndarray::{Array2, Axis};

use common::math::cluster::KMeansParams;
use common::math::quantise::{Layout, QuantisedMatrix, Scheme};
use common::math::random::rng;
use common::task::Task;
use common::wire::codec::encode;
use edge_agent::teacher::{KernelTeacher, LabelledRows, LocalTeacher as _, standardised};
use edge_agent::work::{Privacy, SAMPLE_ROWS_MEAN};

use super::LabellingError;
use crate::data::Dataset;

/// What a device asks the coordinator to label.
pub(super) struct Question {
    /// Means of its groups of rows as they arrive, in the inputs' own space,
    /// shape (groups, values of one input).
    pub(super) means: Array2<f32>,
    /// The group of each of the device's rows.
    pub(super) group: Vec<usize>,
    /// The groups' means in the task's features as they are grouped by, shape (groups,
    /// features).
    centres: Array2<f32>,
    /// Bytes of the means.
    pub(super) bytes: u64,
}

impl Question {
    /// Groups of a device's rows that are alike in the task's features, of at
    /// least `cluster_size_min` rows and twice as many in the mean, as many as
    /// `bytes` allow; none if the rows are too few.
    pub(super) fn of(
        (data, task, rows): (&Dataset, &Task, &[usize]),
        privacy: Privacy,
        bytes: u64,
        seed: u64,
    ) -> Result<Option<Self>, LabellingError> {
        let raw = data.train.inputs.select(Axis(0), rows);
        let size_min = privacy.cluster_size_min as usize;
        let row = (raw.ncols() * usize::from(BITS)).div_ceil(8);
        let bytes = bytes as usize;
        let afforded = match layout(task) {
            Layout::Column => bytes.saturating_sub(raw.ncols() * SCALE_BYTES) / row.max(1),
            _ => bytes / (row + SCALE_BYTES),
        };
        let filled = rows.len() / (SAMPLE_ROWS_MEAN as usize * size_min.max(1));
        let clusters = afforded.min(filled);
        if clusters == 0 || (rows.len() as u64) < privacy.rows_min {
            return Ok(None);
        }
        let features = standardised(task.features_of(raw.view())?);
        let params = KMeansParams {
            clusters,
            cluster_size_min: size_min,
            ..KMeansParams::default()
        };
        let params = params.check()?;
        let mut random = rng(seed, "groups that the coordinator labels");
        let found = params.fit(features.view(), None, &mut random)?;
        if found.assignment.is_empty() {
            return Ok(None);
        }
        let group: Vec<usize> = found.assignment.iter().map(|&at| at as usize).collect();
        let mut means = Array2::zeros((found.centres.nrows(), raw.ncols()));
        for (row, &at) in raw.rows().into_iter().zip(&group) {
            let mut mean = means.row_mut(at);
            mean += &row;
        }
        for (mut mean, &count) in means.rows_mut().into_iter().zip(&found.counts) {
            mean /= count as f32;
        }
        let sent = QuantisedMatrix::encode(means.view(), BITS, layout(task), Scheme::Affine)?;
        Ok(Some(Self {
            bytes: encode(sent.as_raw()).len() as u64,
            means: sent.decode(),
            group,
            centres: found.centres,
        }))
    }

    /// A class of each row of the device: of a kernel ridge regression on the groups'
    /// means, which the model gave `classes`. Rows between two groups are told apart by
    /// all of them, not by the one that they fell into.
    pub(super) fn answers(
        &self,
        (data, task, rows): (&Dataset, &Task, &[usize]),
        classes: &[Option<u16>],
        seed: u64,
    ) -> Result<Vec<Option<u16>>, LabellingError> {
        let known: Vec<usize> = (0..classes.len())
            .filter(|&at| classes[at].is_some())
            .collect();
        if known.len() < GROUPS_MIN {
            return Ok(self.group.iter().map(|&group| classes[group]).collect());
        }
        let labels: Vec<u16> = known.iter().filter_map(|&at| classes[at]).collect();
        let centres = of_one_length(self.centres.select(Axis(0), &known));
        let learnt = LabelledRows {
            inputs: centres.view(),
            labels: &labels,
            classes: task.classes(),
            numbers: None,
            soft: None,
        };
        let teacher = KernelTeacher::fit(learnt, task.definition().teacher.depth, seed)?;
        let raw = data.train.inputs.select(Axis(0), rows);
        let features = of_one_length(standardised(task.features_of(raw.view())?));
        let answers = teacher.probabilities(features.view())?;
        let class = |row: ndarray::ArrayView1<'_, f32>| {
            let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
            Some((0..row.len()).fold(0, better) as u16)
        };
        Ok(answers.rows().into_iter().map(class).collect())
    }
}

/// Which values of the means share a scale: those of one mean, as the pixels of a picture
/// do; of a list those of one place, for each may have a unit of its own.
fn layout(task: &Task) -> Layout {
    match task.definition().features.is_measured() {
        true => Layout::Column,
        false => Layout::Row,
    }
}

/// Rows, shape (rows, features), each of length √features.
fn of_one_length(mut rows: Array2<f32>) -> Array2<f32> {
    let length = (rows.ncols() as f32).sqrt();
    for mut row in rows.rows_mut() {
        let own = row.dot(&row).sqrt().max(f32::MIN_POSITIVE);
        row *= length / own;
    }
    rows
}

/// Bits of a mean's values.
const BITS: u8 = 4;
/// Groups with a class from which on a kernel is fitted to them.
const GROUPS_MIN: usize = 20;
/// Scale and offset of a mean, or of a column.
const SCALE_BYTES: usize = 8;
