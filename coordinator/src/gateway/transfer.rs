//! One transfer of a device: from memory if it is for a blob that the fleet
//! shares, passed on otherwise.

use std::sync::Arc;
use std::time::Instant;

use common::ids::DeviceId;
use common::limits::{BLOB_BYTES_MAX, FRAME_BYTES_MAX};
use common::transport::{CloseCode, Stream, TransportError, splice};
use common::wire::codec::{decode, encode};
use common::wire::gateway::Purpose;
use common::wire::messages::{TransferAnswer, TransferRequest};

use super::Shared;
use super::cache::{Name, Wanted};
use super::uplink::Uplink;

/// Whose transfer it is, and the way on.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    pub(super) uplink: Arc<Uplink>,
    pub(super) session: u64,
    pub(super) device: DeviceId,
}

/// Serves one transfer stream to its end.
pub(super) async fn serve(shared: Arc<Shared>, behind: Behind, mut stream: Stream) {
    let frame = match stream.receiver.recv_answer().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return,
        Err(error) => return gave_up(&shared, &behind, &error),
    };
    let outcome = match decode::<TransferRequest>(&frame) {
        Ok(TransferRequest::Fetch { blob, offset }) => {
            given(&shared, &behind, stream, Name::Blob(blob), offset, &frame).await
        }
        Ok(TransferRequest::FetchAgainst { blob, base }) => {
            let name = Name::Delta { blob, base };
            given(&shared, &behind, stream, name, 0, &frame).await
        }
        // What this version does not know, the coordinator may.
        Ok(
            TransferRequest::Offer { .. }
            | TransferRequest::SignedOffer { .. }
            | TransferRequest::Whole { .. }
            | TransferRequest::Newest { .. },
        )
        | Err(_) => passed_on(&shared, &behind, stream, &frame).await,
    };
    if let Err(error) = outcome {
        gave_up(&shared, &behind, &error);
    }
}

fn gave_up(shared: &Shared, behind: &Behind, error: &TransportError) {
    tracing::debug!(%error, "transfer given up");
    if error.is_violation() && shared.peer_limits.violated(Instant::now(), behind.device) {
        tracing::warn!(%error, "in quarantine: it broke the protocol too often");
    }
}

/// Everything on this stream is the coordinator's business.
async fn passed_on(
    shared: &Shared,
    behind: &Behind,
    mut stream: Stream,
    frame: &[u8],
) -> Result<(), TransportError> {
    let purpose = Purpose::Transfer {
        session: behind.session,
    };
    let opened = async {
        let mut onward = behind.uplink.open(&purpose).await?;
        onward.send(frame).await?;
        Ok::<_, TransportError>(onward)
    };
    let onward = match opened.await {
        Ok(onward) => onward,
        Err(error) => {
            stream.give_up(CloseCode::Overloaded);
            return Err(error);
        }
    };
    let (up, down) = splice(stream, onward, TRANSFER_BYTES_MAX).await?;
    shared.figures.passed(up + frame.len() as u64, down);
    Ok(())
}

/// A shared blob, from memory.
async fn given(
    shared: &Shared,
    behind: &Behind,
    mut stream: Stream,
    name: Name,
    offset: u64,
    frame: &[u8],
) -> Result<(), TransportError> {
    let bytes = match shared.cache.of(name, &behind.uplink).await {
        Ok(Wanted::Bytes(bytes)) => bytes,
        Ok(Wanted::Not(answer)) => {
            stream.send(&encode(&answer)).await?;
            stream.sender.finish();
            return Ok(());
        }
        Ok(Wanted::TooLong) => return passed_on(shared, behind, stream, frame).await,
        Err(error) => {
            // The device asks again, or begins a new session.
            stream.give_up(CloseCode::Overloaded);
            return Err(error);
        }
    };
    let length = bytes.len() as u64;
    let rest = length.saturating_sub(offset);
    if !shared
        .peer_limits
        .bytes(Instant::now(), behind.device, rest)
    {
        stream.give_up(CloseCode::Overloaded);
        return Ok(());
    }
    let answer = match name {
        Name::Blob(_) => TransferAnswer::Blob { bytes: length },
        Name::Delta { .. } => TransferAnswer::Delta { bytes: length },
    };
    stream.send(&encode(&answer)).await?;
    stream.sender.send_shared(offset.min(length), bytes).await?;
    stream.sender.finish();
    stream.sender.delivered().await?;
    shared.figures.served(rest);
    Ok(())
}

/// A contribution, and frames around it.
const TRANSFER_BYTES_MAX: u64 = BLOB_BYTES_MAX + FRAME_BYTES_MAX as u64;
