//! What a device computes when it is called: profile, summary, labels,
//! moments, report. Pure: data and policy in, bytes out.

mod gradient;
mod labels;
mod moments;
mod noisy;
mod profile;
mod rows;
mod summary;

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use common::ids::BlobHash;
use common::math::last_layer::LastLayerError;
use common::math::quantise::QuantiseError;
use common::model::Release;
use common::round::{Kind, Phase};
use common::scales::{Scales, ScalesError};
use common::task::Task;
use common::teacher::{RawTeacher, Teacher};
use common::transfer::{TransferError, TransferSet};
use common::wire::codec::{DecodeError, decode_blob, encode};
use common::wire::messages::Call;
use common::withheld::RawWithheld;

pub use common::limits::SAMPLE_ROWS_MEAN;
pub use noisy::private_cost;
pub use rows::{RawRows, View};

use crate::data::StandsFor;
use crate::teacher::{ModelChoice, TeacherError};

/// The part of the device's policy that the computations obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// Nothing leaves that describes fewer rows.
    pub rows_min: u64,
    /// Fewest rows a distilled point may stand for; the larger of this and
    /// the task's counts.
    pub cluster_size_min: u32,
    /// Rows for each direction that a contribution tells of them, at least.
    pub rows_per_direction: u32,
}

impl Privacy {
    /// How many directions a contribution that describes `rows` rows may tell:
    /// numbers a dimension of the space it speaks of, whatever the number of
    /// dimensions. A mean is one direction, a virtual row of moments one.
    ///
    /// r directions of n rows are r·m equations for n·m unknowns, and what an
    /// observer makes of them grows with r/n. Two directions are kept back for
    /// what comes beside them: counts, traces, norms and the spread of each
    /// feature. So nothing of the kind is told of fewer than three times
    /// `rows_per_direction` rows.
    pub fn directions(&self, rows: u64) -> usize {
        let told = rows / u64::from(self.rows_per_direction.max(1));
        usize::try_from(told.saturating_sub(2)).unwrap_or(usize::MAX)
    }

    /// Whether the mean and the variance of each feature of `rows` rows may
    /// leave: two directions, and nothing beside them but counts.
    pub fn tells_means(&self, rows: u64) -> bool {
        rows / u64::from(self.rows_per_direction.max(1)) >= 2
    }
}

/// Which local teacher the device trains.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub enum TeacherChoice {
    /// Kernel ridge regression; exact and quick for small data.
    #[default]
    Kernel,
    /// A small network with these hidden layers.
    Network(Vec<usize>),
    /// A model of the owner's labels rows without a label; kernel ridge regression
    /// learns from those and the others.
    Model(Box<ModelChoice>),
}

/// What a call is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The task.
    pub task: &'a Task,
    /// The shared blobs that the call's context names.
    pub blobs: &'a BTreeMap<BlobHash, Vec<u8>>,
    /// Rows to learn from.
    pub rows: RawRows<'a>,
    /// What they stand for, where they are a sample.
    pub stands_for: Option<&'a StandsFor>,
    /// What may leave.
    pub privacy: Privacy,
    /// The local teacher.
    pub teacher: &'a TeacherChoice,
    /// The device's own seed.
    pub seed: u64,
}

/// What the answer to a call consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Built {
    /// Contributions in sending order.
    pub entries: Vec<Entry>,
    /// Some of what was asked for will not come.
    pub partial: bool,
    /// Why, where that is known.
    pub why: Option<RawWithheld>,
}

/// One contribution.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// What it carries.
    pub kind: Kind,
    /// The bytes that would leave.
    pub bytes: Vec<u8>,
    /// Rows it describes.
    pub rows: u64,
}

/// Why a call could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A shared blob that the call names is not at hand.
    #[error("the call for {phase} names no {what}, or it is not cached")]
    Missing {
        /// The phase called for.
        phase: Phase,
        /// What is missing.
        what: &'static str,
    },
    /// A shared blob does not decode.
    #[error("a shared blob does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// The scales do not fit the task.
    #[error("the scales of features and numbers do not fit the task: {0}")]
    Scales(#[from] ScalesError),
    /// The task asks for numbers and the rows have none.
    #[error("the task asks for numbers, and the rows have none")]
    NoNumbers,
    /// The transfer set does not fit the task.
    #[error("the transfer set does not fit the task: {0}")]
    Transfer(#[from] TransferError),
    /// Raw rows do not fit the task's input shape.
    #[error("the data does not fit the task: {0}")]
    Features(#[from] common::features::FeatureError),
    /// The local or global teacher failed.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// A computation produced something that cannot be sent.
    #[error("the result cannot be sent: {0}")]
    Quantise(#[from] QuantiseError),
    /// Clustering refused its rows.
    #[error("the rows cannot be clustered: {0}")]
    Cluster(#[from] common::math::cluster::ClusterError),
    /// The student's last layer does not fit the rows.
    #[error("the gradient cannot be computed: {0}")]
    LastLayer(#[from] LastLayerError),
    /// A linear system or decomposition failed.
    #[error("the moments cannot be computed: {0}")]
    Regression(#[from] common::math::regression::RegressionError),
    /// Noise for so small a cost cannot be drawn.
    #[error(
        "privacy.epsilon is too small, or privacy.contributions too many, for noise to be drawn"
    )]
    Noise,
    /// The call is for a phase that no device computes for.
    #[error("a call for {0} asks for nothing a device computes")]
    NotACall(Phase),
}

impl Work<'_> {
    /// How many rows of a label so many distinct rows at hand stand for.
    fn told(&self, label: Option<u16>, rows: u64) -> u64 {
        self.stands_for
            .map_or(rows, |sample| sample.told(label, rows))
    }

    /// The same of each class.
    fn told_classes(&self, counts: &[u64]) -> Vec<u64> {
        let classes = (0u16..).zip(counts);
        classes
            .map(|(class, &rows)| match rows {
                0 => 0,
                rows => self.told(Some(class), rows),
            })
            .collect()
    }

    /// Answers a call of a gathering phase other than the report (which
    /// needs the model slots).
    ///
    /// # Errors
    /// If the call's context is incomplete or the data does not fit. Data
    /// that is too little is no error: the answer is then partial.
    pub fn answer(&self, call: &Call) -> Result<Built, WorkError> {
        if self.rows.numbers.is_none() && !self.task.target().numbers().is_empty() {
            return Err(WorkError::NoNumbers);
        }
        match call.phase {
            Phase::Profile => profile::build(self),
            Phase::Summarise => {
                let view = self.view(call)?;
                let teacher = self.global_teacher(call)?;
                summary::build(self, &view, teacher.as_ref())
            }
            Phase::Contribute => {
                let view = self.view(call)?;
                let transfer = self.transfer(call)?;
                self.contribute(&view, &transfer)
            }
            phase @ (Phase::Solve | Phase::Distil | Phase::Release | Phase::Report) => {
                Err(WorkError::NotACall(phase))
            }
        }
    }

    /// What the last layer of the call's release has wrong on the rows; nothing where
    /// the release needs no more of it, or the rows are too few.
    ///
    /// # Errors
    /// If the call's context is incomplete or the data does not fit.
    pub fn gradient(&self, call: &Call, release: &Release) -> Result<Option<Entry>, WorkError> {
        gradient::build(self, &self.view(call)?, release)
    }

    fn contribute(&self, view: &View, transfer: &TransferSet) -> Result<Built, WorkError> {
        let mut built = Built::default();
        if view.rows() < self.privacy.rows_min {
            built.partial = true;
            return Ok(built);
        }
        let learnt = labels::learn(self, view)?;
        for kind in self.task.definition().contribute.kinds() {
            let entry = match kind {
                Kind::Labels => labels::build(self, view, transfer, learnt.as_deref())?,
                Kind::Moments => moments::build(self, view, transfer, learnt.as_deref())?,
                // No task wants these of a call to contribute.
                Kind::Profile | Kind::Summary | Kind::Report | Kind::Gradient => None,
            };
            match entry {
                Some(entry) => built.entries.push(entry),
                None => built.partial = true,
            }
        }
        Ok(built)
    }

    /// The normalised rows that may be spoken of.
    fn view(&self, call: &Call) -> Result<View, WorkError> {
        let bytes = self.blob(call, call.context.normaliser, "normaliser")?;
        View::of(self, &Scales::read(self.task, bytes)?)
    }

    fn transfer(&self, call: &Call) -> Result<TransferSet, WorkError> {
        let bytes = self.blob(call, call.context.transfer, "transfer set")?;
        Ok(TransferSet::read(self.task, bytes)?)
    }

    fn global_teacher(&self, call: &Call) -> Result<Option<Teacher>, WorkError> {
        if call.context.teacher.is_none() || call.context.transfer.is_none() {
            return Ok(None);
        }
        let raw: RawTeacher = decode_blob(self.blob(call, call.context.teacher, "teacher")?)?;
        let transfer = self.transfer(call)?;
        let teacher = Teacher::on(raw, &transfer, self.task.outputs());
        Ok(Some(teacher.map_err(TeacherError::from)?))
    }

    fn blob(
        &self,
        call: &Call,
        name: Option<BlobHash>,
        what: &'static str,
    ) -> Result<&[u8], WorkError> {
        name.and_then(|name| self.blobs.get(&name))
            .map(Vec::as_slice)
            .ok_or(WorkError::Missing {
                phase: call.phase,
                what,
            })
    }
}

impl Entry {
    fn of(kind: Kind, value: &impl bincode::Encode, rows: u64) -> Self {
        Self {
            kind,
            bytes: encode(value),
            rows,
        }
    }
}
