//! A model at the coordinator, which sees means of rows and labels those.

use ndarray::{Array2, Axis};

use common::math::cluster::KMeansParams;
use common::math::quantise::{Layout, QuantisedMatrix, Scheme};
use common::math::random::rng;
use common::task::Task;
use common::wire::codec::encode;
use edge_agent::teacher::standardised;
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
        let afforded = bytes as usize / (raw.ncols() + SCALE_BYTES);
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
        let sent = QuantisedMatrix::encode(means.view(), BITS, Layout::Row, Scheme::Affine)?;
        Ok(Some(Self {
            bytes: encode(sent.as_raw()).len() as u64,
            means: sent.decode(),
            group,
        }))
    }
}

/// Bits of a mean's values.
const BITS: u8 = 8;
/// Scale and offset of a mean.
const SCALE_BYTES: usize = 8;
