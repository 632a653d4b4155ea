//! What the bytes of a task are spent on where the coordinator planned it.

use bincode::{Decode, Encode};
use protocol::task::BudgetPlan;
use serde::{Deserialize, Serialize};

/// A plan, what it was made from, and the reasons for it.
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

/// The reasons for a plan, in words for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct BudgetReasons {
    /// Reason for the number of points.
    pub points: String,
    /// Reason for the bits of a value.
    pub bits: String,
    /// Reason for the rank of moments.
    pub rank: String,
    /// Reason for the number of landmarks.
    pub landmarks: String,
    /// Reason for the kinds of contributions.
    pub contribute: String,
}
