//! What the bytes of a task are spent on where the coordinator planned it.

use bincode::{Decode, Encode};
use protocol::task::BudgetPlan;
use serde::{Deserialize, Serialize};

/// A plan, what it was made from, and why it says what it says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PlannedBudget {
    /// What devices do.
    pub plan: BudgetPlan,
    /// Devices whose profiles it was made from.
    pub devices: u32,
    /// Rows of them all that counted.
    pub rows: u64,
    /// Why.
    pub reasons: BudgetReasons,
}

/// Why a plan says what it says, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct BudgetReasons {
    /// Why so many points.
    pub points: String,
    /// Why so many bits.
    pub bits: String,
    /// Why so many virtual rows of moments.
    pub rank: String,
    /// Why so many landmarks.
    pub landmarks: String,
    /// Why these contributions.
    pub contribute: String,
}
