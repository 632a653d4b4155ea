//! The coordinator's end of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::ids::{DeviceId, TaskHash};
use common::trust::token::{TokenRecord, TokenTerms};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

use super::line::{next_line, write};
use super::protocol::{Request, Response, TokenWish};
use super::{backbones, copy};
use crate::core::AdminCommand;
use crate::journal;
use crate::journal::ReplayError;
use crate::journal::audit::{AuditRecord, AuditSpan, RECORDS_MAX};
use crate::registry::clean_label;
use crate::server::handle::{ask, from_store, from_store_handle, read_blob, status, with_reports};
use crate::server::repair::{rerelease, sweep, sweep_forgotten};
use crate::server::{Shared, StoreHandle};
use crate::status::{Fault, FaultKind, Namesake, Progress};
use crate::store::Position;

/// Why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A coordinator answers there.
    #[error("a coordinator already answers at {path}; stop it first, or use another --state")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path does not fit into a socket's address.
    #[error(
        "the socket path {path} has {length} bytes, at most 107 fit; set `admin_socket` to a shorter one"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// The disk or its permissions.
    #[error(
        "cannot make the admin socket {path}: {source}; check the directory's owner and permissions"
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A socket that only its owner may use. Its file goes with it.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Takes the path. A file that a killed coordinator left there is
    /// replaced; one that answers is not.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let length = path.as_os_str().len();
        let path = path.to_owned();
        if length > SOCKET_PATH_BYTES_MAX {
            return Err(SocketError::TooLong { path, length });
        }
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(SocketError::InUse { path });
        }
        let bound = remove_stale(&path).and_then(|()| {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(SocketError::Io { path, source }),
        }
    }

    /// Answers callers until it is dropped.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(&shared, stream).await {
                            tracing::debug!(%error, "an admin caller hung up");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely; others close theirs.
                    tracing::error!(%error, "the admin socket does not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Gone already if the directory is.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One caller, request by request.
async fn converse(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(line) = next_line(&mut reader).await? {
        // Before the request, so that a watcher misses nothing of what it
        // sets going.
        let steps = shared.progress.subscribe();
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let fault = Fault::new(FaultKind::Invalid, format!("not a request: {error}"));
                write(&mut writer, &Response::Fault(fault)).await?;
                continue;
            }
        };
        match request {
            Request::Watch => {
                write(&mut writer, &Response::Watching).await?;
                return relay(&mut writer, steps, None).await;
            }
            Request::StartRound { task, watch } => {
                let started = start_round(shared, task).await;
                let of = match (&started, watch) {
                    (Response::RoundStarted { task, .. }, true) => Some(*task),
                    _ => None,
                };
                write(&mut writer, &started).await?;
                if of.is_some() {
                    relay(&mut writer, steps, of).await?;
                }
            }
            Request::Release { task, version } => {
                send_release(shared, &mut writer, task, version).await?;
            }
            Request::Blob { blob } => match read_blob(shared, blob).await {
                Err(fault) => write(&mut writer, &Response::Fault(fault)).await?,
                Ok(bytes) => {
                    let head = Response::Blob {
                        bytes: bytes.len() as u64,
                    };
                    write(&mut writer, &head).await?;
                    writer.write_all(&bytes).await?;
                }
            },
            Request::CopyStore => copy::send(shared, &mut writer).await?,
            Request::AddBackbone { name, bytes } => {
                let added = backbones::add(shared, &mut reader, name, bytes).await?;
                write(&mut writer, &added.unwrap_or_else(Response::Fault)).await?;
            }
            other => {
                let response = answer(shared, other).await;
                write(&mut writer, &response.unwrap_or_else(Response::Fault)).await?;
            }
        }
    }
    Ok(())
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Result<Response, Fault> {
    match request {
        Request::Status => {
            let mut status = status(shared).await?;
            status.page = shared.page;
            let store = shared.store.clone();
            let store = tokio::task::spawn_blocking(move || store.status()).await;
            status.store = store.ok().flatten();
            status.authority = Some(shared.identity.authority.fingerprint());
            Ok(Response::Status(with_reports(shared, status).await))
        }
        Request::CreateToken(wish) => create_token(shared, wish).await,
        Request::VerifyAudit => verify_audit(shared).await.map(Response::Audit),
        Request::ReadAudit { from } => {
            let records = read_audit(shared, from).await?;
            Ok(Response::AuditRecords(records))
        }
        Request::Lineage { task, version } => {
            let command = |reply| AdminCommand::Lineage {
                name: task,
                version,
                reply,
            };
            let (version, devices) = ask(shared, command).await??;
            Ok(Response::Lineage { version, devices })
        }
        Request::ListTokens => {
            let all = ask(shared, |reply| AdminCommand::Tokens { reply }).await?;
            Ok(Response::Tokens(all.into_iter().map(Into::into).collect()))
        }
        Request::RevokeToken { token } => {
            ask(shared, |reply| AdminCommand::RevokeToken { token, reply }).await??;
            Ok(Response::Done)
        }
        Request::ApproveDevice { device } => decide(shared, device, true).await,
        Request::DenyDevice { device } => decide(shared, device, false).await,
        Request::LabelDevice { device, label } => {
            let command = |reply| AdminCommand::Label {
                device,
                label,
                reply,
            };
            ask(shared, command).await??;
            Ok(Response::Done)
        }
        Request::CreateTask { text, namesake } => create_task(shared, &text, namesake).await,
        Request::ArchiveTask { task, away } => {
            let command = |reply| AdminCommand::ArchiveTask {
                name: task,
                away,
                reply,
            };
            ask(shared, command).await??;
            Ok(Response::Done)
        }
        Request::DeleteTask { task } => {
            let command = |reply| AdminCommand::DeleteTask { name: task, reply };
            ask(shared, command).await??;
            let blobs = sweep(shared).await?;
            Ok(Response::Forgotten { blobs })
        }
        Request::ListBackbones => backbones::list(shared).await,
        Request::RemoveBackbone { model } => backbones::remove(shared, &model).await,
        Request::Task { task } => {
            let found = ask(shared, |reply| AdminCommand::Task { name: task, reply }).await?;
            Ok(Response::Task(found?))
        }
        Request::CancelRound { task } => {
            let name = task;
            ask(shared, |reply| AdminCommand::CancelRound { name, reply }).await??;
            Ok(Response::Done)
        }
        Request::Relearn { task } => {
            let name = task;
            ask(shared, |reply| AdminCommand::Relearn { name, reply }).await??;
            Ok(Response::Done)
        }
        Request::RevokeDevice { device, reason } => {
            let command = |reply| AdminCommand::Revoke {
                device,
                reason,
                reply,
            };
            ask(shared, command).await??;
            Ok(Response::Done)
        }
        Request::ForgetDevice { device } => {
            ask(shared, |reply| AdminCommand::Forget { device, reply }).await??;
            let blobs = sweep_forgotten(shared).await?;
            Ok(Response::Forgotten { blobs })
        }
        Request::PardonDevice { device } => {
            ask(shared, |reply| AdminCommand::Pardon { device, reply }).await??;
            Ok(Response::Done)
        }
        Request::Rollout { task, order } => {
            let command = |reply| AdminCommand::Rollout {
                name: task,
                order,
                reply,
            };
            ask(shared, command).await??;
            Ok(Response::Done)
        }
        Request::ReRelease { task, version } => {
            let (from, version) = rerelease(shared, task, version).await?;
            Ok(Response::ReReleased { from, version })
        }
        Request::Influence { task } => influence(shared, task).await,
        Request::Watch
        | Request::StartRound { .. }
        | Request::Release { .. }
        | Request::Blob { .. }
        | Request::AddBackbone { .. }
        | Request::CopyStore => Err(Fault::new(
            FaultKind::Invalid,
            "this request is answered elsewhere",
        )),
    }
}

/// What each device is worth, from the moments behind the newest teacher.
async fn influence(shared: &Shared, name: Option<String>) -> Result<Response, Fault> {
    let found = ask(shared, |reply| AdminCommand::Task { name, reply }).await??;
    let status = ask(shared, |reply| AdminCommand::Status { reply }).await?;
    let of = status.tasks.iter().find(|one| one.task == found.task);
    let solved = match of.and_then(|of| of.teacher) {
        Some(teacher) => shared.influences.of(shared, found.task, teacher).await?,
        None => None,
    };
    let solved = solved.ok_or_else(|| {
        let message = format!(
            "task {} has no teacher of moments of two devices, from which this is measured: \
             start a round, with `contribute = \"moments\"` or \"both\"",
            found.name
        );
        Fault::new(FaultKind::NotFound, message)
    })?;
    Ok(Response::Influence(solved.to_vec()))
}

async fn verify_audit(shared: &Shared) -> Result<AuditSpan, Fault> {
    let checked = move |store: &StoreHandle| -> Result<AuditSpan, ReplayError> {
        let mut snapshot = None;
        let mut failed = None;
        let (begin, head) = store.with(|store| {
            // What no longer begins with record 0 has a snapshot that stands
            // for the rest, on the very chain that is checked here.
            match journal::newest(store) {
                Ok(loaded) => snapshot = loaded.name.map(|_| loaded.fold.head.next.0),
                Err(error) => failed = Some(error),
            }
            Ok((store.begin()?, store.verify()?))
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(AuditSpan {
                first: begin.next.0,
                next: head.next.0,
                hash: head.hash.to_string(),
                previous: Some(begin.hash.to_string()),
                snapshot,
            }),
        }
    };
    from_store_handle(shared, checked).await
}

async fn read_audit(shared: &Shared, from: Option<u64>) -> Result<Vec<AuditRecord>, Fault> {
    from_store(shared, move |store| {
        let first = store.first()?;
        let from = from.map_or(first, |from| Position(from).max(first));
        if from >= store.head()?.next {
            return Ok(Vec::new());
        }
        let records = store.read(from, RECORDS_MAX)?;
        Ok(records.iter().map(AuditRecord::of).collect())
    })
    .await
}

async fn decide(shared: &Shared, device: DeviceId, approved: bool) -> Result<Response, Fault> {
    let command = |reply| AdminCommand::Decide {
        device,
        approved,
        reply,
    };
    ask(shared, command).await??;
    Ok(Response::Done)
}

async fn create_token(shared: &Shared, wish: TokenWish) -> Result<Response, Fault> {
    let TokenWish { ttl_ms, uses, .. } = wish;
    let group = wish.group.as_deref().map(clean_label);
    if !(TTL_MS_MIN..=TTL_MS_MAX).contains(&ttl_ms) || uses == 0 || uses > USES_MAX {
        return Err(Fault::new(
            FaultKind::Invalid,
            format!("a token lasts 1 s to 366 days and admits 1 to {USES_MAX} devices"),
        ));
    }
    let expires = shared.clock.now().after_ms(ttl_ms);
    let terms = TokenTerms {
        expires,
        uses_max: uses,
        group: group.filter(|group| !group.is_empty()),
        approval: wish.approval,
    };
    let pin = shared.identity.authority.fingerprint();
    let (token, record) = TokenRecord::create(pin, terms)
        .map_err(|error| Fault::new(FaultKind::Storage, error.to_string()))?;
    ask(shared, |reply| AdminCommand::AddToken { record, reply }).await??;
    Ok(Response::Token {
        token: token.reveal(),
        expires,
        uses,
    })
}

async fn create_task(shared: &Shared, text: &str, namesake: Namesake) -> Result<Response, Fault> {
    let task = Arc::new(backbones::task(shared, text).await?);
    let (store, kept) = (shared.store.clone(), task.clone());
    let stored = tokio::task::spawn_blocking(move || store.put_blob(kept.bytes()));
    let _pin = match stored.await {
        Ok(Ok((_, pin))) => pin,
        Ok(Err(error)) => return Err(Fault::new(FaultKind::Storage, error.to_string())),
        Err(error) => return Err(Fault::new(FaultKind::Storage, error.to_string())),
    };
    let command = |reply| AdminCommand::AddTask {
        task,
        namesake,
        reply,
    };
    let made = ask(shared, command).await??;
    Ok(Response::Task(made))
}

async fn start_round(shared: &Shared, name: Option<String>) -> Response {
    let started = ask(shared, |reply| AdminCommand::StartRound { name, reply }).await;
    match started.and_then(|started| started) {
        Ok((task, round)) => Response::RoundStarted { task, round },
        Err(fault) => Response::Fault(fault),
    }
}

async fn send_release(
    shared: &Shared,
    writer: &mut OwnedWriteHalf,
    name: Option<String>,
    version: Option<common::ids::Version>,
) -> io::Result<()> {
    let found = ask(shared, |reply| AdminCommand::Release {
        name,
        version,
        reply,
    })
    .await;
    let (version, blob) = match found.and_then(|found| found) {
        Ok(found) => found,
        Err(fault) => return write(writer, &Response::Fault(fault)).await,
    };
    match read_blob(shared, blob).await {
        Err(fault) => write(writer, &Response::Fault(fault)).await,
        Ok(bytes) => {
            let length = bytes.len() as u64;
            let head = Response::Release {
                version,
                bytes: length,
            };
            write(writer, &head).await?;
            writer.write_all(&bytes).await
        }
    }
}

/// Passes on what happens: of all tasks for ever, or of one until its round
/// has ended.
async fn relay(
    writer: &mut OwnedWriteHalf,
    mut steps: broadcast::Receiver<Progress>,
    of: Option<TaskHash>,
) -> io::Result<()> {
    loop {
        let step = match steps.recv().await {
            Ok(step) => step,
            Err(broadcast::error::RecvError::Lagged(events)) => Progress::Missed { events },
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
        if of.is_some_and(|of| step.task().is_some_and(|task| task != of)) {
            continue;
        }
        let last = of.is_some() && matches!(step, Progress::Ended { .. });
        write(writer, &Response::Progress(step)).await?;
        if last {
            return Ok(());
        }
    }
}

/// What fits into a Unix socket's address, with its terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const TTL_MS_MIN: u64 = 1_000;
const TTL_MS_MAX: u64 = 366 * 24 * 3_600_000;
const USES_MAX: u32 = 100_000;
