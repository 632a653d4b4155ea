//! The child's side: one job in, one delivery out.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::limits::FRAME_BYTES_MAX;
use common::liveness::PROCESS;
use common::wire::codec::{DecodeError, decode, encode};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tracing::info_span;

use super::super::folder::FolderSource;
use super::super::in_process::{InProcess, WorkSettings};
use super::super::worker::{Job, Worker as _};
use super::super::{CACHE, CACHE_BYTES_MAX, explained};
use super::protocol::{Commission, DELIVERY, Delivery, HEARTBEAT};
use crate::cache::Cache;
use crate::driver::backend::BackendError;
use crate::driver::status::resident_kib;
use crate::identity::TimeFloor;
use crate::state::{StateDir, StateError};

/// Why a child could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A pipe to the agent broke.
    #[error("no agent at the other end: {0}")]
    Pipe(#[from] io::Error),
    /// Standard input held no job.
    #[error("standard input holds no job of a running agent: {0}")]
    Job(#[from] DecodeError),
    /// The agent has ended meanwhile.
    #[error("the agent that started this process has ended")]
    Orphan,
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Does the job on standard input and writes its result to standard output.
/// `begin_log` is told what to log. The system ends this process when the
/// agent ends, however that happens.
///
/// # Errors
/// [`ServeError`]; a job that fails is a result.
pub fn serve(
    state: &StateDir,
    data: Option<PathBuf>,
    begin_log: impl FnOnce(&str),
) -> Result<(), ServeError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let mut bytes = Vec::new();
    let limit = FRAME_BYTES_MAX as u64 + 1;
    io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    let commission: Commission = decode(&bytes)?;
    // It may have ended before the line above that asks to be told.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get() as u32);
    if parent != Some(commission.parent) {
        return Err(ServeError::Orphan);
    }
    begin_log(&commission.log);
    volunteer_for_the_killer();
    // The last agent's child may live for a moment longer than it.
    let _alone = state.lock_work()?;
    let result = match SignsOfLife::begin() {
        Ok(life) => {
            let result = work(state, data, commission);
            life.end();
            result
        }
        Err(error) => Err(super::super::no_thread(&error)),
    };
    let delivery = Delivery {
        peak_kib: resident_kib().1,
        result,
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[DELIVERY])?;
    stdout.write_all(&encode(&delivery))?;
    stdout.flush()?;
    Ok(())
}

/// Tells the agent now and then that the computation moves, as long as it
/// does: the agent's watchdog cannot see it otherwise.
struct SignsOfLife {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl SignsOfLife {
    fn begin() -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().spawn(move || {
            let mut told = PROCESS.heartbeats();
            while stopped.recv_timeout(BETWEEN_SIGNS) == Err(mpsc::RecvTimeoutError::Timeout) {
                let heartbeats = PROCESS.heartbeats();
                if heartbeats == told {
                    continue;
                }
                told = heartbeats;
                let mut stdout = io::stdout().lock();
                if stdout
                    .write_all(&[HEARTBEAT])
                    .and_then(|()| stdout.flush())
                    .is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// No sign comes after this.
    fn end(self) {
        drop(self.stop);
        // It cannot fail but by a panic, and then it says nothing either.
        let _ = self.thread.join();
    }
}

/// Far below any watchdog's patience.
const BETWEEN_SIGNS: Duration = Duration::from_secs(1);

fn work(
    state: &StateDir,
    data: Option<PathBuf>,
    commission: Commission,
) -> Result<super::Done, BackendError> {
    if !common::math::blas::has_room() {
        return Err(no_room());
    }
    common::math::blas::pin_to_one_thread();
    let cache = Cache::open(&state.file(CACHE), CACHE_BYTES_MAX);
    let cache =
        cache.map_err(|error| explained(&error, "check the disk of the state directory"))?;
    let settings = WorkSettings {
        policy: commission.policy,
        teacher: commission.teacher,
        clock: TimeFloor::load(state).clock(),
        seed: commission.seed,
    };
    let source = FolderSource::new(data, commission.reading);
    let worker = InProcess::open(state, source, settings)?;
    let span = match &commission.job {
        Job::Answer { call, .. } => info_span!(
            "round", task = %call.task.short(), round = %call.round, phase = %call.phase
        ),
        Job::Judge(release) => info_span!("judge", version = %release.version),
        Job::Soak(task) => info_span!("soak", task = %task.short()),
        Job::Count(_) => info_span!("count"),
    };
    let _entered = span.entered();
    worker.work(commission.job, &|blob| cache.read(blob))
}

fn no_room() -> BackendError {
    explained(
        &"there is no memory to compute with: the linear algebra needs 40 MiB at least",
        "raise the limit on address space (`ulimit -v`, LimitAS) or, where \
         vm.overcommit_memory is 2, the machine's swap or vm.overcommit_ratio. The agent goes on",
    )
}

/// If memory runs out, a piece of work is to end and not the agent. Where
/// that cannot be asked for, the system chooses.
fn volunteer_for_the_killer() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}
