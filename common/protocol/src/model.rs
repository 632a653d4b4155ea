//! What a device installs: a student with everything it needs to predict.

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};

use crate::codec::{DecodeError, decode_blob, encode};
use crate::features::{FeatureError, Normaliser};
use crate::ids::{BlobHash, DeviceId, RoundId, Time, Version};
use crate::task::{Task, TaskError};
use crate::weights::{RawWeights, WeightsError};
use math::network::{Network, NetworkError, Student, softmax_rows};

/// A trained student before it is released, as the coordinator stores it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawStudent {
    /// Every parameter, in the network's order.
    pub weights: Vec<f32>,
    /// How often it gives the teacher's answer on fresh synthetic inputs.
    pub agreement: f64,
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
    /// Devices whose contributions are in it, ascending. None if they are more
    /// than [`LINEAGE_NAMED_MAX`]: then a [`LineageDigest`] follows.
    pub lineage: Vec<DeviceId>,
    /// Brings features to the scale the student expects.
    pub normaliser: Normaliser,
    /// Every parameter, eight bits a weight.
    pub weights: RawWeights,
}

/// Most devices that a release names. Ten thousand names would be 160 KB for
/// every device to fetch.
pub const LINEAGE_NAMED_MAX: usize = 64;

/// The devices whose contributions are in a release, where they are too many
/// to name. The coordinator's log has the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LineageDigest {
    /// How many.
    pub devices: u32,
    /// BLAKE3 of their names, 16 bytes each, ascending.
    pub hash: BlobHash,
}

impl LineageDigest {
    /// Of these devices, in ascending order.
    pub fn of(devices: &[DeviceId]) -> Self {
        debug_assert!(devices.is_sorted());
        let mut names = Vec::with_capacity(16 * devices.len());
        for device in devices {
            names.extend_from_slice(&device.0);
        }
        Self {
            devices: u32::try_from(devices.len()).unwrap_or(u32::MAX),
            hash: BlobHash::of(&names),
        }
    }

    /// What a release says of these devices: their names if they are few, else
    /// none and this.
    pub fn or_names(devices: &[DeviceId]) -> (Vec<DeviceId>, Option<Self>) {
        if devices.len() <= LINEAGE_NAMED_MAX {
            (devices.to_vec(), None)
        } else {
            (Vec::new(), Some(Self::of(devices)))
        }
    }
}

/// A release whose parts fit one another. Its signature is the caller's
/// business: see [`crate::trust`].
#[derive(Clone, Debug)]
pub struct Release {
    task: Task,
    raw: RawRelease,
    digest: Option<LineageDigest>,
    student: Student,
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
    /// It names devices and has a digest of others.
    #[error("the release names {named} devices and has a digest of {digested} more")]
    Lineage {
        /// Devices named.
        named: usize,
        /// Devices in the digest.
        digested: u32,
    },
    /// Inputs do not fit its student.
    #[error("the inputs do not fit the student: {0}")]
    Network(#[from] NetworkError),
    /// Its normaliser does not fit the task.
    #[error("the release's normaliser does not fit its task: {0}")]
    Features(#[from] FeatureError),
}

impl Release {
    /// Checks a release's parts against one another. It has no digest.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(raw: RawRelease) -> Result<Self, ReleaseError> {
        Self::check_with(raw, None)
    }

    /// The same of a release that may have a digest in place of names.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check_with(
        raw: RawRelease,
        digest: Option<LineageDigest>,
    ) -> Result<Self, ReleaseError> {
        if let Some(LineageDigest { devices, .. }) = digest
            && !raw.lineage.is_empty()
        {
            return Err(ReleaseError::Lineage {
                named: raw.lineage.len(),
                digested: devices,
            });
        }
        let task = Task::from_bytes(&raw.task)?;
        raw.normaliser
            .check(task.features())
            .map_err(FeatureError::from)?;
        let student = raw.weights.clone().decode(task.student())?;
        Ok(Self {
            task,
            raw,
            digest,
            student,
        })
    }

    /// A release from the bytes of [`Self::to_bytes`].
    ///
    /// # Errors
    /// If they are not a release, or one that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReleaseError> {
        match decode_blob(bytes) {
            Ok(raw) => Self::check(raw),
            Err(DecodeError::Trailing(_)) => {
                let (raw, digest) = decode_blob(bytes)?;
                Self::check_with(raw, Some(digest))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes that are signed: the release, and behind it the digest if it
    /// has one. Without one they are what they were before there were digests.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.raw);
        if let Some(digest) = &self.digest {
            bytes.extend(encode(digest));
        }
        bytes
    }

    /// What stands for the names of its devices, where they are many.
    pub fn lineage_digest(&self) -> Option<LineageDigest> {
        self.digest
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
        let features = &self.task.definition().features;
        let features = features.compute(self.task.input_shape(), inputs)?;
        let view = self.raw.normaliser.apply(features.view())?;
        let mut logits = self.student.logits(view.view())?;
        softmax_rows(logits.view_mut(), 1.0);
        Ok(logits)
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::task::RawTask;
    use math::random::rng;

    fn raw(lineage: Vec<DeviceId>) -> RawRelease {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [normaliser]\nrange = [0.0, 1.0]\n[student]\nhidden = [2]";
        let task = RawTask::parse(text).unwrap();
        let network = Student::new(task.student(), &mut rng(1, "model")).unwrap();
        RawRelease {
            version: Version {
                epoch: 1,
                number: 2,
            },
            round: RoundId(3),
            released: Time(4),
            expires: Time(5),
            lineage,
            normaliser: Normaliser::of_range(2, 0.0, 1.0).unwrap(),
            weights: RawWeights::encode(task.student(), network.parameters()).unwrap(),
            task: task.bytes().to_vec(),
        }
    }

    fn devices(count: u16) -> Vec<DeviceId> {
        let name = |number: u16| {
            let mut name = [0; 16];
            name[..2].copy_from_slice(&number.to_be_bytes());
            DeviceId(name)
        };
        (0..count).map(name).collect()
    }

    #[test]
    fn a_release_that_names_its_devices_has_the_bytes_it_always_had() {
        let (named, digest) = LineageDigest::or_names(&devices(64));
        assert_eq!((named.len(), digest), (64, None));
        let release = Release::check_with(raw(named.clone()), digest).unwrap();
        // The layout from before there were digests.
        let bytes = encode(&raw(named.clone()));
        assert_eq!(release.to_bytes(), bytes);
        let again = Release::from_bytes(&bytes).unwrap();
        assert_eq!(again.as_raw().lineage, named);
        assert_eq!(again.lineage_digest(), None);
    }

    #[test]
    fn ten_thousand_devices_are_a_count_and_a_hash() {
        let all = devices(10_000);
        let (named, digest) = LineageDigest::or_names(&all);
        assert!(named.is_empty());
        let release = Release::check_with(raw(named), digest).unwrap();
        let bytes = release.to_bytes();
        assert!(bytes.len() < encode(&raw(Vec::new())).len() + 40);
        let digest = Release::from_bytes(&bytes)
            .unwrap()
            .lineage_digest()
            .unwrap();
        assert_eq!(digest.devices, 10_000);
        assert_eq!(digest, LineageDigest::of(&all));
        assert_ne!(digest, LineageDigest::of(&all[1..]));
    }

    #[test]
    fn names_beside_a_digest_and_bytes_behind_it_are_refused() {
        let digest = LineageDigest::of(&devices(65));
        assert!(matches!(
            Release::check_with(raw(devices(1)), Some(digest)),
            Err(ReleaseError::Lineage {
                named: 1,
                digested: 65
            })
        ));
        let release = Release::check_with(raw(Vec::new()), Some(digest)).unwrap();
        let mut bytes = release.to_bytes();
        bytes.push(0);
        assert!(matches!(
            Release::from_bytes(&bytes),
            Err(ReleaseError::Decode(DecodeError::Trailing(1)))
        ));
        bytes.truncate(bytes.len() - 2);
        assert!(matches!(
            Release::from_bytes(&bytes),
            Err(ReleaseError::Decode(_))
        ));
    }
}
