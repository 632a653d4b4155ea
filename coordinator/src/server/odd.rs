//! Devices whose data is unlike the fleet's.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::ids::{BlobHash, DeviceId, TaskHash};
use tracing::warn;

use crate::aggregate::odd_data;
use crate::core::Command;
use crate::server::handle::{Shared, ask_core, from_store_handle};
use crate::status::{OddStatus, TaskStatus};
use crate::validation;

/// What is odd about the newest profiles of each task, read once for each set
/// of them, and said in the log when it is found.
#[derive(Debug, Default)]
pub(crate) struct OddData {
    known: Mutex<BTreeMap<TaskHash, Known>>,
}

/// What was found, in which profiles, and when.
#[derive(Debug)]
struct Known {
    profiles: Profiles,
    found: Vec<OddStatus>,
    read: Instant,
}

type Profiles = Vec<(DeviceId, BlobHash)>;

impl OddData {
    /// Of this task; empty where the profiles cannot be read.
    pub(crate) async fn of(&self, shared: &Shared, task: &TaskStatus) -> Vec<OddStatus> {
        if task.profiles.is_empty() {
            return Vec::new();
        }
        // While a fleet joins, its profiles change with every look.
        if let Some(known) = self.lock().get(&task.task)
            && (known.profiles == task.profiles || known.read.elapsed() < AGAIN)
        {
            return known.found.clone();
        }
        let hash = task.task;
        let asked = ask_core(shared, |reply| Command::TaskOf { task: hash, reply });
        let Some(Some(definition)) = asked.await else {
            return Vec::new();
        };
        let profiles = task.profiles.clone();
        let read = from_store_handle(shared, move |store| {
            let mut read = Vec::new();
            for (device, blob) in profiles {
                let bytes = store.with(|store| store.blob(blob))?;
                let profile = bytes.and_then(|bytes| validation::profile(&definition, &bytes).ok());
                read.extend(profile.map(|profile| (device, profile)));
            }
            Ok::<_, crate::store::StoreError>(odd_data(&definition, &read))
        });
        let Ok(found) = read.await else {
            return Vec::new();
        };
        let mut known = self.lock();
        let now = Known {
            profiles: task.profiles.clone(),
            found: found.clone(),
            read: Instant::now(),
        };
        let before = known.insert(hash, now);
        let before = before.map_or_else(Vec::new, |before| before.found);
        for one in found.iter().filter(|one| !before.contains(one)) {
            warn!(task = %hash.short(), device = %one.device.device.short(), "odd data: {}", one.text());
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskHash, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Profiles of a task are not read again within this time.
const AGAIN: Duration = Duration::from_secs(15);
