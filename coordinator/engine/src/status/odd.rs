//! What is odd about a device's data.

use protocol::ids::DeviceId;
use serde::{Deserialize, Serialize};

use super::{DeviceName, format};

/// Something odd about a device's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddStatus {
    /// Which.
    #[serde(flatten)]
    pub device: DeviceName,
    /// What is odd.
    pub kind: OddKind,
    /// The feature or the class.
    pub name: String,
    /// How many times the fleet's, or how many of its standard deviations
    /// away; 0 where that says nothing.
    pub factor: f64,
}

/// What may be odd about a device's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddKind {
    /// A feature is a multiple of the fleet's, mean and deviation.
    Unit,
    /// A feature's mean lies far from the fleet's.
    Mean,
    /// A feature spreads much further than the fleet's, or much less.
    Spread,
    /// A feature that varies elsewhere never changes.
    Constant,
    /// It alone speaks of a class.
    Alone,
}

impl OddKind {
    /// Its word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Mean => "mean",
            Self::Spread => "spread",
            Self::Constant => "constant",
            Self::Alone => "alone",
        }
    }
}

impl OddStatus {
    /// Of a device whose name is filled in by who knows it.
    pub fn new(device: DeviceId, kind: OddKind, name: String, factor: f64) -> Self {
        let device = DeviceName {
            device,
            label: String::new(),
        };
        Self {
            device,
            kind,
            name,
            factor,
        }
    }

    /// What is odd, in words.
    pub fn text(&self) -> String {
        let (name, factor) = (&self.name, format::factor(self.factor));
        match self.kind {
            OddKind::Unit => format!("{name} is {factor} times the fleet's: another unit?"),
            OddKind::Mean => {
                format!("the mean of {name} lies {factor} of the fleet's standard deviations away")
            }
            OddKind::Spread => format!("{name} spreads {factor} times as far as the fleet's"),
            OddKind::Constant => format!("{name} never changes, and does on the others"),
            OddKind::Alone => format!("no other device speaks of class {name}"),
        }
    }
}
