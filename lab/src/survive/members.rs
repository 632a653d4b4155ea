//! Who belongs to the fleet, read from the log in another way than the
//! registry's fold does.

use std::collections::BTreeSet;

use common::ids::DeviceId;
use coordinator::registry::{Registry, RegistryEvent};

use super::checker::Violation;

#[derive(Debug, Default)]
pub(super) struct Members {
    admitted: BTreeSet<DeviceId>,
    approved: BTreeSet<DeviceId>,
    waiting: BTreeSet<DeviceId>,
    revoked: BTreeSet<DeviceId>,
    uses_max: usize,
}

impl Members {
    pub(super) fn see(&mut self, event: &RegistryEvent) -> Result<(), Violation> {
        match event {
            RegistryEvent::TokenCreated { record, .. } => {
                self.uses_max += record.uses_max as usize;
            }
            RegistryEvent::Applied { device, .. } => {
                self.waiting.insert(*device);
            }
            RegistryEvent::Approved { device, .. } => {
                if !self.waiting.contains(device) {
                    return Err(format!("{} was approved unasked", device.short()));
                }
                self.approved.insert(*device);
            }
            RegistryEvent::Admitted { device, .. } => {
                if self.revoked.contains(device) {
                    return Err(format!("revoked {} was admitted", device.short()));
                }
                if self.waiting.contains(device) && !self.approved.contains(device) {
                    return Err(format!("{} was admitted unapproved", device.short()));
                }
                self.admitted.insert(*device);
                if self.admitted.len() > self.uses_max {
                    return Err("a token admitted more devices than it may".to_owned());
                }
            }
            RegistryEvent::Revoked { device, .. } => {
                self.revoked.insert(*device);
            }
            _ => {}
        }
        Ok(())
    }

    /// A contribution of this device was recorded.
    pub(super) fn may_contribute(&self, device: DeviceId) -> Result<(), Violation> {
        match self.is_admitted(device) && !self.is_revoked(device) {
            true => Ok(()),
            false => Err(format!(
                "a contribution of {} was taken, which is no member",
                device.short()
            )),
        }
    }

    pub(super) fn is_admitted(&self, device: DeviceId) -> bool {
        self.admitted.contains(&device)
    }

    pub(super) fn is_revoked(&self, device: DeviceId) -> bool {
        self.revoked.contains(&device)
    }

    /// The registry that was restored says the same.
    pub(super) fn check(&self, registry: &Registry) -> Result<(), Violation> {
        let members = registry
            .members()
            .keys()
            .filter(|one| !self.is_revoked(**one));
        let admitted = self.admitted.iter().filter(|one| !self.is_revoked(**one));
        match members.eq(admitted) && registry.revoked().keys().eq(self.revoked.iter()) {
            true => Ok(()),
            false => Err("the registry is not what the log says".to_owned()),
        }
    }
}
