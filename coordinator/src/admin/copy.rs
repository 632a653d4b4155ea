//! Sends a copy of the store to an operator, while it goes on being written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::limits::NO_PROGRESS_MS_MAX;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;

use super::protocol::Response;
use crate::admin::line::write;
use crate::backup::{BackupError, PieceName, StoreCopy};
use crate::server::Shared;
use crate::status::{Fault, FaultKind};
use crate::store::Store;

/// One piece at a time, each read on a blocking thread of its own, so the
/// store is never held while the caller reads.
pub(super) async fn send(shared: &Arc<Shared>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    let Ok(_alone) = shared.copying.try_acquire() else {
        let message = "another copy of the store is being made; wait for its end";
        let fault = Fault::new(FaultKind::Busy, message);
        return write(writer, &Response::Fault(fault)).await;
    };
    // Nothing is forgotten meanwhile; an compaction that goes on ends first.
    let _still = shared.store.still.lock().await;
    let mut copy = match with_store(shared, StoreCopy::begin).await {
        Ok(copy) => copy,
        Err(fault) => return write(writer, &Response::Fault(fault)).await,
    };
    write(writer, &Response::StoreCopy(copy.contents().clone())).await?;
    loop {
        let read = with_store(shared, move |store| Ok((copy.next(store)?, copy))).await;
        let piece = match read {
            Ok((piece, back)) => {
                copy = back;
                piece
            }
            Err(fault) => return write(writer, &Response::Fault(fault)).await,
        };
        let Some((name, bytes)) = piece else {
            return write(writer, &Response::Done).await;
        };
        // Anyone who stopped reading keeps others from copying.
        let sent = tokio::time::timeout(PATIENCE, send_piece(writer, name, &bytes)).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
}

async fn send_piece(writer: &mut OwnedWriteHalf, name: PieceName, bytes: &[u8]) -> io::Result<()> {
    let head = Response::Piece {
        name: name.to_string(),
        bytes: bytes.len() as u64,
    };
    write(writer, &head).await?;
    writer.write_all(bytes).await
}

async fn with_store<T: Send + 'static>(
    shared: &Shared,
    call: impl FnOnce(&dyn Store) -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Fault> {
    let store = shared.store.clone();
    let failed = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Storage, error.to_string());
    match tokio::task::spawn_blocking(move || store.with(|store| Ok(call(store)))).await {
        Ok(Ok(Ok(made))) => Ok(made),
        Ok(Ok(Err(BackupError::Forgotten))) => Err(Fault::new(
            FaultKind::Busy,
            BackupError::Forgotten.to_string(),
        )),
        Ok(Ok(Err(error))) => Err(failed(&error)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// How long one piece may take to be read by the caller.
const PATIENCE: Duration = Duration::from_millis(NO_PROGRESS_MS_MAX);
