//! What a device found when it tried a release.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// How a release fares on a device. Of all that the device knows, these few
/// words leave it, so that a rollout can be halted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    /// In use, and to be tried once more after the soak.
    Soaking,
    /// In use, and no worse than the one before after the soak.
    Kept,
    /// In use; the device has no labelled rows to try it on.
    Untested,
    /// Never used: it does worse on the device's held-out rows.
    Worse,
    /// Never used: it is not to be believed.
    Refused,
    /// It was in use and did worse after the soak; the one before is used
    /// again.
    RolledBack,
}

impl Evaluation {
    /// Whether the device has made up its mind.
    pub fn is_final(self) -> bool {
        self != Self::Soaking
    }

    /// Whether the device does not want it.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Worse | Self::Refused | Self::RolledBack)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Soaking => "in use, soaking",
            Self::Kept => "kept",
            Self::Untested => "in use, untested for want of labelled rows",
            Self::Worse => "not installed: worse",
            Self::Refused => "refused",
            Self::RolledBack => "rolled back: worse after the soak",
        })
    }
}
