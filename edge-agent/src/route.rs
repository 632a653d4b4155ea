//! The way from this device to its coordinator.

use std::sync::Arc;

use common::transport::Tuning;

use crate::identity::{Identity, TimeFloor};

/// Where the coordinator is and who asks.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its address, `host:port`.
    pub coordinator: String,
    /// Who this device is.
    pub identity: Arc<Identity>,
    /// What the device's clock may not be behind of.
    pub floor: TimeFloor,
    /// How connections behave.
    pub tuning: Tuning,
}
