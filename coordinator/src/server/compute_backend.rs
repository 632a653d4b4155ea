//! What the server asks of the mathematics. A trait, so that the server's
//! tests bring their own.

use std::sync::{Arc, Mutex, PoisonError};

use common::ids::{TaskHash, Time};
use common::report::RawReport;
use common::round::{ContributionKey, Reason};
use common::task::Task;
use common::trust::keys::SigningKey;
use common::wire::codec::decode_blob;

use crate::compute::{self, Made, Setting};
use crate::round::Job;
use crate::status::Steps;
use crate::validation::{self, ReadBlob};

/// The computations behind a round. Both kinds of call block and may be made
/// from any thread; `run` is never called twice at a time.
pub trait ComputeBackend: Send + Sync {
    /// Runs a job. The same job on the same blobs makes the same bytes.
    ///
    /// # Errors
    /// Why it could not, for people; the round then ends as failed.
    fn run(&self, job: &Job, task: &Task, read: ReadBlob<'_>, now: Time) -> Result<Made, String>;

    /// Checks a contribution's bytes; returns the rows it describes.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(
        &self,
        task: &Task,
        key: &ContributionKey,
        bytes: &[u8],
        read: ReadBlob<'_>,
    ) -> Result<u64, Reason>;

    /// What an evaluation report says: held-out rows, and how many of them
    /// the student got right, or how far off its numbers were.
    fn scored(&self, report: &[u8]) -> Option<RawReport>;

    /// How far the training of a student is, while one is trained.
    fn training(&self) -> Option<Training> {
        None
    }
}

/// A student in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Its task.
    pub task: TaskHash,
    /// How far it is.
    pub steps: Steps,
}

/// The real computations: [`compute`] and [`validation`].
#[derive(Debug)]
pub struct LocalCompute {
    release_key: Arc<SigningKey>,
    training: Mutex<Option<Training>>,
}

impl LocalCompute {
    /// Computations whose releases this key signs.
    pub fn new(release_key: Arc<SigningKey>) -> Self {
        Self {
            release_key,
            training: Mutex::new(None),
        }
    }

    fn note(&self, training: Option<Training>) {
        *self.training.lock().unwrap_or_else(PoisonError::into_inner) = training;
    }
}

impl ComputeBackend for LocalCompute {
    fn run(&self, job: &Job, task: &Task, read: ReadBlob<'_>, now: Time) -> Result<Made, String> {
        let setting = Setting {
            task,
            read,
            signer: &self.release_key,
            now,
        };
        let steps = |done: u32, all: u32| {
            let (task, steps) = (task.hash(), Steps { done, all });
            self.note(Some(Training { task, steps }));
        };
        let made = compute::run(job, setting, steps);
        self.note(None);
        made.map_err(|error| error.to_string())
    }

    fn check(
        &self,
        task: &Task,
        key: &ContributionKey,
        bytes: &[u8],
        read: ReadBlob<'_>,
    ) -> Result<u64, Reason> {
        validation::check(task, key, bytes, read)
    }

    fn scored(&self, report: &[u8]) -> Option<RawReport> {
        // It was held against its task when it came.
        decode_blob(report).ok()
    }

    fn training(&self) -> Option<Training> {
        *self.training.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
