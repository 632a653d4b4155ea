//! The two places for a student on the device, and which one is in use.
//!
//! A release is written into the slot that is not in use; then a pointer is
//! renamed into place. The pointer holds versions and hashes, so whatever an
//! interruption or a failing disk leaves is recognised. A copy of the pointer
//! stands by.

mod pointer;

use std::path::{Path, PathBuf};

use common::evaluation::Evaluation;
use common::ids::{BlobHash, Time, Version};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::outbox::{DiskError, disk};
use pointer::{Held, Pointer, Slot};

pub use pointer::POINTER as POINTER_FILE;

/// Why the slots cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The pointer and its copy have both changed since they were written.
    #[error("{} and its copy are damaged: it is not known which student is installed", .0.display())]
    Pointer(PathBuf),
    /// No student is left whole.
    #[error("{}: the student of version {version} is damaged, and there is none to go back to", folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// Which one.
        version: Version,
    },
    /// Versions never go down.
    #[error("version {version} is not installed: version {floor} was seen before")]
    Older {
        /// The version offered.
        version: Version,
        /// The highest one seen.
        floor: Version,
    },
    /// The owner went back from this version, or other bytes have it.
    #[error("version {version} is not installed: it is held already")]
    Held {
        /// The version offered.
        version: Version,
    },
    /// There is no whole student to go back to.
    #[error("{}: there is no previous student", .0.display())]
    NoPrevious(PathBuf),
}

impl SlotsError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Disk(error) => error.advice(),
            Self::Pointer(path) => {
                let folder = path.parent().unwrap_or(path).display();
                format!("check the disk; then remove {folder}, and the next release is installed")
            }
            Self::Damaged { .. } => {
                "check the disk; the next release is installed when it comes".to_owned()
            }
            Self::Older { .. } => {
                "release the student again: it gets a higher version then".to_owned()
            }
            Self::Held { .. } => {
                "roll back again to return to it, or release a newer one".to_owned()
            }
            Self::NoPrevious(_) => "wait for a second release".to_owned(),
        }
    }
}

/// A student in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its version.
    pub version: Version,
    /// Name of its bytes.
    pub blob: BlobHash,
    /// Whether the pointer says that it is in use.
    pub is_current: bool,
    /// Whether its bytes are what they were.
    pub is_whole: bool,
}

/// How a release fares on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// The release.
    pub version: Version,
    /// What was found so far.
    pub evaluation: Evaluation,
    /// When it is tried once more, if it is.
    pub due: Option<Time>,
}

/// The slots of one task's students.
#[derive(Debug)]
pub struct Slots {
    folder: PathBuf,
    pointer: Pointer,
}

impl Slots {
    /// The slots in `folder`, made if it is missing.
    ///
    /// # Errors
    /// [`SlotsError::Pointer`] or [`SlotsError::Disk`].
    pub fn open(folder: &Path) -> Result<Self, SlotsError> {
        disk::create_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            pointer: Pointer::open(folder)?,
        })
    }

    /// Looks at the slots in `folder` and changes nothing: whether the file that
    /// says which student is in use is whole, or its copy is to serve for it.
    ///
    /// # Errors
    /// [`SlotsError::Pointer`] or [`SlotsError::Disk`].
    pub fn look(folder: &Path) -> Result<bool, SlotsError> {
        Pointer::look(folder)
    }

    /// Installs a student; durable and in use when this returns. The one in
    /// use before becomes the previous one. The student in use again, by
    /// version and bytes, is written again if it was damaged. Cost: reads the
    /// student in use and writes the new one.
    ///
    /// # Errors
    /// [`SlotsError::Older`] below [`Self::highest_seen`],
    /// [`SlotsError::Held`] for a version that is in a slot, or
    /// [`SlotsError::Disk`]. The student in use stays.
    pub fn install(&mut self, version: Version, bytes: &[u8]) -> Result<(), SlotsError> {
        self.install_evaluated(version, bytes, None)
    }

    /// The same, with how it fares so far.
    ///
    /// # Errors
    /// Those of [`Self::install`].
    pub fn install_evaluated(
        &mut self,
        version: Version,
        bytes: &[u8],
        evaluation: Option<EvaluationRecord>,
    ) -> Result<(), SlotsError> {
        let blob = BlobHash::of(bytes);
        if let Some(current) = self.pointer.current
            && (current.version, current.blob) == (version, blob)
        {
            if self.read(&current).is_none() {
                disk::replace(&self.folder, current.slot.name(), bytes)?;
            }
            return Ok(());
        }
        self.admit(version)?;
        let serving = self.serving().map(|(held, _)| held);
        let slot = serving.map_or(Slot::A, |held| held.slot.other());
        disk::replace(&self.folder, slot.name(), bytes)?;
        let mut next = self.pointer;
        next.current = Some(Held {
            slot,
            version,
            blob,
        });
        next.previous = serving;
        next.highest_seen = next.highest_seen.max(Some(version));
        next.evaluation = evaluation;
        self.switch(next)
    }

    /// How the newest release fares, as far as it was tried.
    pub fn evaluation(&self) -> Option<EvaluationRecord> {
        self.pointer.evaluation
    }

    /// Records what was found of a release; one that is not in use counts
    /// as seen. Durable when this returns.
    ///
    /// # Errors
    /// [`SlotsError::Disk`].
    pub fn conclude(&mut self, version: Version, evaluation: Evaluation) -> Result<(), SlotsError> {
        let mut next = self.pointer;
        next.highest_seen = next.highest_seen.max(Some(version));
        next.evaluation = Some(EvaluationRecord {
            version,
            evaluation,
            due: None,
        });
        self.switch(next)
    }

    /// Records that a release is not to be believed. It does not count as
    /// seen: its version is what it says itself.
    ///
    /// # Errors
    /// [`SlotsError::Disk`].
    pub fn refuse(&mut self, version: Version) -> Result<(), SlotsError> {
        let mut next = self.pointer;
        next.evaluation = Some(EvaluationRecord {
            version,
            evaluation: Evaluation::Refused,
            due: None,
        });
        self.switch(next)
    }

    /// Goes back from a release that did worse after its soak; one change on
    /// the disk.
    ///
    /// # Errors
    /// [`SlotsError::NoPrevious`] or [`SlotsError::Disk`]; the student in use
    /// stays.
    pub fn roll_back_evaluated(&mut self, version: Version) -> Result<Version, SlotsError> {
        self.roll_back_to_previous(Some(EvaluationRecord {
            version,
            evaluation: Evaluation::RolledBack,
            due: None,
        }))
    }

    /// Whether the owner holds on to the student in use.
    pub fn is_pinned(&self) -> bool {
        self.pointer.pinned
    }

    /// Holds on to the student in use, or lets go of it. Durable when this
    /// returns.
    ///
    /// # Errors
    /// [`SlotsError::Disk`].
    pub fn pin(&mut self, pinned: bool) -> Result<(), SlotsError> {
        let mut next = self.pointer;
        next.pinned = pinned;
        // The owner has spoken: it is not tried once more.
        next.evaluation = next.evaluation.map(|evaluation| EvaluationRecord {
            due: None,
            ..evaluation
        });
        self.switch(next)
    }

    /// The version in use as the pointer says; its bytes are not looked at.
    pub fn in_use(&self) -> Option<Version> {
        self.pointer.current.map(|held| held.version)
    }

    /// The student in use, or the previous one if that is damaged; none
    /// before the first release. Checks the bytes.
    ///
    /// # Errors
    /// [`SlotsError::Damaged`] if there should be one and none is whole.
    pub fn current(&self) -> Result<Option<(Version, Vec<u8>)>, SlotsError> {
        let Some(current) = self.pointer.current else {
            return Ok(None);
        };
        let Some((held, bytes)) = self.serving() else {
            return Err(SlotsError::Damaged {
                folder: self.folder.clone(),
                version: current.version,
            });
        };
        Ok(Some((held.version, bytes)))
    }

    /// The student before the one the pointer names, if it is whole.
    pub fn previous(&self) -> Option<(Version, Vec<u8>)> {
        let held = self.pointer.previous?;
        Some((held.version, self.read(&held)?))
    }

    /// Uses the previous student again; durable when this returns. What was
    /// in use becomes the previous one, so that a second rollback returns.
    ///
    /// # Errors
    /// [`SlotsError::NoPrevious`] or [`SlotsError::Disk`]; the student in use
    /// stays.
    pub fn rollback(&mut self) -> Result<Version, SlotsError> {
        // The owner has spoken: nothing is tried any more.
        let returns = self.pointer.previous.map(|held| held.version);
        let evaluation = self.pointer.evaluation.map(|record| EvaluationRecord {
            due: None,
            evaluation: match returns == Some(record.version) {
                true => Evaluation::Kept,
                false => Evaluation::RolledBack,
            },
            ..record
        });
        self.roll_back_to_previous(evaluation)
    }

    fn roll_back_to_previous(
        &mut self,
        evaluation: Option<EvaluationRecord>,
    ) -> Result<Version, SlotsError> {
        let previous = self.pointer.previous;
        let Some(previous) = previous.filter(|held| self.read(held).is_some()) else {
            return Err(SlotsError::NoPrevious(self.folder.clone()));
        };
        let mut next = self.pointer;
        next.previous = next.current.replace(previous);
        next.evaluation = evaluation;
        self.switch(next)?;
        Ok(previous.version)
    }

    /// The students in the slots, the one in use first. Checks their bytes.
    pub fn list(&self) -> Vec<SlotInfo> {
        let info = |held: Option<Held>, is_current| {
            held.map(|held| SlotInfo {
                version: held.version,
                blob: held.blob,
                is_current,
                is_whole: self.read(&held).is_some(),
            })
        };
        let current = info(self.pointer.current, true);
        current
            .into_iter()
            .chain(info(self.pointer.previous, false))
            .collect()
    }

    /// Whether the student in use is not what was installed. Checks its bytes.
    pub fn is_damaged(&self) -> bool {
        let current = self.pointer.current;
        current.is_some_and(|held| self.read(&held).is_none())
    }

    /// The highest version that was installed or noted.
    pub fn highest_seen(&self) -> Option<Version> {
        self.pointer.highest_seen
    }

    /// Notes a release that was verified, so that nothing below it is ever
    /// installed, even if it was not kept itself. Durable when this returns.
    ///
    /// # Errors
    /// [`SlotsError::Disk`].
    pub fn note(&mut self, version: Version) -> Result<(), SlotsError> {
        if self.pointer.highest_seen >= Some(version) {
            return Ok(());
        }
        let mut next = self.pointer;
        next.highest_seen = Some(version);
        self.switch(next)
    }

    /// Whether a version may be installed: neither below the floor nor in a
    /// slot, unless it is in use and damaged there.
    ///
    /// # Errors
    /// [`SlotsError::Older`] or [`SlotsError::Held`].
    pub fn admit(&self, version: Version) -> Result<(), SlotsError> {
        if let Some(floor) = self.pointer.highest_seen
            && version < floor
        {
            return Err(SlotsError::Older { version, floor });
        }
        // One that the disk has damaged may be written again.
        let current = self
            .pointer
            .current
            .filter(|held| self.read(held).is_some());
        let mut held = [current, self.pointer.previous].into_iter().flatten();
        if held.any(|held| held.version == version) {
            return Err(SlotsError::Held { version });
        }
        Ok(())
    }

    /// What is used: the current student, else the previous one.
    fn serving(&self) -> Option<(Held, Vec<u8>)> {
        let current = self.pointer.current?;
        if let Some(bytes) = self.read(&current) {
            return Some((current, bytes));
        }
        let version = current.version;
        let previous = self.pointer.previous?;
        let bytes = self.read(&previous)?;
        warn!(
            "{}: the student of version {version} is damaged; using version {}",
            self.folder.display(),
            previous.version
        );
        Some((previous, bytes))
    }

    /// A student's bytes, if they are what was installed.
    fn read(&self, held: &Held) -> Option<Vec<u8>> {
        match disk::read(&self.folder.join(held.slot.name())) {
            Ok(bytes) => bytes.filter(|bytes| BlobHash::of(bytes) == held.blob),
            Err(error) => {
                warn!("{error}; {}", error.advice());
                None
            }
        }
    }

    fn switch(&mut self, next: Pointer) -> Result<(), SlotsError> {
        // Read back, for a pointer may be in place although its folder could
        // not be synchronised.
        let written = next.write(&self.folder);
        self.pointer = match &written {
            Ok(()) => next,
            Err(_) => Pointer::open(&self.folder).unwrap_or(self.pointer),
        };
        written
    }
}

#[cfg(test)]
mod tests;
