//! What a killed coordinator still holds of what it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::ids::{BlobHash, DeviceId};
use common::round::Kind;
use common::wire::codec::DecodeError;
use coordinator::config::{Config, ConfigError, Flags};
use coordinator::journal::{LogEntry, ReplayError, replay};
use coordinator::round::{Event, TaskEvent};
use coordinator::store::{DatabaseMetrics, Position, Store, StoreError};

use super::report::Held;
use super::round::Acknowledged;

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// The coordinator's configuration, which says where its store is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log as a whole.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A record.
    #[error("a record of the log was not understood: {0}")]
    Record(#[from] DecodeError),
}

/// Looks for each acknowledged contribution: in the log, and the newest of each
/// device with its bytes. Those that newer ones took the place of need no bytes
/// any more, and no record where the log was cut behind a snapshot.
pub(super) fn check(fleet: &Path, acknowledged: &[Acknowledged]) -> Result<Held, HeldError> {
    let flags = Flags {
        state: Some(fleet.join("coordinator")),
        ..Flags::default()
    };
    let config = Config::resolve(&flags, |name| std::env::var(name).ok())?;
    let opened = config
        .store_place()
        .open_here(&DatabaseMetrics::default())?;
    let store = opened.as_store();
    let recorded = recorded(store)?;
    let is_cut = store.first()? > Position(0);
    let mut newest = BTreeMap::new();
    for (_, state) in replay(store)?.tasks {
        for (key, standing) in &state.newest {
            newest.insert(*key, standing.blob);
        }
    }
    let mut lost = 0;
    for Acknowledged { device, kind, blob } in acknowledged {
        let is_held = match newest.get(&(*device, *kind)) {
            None => false,
            // Reading checks the bytes against their name.
            Some(newest) if newest == blob => store.blob(*blob)?.is_some(),
            Some(_) => is_cut || recorded.contains(&(*device, *kind, *blob)),
        };
        lost += usize::from(!is_held);
    }
    Ok(Held {
        acknowledged: acknowledged.len(),
        lost,
    })
}

/// What the log says was accepted.
fn recorded(store: &dyn Store) -> Result<BTreeSet<(DeviceId, Kind, BlobHash)>, HeldError> {
    let mut accepted = BTreeSet::new();
    let mut at = store.first()?;
    loop {
        let records = store.read(at, RECORDS_PER_READ)?;
        let Some(last) = records.last() else {
            return Ok(accepted);
        };
        at = last.position.next();
        for record in &records {
            if let LogEntry::Task(TaskEvent {
                event:
                    Event::Accepted {
                        device, kind, blob, ..
                    },
                ..
            }) = LogEntry::from_bytes(&record.bytes)?
            {
                accepted.insert((device, kind, blob));
            }
        }
    }
}

const RECORDS_PER_READ: usize = 1_024;
