//! What each device is worth, from the moments that devices sent anyway.

use std::sync::Arc;

use common::ids::{BlobHash, TaskHash};
use tokio::sync::Mutex;

use crate::aggregate::{InfluenceError, leave_one_out};
use crate::core::{Command, Evidence};
use crate::server::handle::{Shared, ask_core};
use crate::server::store_handle::StoreHandle;
use crate::status::{Fault, FaultKind, InfluenceStatus};
use crate::validation;

/// Devices that are left out in turn.
pub(crate) const INFLUENCES_MAX: usize = 100;

/// Influences on the newest teacher that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Influences {
    solved: Mutex<Option<(BlobHash, Arc<Vec<InfluenceStatus>>)>>,
}

impl Influences {
    /// Of the devices that the newest teacher of a task stands on: of the
    /// [`INFLUENCES_MAX`] with most rows, those first that are worth most to
    /// others. None where fewer than two sent moments. Solved once for each
    /// teacher.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub(crate) async fn of(
        &self,
        shared: &Shared,
        task: TaskHash,
        teacher: BlobHash,
    ) -> Result<Option<Arc<Vec<InfluenceStatus>>>, Fault> {
        // Held while solving: those who ask meanwhile get the same.
        let mut solved = self.solved.lock().await;
        if let Some((known, found)) = &*solved
            && *known == teacher
        {
            return Ok(Some(found.clone()));
        }
        let asked = ask_core(shared, |reply| Command::EvidenceOf { task, reply });
        let Some(Some(evidence)) = asked.await else {
            return Ok(None);
        };
        let store = shared.store.clone();
        let found = tokio::task::spawn_blocking(move || influences(&store, &evidence));
        let broken =
            |error: tokio::task::JoinError| Fault::new(FaultKind::Storage, error.to_string());
        let Some(found) = found.await.map_err(broken)? else {
            return Ok(None);
        };
        let found = Arc::new(found);
        *solved = Some((teacher, found.clone()));
        Ok(Some(found))
    }
}

/// Leaves the devices with most rows out in turn.
fn influences(store: &StoreHandle, evidence: &Evidence) -> Option<Vec<InfluenceStatus>> {
    let transfer = store.read(evidence.transfer)?;
    let set = validation::transfer_set(&evidence.task, &transfer).ok()?;
    let read = |at: usize| {
        let (_, blob) = &evidence.moments[at];
        let bytes = store.read(*blob).ok_or(Untold)?;
        let moments = validation::moments(&evidence.task, &bytes, set.support());
        moments.map_err(|_| Untold)
    };
    let mut found = Vec::new();
    let bounds = [evidence.moments.len(), INFLUENCES_MAX];
    leave_one_out(&evidence.task, &set, bounds, read, |left| {
        let (device, _) = &evidence.moments[left.device];
        let influence = left.influence;
        found.push(InfluenceStatus {
            device: device.clone(),
            rows: influence.rows,
            worth: influence.worth(),
            others_with: influence.others_with,
            others_without: influence.others_without,
            own_with: influence.own_with,
            own_without: influence.own_without,
        });
        Ok(())
    })
    .ok()?;
    found.sort_by(|one, other| other.worth.total_cmp(&one.worth));
    (!found.is_empty()).then_some(found)
}

/// A contribution is gone or cannot be solved with: nothing is shown then.
struct Untold;

impl From<InfluenceError> for Untold {
    fn from(_: InfluenceError) -> Self {
        Self
    }
}
