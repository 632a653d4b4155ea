//! Frozen models, as operators add and remove them.

use std::io;

use common::ids::BlobHash;
use common::limits::BLOB_BYTES_MAX;
use common::task::{RawTask, Task, TaskFileError};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::unix::OwnedReadHalf;

use super::protocol::Response;
use crate::backbone::{self, BackboneFile};
use crate::core::{AdminCommand, Command};
use crate::server::Shared;
use crate::server::handle::{ask, ask_core, from_store};
use crate::server::repair::sweep;
use crate::status::{Fault, FaultKind};
use crate::store::Epoch;

/// Takes the bytes that follow a request to add a model, and holds on to it.
///
/// # Errors
/// The loss of the caller, and a length that no blob may have: what follows is not
/// read then.
pub(super) async fn add(
    shared: &Shared,
    reader: &mut BufReader<OwnedReadHalf>,
    name: String,
    bytes: u64,
) -> io::Result<Result<Response, Fault>> {
    if bytes > BLOB_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut file = Vec::new();
    let read = reader.take(bytes).read_to_end(&mut file).await?;
    if (read as u64) < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(hold(shared, name, file).await)
}

async fn hold(shared: &Shared, name: String, bytes: Vec<u8>) -> Result<Response, Fault> {
    let epoch = Epoch(
        ask(shared, |reply| AdminCommand::Status { reply })
            .await?
            .epoch,
    );
    let file = BackboneFile {
        model: BlobHash::of(&bytes),
        name: name.chars().take(NAME_CHARS_MAX).collect(),
        bytes: bytes.len() as u64,
        added: shared.clock.now(),
    };
    let store = shared.store.clone();
    let held = tokio::task::spawn_blocking(move || {
        let failed =
            |error: &dyn std::fmt::Display| Fault::new(FaultKind::Storage, error.to_string());
        backbone::checked(&file.name, &bytes)
            .map_err(|error| Fault::new(FaultKind::Invalid, error))?;
        let (_, _pin) = store.put_blob(&bytes).map_err(|error| failed(&error))?;
        let held = store.with(|store| backbone::hold(store, epoch, &file));
        held.map_err(|error| failed(&error))?;
        Ok(Response::Backbone(file))
    });
    let broken = |error| {
        Fault::new(
            FaultKind::Storage,
            format!("the model was not taken: {error}"),
        )
    };
    held.await.map_err(broken)?
}

pub(super) async fn list(shared: &Shared) -> Result<Response, Fault> {
    let all = from_store(shared, |store| backbone::list(store)).await?;
    Ok(Response::Backbones(all))
}

/// Lets go of the model whose hash begins so, unless a task needs it.
pub(super) async fn remove(shared: &Shared, digits: &str) -> Result<Response, Fault> {
    let all = from_store(shared, |store| backbone::list(store)).await?;
    let begins = |file: &&BackboneFile| {
        file.name == digits
            || (digits.len() >= HASH_DIGITS_MIN && file.model.to_string().starts_with(digits))
    };
    let meant: Vec<&BackboneFile> = all.iter().filter(begins).collect();
    let model = match meant[..] {
        [only] => only.model,
        [] => {
            let message = format!("no model {digits:?}; `backbone list` shows all");
            return Err(Fault::new(FaultKind::NotFound, message));
        }
        _ => {
            let message = format!("{digits:?} stands for several models; say more digits");
            return Err(Fault::new(FaultKind::Invalid, message));
        }
    };
    let needed = ask_core(shared, |reply| Command::IsPublic { blob: model, reply }).await;
    if needed != Some(false) {
        let message = format!(
            "a task needs model {}: delete it first (`task delete`)",
            model.short()
        );
        return Err(Fault::new(FaultKind::Busy, message));
    }
    let epoch = Epoch(
        ask(shared, |reply| AdminCommand::Status { reply })
            .await?
            .epoch,
    );
    from_store(shared, move |store| backbone::release(store, epoch, model)).await?;
    let blobs = sweep(shared).await?;
    Ok(Response::Forgotten { blobs })
}

/// A task out of its file's text, its model looked at if it has one.
pub(super) async fn task(shared: &Shared, text: &str) -> Result<Task, Fault> {
    let (store, text) = (shared.store.clone(), text.to_owned());
    let parsed = tokio::task::spawn_blocking(move || {
        RawTask::parse_measuring(&text, &|files| {
            let found = store.with(|store| Ok(backbone::measured(store, files)));
            found.map_err(|error| TaskFileError::Model(error.to_string()))?
        })
    });
    let parsed = parsed.await.map_err(|error| {
        Fault::new(
            FaultKind::Storage,
            format!("the task was not read: {error}"),
        )
    })?;
    parsed.map_err(|error| Fault::new(FaultKind::Invalid, format!("the task file: {error}")))
}

/// Longest name of a model.
const NAME_CHARS_MAX: usize = 128;
/// Digits of a hash that may stand for it.
const HASH_DIGITS_MIN: usize = 4;
