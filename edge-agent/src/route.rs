//! The way from this device to its coordinator.

use std::sync::Arc;

use common::transport::{Protocol, Search, Tuning};

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

impl Route {
    /// What finds the coordinator, for this protocol.
    pub(crate) fn search(&self, protocol: Protocol) -> Search {
        Search {
            identity: self.identity.client().clone(),
            protocol,
            tuning: self.tuning.clone(),
            clock: self.floor.clock(),
        }
    }
}
