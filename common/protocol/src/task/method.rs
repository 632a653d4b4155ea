//! Choices of method that tasks had no words for at first. A task that keeps
//! to the defaults has the bytes, and so the hash, that it had without them.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, decode_blob, encode};

/// Which of several methods a task takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Method {
    /// How later rounds make the transfer set better.
    pub support: Support,
    /// How soft labels are joined.
    pub consensus: Consensus,
    /// Whether features count as much as a teacher of the points alone finds
    /// them to, rather than alike.
    pub relevance: bool,
    /// Most landmarks beside the points of the transfer set.
    pub landmarks_max: u32,
}

/// What travelled before tasks had landmarks.
type Former = (Support, Consensus, bool);

impl Method {
    /// Nothing for the default; the landmarks only where there are some. So
    /// earlier tasks keep their bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let former = (self.support, self.consensus, self.relevance);
        if self == Self::default() {
            Vec::new()
        } else if self.landmarks_max == 0 {
            encode(&former)
        } else {
            encode(&(former, self.landmarks_max))
        }
    }

    /// What comes before the method, and the method.
    ///
    /// # Errors
    /// If the bytes are not what [`Self::to_bytes`] writes: the same task would
    /// have two hashes.
    pub(super) fn after<T: Decode<()>>(bytes: &[u8]) -> Result<(T, Self), DecodeError> {
        let (before, (support, consensus, relevance), landmarks_max) =
            match decode_blob::<(T, Former)>(bytes) {
                Err(DecodeError::Trailing(count)) => {
                    let (before, former, landmarks_max) = decode_blob::<(T, Former, u32)>(bytes)?;
                    if landmarks_max == 0 {
                        return Err(DecodeError::Trailing(count));
                    }
                    (before, former, landmarks_max)
                }
                decoded => {
                    let (before, former) = decoded?;
                    (before, former, 0)
                }
            };
        let method = Self {
            support,
            consensus,
            relevance,
            landmarks_max,
        };
        Ok((before, method))
    }
}

/// How the soft labels of all devices become one for each point.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Consensus {
    /// By which rule.
    pub rule: ConsensusRule,
    /// β of p̄^β/Σp̄^β afterwards; 1 leaves the consensus as it is.
    pub sharpening: f32,
}

impl Default for Consensus {
    fn default() -> Self {
        Self {
            rule: ConsensusRule::default(),
            sharpening: 1.5,
        }
    }
}

/// A rule that joins soft labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsensusRule {
    /// The mean, weighted by the rows that a device has of a class and by how
    /// near the point lies to them.
    #[default]
    Weighted,
    /// The plain mean.
    Mean,
    /// The geometric median, weighted: bears liars up to half of the weight.
    Median,
    /// The mean without the highest and the lowest quarter of the weight.
    Trimmed,
}

impl ConsensusRule {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Weighted, Self::Mean, Self::Median, Self::Trimmed];

    /// The lower-case name, as in configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Trimmed => "trimmed",
        }
    }
}

/// How rounds after the first make the transfer set better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Devices send more points, where the teacher is wrong, until the
    /// transfer set is full.
    #[default]
    Clusters,
    /// Devices send the gradient of the teacher's error in the points there
    /// are, and the coordinator moves those: federated kernel inducing points.
    Gradient,
    /// More points until the transfer set is full, gradients from then on.
    Auto,
}

impl Support {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Clusters, Self::Gradient, Self::Auto];

    /// Whether a transfer set of `points` points, with a teacher on it, gets
    /// better by moving them. One that is merged down to `points_max` may end
    /// up a few short of it, so nine tenths count as full.
    pub fn moves(self, points: u32, points_max: u32) -> bool {
        match self {
            Self::Clusters => false,
            Self::Gradient => true,
            Self::Auto => u64::from(points) * 10 >= u64::from(points_max) * 9,
        }
    }

    /// The lower-case name, as in configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Gradient => "gradient",
            Self::Auto => "auto",
        }
    }
}
