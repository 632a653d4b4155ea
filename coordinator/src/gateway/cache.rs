//! Blobs that the fleet shares, in memory: brought from the coordinator once,
//! however many devices ask at a time.
//!
//! A blob is named by its hash, so it is checked when it comes. What leads
//! from one release to another is named by those two; a device checks what it
//! makes of it, and fetches the whole if that is not the release.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::ids::BlobHash;
use common::transport::{BlobSpan, Stream, TransportError};
use common::wire::codec::decode;
use common::wire::gateway::Purpose;
use common::wire::messages::TransferAnswer;
use tokio::sync::{OnceCell, Semaphore};

use super::figures::Figures;
use super::uplink::Uplink;

/// What can be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// A blob.
    Blob(BlobHash),
    /// What leads from one release to another.
    Delta {
        /// The release.
        blob: BlobHash,
        /// The earlier one.
        base: BlobHash,
    },
}

/// What became of a question.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// The bytes.
    Bytes(Arc<Vec<u8>>),
    /// The coordinator has no such bytes for anybody, and answers this.
    Not(TransferAnswer),
    /// It is longer than all that is kept.
    TooLong,
}

/// The memory.
#[derive(Debug)]
pub(super) struct Cache {
    bytes_max: u64,
    entries: Mutex<HashMap<Name, Entry>>,
    /// What is brought at a time; it is in memory before it is counted.
    turns: Semaphore,
    figures: Arc<Figures>,
}

#[derive(Clone, Debug)]
struct Entry {
    cell: Arc<OnceCell<Wanted>>,
    since: Instant,
    used: Instant,
}

impl Cache {
    /// Keeps this many bytes at most.
    pub(super) fn new(bytes_max: u64, figures: Arc<Figures>) -> Self {
        Self {
            bytes_max,
            entries: Mutex::default(),
            turns: Semaphore::new(FETCHES_MAX),
            figures,
        }
    }

    /// Bytes that are kept now.
    pub(super) fn bytes(&self) -> u64 {
        self.table().values().map(Entry::bytes).sum()
    }

    /// These bytes, from memory or from the coordinator.
    ///
    /// # Errors
    /// The loss of stream or connection.
    pub(super) async fn of(&self, name: Name, uplink: &Uplink) -> Result<Wanted, TransportError> {
        let cell = self.cell(name, Instant::now());
        let found = cell
            .get_or_try_init(|| async {
                let turn = self.turns.acquire().await;
                let _turn = turn.map_err(|_| TransportError::ClosedHere)?;
                self.fetch(name, uplink).await
            })
            .await?
            .clone();
        match &found {
            Wanted::Bytes(_) => self.make_room(name),
            // It may be there the next time.
            Wanted::Not(TransferAnswer::NotFound) => self.forget(name, &cell),
            Wanted::Not(_) | Wanted::TooLong => {}
        }
        Ok(found)
    }

    fn cell(&self, name: Name, now: Instant) -> Arc<OnceCell<Wanted>> {
        let mut table = self.table();
        table.retain(|_, entry| now.saturating_duration_since(entry.since) < KEPT);
        let entry = table.entry(name).or_insert_with(|| Entry {
            cell: Arc::default(),
            since: now,
            used: now,
        });
        entry.used = now;
        entry.cell.clone()
    }

    async fn fetch(&self, name: Name, uplink: &Uplink) -> Result<Wanted, TransportError> {
        let purpose = match name {
            Name::Blob(blob) => Purpose::Fetch { blob },
            Name::Delta { blob, base } => Purpose::FetchAgainst { blob, base },
        };
        let mut stream = uplink.open(&purpose).await?;
        let answer = stream.receiver.recv_answer().await?;
        let answer = answer.ok_or(TransportError::Lost {
            reason: "the coordinator ended the stream",
        })?;
        let answer = decode::<TransferAnswer>(&answer).map_err(|error| TransportError::Quic {
            reason: format!("the coordinator's answer was not understood: {error}"),
        })?;
        let bytes = match (name, answer) {
            (Name::Blob(_), TransferAnswer::Blob { bytes })
            | (Name::Delta { .. }, TransferAnswer::Delta { bytes }) => bytes,
            (_, answer @ (TransferAnswer::NotFound | TransferAnswer::NoDelta)) => {
                return Ok(Wanted::Not(answer));
            }
            (_, other) => {
                return Err(TransportError::Quic {
                    reason: format!("the coordinator answered {other:?} to a fetch"),
                });
            }
        };
        if bytes > self.bytes_max {
            stream.give_up(common::transport::CloseCode::Normal);
            return Ok(Wanted::TooLong);
        }
        let bytes = received(&mut stream, bytes).await?;
        if let Name::Blob(blob) = name
            && BlobHash::of(&bytes) != blob
        {
            tracing::error!(blob = %blob.short(), "the coordinator sent other bytes");
            return Err(TransportError::Quic {
                reason: "the coordinator sent other bytes than were asked for".to_owned(),
            });
        }
        self.figures.fetched(bytes.len() as u64);
        Ok(Wanted::Bytes(Arc::new(bytes)))
    }

    /// Forgets what was not used for the longest time until the rest fits.
    fn make_room(&self, newest: Name) {
        let mut table = self.table();
        let mut bytes: u64 = table.values().map(Entry::bytes).sum();
        while bytes > self.bytes_max {
            let others = table.iter();
            let others = others.filter(|(name, entry)| **name != newest && entry.bytes() > 0);
            let Some(oldest) = others.min_by_key(|(_, entry)| entry.used).map(|one| *one.0) else {
                return;
            };
            if let Some(entry) = table.remove(&oldest) {
                bytes -= entry.bytes();
            }
        }
    }

    fn forget(&self, name: Name, cell: &Arc<OnceCell<Wanted>>) {
        let mut table = self.table();
        let is_it = |entry: &Entry| Arc::ptr_eq(&entry.cell, cell);
        if table.get(&name).is_some_and(is_it) {
            table.remove(&name);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        match self.cell.get() {
            Some(Wanted::Bytes(bytes)) => bytes.len() as u64,
            _ => 0,
        }
    }
}

async fn received(stream: &mut Stream, length: u64) -> Result<Vec<u8>, TransportError> {
    let mut bytes = Vec::new();
    let keep = |chunk: &[u8]| {
        bytes.extend_from_slice(chunk);
        Ok(())
    };
    let span = BlobSpan::new(0, length)?;
    stream.receiver.recv_blob(span, keep).await?;
    Ok(bytes)
}

/// Blobs that are brought at a time.
const FETCHES_MAX: usize = 4;
/// How long anything is kept.
const KEPT: Duration = Duration::from_secs(3_600);
