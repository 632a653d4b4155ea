//! The heavy part of a device's work: everything that reads all its rows.
//!
//! It is cut off here, as values in and values out, so that it can be done
//! in this process or in one of its own that ends when the work is done.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use common::ids::{TaskHash, Version};
use common::wire::messages::{Announcement, Call};

use super::comparison::Comparison;
use crate::driver::backend::{BackendError, Blobs};
use crate::policy::RowSetDigest;
use crate::work;

/// A piece of heavy work.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Job {
    /// Compute what may leave in answer to a call.
    Answer {
        /// The call.
        call: Call,
        /// Bytes that left today already, or wait in the outbox.
        spent: u64,
        /// How the task's newest release was judged when it came.
        judged: Option<Box<Judged>>,
    },
    /// Verify a release and try it beside the student at hand.
    Judge(Announcement),
    /// Try the student in use once more beside the one before.
    Soak(TaskHash),
    /// Find the tasks whose rows are others than the coordinator was told.
    Count(Told),
}

/// What came of a [`Job`].
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Done {
    /// What may leave; its rows are in the history already.
    Answered(work::Built),
    /// What became of the release.
    Judged(Judgement),
    /// How the student in use did, if there is anything to compare.
    Soaked(Option<Comparison>),
    /// The tasks whose rows changed, and a digest of those rows.
    Counted(Told),
}

/// A release's verdict before anything is written.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Judgement {
    /// It is installed already, or is older than what is.
    NotNewer {
        /// The version at hand.
        current: Version,
    },
    /// It is not to be believed.
    Refused {
        /// Why.
        reason: String,
    },
    /// It is genuine. How it did on the held-out rows, if there are any.
    Genuine(Option<Comparison>),
}

/// A version and how it did.
pub type Judged = (Version, Comparison);

/// Digests of the rows that the coordinator was told of, by task.
pub type Told = BTreeMap<TaskHash, RowSetDigest>;

/// Does the heavy work. Writes the histories of described rows, the list of
/// known tasks and what the owner's model said, and nothing else of the state
/// directory.
pub trait Worker: Send + Sync + 'static {
    /// Does one piece of work. Blocks while it computes.
    ///
    /// # Errors
    /// [`BackendError::Blob`] if a blob is missing or damaged; otherwise
    /// what went wrong and what to do about it.
    fn work(&self, job: Job, blobs: &Blobs<'_>) -> Result<Done, BackendError>;

    /// Whether the files in the data folder are others than when work was
    /// last done on them. Cheap.
    fn glance(&self) -> bool;

    /// See [`super::Backend::memory_elsewhere_kib`].
    fn memory_elsewhere_kib(&self) -> u64 {
        0
    }
}
