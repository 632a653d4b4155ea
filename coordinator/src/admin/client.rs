//! The caller's end of the admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::ids::{BlobHash, RoundId, TaskHash, Version};
use common::limits::BLOB_BYTES_MAX;
use common::trust::token::Approval;

use super::protocol::{Request, Response, TokenWish};
use crate::backbone::BackboneFile;
use crate::backup::{Contents, PieceName};
use crate::status::Status;
use crate::status::{Fault, Namesake, Progress, TaskSummary};

/// Why a request got no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens on the socket.
    #[error(
        "no coordinator answers at {path}: {source}; start it with `alambic-coordinator serve`, \
         or name its state directory with --state"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The socket belongs to someone else.
    #[error("{path} may only be used by its owner; run this as the coordinator's user")]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the coordinator hung up: {0}; its log says why")]
    Broken(#[from] io::Error),
    /// The answer is not one this program knows.
    #[error("the coordinator's answer was not understood: {0}; use the same version of both")]
    Answer(String),
    /// The coordinator said no.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A connection to a running coordinator. All calls block.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the admin socket, `admin.sock` in the state directory
    /// unless configured otherwise.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`] or [`AdminError::Denied`].
    pub fn connect(socket: impl AsRef<Path>) -> Result<Self, AdminError> {
        let path = socket.as_ref();
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => AdminError::Denied {
                path: path.to_owned(),
            },
            _ => AdminError::Unreachable {
                path: path.to_owned(),
                source,
            },
        })?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// Waits for an answer or a step no longer than this. Without it a call
    /// waits as long as the coordinator lives.
    ///
    /// # Errors
    /// [`AdminError::Broken`] if the system does not set the limit.
    pub fn set_patience(&mut self, longest: Duration) -> Result<(), AdminError> {
        Ok(self.reader.get_ref().set_read_timeout(Some(longest))?)
    }

    /// Sends a request and waits for the line that answers it.
    ///
    /// # Errors
    /// [`AdminError::Fault`] if the coordinator says no.
    pub fn ask(&mut self, request: &Request) -> Result<Response, AdminError> {
        self.send(request)?;
        self.next_line()
    }

    fn send(&mut self, request: &Request) -> Result<(), AdminError> {
        let mut line =
            serde_json::to_vec(request).map_err(|error| AdminError::Answer(error.to_string()))?;
        line.push(b'\n');
        Ok(self.reader.get_mut().write_all(&line)?)
    }

    /// Everything there is to know.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn status(&mut self) -> Result<Status, AdminError> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// A new join token, as text for devices.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn create_token(&mut self, ttl_ms: u64, uses: u32) -> Result<String, AdminError> {
        let wish = TokenWish {
            ttl_ms,
            uses,
            group: None,
            approval: Approval::Auto,
        };
        match self.ask(&Request::CreateToken(wish))? {
            Response::Token { token, .. } => Ok(token),
            other => Err(unexpected(&other)),
        }
    }

    /// A new task from the text of its file. The same text twice is the same
    /// task.
    ///
    /// # Errors
    /// See [`Self::ask`]; a wrong file is a fault that names the key.
    pub fn create_task(&mut self, text: &str) -> Result<TaskSummary, AdminError> {
        self.create_task_beside(text, Namesake::default())
    }

    /// The same where another task of this name may be at work.
    ///
    /// # Errors
    /// As [`Self::create_task`].
    pub fn create_task_beside(
        &mut self,
        text: &str,
        namesake: Namesake,
    ) -> Result<TaskSummary, AdminError> {
        let text = text.to_owned();
        match self.ask(&Request::CreateTask { text, namesake })? {
            Response::Task(task) => Ok(task),
            other => Err(unexpected(&other)),
        }
    }

    /// Begins a round.
    ///
    /// # Errors
    /// See [`Self::ask`]; a running round is a fault.
    pub fn start_round(
        &mut self,
        task: Option<&str>,
        watch: bool,
    ) -> Result<(TaskHash, RoundId), AdminError> {
        let task = task.map(str::to_owned);
        match self.ask(&Request::StartRound { task, watch })? {
            Response::RoundStarted { task, round } => Ok((task, round)),
            other => Err(unexpected(&other)),
        }
    }

    /// Begins a round, shows each step to `seen` and returns how it ended:
    /// its [`Progress::Ended`].
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn run_round(
        &mut self,
        task: Option<&str>,
        mut seen: impl FnMut(&Progress),
    ) -> Result<Progress, AdminError> {
        let (of, _) = self.start_round(task, true)?;
        loop {
            let step = self.next_progress()?;
            seen(&step);
            match &step {
                Progress::Ended { task, .. } if *task == of => return Ok(step),
                _ => {}
            }
        }
    }

    /// Follows all tasks: what happens from now on, [`Self::next_progress`]
    /// tells. A status that is asked for afterwards, over another connection,
    /// leaves no gap between the two.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn watch(&mut self) -> Result<(), AdminError> {
        match self.ask(&Request::Watch)? {
            Response::Watching => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The next step, after [`Self::watch`] or a watched start. Blocks until
    /// there is one, or for the patience given.
    ///
    /// # Errors
    /// [`AdminError::Broken`] once the coordinator hangs up.
    pub fn next_progress(&mut self) -> Result<Progress, AdminError> {
        match self.next_line()? {
            Response::Progress(step) => Ok(step),
            other => Err(unexpected(&other)),
        }
    }

    /// A signed release: its version and its bytes.
    ///
    /// # Errors
    /// See [`Self::ask`]; an unknown version is a fault.
    pub fn release(
        &mut self,
        task: Option<&str>,
        version: Option<Version>,
    ) -> Result<(Version, Vec<u8>), AdminError> {
        let task = task.map(str::to_owned);
        match self.ask(&Request::Release { task, version })? {
            Response::Release { version, bytes } => Ok((version, self.bytes(bytes)?)),
            other => Err(unexpected(&other)),
        }
    }

    /// A stored blob by its name.
    ///
    /// # Errors
    /// See [`Self::ask`]; an unknown blob is a fault.
    pub fn blob(&mut self, blob: BlobHash) -> Result<Vec<u8>, AdminError> {
        match self.ask(&Request::Blob { blob })? {
            Response::Blob { bytes } => self.bytes(bytes),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds a model that tasks may name by its hash.
    ///
    /// # Errors
    /// See [`Self::ask`]; a file that is no model, or has an operator that is
    /// missing, is a fault.
    pub fn add_backbone(&mut self, name: &str, bytes: &[u8]) -> Result<BackboneFile, AdminError> {
        let request = Request::AddBackbone {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
        };
        self.send(&request)?;
        self.reader.get_mut().write_all(bytes)?;
        match self.next_line()? {
            Response::Backbone(file) => Ok(file),
            other => Err(unexpected(&other)),
        }
    }

    /// Begins a copy of the store; [`Self::next_piece`] gives its pieces.
    ///
    /// # Errors
    /// See [`Self::ask`]; another copy under way is a fault.
    pub fn copy_store(&mut self) -> Result<Contents, AdminError> {
        match self.ask(&Request::CopyStore)? {
            Response::StoreCopy(contents) => Ok(contents),
            other => Err(unexpected(&other)),
        }
    }

    /// The next piece of the store, after [`Self::copy_store`]; none once all
    /// have come.
    ///
    /// # Errors
    /// A fault if the copy cannot go on; it is of no use then.
    pub fn next_piece(&mut self) -> Result<Option<(PieceName, Vec<u8>)>, AdminError> {
        match self.next_line()? {
            Response::Piece { name, bytes } => {
                let unknown = |_| AdminError::Answer(format!("a piece called {name}"));
                let piece = name.parse().map_err(unknown)?;
                Ok(Some((piece, self.bytes(bytes)?)))
            }
            Response::Done => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    /// The bytes that follow a line.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, AdminError> {
        if length > BLOB_BYTES_MAX {
            return Err(AdminError::Answer(format!("a blob of {length} bytes")));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes)?;
        if (read as u64) < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }

    fn next_line(&mut self) -> Result<Response, AdminError> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&line).map_err(|error| AdminError::Answer(error.to_string()))? {
            Response::Fault(fault) => Err(fault.into()),
            response => Ok(response),
        }
    }
}

fn unexpected(response: &Response) -> AdminError {
    AdminError::Answer(format!("{response:?}").chars().take(200).collect())
}
