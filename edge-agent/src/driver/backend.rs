//! What the device does for itself, as the loop sees it.

use bincode::{Decode, Encode};
use common::evaluation::Evaluation;
use common::ids::{BlobHash, TaskHash, Time, Version};
use common::wire::messages::{Announcement, Call};
use common::withheld::{RawWithheld, WithheldCode};

use crate::cache::CacheError;
use crate::session::{CallName, Pending, Settled};

/// Why a piece of work came to nothing.
#[derive(Debug, thiserror::Error, Encode, Decode)]
pub enum BackendError {
    /// A shared blob is not at hand any more: fetch it again.
    #[error("blob {0} is not at hand")]
    Blob(BlobHash),
    /// The device's data is not there or cannot be used.
    #[error("{what}")]
    Data {
        /// The same in a word.
        code: WithheldCode,
        /// What is wrong, with its place.
        what: String,
        /// The same without what stands in the files.
        told: String,
        /// What a person can do about it.
        advice: String,
    },
    /// The work failed.
    #[error("{what}")]
    Failed {
        /// What happened, with its values.
        what: String,
        /// What a person can do about it.
        advice: String,
    },
}

/// The answer to a call, durable in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// What may leave the device, in sending order.
    pub entries: Vec<Pending>,
    /// Some of what was asked for will not come.
    pub partial: bool,
    /// Why, where that is known.
    pub why: Option<RawWithheld>,
}

/// How a student did on held-out rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Classes: right answers among the rows.
    Right {
        /// How many.
        correct: u64,
        /// Of so many.
        rows: u64,
    },
    /// Numbers: the root of their mean squared error, of all values together in
    /// their units.
    Off {
        /// That root.
        rmse: f64,
        /// Over so many rows.
        rows: u64,
    },
}

impl Score {
    /// Of the sums of squared errors of each value over so many rows.
    pub fn off(squared: &[f64], rows: u64) -> Self {
        let all = squared.iter().sum::<f64>() / squared.len().max(1) as f64;
        Self::Off {
            rmse: (all / rows.max(1) as f64).sqrt(),
            rows,
        }
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Right { correct, rows } => write!(f, "{correct} of {rows} held-out rows right"),
            Self::Off { rmse, rows } => {
                write!(f, "RMSE {rmse:.4} on {rows} held-out rows")
            }
        }
    }
}

/// How a release fared.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is the device's student now.
    Installed {
        /// How it did on the device's held-out rows, if there are any.
        score: Option<Score>,
    },
    /// It is installed already, or is older than what is.
    NotNewer {
        /// The version at hand.
        current: Version,
    },
    /// It does worse than the student at hand, which stays.
    Worse {
        /// How the new student did on the held-out rows.
        score: Score,
        /// How the current one did; absent where there is no current one, and the new one
        /// is no better than a guess.
        before: Option<Score>,
    },
    /// It is not to be believed.
    Refused {
        /// Why.
        reason: String,
    },
    /// The owner holds on to the student in use.
    Pinned,
}

impl BackendError {
    /// What a person can do about it.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Blob(_) => None,
            Self::Data { advice, .. } | Self::Failed { advice, .. } => Some(advice),
        }
    }

    /// Why nothing comes of it, for the operator.
    pub fn withheld(&self) -> RawWithheld {
        match self {
            Self::Data { code, told, .. } => RawWithheld {
                code: *code,
                detail: told.clone(),
            },
            Self::Blob(_) | Self::Failed { .. } => RawWithheld {
                code: WithheldCode::Failed,
                detail: self.to_string(),
            },
        }
    }
}

impl Verdict {
    /// The same in one word, for scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Installed { .. } => "installed",
            Self::NotNewer { .. } => "not_newer",
            Self::Worse { .. } => "worse",
            Self::Refused { .. } => "refused",
            Self::Pinned => "pinned",
        }
    }
}

/// Shared blobs, by name.
pub type Blobs<'a> = dyn Fn(BlobHash) -> Result<Vec<u8>, CacheError> + 'a;

/// The device's own work: its data, its outbox, its students. All calls may
/// block; [`build`](Self::build), [`install`](Self::install) and
/// [`count`](Self::count) may compute for long, and run one at a time in a
/// thread of their own.
pub trait Backend: Send + Sync + 'static {
    /// The students in use, by task.
    fn installed(&self) -> Vec<(TaskHash, Version)>;

    /// The newest releases that were judged, in use or not, by task.
    fn seen(&self) -> Vec<(TaskHash, Version)>;

    /// Contributions that were not answered, oldest first.
    ///
    /// # Errors
    /// If the outbox cannot be read.
    fn unanswered(&self) -> Result<Vec<Pending>, BackendError>;

    /// Calls whose answers among [`unanswered`](Self::unanswered) are all that
    /// will come, though more was asked for.
    ///
    /// # Errors
    /// If that cannot be read.
    fn partial(&self) -> Result<Vec<CallName>, BackendError>;

    /// Computes what a call asks for and may leave the device, and puts it
    /// into the outbox. Durable when this returns.
    ///
    /// # Errors
    /// [`BackendError::Blob`] if a blob is missing or damaged; otherwise the
    /// device abstains.
    fn build(&self, call: &Call, blobs: &Blobs<'_>) -> Result<Built, BackendError>;

    /// A contribution's bytes.
    ///
    /// # Errors
    /// If they are not there, or not what was promised.
    fn bytes(&self, pending: &Pending) -> Result<Vec<u8>, BackendError>;

    /// Records how a contribution ended and drops it from the outbox.
    ///
    /// # Errors
    /// If that cannot be written.
    fn settle(&self, pending: &Pending, settled: Settled) -> Result<(), BackendError>;

    /// Verifies and evaluates a release, and installs it if it is good.
    ///
    /// # Errors
    /// [`BackendError::Blob`] if a blob is missing or damaged; otherwise the
    /// student at hand stays.
    fn install(&self, release: &Announcement, blobs: &Blobs<'_>) -> Result<Verdict, BackendError>;

    /// The signed bytes of a task's student in use, from which a newer one may
    /// be a small step.
    fn base(&self, _task: TaskHash) -> Option<Vec<u8>> {
        None
    }

    /// Tries the students whose soak is over once more; the one before is used
    /// again where that is better. What was found, by task.
    ///
    /// # Errors
    /// If that cannot be computed or written; it is tried again then.
    fn soak(&self) -> Result<Vec<(TaskHash, Version, Evaluation)>, BackendError> {
        Ok(Vec::new())
    }

    /// When the next soak is over.
    fn soak_due(&self) -> Option<Time> {
        None
    }

    /// How each task's newest release fares here.
    fn evaluations(&self) -> Vec<(TaskHash, Version, Evaluation)> {
        Vec::new()
    }

    /// Tasks whose student in use the owner holds on to.
    fn pinned(&self) -> Vec<TaskHash> {
        Vec::new()
    }

    /// Whether the files in the data folder are others than when
    /// [`count`](Self::count) last looked. Cheap.
    fn glance(&self) -> bool;

    /// Counts the rows; the tasks whose data grew by at least `rows_min`
    /// since they were last told.
    ///
    /// # Errors
    /// If the data folder cannot be read.
    fn count(&self) -> Result<Vec<TaskHash>, BackendError>;

    /// The most resident memory, in KiB, that work took outside this process;
    /// zero if none is done there.
    fn memory_elsewhere_kib(&self) -> u64 {
        0
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Installed { score: None } => {
                f.write_str("installed (no labelled data here to evaluate it on)")
            }
            Self::Installed { score: Some(score) } => write!(f, "installed ({score})"),
            Self::NotNewer { current } => {
                write!(f, "nothing to do: version {current} is installed")
            }
            Self::Worse {
                score,
                before: Some(before),
            } => write!(
                f,
                "not installed: {score}, the student at hand has {before}"
            ),
            Self::Worse {
                score,
                before: None,
            } => write!(f, "not installed: {score}, which is no better than a guess"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Pinned => f.write_str(
                "not installed: the student in use is pinned (`student unpin` lets go of it)",
            ),
        }
    }
}
