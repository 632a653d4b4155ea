//! Contributions as plain files until the coordinator answers them.
//!
//! A file is named by its contribution's key, so that a rename replaces an
//! entry whole. It holds the hash of the rest, a small header and the bytes
//! that will leave.

pub mod disk;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use common::ids::{BlobHash, RoundId, TaskHash};
use common::limits::BLOB_BYTES_MAX;
use common::round::ContributionKey;
use common::wire::codec;
use tracing::warn;

use crate::session::Pending;
pub use disk::DiskError;

/// Most contributions that wait.
pub const OUTBOX_ENTRIES_MAX: usize = 64;
/// Most bytes of contributions that wait.
pub const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;

const _: () = assert!(OUTBOX_BYTES_MAX >= 2 * BLOB_BYTES_MAX);

/// Why the outbox cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No such contribution waits.
    #[error("{0} is not in the outbox")]
    Missing(ContributionKey),
    /// Its file has changed since it was written.
    #[error("{}: {key} is damaged", path.display())]
    Damaged {
        /// The contribution.
        key: ContributionKey,
        /// Its file.
        path: PathBuf,
    },
    /// The bytes are not those that were announced: a fault in this program.
    #[error("announced {} bytes named {}, got {} named {}", .announced.1, .announced.0, .got.1, .got.0)]
    Mismatch {
        /// Name and length announced.
        announced: (BlobHash, u64),
        /// Name and length of the bytes given.
        got: (BlobHash, u64),
    },
    /// Nothing of an older round can make room.
    #[error("{} holds {entries} contributions with {bytes} bytes, no room for {needed} more bytes", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// Contributions in it.
        entries: usize,
        /// Their bytes.
        bytes: u64,
        /// Bytes of the new one.
        needed: u64,
    },
}

impl OutboxError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Disk(error) => error.advice(),
            Self::Missing(_) => "nothing: it was answered or made room for a newer one".to_owned(),
            Self::Damaged { .. } => {
                "check the disk; the contribution is built again when the coordinator calls"
                    .to_owned()
            }
            Self::Mismatch { .. } => "report this as a fault of the agent".to_owned(),
            Self::Full { .. } => {
                "check that the coordinator can be reached, so that the outbox empties".to_owned()
            }
        }
    }
}

/// The contributions that have not been answered.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    entries: BTreeMap<ContributionKey, Header>,
    next: u64,
}

/// What a file says about its payload.
#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Header {
    sequence: u64,
    key: ContributionKey,
    blob: BlobHash,
    bytes: u64,
    rows: u64,
}

impl Outbox {
    /// The outbox in `folder`, made if it is missing. Files that are damaged
    /// or not its own are moved to `corrupt/` in it. Reads every file once.
    ///
    /// # Errors
    /// [`OutboxError::Disk`] if the folder cannot be made or listed.
    pub fn open(folder: &Path) -> Result<Self, OutboxError> {
        disk::create_folder(folder)?;
        let mut outbox = Self {
            folder: folder.to_owned(),
            entries: BTreeMap::new(),
            next: 0,
        };
        for name in disk::names(folder)? {
            if name == CORRUPT {
                continue;
            }
            let path = folder.join(&name);
            let unfinished = name.to_string_lossy().ends_with(disk::UNFINISHED);
            if unfinished && fs::remove_file(&path).is_ok() {
                continue;
            }
            match admit(&path, &name) {
                Ok(header) => {
                    outbox.next = outbox.next.max(header.sequence.saturating_add(1));
                    outbox.entries.insert(header.key, header);
                }
                Err(reason) => set_aside(folder, &name, &reason),
            }
        }
        Ok(outbox)
    }

    /// Takes a contribution that describes `rows` rows in; durable when this
    /// returns. It replaces an entry of the same key and goes to the end. If
    /// the outbox is full, the oldest entries of rounds that have been
    /// followed by newer ones of their task go; they are returned.
    ///
    /// # Errors
    /// [`OutboxError::Mismatch`], [`OutboxError::Full`], or
    /// [`OutboxError::Disk`]; an earlier entry of the same key stays.
    pub fn put(
        &mut self,
        pending: &Pending,
        rows: u64,
        payload: &[u8],
    ) -> Result<Vec<Pending>, OutboxError> {
        let (blob, bytes) = (BlobHash::of(payload), payload.len() as u64);
        if (blob, bytes) != (pending.blob, pending.bytes) {
            return Err(OutboxError::Mismatch {
                announced: (pending.blob, pending.bytes),
                got: (blob, bytes),
            });
        }
        let Some(leaving) = leaving(&self.list(), pending) else {
            return Err(OutboxError::Full {
                path: self.folder.clone(),
                entries: self.entries.len(),
                bytes: self.bytes(),
                needed: pending.bytes,
            });
        };
        let header = Header {
            sequence: self.next,
            key: pending.key,
            blob,
            bytes,
            rows,
        };
        disk::replace(&self.folder, &name(&pending.key), &pack(&header, payload))?;
        self.next += 1;
        self.entries.insert(pending.key, header);
        for old in &leaving {
            warn!("the outbox is full: {} goes unsent", old.key);
            self.remove(&old.key)?;
        }
        Ok(leaving)
    }

    /// What waits, oldest first.
    pub fn list(&self) -> Vec<Pending> {
        let mut headers: Vec<&Header> = self.entries.values().collect();
        headers.sort_by_key(|header| header.sequence);
        headers.into_iter().map(Header::pending).collect()
    }

    /// Bytes of payload that wait.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|header| header.bytes).sum()
    }

    /// How many rows a waiting contribution describes.
    pub fn rows(&self, key: &ContributionKey) -> Option<u64> {
        self.entries.get(key).map(|header| header.rows)
    }

    /// A contribution's bytes, checked against their name.
    ///
    /// # Errors
    /// [`OutboxError::Missing`], [`OutboxError::Damaged`] or
    /// [`OutboxError::Disk`].
    pub fn payload(&self, key: &ContributionKey) -> Result<Vec<u8>, OutboxError> {
        let header = self.entries.get(key).ok_or(OutboxError::Missing(*key))?;
        let path = self.folder.join(name(key));
        let bytes = disk::read(&path)?.ok_or(OutboxError::Missing(*key))?;
        match unpack(&bytes) {
            Ok((found, payload)) if found.blob == header.blob => Ok(payload.to_vec()),
            _ => Err(OutboxError::Damaged { key: *key, path }),
        }
    }

    /// Drops a contribution, if it waits; durable when this returns.
    ///
    /// # Errors
    /// [`OutboxError::Disk`], and then it still waits.
    pub fn remove(&mut self, key: &ContributionKey) -> Result<(), OutboxError> {
        if self.entries.contains_key(key) {
            disk::remove(&self.folder, &name(key))?;
            self.entries.remove(key);
        }
        Ok(())
    }
}

/// Which of the contributions that are held, oldest first, must go so that the limits hold with
/// `new`: the oldest of rounds that newer ones of their task have followed. None if that is not
/// enough.
pub fn leaving(held: &[Pending], new: &Pending) -> Option<Vec<Pending>> {
    let mut staying = held.to_vec();
    staying.retain(|old| old.key != new.key);
    let mut newest: BTreeMap<TaskHash, RoundId> = BTreeMap::new();
    for pending in staying.iter().chain([new]) {
        let round = newest.entry(pending.key.task).or_default();
        *round = (*round).max(pending.key.round);
    }
    let mut leaving = Vec::new();
    loop {
        let bytes: u64 = staying.iter().map(|old| old.bytes).sum();
        let fits = bytes.saturating_add(new.bytes) <= OUTBOX_BYTES_MAX;
        if fits && staying.len() < OUTBOX_ENTRIES_MAX {
            return Some(leaving);
        }
        let is_past = |old: &Pending| newest.get(&old.key.task) > Some(&old.key.round);
        leaving.push(staying.remove(staying.iter().position(is_past)?));
    }
}

impl Header {
    fn pending(&self) -> Pending {
        Pending {
            key: self.key,
            blob: self.blob,
            bytes: self.bytes,
        }
    }
}

/// Where damaged and foreign files go.
const CORRUPT: &str = "corrupt";

fn name(key: &ContributionKey) -> String {
    format!("{}.entry", BlobHash::of(&codec::encode(key)))
}

fn pack(header: &Header, payload: &[u8]) -> Vec<u8> {
    let encoded = codec::encode(header);
    let length = u16::try_from(encoded.len()).expect("a header has fixed, small parts");
    let mut body = length.to_le_bytes().to_vec();
    body.extend_from_slice(&encoded);
    body.extend_from_slice(payload);
    disk::seal(&body)
}

fn unpack(bytes: &[u8]) -> Result<(Header, &[u8]), &'static str> {
    let body = disk::unseal(bytes).ok_or("its bytes do not match their hash")?;
    let (length, rest) = body.split_first_chunk().ok_or("it has no header")?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (encoded, payload) = rest.split_at_checked(length).ok_or("its header is cut")?;
    let header: Header = codec::decode(encoded).map_err(|_| "its header does not decode")?;
    if header.bytes != payload.len() as u64 || header.blob != BlobHash::of(payload) {
        return Err("its payload is not what its header names");
    }
    Ok((header, payload))
}

fn admit(path: &Path, found: &OsStr) -> Result<Header, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let (header, _) = unpack(&bytes)?;
    if *found != *name(&header.key) {
        return Err(format!("it holds {}, which has another name", header.key));
    }
    Ok(header)
}

/// Moves a file out of the way. Failing to do so is not fatal either.
fn set_aside(folder: &Path, name: &OsStr, reason: &str) {
    let corrupt = folder.join(CORRUPT);
    let path = folder.join(name);
    let moved =
        disk::create_folder(&corrupt).is_ok() && fs::rename(&path, corrupt.join(name)).is_ok();
    let fate = if moved {
        "moved to"
    } else {
        "cannot be moved to"
    };
    warn!("{}: {reason}; {fate} {}", path.display(), corrupt.display());
}

#[cfg(test)]
mod tests;
