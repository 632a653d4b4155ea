//! A process that holds a task's model for predictions, so that the agent does not:
//! it is started by the first row, and ends when none comes for a while.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::ids::TaskHash;
use common::limits::BLOB_BYTES_MAX;
use common::task::Task;
use common::wire::codec::{decode_blob, encode};
use ndarray::{Array2, ArrayView2};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Opened;
use crate::state::StateDir;

/// The command of `alambic-agent` that is the process.
pub const COMMAND: &str = "model-child";

/// The process, if it runs.
#[derive(Debug)]
pub struct ModelProcess {
    state: StateDir,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    task: TaskHash,
    /// Its end ends the process.
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// What the process says of rows, or why it cannot.
type Said = Result<Vec<f32>, String>;

impl ModelProcess {
    /// None yet; models are those of a state directory.
    pub fn new(state: StateDir) -> Self {
        Self {
            state,
            running: Mutex::default(),
        }
    }

    /// What a task's feature stage sees of rows (rows, values), shape (rows, width);
    /// the rows themselves if it has no model. Blocks while it computes.
    ///
    /// # Errors
    /// Why the model cannot be run, with what to do about it.
    pub fn rows(&self, task: &Task, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, String> {
        let Some(backbone) = &task.definition().backbone else {
            return Ok(rows.to_owned());
        };
        let values: Vec<f32> = rows.iter().copied().collect();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended, having had nothing to do, is started again.
        let earlier = running.take().filter(|one| one.task == task.hash());
        let asked = earlier.and_then(|mut one| Some((one.ask(&values).ok()?, one)));
        let (said, one) = match asked {
            Some(asked) => asked,
            None => {
                let begun = Running::begin(&self.state, task);
                let mut one =
                    begun.map_err(|error| format!("no process for the model: {error}"))?;
                let said = one.ask(&values);
                (
                    said.map_err(|error| format!("the model's process ended: {error}"))?,
                    one,
                )
            }
        };
        *running = Some(one);
        let shape = (rows.nrows(), backbone.values() as usize);
        Array2::from_shape_vec(shape, said?).map_err(|error| format!("the model's rows: {error}"))
    }
}

impl Running {
    fn begin(state: &StateDir, task: &Task) -> io::Result<Self> {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .arg0("alambic-agent")
            .arg("--state")
            .arg(state.path())
            .arg(COMMAND)
            .env("MALLOC_ARENA_MAX", "1")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let waits = std::thread::Builder::new().stack_size(STACK_BYTES);
        waits.spawn(move || child.wait().map(drop))?;
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        send(&mut stdin, task.bytes())?;
        Ok(Self {
            task: task.hash(),
            stdin,
            stdout,
        })
    }

    fn ask(&mut self, values: &[f32]) -> io::Result<Said> {
        send(&mut self.stdin, &encode(&values.to_vec()))?;
        let said = receive(&mut self.stdout)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        decode_blob(&said).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// The process's side: a task on standard input, then rows, each answered on standard
/// output, until the input ends or nothing comes for a minute.
///
/// # Errors
/// If the other end goes or says what is not understood.
pub fn serve(state: &StateDir) -> io::Result<()> {
    // Read without a buffer, so that what waits is seen by a poll.
    let mut stdin = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = io::stdout().lock();
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let bytes = receive(&mut stdin)?.ok_or_else(invalid)?;
    let task = Task::from_bytes(&bytes).map_err(|_| invalid())?;
    let told = |error: super::BackboneError| format!("{error}; {}", error.advice());
    let mut opened = Opened::of(state, &task).map_err(told);
    let width = task.input_shape().values();
    while comes(&stdin)? {
        let Some(asked) = receive(&mut stdin)? else {
            break;
        };
        let values: Vec<f32> = decode_blob(&asked).map_err(|_| invalid())?;
        let said: Said = match &mut opened {
            Err(problem) => Err(problem.clone()),
            Ok(None) => Err("the task has no model".to_owned()),
            Ok(Some(model)) => {
                let rows = ArrayView2::from_shape((values.len() / width, width), &values);
                let rows = rows.map_err(|error| error.to_string());
                let made = rows.and_then(|rows| model.rows(rows).map_err(told));
                made.map(|made| made.into_raw_vec_and_offset().0)
            }
        };
        // It may be fetched meanwhile: the next process looks again.
        let failed = said.is_err() && opened.is_err();
        send(&mut stdout, &encode(&said))?;
        if failed {
            break;
        }
    }
    Ok(())
}

/// Waits for a byte, for as long as the process is worth its memory.
fn comes(input: &std::fs::File) -> io::Result<bool> {
    let patience = Timespec::try_from(IDLE).ok();
    let mut ready = [PollFd::new(input, PollFlags::IN)];
    loop {
        match poll(&mut ready, patience.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// None at the end.
fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u64::from_le_bytes(length);
    if length > BLOB_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(Some(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// How long it waits for the next row.
const IDLE: Duration = Duration::from_secs(60);
/// A thread that only waits.
const STACK_BYTES: usize = 64 * 1024;
/// The file a process was started from, wherever it is by now.
const OWN_PROGRAM: &str = "/proc/self/exe";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_sent_is_received_whole_or_not() {
        let mut bytes = Vec::new();
        send(&mut bytes, b"rows").unwrap();
        send(&mut bytes, b"").unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(receive(&mut from).unwrap().unwrap(), b"rows");
        assert_eq!(receive(&mut from).unwrap().unwrap(), b"");
        assert_eq!(receive(&mut from).unwrap(), None);
        let cut = receive(&mut &bytes[..10]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        let long = receive(&mut &u64::MAX.to_le_bytes()[..]).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidData);
    }
}
