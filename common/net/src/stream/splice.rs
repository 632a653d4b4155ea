//! Two streams made into one, for a gateway that passes bytes on.

use std::time::Duration;

use tokio::time::timeout;

use super::{FrameReceiver, FrameSender, Stream};
use crate::close;
use crate::error::TransportError;
use protocol::close::CloseCode;
use protocol::limits::CHUNK_BYTES;

/// Passes on what comes on either stream to the other until both directions
/// have ended: their ends, and the codes they are given up with, are passed on
/// too. Both streams stand between two frames. From the first one at most
/// `bytes_max` are taken. Returns the bytes that went on from the first to the
/// second, and those that came back.
///
/// Memory: a chunk each way, besides QUIC's windows. How long either peer may
/// be silent is for the other one to say; but who does not read for the
/// no-progress timeout ends it.
///
/// # Errors
/// [`TransportError::Violation`] for more than `bytes_max`, and the loss of
/// either connection. Both streams have been given up then.
pub async fn splice(
    mut first: Stream,
    mut second: Stream,
    bytes_max: u64,
) -> Result<(u64, u64), TransportError> {
    let onward = pass(&mut first.receiver, &mut second.sender, bytes_max);
    let back = pass(&mut second.receiver, &mut first.sender, u64::MAX);
    match tokio::try_join!(onward, back) {
        Ok(passed) => Ok(passed),
        Err(error) => {
            let code = error.code();
            first.give_up(code);
            second.give_up(code);
            Err(error)
        }
    }
}

/// One direction, to its end.
async fn pass(
    from: &mut FrameReceiver,
    to: &mut FrameSender,
    bytes_max: u64,
) -> Result<u64, TransportError> {
    debug_assert!(!from.reader.is_inside_frame(), "between two frames");
    let mut passed = 0;
    loop {
        let chunk = match from.stream.read_chunk(CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => {
                to.finish();
                return Ok(passed);
            }
            Err(quinn::ReadError::Reset(code)) => {
                to.reset(close::of_wire(code));
                return Ok(passed);
            }
            Err(error) => return Err(error.into()),
        };
        passed += chunk.len() as u64;
        if passed > bytes_max {
            return Err(TransportError::Violation {
                reason: format!("more than {bytes_max} bytes in one transfer"),
            });
        }
        match written(to, chunk, to.no_progress).await {
            Ok(()) => {}
            Err(TransportError::StreamGivenUp { code }) => {
                from.stop(code);
                return Ok(passed);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn written(
    to: &mut FrameSender,
    chunk: bytes::Bytes,
    limit: Duration,
) -> Result<(), TransportError> {
    match timeout(limit, to.stream.write_chunk(chunk)).await {
        Ok(written) => Ok(written?),
        Err(_) => {
            to.reset(CloseCode::Stalled);
            Err(super::stalled(limit))
        }
    }
}
