//! A fleet under differential privacy.

use serde_json::{Value, json};

use common::task::Task;
use edge_agent::policy::Budget;

use crate::simulation::Protection;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// What everything that a device tells may cost.
    pub budget: Budget,
    /// Devices without it; left out, two where the task has its normaliser
    /// learnt, which devices under differential privacy have no part in and
    /// which takes two devices, and none elsewhere.
    pub pilots: Option<usize>,
}

impl Asked {
    /// Of a task.
    pub fn of(self, task: &Task, seed: u64) -> Protection {
        Protection {
            budget: self.budget,
            pilots: self
                .pilots
                .unwrap_or(PILOTS * usize::from(task.learns_normaliser())),
            seed,
        }
    }
}

/// What a phase takes by default.
const PILOTS: usize = 2;

/// What the outcome says of it.
pub(super) fn told(protection: &Protection, devices: usize) -> Value {
    let pilots = protection.pilots.min(devices);
    json!({
        "epsilon": protection.budget.epsilon(), "delta": protection.budget.delta(),
        "pilots": pilots, "devices_protected": devices - pilots,
    })
}
