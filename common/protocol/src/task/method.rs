//! Which of several methods a task takes.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Which of several methods a task takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode, Serialize)]
pub struct Method {
    /// How soft labels are joined.
    pub consensus: Consensus,
    /// Whether features count as much as a teacher of the points alone finds
    /// them to, rather than alike.
    pub feature_weights: bool,
    /// Most landmarks beside the points of the transfer set.
    pub landmarks_max: u32,
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
