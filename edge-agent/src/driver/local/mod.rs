//! The device's own work on its own disk: data in, contributions and
//! students out. Nothing here speaks to anybody.
//!
//! [`LocalBackend`] keeps the outbox, the ledger and the slots; a
//! [`Worker`] reads the rows and computes: [`InProcess`] here, or a
//! [`ChildWorker`] in a process of its own.

mod answer;
mod backbone;
pub mod child;
mod comparison;
mod damage;
mod folder;
mod gradient;
mod holdings;
mod in_process;
mod own_teacher;
mod private;
mod release;
mod students;
mod tasks;
mod worker;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::evaluation::Evaluation;
use common::ids::{BlobHash, TaskHash, Time, Version};
use common::trust::clock::Clock;
use common::wire::codec::decode;
use common::wire::messages::{Announcement, Call};
use tracing::warn;

pub use child::ChildWorker;
pub use comparison::{Comparison, HeldOut, Numbers};
pub use damage::{Damage, damages};
pub use folder::{FolderSource, Reading};
pub use holdings::Source;
pub use in_process::{InProcess, WorkSettings};
pub use own_teacher::{TeacherAccount, known_answers, teach, teacher_accounts};
pub use private::SPENT;
pub use release::{Conditions, ReleaseRefusal, open as open_release};
pub use students::{STUDENTS, open_all, verified};
pub use tasks::{keep_models, known_tasks};
pub use worker::{Done, Job, Judged, Judgement, Told, Worker};

use super::backend::{Backend, BackendError, Blobs, Built, Verdict};
use crate::cache::CacheError;
use crate::ledger::{Entry, Ledger};
use crate::outbox::Outbox;
use crate::session::{CallName, Pending, Settled};
use crate::slots::Slots;
use crate::state::{StateDir, StateError};
use answer::UNFINISHED;

/// A backend on a state directory, which its caller holds the lock of.
pub struct LocalBackend<W> {
    state: StateDir,
    clock: Clock,
    worker: W,
    store: Mutex<Store>,
    judged: Mutex<BTreeMap<TaskHash, Judged>>,
    told: Mutex<Told>,
}

/// What is on the disk.
struct Store {
    outbox: Outbox,
    ledger: Ledger,
}

impl<W: Worker> LocalBackend<W> {
    /// Opens what is on the disk. Half of an answer that an interruption left
    /// is taken away; it was never offered.
    ///
    /// # Errors
    /// The first thing that cannot be used, and what to do about it.
    pub fn open(state: &StateDir, clock: Clock, worker: W) -> Result<Self, BackendError> {
        let mut outbox =
            Outbox::open(&state.file(OUTBOX)).map_err(|error| explained(&error, error.advice()))?;
        drop_unfinished(state, &mut outbox)?;
        let ledger =
            Ledger::open(&state.file(LEDGER)).map_err(|error| explained(&error, error.advice()))?;
        Ok(Self {
            store: Mutex::new(Store { outbox, ledger }),
            judged: Mutex::default(),
            told: Mutex::default(),
            state: state.clone(),
            clock,
            worker,
        })
    }

    /// A panic in one piece of work must not take the others along: what is
    /// behind the lock is changed by single calls only.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One version a task, out of its slots.
    fn students(&self, which: impl Fn(&Slots) -> Option<Version>) -> Vec<(TaskHash, Version)> {
        let all = open_all(&self.state).unwrap_or_else(|error| {
            warn!("the students cannot be read: {error}");
            BTreeMap::new()
        });
        all.iter()
            .filter_map(|(task, slots)| Some((*task, which(slots)?)))
            .collect()
    }
}

impl<W: Worker> Backend for LocalBackend<W> {
    fn installed(&self) -> Vec<(TaskHash, Version)> {
        self.students(|slots| {
            let in_use = slots.list().into_iter().find(|student| student.is_current);
            in_use
                .filter(|student| student.is_whole)
                .map(|student| student.version)
        })
    }

    fn seen(&self) -> Vec<(TaskHash, Version)> {
        // A student that the disk has damaged is wanted again.
        self.students(|slots| slots.highest_seen().filter(|_| !slots.is_damaged()))
    }

    fn unanswered(&self) -> Result<Vec<Pending>, BackendError> {
        Ok(self.store().outbox.list())
    }

    fn partial(&self) -> Result<Vec<CallName>, BackendError> {
        self.kept_partial()
    }

    fn build(&self, call: &Call, blobs: &Blobs<'_>) -> Result<Built, BackendError> {
        self.answer(call, blobs)
    }

    fn bytes(&self, pending: &Pending) -> Result<Vec<u8>, BackendError> {
        let payload = self.store().outbox.payload(&pending.key);
        payload.map_err(|error| explained(&error, error.advice()))
    }

    fn settle(&self, pending: &Pending, settled: Settled) -> Result<(), BackendError> {
        let mut store = self.store();
        let rows = store.outbox.rows(&pending.key).unwrap_or(0);
        // A damaged payload never left.
        if let Ok(payload) = store.outbox.payload(&pending.key) {
            let entry = Entry::new(self.clock.now(), pending, rows, settled);
            let noted = store.ledger.append(&entry, &payload);
            noted.map_err(|error| explained(&error, error.advice()))?;
        }
        let removed = store.outbox.remove(&pending.key);
        removed.map_err(|error| explained(&error, error.advice()))
    }

    fn install(&self, release: &Announcement, blobs: &Blobs<'_>) -> Result<Verdict, BackendError> {
        self.judge(release, blobs)
    }

    fn base(&self, task: TaskHash) -> Option<Vec<u8>> {
        let slots = open_all(&self.state).ok()?.remove(&task)?;
        slots.current().ok()?.map(|(_, bytes)| bytes)
    }

    fn soak(&self) -> Result<Vec<(TaskHash, Version, Evaluation)>, BackendError> {
        self.soak_those_due()
    }

    fn soak_due(&self) -> Option<Time> {
        let evaluations = self.all_evaluations();
        evaluations
            .iter()
            .filter_map(|(_, evaluation)| evaluation.due)
            .min()
    }

    fn evaluations(&self) -> Vec<(TaskHash, Version, Evaluation)> {
        let evaluations = self.all_evaluations().into_iter();
        evaluations
            .map(|(task, record)| (task, record.version, record.evaluation))
            .collect()
    }

    fn pinned(&self) -> Vec<TaskHash> {
        let all = open_all(&self.state).unwrap_or_default();
        let pinned = all.into_iter().filter(|(_, slots)| slots.is_pinned());
        pinned.map(|(task, _)| task).collect()
    }

    fn glance(&self) -> bool {
        self.worker.glance()
    }

    fn count(&self) -> Result<Vec<TaskHash>, BackendError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match self.worker.work(Job::Count(told.clone()), &no_blobs)? {
            Done::Counted(grown) => {
                told.extend(&grown);
                Ok(grown.into_keys().collect())
            }
            other => Err(unasked(&other)),
        }
    }

    fn memory_elsewhere_kib(&self) -> u64 {
        self.worker.memory_elsewhere_kib()
    }
}

impl Store {
    /// Bytes that left today, and those on their way.
    fn spent(&self, now: Time) -> u64 {
        let sent = self.ledger.sent_today(now);
        sent.saturating_add(self.outbox.bytes())
    }
}

fn drop_unfinished(state: &StateDir, outbox: &mut Outbox) -> Result<(), BackendError> {
    let Some(bytes) = state.read(UNFINISHED).map_err(of_state)? else {
        return Ok(());
    };
    if let Ok(call) = decode::<CallName>(&bytes) {
        warn!(
            round = %call.round,
            phase = %call.phase,
            "an answer was not finished; it is computed again when called for"
        );
        for pending in outbox.list() {
            if call.is_answered_by(&pending.key) {
                let removed = outbox.remove(&pending.key);
                removed.map_err(|error| explained(&error, error.advice()))?;
            }
        }
    }
    state.remove(UNFINISHED).map_err(of_state)
}

/// For work that stands on no blob.
fn no_blobs(blob: BlobHash) -> Result<Vec<u8>, CacheError> {
    Err(CacheError::Missing(blob))
}

fn unasked(done: &Done) -> BackendError {
    explained(
        &format!("another piece of work came back than was asked for: {done:?}"),
        "report this as a fault of the agent",
    )
}

fn of_state(error: StateError) -> BackendError {
    explained(&error, error.advice())
}

/// A thread that could not be had is a limit of the system, no fault here.
pub(crate) fn no_thread(error: &dyn Display) -> BackendError {
    explained(
        &format!("cannot start a thread to compute in: {error}"),
        "raise the limit on processes and threads (TasksMax of the service, `ulimit -u`, \
         pids.max), or end other programs of this user. The agent goes on",
    )
}

fn explained(what: &dyn Display, advice: impl Into<String>) -> BackendError {
    BackendError::Failed {
        what: what.to_string(),
        advice: advice.into(),
    }
}

/// Names of the folders in the state directory.
pub const OUTBOX: &str = "outbox";
/// See [`OUTBOX`].
pub const LEDGER: &str = "ledger";
pub use crate::cache::FOLDER as CACHE;

/// Most bytes of shared blobs that are kept besides those in use.
pub const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
