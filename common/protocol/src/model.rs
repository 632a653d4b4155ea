//! What a device installs: a student with everything it needs to predict.

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};

use crate::codec::{DecodeError, Trailing, decode_blob, encode};
use crate::features::{FeatureError, Normaliser, TargetScale, TargetScaleError};
use crate::ids::{BlobHash, DeviceId, RoundId, Time, Version};
use crate::novelty::{Novelty, NoveltyError, RawNovelty};
use crate::task::{Target, Task, TaskError};
use crate::weights::{RawWeights, WeightsError};
use math::network::{Network, NetworkError, Student, softmax_rows};

/// A trained student before it is released, as the coordinator stores it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawStudent {
    /// Every parameter, in the network's order.
    pub weights: Vec<f32>,
    /// How often it gives the teacher's answer on fresh synthetic inputs; of
    /// numbers, the share of the teacher's variance that it has.
    pub agreement: f64,
    /// What tells how unlike a row is, where the task wants that.
    pub novelty: Trailing<RawNovelty>,
}

/// A release as it is signed and travels. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawRelease {
    /// The task's bytes.
    pub task: Vec<u8>,
    /// Version of the student.
    pub version: Version,
    /// The round it came from.
    pub round: RoundId,
    /// When it was released.
    pub released: Time,
    /// After this it is stale, and no device installs it.
    pub expires: Time,
    /// Devices whose contributions are in it.
    pub lineage: Lineage,
    /// Brings features to the scale the student expects.
    pub normaliser: Normaliser,
    /// Every parameter, eight bits a weight.
    pub weights: RawWeights,
    /// What students of classes do without.
    pub extras: Trailing<Extras>,
}

/// What some releases carry beside the student.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Extras {
    /// The scale of the student's numbers, where the task asks for numbers.
    pub targets: Option<TargetScale>,
    /// What tells how unlike a row is, where the task wants that.
    pub novelty: Option<RawNovelty>,
    /// By how many steps its last layer was moved towards the devices' own rows,
    /// if by any.
    pub refined: Trailing<u32>,
}

/// Most devices that a release names. Ten thousand names would be 160 KB for
/// every device to fetch.
pub const LINEAGE_NAMED_MAX: usize = 64;

/// The devices whose contributions are in a release, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Lineage {
    /// Their names.
    Named(Vec<DeviceId>),
    /// More than [`LINEAGE_NAMED_MAX`]; the coordinator's log has the list.
    Digest {
        /// How many.
        devices: u32,
        /// See [`Lineage::digest`].
        hash: BlobHash,
    },
}

impl Lineage {
    /// What a release says of these devices, in ascending order.
    pub fn of(devices: &[DeviceId]) -> Self {
        debug_assert!(devices.is_sorted());
        if devices.len() <= LINEAGE_NAMED_MAX {
            return Self::Named(devices.to_vec());
        }
        Self::Digest {
            devices: u32::try_from(devices.len()).unwrap_or(u32::MAX),
            hash: Self::digest(devices),
        }
    }

    /// BLAKE3 of these devices' names, 16 bytes each, in ascending order.
    pub fn digest(devices: &[DeviceId]) -> BlobHash {
        let names: Vec<u8> = devices.iter().flat_map(|device| device.0).collect();
        BlobHash::of(&names)
    }
}

/// A release whose parts fit one another. Its signature is the caller's
/// business: see [`crate::trust`].
#[derive(Clone, Debug)]
pub struct Release {
    task: Task,
    raw: RawRelease,
    student: Student,
    novelty: Option<Novelty>,
}

/// Why a release was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The bytes are not a release.
    #[error("the release does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// Its task is not a valid one.
    #[error("the release's task is not valid: {0}")]
    Task(#[from] TaskError),
    /// Its weights do not fit the task's student, or do not decode.
    #[error("the release's weights do not fit its student: {0}")]
    Weights(#[from] WeightsError),
    /// Inputs do not fit its student.
    #[error("the inputs do not fit the student: {0}")]
    Network(#[from] NetworkError),
    /// The scale of its numbers does not fit the task, or is missing.
    #[error("the release's scale of numbers does not fit its task: {0}")]
    Targets(#[from] TargetScaleError),
    /// What tells how unlike a row is does not fit the task.
    #[error("the release's score of novelty does not fit its task: {0}")]
    Novelty(#[from] NoveltyError),
    /// Class probabilities, of a student that gives numbers, or the other way
    /// round.
    #[error("the student gives {gives}, not {asked}")]
    Target {
        /// What was asked of it.
        asked: &'static str,
        /// What it gives.
        gives: &'static str,
    },
    /// Its normaliser does not fit the task.
    #[error("the release's normaliser does not fit its task: {0}")]
    Features(#[from] FeatureError),
}

/// What a student says of inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// Class probabilities, shape (rows, classes).
    Classes(Array2<f32>),
    /// Numbers in their units, shape (rows, numbers).
    Numbers(Array2<f32>),
}

impl RawRelease {
    /// The scale of the student's numbers, if it gives numbers.
    pub fn targets(&self) -> Option<&TargetScale> {
        self.extras.0.as_ref()?.targets.as_ref()
    }
}

impl Release {
    /// Checks a release's parts against one another.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(raw: RawRelease) -> Result<Self, ReleaseError> {
        let task = Task::from_bytes(&raw.task)?;
        raw.normaliser
            .check_widths(task.stage_features(), task.features())
            .map_err(FeatureError::from)?;
        let values = task.target().numbers().len();
        let none = TargetScale::of(&[], &[]);
        raw.targets().unwrap_or(&none).check(values)?;
        let student = raw.weights.clone().decode(task.student())?;
        let extras = raw.extras.0.as_ref();
        let is_empty = |extras: &Extras| *extras == Extras::default();
        if extras.is_some_and(|extras| is_empty(extras) || extras.refined.0 == Some(0)) {
            // Nothing has one encoding: no bytes.
            return Err(DecodeError::Trailing(encode(&Extras::default()).len()).into());
        }
        let levels = match task.target() {
            Target::Class => task.outputs(),
            Target::Number(_) => 1,
        };
        let novelty = extras.and_then(|extras| extras.novelty.clone());
        let novelty = novelty.map(|raw| Novelty::check(raw, task.features(), levels));
        let novelty = novelty.transpose()?;
        Ok(Self {
            task,
            raw,
            student,
            novelty,
        })
    }

    /// A release from the bytes of [`Self::to_bytes`].
    ///
    /// # Errors
    /// If they are not a release, or one that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReleaseError> {
        Self::check(decode_blob(bytes)?)
    }

    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.raw)
    }

    /// The task it serves.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.raw.version
    }

    /// Everything else it says.
    pub fn as_raw(&self) -> &RawRelease {
        &self.raw
    }

    /// By how many steps its last layer was moved towards the devices' own rows.
    pub fn refined(&self) -> u32 {
        let extras = self.raw.extras.0.as_ref();
        extras.and_then(|extras| extras.refined.0).unwrap_or(0)
    }

    /// The network.
    pub fn student(&self) -> &Student {
        &self.student
    }

    /// Class probabilities of raw inputs (rows, values of one input), shape
    /// (rows, classes): features, normaliser, student, softmax.
    ///
    /// # Errors
    /// If the inputs do not have the task's shape.
    pub fn probabilities(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, ReleaseError> {
        if !self.task.target().is_class() {
            return Err(self.mismatch("class probabilities"));
        }
        let mut logits = self.outputs(inputs)?;
        softmax_rows(logits.view_mut(), 1.0);
        Ok(logits)
    }

    /// The numbers that the task asks for, of raw inputs (rows, values of one
    /// input), in their units and within their limits, shape (rows, numbers).
    ///
    /// # Errors
    /// If the inputs do not have the task's shape, or the task asks for no
    /// numbers.
    pub fn numbers(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, ReleaseError> {
        let Some(scale) = self.raw.targets() else {
            return Err(self.mismatch("numbers"));
        };
        let numbers = scale.restore(self.outputs(inputs)?);
        Ok(self.task.target().within(numbers))
    }

    /// What the task asks of raw inputs (rows, values of one input): class
    /// probabilities, or numbers.
    ///
    /// # Errors
    /// If the inputs do not have the task's shape.
    pub fn answers(&self, inputs: ArrayView2<'_, f32>) -> Result<Answers, ReleaseError> {
        match self.task.target() {
            Target::Number(_) => self.numbers(inputs).map(Answers::Numbers),
            Target::Class => self.probabilities(inputs).map(Answers::Classes),
        }
    }

    /// How unlike the rows that the fleet has seen raw inputs (rows, values of one
    /// input) are, from 0 to 1 (see [`Novelty::scores`]); none where the task does
    /// not want it.
    ///
    /// # Errors
    /// If the inputs do not have the task's shape.
    pub fn novelty(&self, inputs: ArrayView2<'_, f32>) -> Result<Option<Vec<f32>>, ReleaseError> {
        let Some(novelty) = &self.novelty else {
            return Ok(None);
        };
        let view = self.view(inputs)?;
        let logits = match self.task.target() {
            Target::Class => Some(self.student.logits(view.view())?),
            Target::Number(_) => None,
        };
        let logits = logits.as_ref().map(|logits| logits.view());
        let scores = novelty.scores(view.view(), logits);
        Ok(Some(scores.map_err(NoveltyError::from)?))
    }

    fn view(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, ReleaseError> {
        let features = self.task.features_of(inputs)?;
        Ok(self.raw.normaliser.apply(features.view())?)
    }

    /// What the network answers on raw inputs.
    fn outputs(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, ReleaseError> {
        Ok(self.student.logits(self.view(inputs)?.view())?)
    }

    fn mismatch(&self, asked: &'static str) -> ReleaseError {
        ReleaseError::Target {
            asked,
            gives: match self.task.target() {
                Target::Class => "class probabilities",
                Target::Number(_) => "numbers",
            },
        }
    }

    /// The most likely class of each raw input.
    ///
    /// # Errors
    /// As [`Self::probabilities`].
    pub fn predict(&self, inputs: ArrayView2<'_, f32>) -> Result<Vec<u16>, ReleaseError> {
        let probabilities = self.probabilities(inputs)?;
        let best = |row: ndarray::ArrayView1<'_, f32>| {
            let larger =
                |best: usize, class: usize| if row[class] > row[best] { class } else { best };
            (0..row.len()).fold(0, larger) as u16
        };
        Ok(probabilities.rows().into_iter().map(best).collect())
    }
}

#[cfg(test)]
mod tests;
