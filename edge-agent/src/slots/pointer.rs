//! Which slot is in use.

use std::fs::File;
use std::path::Path;

use common::ids::{BlobHash, Version};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{EvaluationRecord, SlotsError};
use crate::outbox::disk::{self, DiskError};

/// One of the two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Slot {
    A,
    B,
}

impl Slot {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::A => "a.student",
            Self::B => "b.student",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) version: Version,
    pub(super) blob: BlobHash,
}

/// The pointer's content: JSON behind a line with its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) current: Option<Held>,
    pub(super) previous: Option<Held>,
    pub(super) highest_seen: Option<Version>,
    /// How the newest release fares.
    pub(super) evaluation: Option<EvaluationRecord>,
    /// Whether the owner holds on to the student in use.
    pub(super) pinned: bool,
}

/// The file that says which student is in use. Each change replaces it.
pub const POINTER: &str = "current";
pub(super) const COPY: &str = "current.copy";

impl Pointer {
    /// The pointer in `folder`. The copy counts only if the pointer is
    /// damaged; it is one change behind at most, and what it names is not
    /// overwritten before it has caught up.
    ///
    /// Threads and programs open the slots while another installs: whoever writes
    /// holds the folder's lock, and a copy that is behind while someone holds it is
    /// the holder's to write.
    pub(super) fn open(folder: &Path) -> Result<Self, SlotsError> {
        let path = folder.join(POINTER);
        let (pointer, copy) = (disk::read(&path)?, disk::read(&folder.join(COPY))?);
        let read = match (pointer.as_deref().map(parse), copy.as_deref().map(parse)) {
            (None, None) => return Ok(Self::default()),
            (Some(Some(pointer)), Some(Some(copy))) if copy == pointer => return Ok(pointer),
            (Some(Some(pointer)), _) => {
                let held = File::open(folder).map_err(DiskError::at(folder))?;
                return match flock(&held, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => Self::caught_up(folder, pointer),
                    Err(Errno::WOULDBLOCK) => Ok(pointer),
                    Err(error) => Err(DiskError::at(folder)(error.into()).into()),
                };
            }
            (_, Some(Some(copy))) => {
                warn!("{} is damaged; using its copy", path.display());
                copy
            }
            _ => return Err(SlotsError::Pointer(path)),
        };
        read.write(folder)?;
        Ok(read)
    }

    /// Whether the pointer in `folder` is what was written, or its copy serves;
    /// nothing is repaired.
    pub(super) fn look(folder: &Path) -> Result<bool, SlotsError> {
        let path = folder.join(POINTER);
        let (pointer, copy) = (disk::read(&path)?, disk::read(&folder.join(COPY))?);
        match (pointer.as_deref().map(parse), copy.as_deref().map(parse)) {
            (None, None) | (Some(Some(_)), _) => Ok(true),
            (_, Some(Some(_))) => Ok(false),
            _ => Err(SlotsError::Pointer(path)),
        }
    }

    /// Brings the copy up to the pointer, which may have been replaced since it was
    /// `read`; the caller holds the lock.
    fn caught_up(folder: &Path, read: Self) -> Result<Self, SlotsError> {
        let now = disk::read(&folder.join(POINTER))?;
        let pointer = now.as_deref().and_then(parse).unwrap_or(read);
        pointer.write_copy(folder)?;
        Ok(pointer)
    }

    /// Takes effect with the first of the two files.
    pub(super) fn write(&self, folder: &Path) -> Result<(), SlotsError> {
        let held = File::open(folder).map_err(DiskError::at(folder))?;
        flock(&held, FlockOperation::LockExclusive)
            .map_err(|error| DiskError::at(folder)(error.into()))?;
        disk::replace(folder, POINTER, &self.sealed())?;
        self.write_copy(folder)
    }

    fn write_copy(&self, folder: &Path) -> Result<(), SlotsError> {
        disk::replace(folder, COPY, &self.sealed())?;
        Ok(())
    }

    fn sealed(&self) -> Vec<u8> {
        let json = serde_json::to_vec_pretty(self).expect("a pointer has string keys only");
        disk::seal(&json)
    }
}

fn parse(bytes: &[u8]) -> Option<Pointer> {
    serde_json::from_slice(disk::unseal(bytes)?).ok()
}
