//! Heavy work in a process of its own, which ends with the work.
//!
//! A running agent mostly waits. Had it computed once itself, it would keep
//! the pages of the linear algebra library, of the transforms and of the
//! allocator for good; the child takes them along when it ends. And whatever
//! happens to it (a fault, a kill, no memory) is an error of one piece of
//! work: the agent reports it and goes on.

mod protocol;
mod serve;

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::human;
use common::limits::BLOB_BYTES_MAX;
use common::wire::codec::{decode_blob, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::explained;
use super::folder::{FolderSource, Reading};
use super::holdings::Source as _;
use super::worker::{Done, Job, Worker};
use crate::driver::backend::{BackendError, Blobs};
use crate::policy::Policy;
use crate::state::StateDir;
use crate::work::TeacherChoice;
use protocol::{Commission, DELIVERY, Delivery, HEARTBEAT};

pub use serve::{ServeError, serve};

/// The command of `alambic-agent` that is the child.
pub const COMMAND: &str = "work-child";

/// What a child is told, whatever its job.
#[derive(Clone, Debug)]
pub struct ChildSettings {
    /// What may leave.
    pub policy: Policy,
    /// The local teacher.
    pub teacher: TeacherChoice,
    /// The device's own seed.
    pub seed: u64,
    /// The data folder, if there is one.
    pub data: Option<PathBuf>,
    /// How its files are read.
    pub reading: Reading,
    /// What is logged.
    pub log: String,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// A worker that starts a child for each piece of work, one at a time.
#[derive(Debug)]
pub struct ChildWorker {
    program: PathBuf,
    state: StateDir,
    settings: ChildSettings,
    source: FolderSource,
    busy: Mutex<()>,
    patience: Duration,
    peak_kib: AtomicU64,
}

impl ChildWorker {
    /// A worker whose children are this very program, even if its file has
    /// been replaced by a newer one since it started.
    pub fn new(state: &StateDir, settings: ChildSettings) -> Self {
        Self {
            program: OWN_PROGRAM.into(),
            state: state.clone(),
            source: FolderSource::new(settings.data.clone(), settings.reading.clone()),
            settings,
            busy: Mutex::new(()),
            patience: PATIENCE,
            peak_kib: AtomicU64::new(0),
        }
    }

    /// Runs another program as the child.
    #[cfg(test)]
    fn with_program(mut self, program: &std::path::Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Waits for a child's signs of life for another time.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn spawn(&self) -> Result<Child, BackendError> {
        let mut command = Command::new(&self.program);
        command
            .arg0("alambic-agent")
            .arg("--state")
            .arg(self.state.path());
        if let Some(data) = &self.settings.data {
            command.arg("--data").arg(data);
        }
        if self.settings.log_json {
            command.arg("--log-json");
        }
        command
            .arg(COMMAND)
            // One thread computes; more arenas would only hold memory.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("MALLOC_ARENA_MAX", "1")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.spawn().map_err(|error| {
            let what = format!("cannot start a process to compute in: {error}");
            explained(
                &what,
                "check the limits on processes and memory (TasksMax, MemoryMax)",
            )
        })
    }

    fn commission(&self, job: Job) -> Vec<u8> {
        let settings = &self.settings;
        encode(&Commission {
            parent: std::process::id(),
            log: settings.log.clone(),
            policy: settings.policy.clone(),
            teacher: settings.teacher.clone(),
            seed: settings.seed,
            reading: settings.reading.clone(),
            job,
        })
    }
}

impl Worker for ChildWorker {
    fn work(&self, job: Job, _: &Blobs<'_>) -> Result<Done, BackendError> {
        let _alone = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.source.look_now();
        let (delivered, status) = converse(self.spawn()?, &self.commission(job), self.patience)?;
        if !status.success() {
            return Err(died(status));
        }
        let delivery: Delivery = decode_blob(&delivered).map_err(|error| {
            let what = format!("the process that computes answered with something else: {error}");
            explained(&what, "report this as a fault of the agent")
        })?;
        self.peak_kib
            .fetch_max(delivery.peak_kib, Ordering::Relaxed);
        delivery.result
    }

    fn glance(&self) -> bool {
        self.source.glance()
    }

    fn memory_elsewhere_kib(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed)
    }
}

/// Hands a job over and waits for the end: what the child wrote, and how it
/// ended. A child that does not read or says too much is no exception: it
/// is always waited for. One that gives no sign of life for as long as
/// `patience` is ended: what it computes stands still.
fn converse(
    mut child: Child,
    job: &[u8],
    patience: Duration,
) -> Result<(Vec<u8>, ExitStatus), BackendError> {
    let mut delivered = Vec::new();
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if the child has ended; its status says more.
        let _ = stdin.write_all(job);
    }
    if let Some(stdout) = child.stdout.take() {
        let stdout = Progressing {
            said: stdout,
            patience,
        };
        match listen(stdout.take(BYTES_SAID_MAX), &mut delivered) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(stands_still(patience));
            }
            read if read.is_err() || delivered.len() as u64 > BLOB_BYTES_MAX => {
                let _ = child.kill();
            }
            _ => {}
        }
    }
    let status = child.wait().map_err(|error| {
        let what = format!("lost the process that computes: {error}");
        explained(&what, "report this as a fault of the agent")
    })?;
    Ok((delivered, status))
}

/// Takes the child's signs of life as the agent's own, so that a watchdog that looks
/// the agent sees the child too, and then what it delivers.
fn listen(mut stdout: impl Read, delivered: &mut Vec<u8>) -> std::io::Result<()> {
    let mut sign = [0];
    loop {
        match stdout.read(&mut sign)? {
            0 => return Ok(()),
            _ if sign[0] == HEARTBEAT => common::liveness::heartbeat(),
            // What is no delivery is found out when it is decoded.
            _ if sign[0] == DELIVERY => return stdout.read_to_end(delivered).map(drop),
            _ => return Ok(()),
        }
    }
}

/// What a child says, as long as it says something.
struct Progressing {
    said: ChildStdout,
    patience: Duration,
}

impl Read for Progressing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let patience = Timespec::try_from(self.patience).ok();
        let mut said = [PollFd::new(&self.said, PollFlags::IN)];
        loop {
            match poll(&mut said, patience.as_ref()) {
                Ok(0) => return Err(std::io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.said.read(into),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn stands_still(patience: Duration) -> BackendError {
    let span = human::span(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
    explained(
        &format!("the process that computes did not move for {span} and was ended"),
        "if its memory is limited (`ulimit -v`, LimitAS, vm.overcommit_memory 2, MemoryHigh), give \
         it more, or the folder fewer rows; a disk that does not answer does this too. The agent \
         goes on",
    )
}

fn died(status: ExitStatus) -> BackendError {
    match status.signal() {
        Some(signal) => explained(
            &format!("the process that computes was ended by signal {signal}"),
            "if that is 9, memory may have run out (`journalctl -k` says so): give the service \
             more (MemoryMax) or the folder fewer rows. The agent goes on",
        ),
        None => explained(
            &format!("a fault in this program stopped a piece of work ({status})"),
            "report it with the lines above; the agent goes on",
        ),
    }
}

/// Most that a child says: its delivery, and signs of life for weeks.
const BYTES_SAID_MAX: u64 = 2 * BLOB_BYTES_MAX;
/// A piece of work between two signs of life takes seconds on the slowest
/// devices; the service manager's watchdog would end the agent itself after 3
/// minutes.
const PATIENCE: Duration = Duration::from_secs(150);
/// The file a process was started from, wherever it is by now.
const OWN_PROGRAM: &str = "/proc/self/exe";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::cache::CacheError;
    use crate::driver::local::Told;

    fn worker(folder: &Path, script: &str) -> ChildWorker {
        let program = folder.join("child");
        write_program(&program, script);
        let settings = ChildSettings {
            policy: Policy::default(),
            teacher: TeacherChoice::default(),
            seed: 1,
            data: None,
            reading: Reading {
                mapping: crate::data::Mapping::default(),
                label_column: "label".to_owned(),
                memory_mib_max: 48,
            },
            log: "info".to_owned(),
            log_json: false,
        };
        let state = StateDir::create(&folder.join("state")).unwrap();
        ChildWorker::new(&state, settings).with_program(&program)
    }

    /// Another process writes the file. Were it open for writing in this one,
    /// a child that another test starts at that moment would have it open too
    /// until it executes its program, and starting a file that someone may
    /// write fails: "text file busy".
    fn write_program(file: &Path, script: &str) {
        let mut writer = Command::new("/bin/sh")
            .args(["-c", r#"umask 077 && cat >"$0" && chmod 700 "$0""#])
            .arg(file)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        write!(stdin, "#!/bin/sh\n{script}\n").unwrap();
        drop(stdin);
        assert!(writer.wait().unwrap().success());
    }

    fn failure(script: &str) -> String {
        failure_within(script, PATIENCE)
    }

    fn failure_within(script: &str, patience: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path(), script).with_patience(patience);
        let blobs = |blob| Err(CacheError::Missing(blob));
        let error = worker.work(Job::Count(Told::new()), &blobs).unwrap_err();
        let BackendError::Failed { what, advice } = error else {
            panic!("{error} is no failure");
        };
        format!("{what}; {advice}")
    }

    #[test]
    fn a_child_that_is_killed_is_an_error_that_says_so() {
        let text = failure("kill -9 $$");
        assert!(text.contains("signal 9"), "{text}");
        assert!(text.contains("memory"), "{text}");
    }

    #[test]
    fn a_child_that_fails_or_talks_nonsense_is_an_error() {
        assert!(failure("cat >/dev/null; exit 101").contains("101"));
        assert!(failure("cat >/dev/null; echo nonsense").contains("something else"));
        assert!(failure("exit 0").contains("something else"));
    }

    #[test]
    fn a_child_that_stands_still_is_ended_and_said_to() {
        let begun = std::time::Instant::now();
        let spins = "cat >/dev/null; printf '\\001'; while :; do :; done";
        let text = failure_within(spins, Duration::from_millis(300));
        assert!(text.contains("did not move for 300 ms"), "{text}");
        assert!(text.contains("ulimit -v"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn heartbeats_are_forwarded_and_not_delivered() {
        let before = common::liveness::PROCESS.heartbeats();
        let mut delivered = Vec::new();
        let said = [&[HEARTBEAT; 5][..], &[DELIVERY], &[HEARTBEAT, 7]].concat();
        listen(&said[..], &mut delivered).unwrap();
        assert_eq!(delivered, [HEARTBEAT, 7]);
        assert!(common::liveness::PROCESS.heartbeats() >= before + 5);
        delivered.clear();
        listen(&[HEARTBEAT, b'?', 7][..], &mut delivered).unwrap();
        assert!(delivered.is_empty());
    }

    #[test]
    fn a_child_that_cannot_be_started_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(folder.path(), "").with_program(&folder.path().join("none"));
        let blobs = |blob| Err(CacheError::Missing(blob));
        let error = worker.work(Job::Count(Told::new()), &blobs).unwrap_err();
        assert!(error.to_string().contains("cannot start"), "{error}");
    }
}
