//! The connected devices, so that those that are revoked can be hung up on
//! whatever else is the matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::DeviceId;
use common::transport::{CloseCode, Connection};

/// All connected devices. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: BTreeMap<(DeviceId, u64), Connection>,
}

/// One connection's entry, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    name: (DeviceId, u64),
    devices: Devices,
}

impl Devices {
    /// Enters a connection.
    pub(super) fn enter(&self, device: DeviceId, connection: &Connection) -> Entry {
        let mut table = self.table();
        table.last += 1;
        let name = (device, table.last);
        table.open.insert(name, connection.clone());
        Entry {
            name,
            devices: self.clone(),
        }
    }

    /// Hangs up on these devices.
    pub(super) fn close(&self, devices: &[DeviceId], code: CloseCode, reason: &str) {
        let table = self.table();
        for device in devices {
            let of_it = table.open.range((*device, 0)..=(*device, u64::MAX));
            for (_, connection) in of_it {
                connection.close(code, reason);
            }
        }
    }

    /// Hangs up on all of them.
    pub(super) fn close_all(&self, code: CloseCode, reason: &str) {
        for connection in self.table().open.values() {
            connection.close(code, reason);
        }
    }

    /// Those that are connected.
    pub(super) fn connected(&self) -> Vec<DeviceId> {
        self.table()
            .open
            .keys()
            .map(|(device, _)| *device)
            .collect()
    }

    /// How many connections there are.
    pub(super) fn count(&self) -> u64 {
        self.table().open.len() as u64
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.devices.table().open.remove(&self.name);
    }
}
