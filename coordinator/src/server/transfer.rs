//! One transfer: a contribution that comes, a shared blob that goes, or the
//! question which release is the newest.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use common::ids::{BlobHash, DeviceId};
use common::limits::{BLOB_BYTES_MAX, WHOLE_BYTES_MAX};
use common::round::{ContributionKey, Reason};
use common::transport::{BlobSpan, CloseCode, Stream, TransportError};
use common::trust::offer::{OFFER_SIGNATURE_BYTES, SignedOffer};
use common::wire::codec::{decode, encode};
use common::wire::messages::{TransferAnswer, TransferRequest};

use super::Shared;
use super::line::Line;
use crate::core::answer::Answer;
use crate::core::command::{Command, Offer, Reply};
use crate::journal::Pin;
use crate::server::handle::{self, note, pause};
use crate::server::store_handle::blocking;
use crate::store::{Chunk, PartialError, PartialKey, StoreError};

/// Why a transfer ended without an answer.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the server is stopping, or cannot say")]
    NoAnswer,
    #[error("the device moves more bytes in a time than it may")]
    TooMuch,
}

/// Serves one transfer stream to its end.
pub(super) async fn serve(shared: Arc<Shared>, line: Line, mut stream: Stream, device: DeviceId) {
    if let Err(error) = run(&shared, &line, &mut stream, device).await {
        tracing::debug!(device = %device.short(), %error, "transfer given up");
        match (&error, line.gateway()) {
            (TransferError::Transport(error), None) => note(&shared, device, error),
            // The gateway has looked at what the device said, so this is its own.
            (TransferError::Transport(error), Some(gateway)) if error.is_violation() => {
                tracing::warn!(gateway = %gateway.short(), %error, "a gateway passes on what no device says");
            }
            _ => {}
        }
        stream.give_up(match &error {
            TransferError::Transport(error) => error.code(),
            TransferError::TooMuch => CloseCode::Overloaded,
            TransferError::Store(_) | TransferError::NoAnswer => CloseCode::Internal,
        });
    }
}

async fn run(
    shared: &Arc<Shared>,
    line: &Line,
    stream: &mut Stream,
    device: DeviceId,
) -> Result<(), TransferError> {
    let Some(frame) = stream.receiver.recv_answer().await? else {
        return Ok(());
    };
    let request = decode::<TransferRequest>(&frame);
    let request = request.map_err(|error| TransportError::Violation {
        reason: format!("a request: {error}"),
    })?;
    let answer = match request {
        TransferRequest::Offer { key, blob, bytes } => {
            let offer = admitted(line, (device, key, blob, bytes), None)?;
            take_offer(offer, false, shared, stream).await?
        }
        TransferRequest::SignedOffer {
            key,
            blob,
            bytes,
            signature,
        } => {
            let offer = admitted(line, (device, key, blob, bytes), Some(&signature))?;
            take_offer(offer, false, shared, stream).await?
        }
        TransferRequest::Whole {
            key,
            blob,
            bytes,
            signature,
        } => {
            if bytes > WHOLE_BYTES_MAX {
                return Err(violation("more bytes than may follow unasked"));
            }
            let offer = admitted(line, (device, key, blob, bytes), signature.as_ref())?;
            take_offer(offer, true, shared, stream).await?
        }
        TransferRequest::Fetch { blob, offset } => {
            return send_blob(shared, stream, Some(device), (blob, offset)).await;
        }
        TransferRequest::FetchAgainst { blob, base } => {
            return send_delta(shared, stream, Some(device), (blob, base)).await;
        }
        TransferRequest::Newest { task } => {
            let newest = |reply| Command::Newest {
                device,
                task,
                reply,
            };
            ask(shared, newest).await?
        }
    };
    finish(stream, answer).await
}

/// What is offered, if it may be in this way: behind a gateway only what the device
/// has signed.
fn admitted(
    line: &Line,
    (device, key, blob, bytes): (DeviceId, ContributionKey, BlobHash, u64),
    signature: Option<&[u8; OFFER_SIGNATURE_BYTES]>,
) -> Result<Offer, TransferError> {
    let signed = SignedOffer {
        device,
        key,
        blob,
        bytes,
    };
    match signature {
        None if line.gateway().is_some() => {
            return Err(violation("an offer without the device's signature"));
        }
        Some(signature) if !line.is_signed(&signed, signature) => {
            let reason = "an offer with a signature that is not the device's";
            return Err(violation(reason));
        }
        None | Some(_) => {}
    }
    Ok(Offer {
        device,
        key,
        blob,
        bytes,
    })
}

fn violation(reason: &str) -> TransferError {
    TransferError::Transport(TransportError::Violation {
        reason: reason.to_owned(),
    })
}

/// Serves what a gateway asks for its cache, from a stream whose first frame
/// has been read. Nothing is charged to a device.
pub(super) async fn serve_cache(shared: Arc<Shared>, mut stream: Stream, wanted: Wanted) {
    let served = match wanted {
        Wanted::Blob(blob) => send_blob(&shared, &mut stream, None, (blob, 0)).await,
        Wanted::Delta { blob, base } => send_delta(&shared, &mut stream, None, (blob, base)).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a transfer to a gateway's cache was given up");
        stream.give_up(CloseCode::Internal);
    }
}

/// What a gateway wants for its cache.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// A whole blob.
    Blob(BlobHash),
    /// What leads from one release to another.
    Delta {
        /// The release.
        blob: BlobHash,
        /// The earlier one.
        base: BlobHash,
    },
}

/// Takes what a device offers, if it is wanted; its bytes follow `unasked`, or once
/// they are asked for.
async fn take_offer(
    offer: Offer,
    unasked: bool,
    shared: &Arc<Shared>,
    stream: &mut Stream,
) -> Result<TransferAnswer, TransferError> {
    if offer.bytes > BLOB_BYTES_MAX {
        return Ok(TransferAnswer::Refused(Reason::TooLarge));
    }
    let answer = ask(shared, |reply| Command::Offer { offer, reply }).await?;
    if !matches!(answer, TransferAnswer::Send { .. }) {
        return Ok(answer);
    }
    // Held until the answer, by when the log names the blob or never will.
    let mut pin = None;
    let checked = match receive_offered(offer, unasked, shared, stream).await {
        Ok(held) => {
            pin = Some(held);
            check_offered(offer, shared).await?
        }
        Err(TransferError::Store(StoreError::Partial(error))) => Err(blamed(&error)),
        // It may come later, as when the disk is full.
        Err(TransferError::TooMuch) => Err(Reason::Storage),
        Err(TransferError::Store(error)) => {
            tracing::error!(%error, "a contribution could not be stored");
            Err(Reason::Storage)
        }
        Err(error) => return Err(error),
    };
    if checked == Err(Reason::Storage) {
        return Ok(TransferAnswer::Refused(Reason::Storage));
    }
    let answer = ask(shared, |reply| Command::Arrived {
        offer,
        checked,
        reply,
    })
    .await;
    drop(pin);
    answer
}

/// Receives what is missing and makes it a durable blob under the name
/// it was offered by.
async fn receive_offered(
    offer: Offer,
    unasked: bool,
    shared: &Arc<Shared>,
    stream: &mut Stream,
) -> Result<Pin, TransferError> {
    let partial = PartialKey {
        device: offer.device,
        hash: offer.blob,
    };
    let store = &shared.store;
    let mut at = store.with(|store| store.partial_bytes(partial))?;
    // What follows unasked begins with the first byte.
    if at > offer.bytes || (unasked && at > 0) {
        store.with(|store| store.drop_partial(partial))?;
        at = 0;
    }
    charge(shared, offer.device, offer.bytes - at)?;
    if !unasked {
        let answer = TransferAnswer::Send { offset: at };
        stream.send(&encode(&answer)).await?;
    }
    let span = BlobSpan::new(at, offer.bytes)?;
    let mut failure = None;
    // A chunk is written through the page cache and not flushed, which
    // is short enough for this thread; the flush below is not.
    let received = stream
        .receiver
        .recv_blob(span, |bytes| {
            let chunk = Chunk {
                declared_bytes: offer.bytes,
                offset: at,
                bytes,
            };
            match store.with(|store| store.append_partial(partial, chunk)) {
                Ok(length) => {
                    at = length;
                    Ok(())
                }
                Err(error) => {
                    failure = Some(error);
                    Err(io::ErrorKind::Other.into())
                }
            }
        })
        .await;
    if let Some(error) = failure {
        return Err(error.into());
    }
    received?;
    let store = store.clone();
    if offer.bytes == 0 {
        return Err(StoreError::from(PartialError::Unknown {
            device: offer.device,
            hash: offer.blob,
        })
        .into());
    }
    Ok(blocking(move || store.finish_partial(partial)).await?)
}

/// Holds the bytes against the task, on a blocking thread.
async fn check_offered(
    offer: Offer,
    shared: &Arc<Shared>,
) -> Result<Result<u64, Reason>, TransferError> {
    let task = offer.key.task;
    let Some(task) = ask(shared, |reply| Command::TaskOf { task, reply }).await? else {
        return Ok(Err(Reason::UnknownTask));
    };
    let shared = shared.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let read = |hash| shared.store.read(hash);
        match shared.store.with(|store| store.blob(offer.blob)) {
            Ok(Some(bytes)) => shared.compute.check(&task, &offer.key, &bytes, &read),
            Ok(None) | Err(_) => Err(Reason::Storage),
        }
    })
    .await;
    Ok(checked.unwrap_or_else(|error| {
        tracing::error!(%error, key = %offer.key, "checking a contribution broke");
        Err(Reason::Malformed)
    }))
}

/// What the device is told about an upload that its own table refused.
fn blamed(error: &PartialError) -> Reason {
    match error {
        PartialError::HashMismatch { .. } => Reason::HashMismatch,
        PartialError::TooLong { .. } | PartialError::BeyondDeclared { .. } => Reason::TooLarge,
        PartialError::Unknown { .. } => Reason::Malformed,
        PartialError::Offset { .. }
        | PartialError::Busy { .. }
        | PartialError::TooMany { .. }
        | PartialError::TooManyBytes { .. } => Reason::Storage,
    }
}

/// Sends a blob that the fleet shares. Whatever else the store holds, such
/// as another device's contribution, is not found.
async fn send_blob(
    shared: &Arc<Shared>,
    stream: &mut Stream,
    device: Option<DeviceId>,
    (blob, offset): (BlobHash, u64),
) -> Result<(), TransferError> {
    if !ask(shared, |reply| Command::IsPublic { blob, reply }).await? {
        return finish(stream, TransferAnswer::NotFound).await;
    }
    // A blob that cannot be read is missing for the device, which says so and is
    // not waited for. Were the stream given up, it would ask for ever.
    let store = shared.store.clone();
    let read = blocking(move || store.shared(blob)).await;
    let Some(bytes) = read.unwrap_or_else(|error| {
        tracing::error!(%error, "devices ask for a blob that cannot be read");
        None
    }) else {
        return finish(stream, TransferAnswer::NotFound).await;
    };
    let length = bytes.len() as u64;
    if let Some(device) = device {
        charge(shared, device, length.saturating_sub(offset))?;
    }
    stream
        .send(&encode(&TransferAnswer::Blob { bytes: length }))
        .await?;
    stream.sender.send_shared(offset.min(length), bytes).await?;
    stream.sender.finish();
    Ok(stream.sender.delivered().await?)
}

/// Sends what leads from one release to another, if that is smaller.
async fn send_delta(
    shared: &Arc<Shared>,
    stream: &mut Stream,
    device: Option<DeviceId>,
    (blob, base): (BlobHash, BlobHash),
) -> Result<(), TransferError> {
    for blob in [blob, base] {
        if !ask(shared, |reply| Command::IsPublic { blob, reply }).await? {
            return finish(stream, TransferAnswer::NotFound).await;
        }
    }
    if let Some(device) = device {
        let limits = &shared.peer_limits;
        pause(limits.request(Instant::now(), device, DELTA_WORTH)).await;
    }
    // One at a time: those who wait must not take the store's threads.
    let turn = shared.deltas.acquire().await;
    let turn = turn.map_err(|_| TransferError::NoAnswer)?;
    let store = shared.store.clone();
    let made = blocking(move || store.delta(base, blob)).await;
    drop(turn);
    let delta = match made {
        Ok(Some(delta)) => delta,
        Err(error) => {
            tracing::error!(%error, "no delta can be made; the device fetches the whole");
            return finish(stream, TransferAnswer::NoDelta).await;
        }
        Ok(None) => return finish(stream, TransferAnswer::NoDelta).await,
    };
    let bytes = delta.len() as u64;
    if let Some(device) = device {
        charge(shared, device, bytes)?;
    }
    stream
        .send(&encode(&TransferAnswer::Delta { bytes }))
        .await?;
    stream.sender.send_shared(0, delta).await?;
    stream.sender.finish();
    Ok(stream.sender.delivered().await?)
}

/// Takes this many bytes from what a device may move.
fn charge(shared: &Shared, device: DeviceId, bytes: u64) -> Result<(), TransferError> {
    match shared.peer_limits.bytes(Instant::now(), device, bytes) {
        true => Ok(()),
        false => Err(TransferError::TooMuch),
    }
}

/// A delta may have to be computed, which takes as long as some transfers.
const DELTA_WORTH: u32 = 8;

async fn finish(stream: &mut Stream, answer: TransferAnswer) -> Result<(), TransferError> {
    stream.send(&encode(&answer)).await?;
    stream.sender.finish();
    Ok(())
}

async fn ask<T: Into<Answer> + TryFrom<Answer>>(
    shared: &Shared,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<T, TransferError> {
    let answer = handle::ask_core(shared, command).await;
    answer.ok_or(TransferError::NoAnswer)
}
