//! What each device is worth to the others.

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// What leaving a device out of the newest teacher does. Errors are squared, in
/// the mean of rows and classes; 0 is perfect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InfluenceStatus {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceName,
    /// Rows that it described.
    pub rows: u64,
    /// How much the error on the others' rows grows without it, as a share of
    /// that error; below 0 where it does harm.
    pub worth: f64,
    /// The error on the others' rows, each half of them judged by a teacher of
    /// the other half and the device.
    pub others_with: f64,
    /// The same of teachers that learn from the others alone.
    pub others_without: f64,
    /// The newest teacher's error on the device's own rows.
    pub own_with: f64,
    /// The same of a teacher without the device.
    pub own_without: f64,
}
