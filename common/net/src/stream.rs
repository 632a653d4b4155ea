//! A two-way stream that carries frames, and raw blobs between them.

mod splice;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use quinn::{RecvStream, SendStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::close;
use super::error::TransportError;
use protocol::close::CloseCode;
use protocol::limits::{BLOB_BYTES_MAX, CHUNK_BYTES};
use protocol::wire::frame::{self, FrameReader};

pub use splice::splice;

/// Both directions of one stream. They can be taken apart, so that one task
/// sends while another receives.
#[derive(Debug)]
pub struct Stream {
    /// The direction to the peer.
    pub sender: FrameSender,
    /// The direction from the peer.
    pub receiver: FrameReceiver,
}

impl Stream {
    pub(crate) fn new((send, recv): (SendStream, RecvStream), no_progress: Duration) -> Self {
        Self {
            sender: FrameSender {
                stream: send,
                no_progress,
            },
            receiver: FrameReceiver {
                stream: recv,
                reader: FrameReader::new(),
                frame_deadline: None,
                unmarked_bytes: 0,
                no_progress,
            },
        }
    }

    /// [`FrameSender::send`].
    ///
    /// # Errors
    /// See there.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        self.sender.send(payload).await
    }

    /// [`FrameReceiver::recv`].
    ///
    /// # Errors
    /// See there.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        self.receiver.recv().await
    }

    /// Sends a frame and waits for the one that answers it, no longer than
    /// the no-progress timeout.
    ///
    /// # Errors
    /// [`TransportError::Stalled`] if no answer comes, and those of
    /// [`send`](Self::send) and [`recv`](Self::recv).
    pub async fn ask(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>, TransportError> {
        self.sender.send(payload).await?;
        self.receiver.recv_answer().await
    }

    /// Gives the stream up in both directions, with a reason.
    pub fn give_up(&mut self, code: CloseCode) {
        self.sender.reset(code);
        self.receiver.stop(code);
    }
}

/// The direction to the peer.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    no_progress: Duration,
}

impl FrameSender {
    /// Sends one frame. It has been handed to QUIC when this returns, not
    /// yet to the peer. Dropping the future before it is done leaves a torn
    /// frame behind: then the stream can only be given up.
    ///
    /// # Errors
    /// [`TransportError::Frame`] if the payload is too long,
    /// [`TransportError::Stalled`] if the peer does not read, and the loss of
    /// stream or connection.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        let frame = frame::encode(payload)?;
        self.write_in_chunks(&frame).await
    }

    /// Sends a blob from `offset` to its end, without frames around it. The
    /// receiver knows the blob's length from a frame before it.
    ///
    /// # Errors
    /// [`TransportError::OffsetBehindEnd`], and those of [`send`](Self::send).
    pub async fn send_blob(&mut self, offset: u64, blob: &[u8]) -> Result<(), TransportError> {
        let rest = usize::try_from(offset).ok().and_then(|at| blob.get(at..));
        let rest = rest.ok_or(TransportError::OffsetBehindEnd {
            offset,
            length: blob.len() as u64,
        })?;
        self.write_in_chunks(rest).await
    }

    /// The same for a blob that many peers are sent: QUIC keeps no copy of
    /// what is on its way, but the blob itself.
    ///
    /// # Errors
    /// Those of [`send_blob`](Self::send_blob).
    pub async fn send_shared(
        &mut self,
        offset: u64,
        blob: Arc<Vec<u8>>,
    ) -> Result<(), TransportError> {
        let mut rest = Bytes::from_owner(Shared(blob));
        let length = rest.len() as u64;
        let begin = usize::try_from(offset).ok().filter(|at| *at <= rest.len());
        rest.advance(begin.ok_or(TransportError::OffsetBehindEnd { offset, length })?);
        while !rest.is_empty() {
            let chunk = rest.split_to(CHUNK_BYTES.min(rest.len()));
            let written = within(self.no_progress, self.stream.write_chunk(chunk)).await;
            if written.is_err() {
                self.reset(CloseCode::Stalled);
            }
            written??;
        }
        Ok(())
    }

    /// Says that nothing more comes in this direction. What was sent before
    /// still arrives.
    pub fn finish(&mut self) {
        // Fails only if the stream is closed already, which is what is asked.
        let _ = self.stream.finish();
    }

    /// Waits until the peer has received all that was sent, after
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`TransportError::StreamGivenUp`], [`TransportError::Stalled`], or the
    /// loss of the connection.
    pub async fn delivered(&mut self) -> Result<(), TransportError> {
        match within(self.no_progress, self.stream.stopped()).await? {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(TransportError::StreamGivenUp {
                code: close::of_wire(code),
            }),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(error.into()),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(TransportError::ClosedHere),
        }
    }

    /// Gives this direction up, with a reason. What was not yet received is
    /// lost.
    pub fn reset(&mut self, code: CloseCode) {
        let _ = self.stream.reset(close::wire(code));
    }

    async fn write_in_chunks(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let written = within(self.no_progress, self.stream.write_all(chunk)).await;
            if written.is_err() {
                self.reset(CloseCode::Stalled);
            }
            written??;
        }
        Ok(())
    }
}

/// A blob that others hold as well.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The direction from the peer.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    reader: FrameReader,
    /// By when the frame that has begun must come further, by a chunk.
    frame_deadline: Option<Instant>,
    /// What came of it since the deadline was set.
    unmarked_bytes: usize,
    no_progress: Duration,
}

impl FrameReceiver {
    /// The next frame's payload, or `None` at the stream's end. Waits as
    /// long as the connection lives; but a frame that has begun must come
    /// further by a chunk within the no-progress timeout.
    ///
    /// The future can be dropped at any time: no byte is lost, and the next
    /// call goes on where this one stopped.
    ///
    /// # Errors
    /// [`TransportError::Frame`] for a frame that is too long, torn or
    /// changed, [`TransportError::Stalled`], and the loss of stream or
    /// connection.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let outcome = self.next_frame().await;
        if let Err(error @ (TransportError::Frame(_) | TransportError::Stalled { .. })) = &outcome {
            let code = error.code();
            self.stop(code);
        }
        outcome
    }

    /// The same, but waits for the frame's beginning no longer than the
    /// no-progress timeout.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub async fn recv_answer(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        self.frame_deadline
            .get_or_insert_with(|| Instant::now() + self.no_progress);
        self.recv().await
    }

    /// Receives the rest of a blob, at most `span.length - span.offset`
    /// bytes, and hands it to `keep` in chunks of at most [`CHUNK_BYTES`], in
    /// order and without gaps. Each whole chunk must come within the
    /// no-progress timeout. What came before a failure has been kept, so the
    /// transfer can be taken up again where it stopped.
    ///
    /// Memory: one chunk, besides QUIC's window. Call it between two frames
    /// only.
    ///
    /// # Errors
    /// [`TransportError::BlobTruncated`], [`TransportError::Stalled`],
    /// [`TransportError::Keep`] with what `keep` said, and the loss of stream
    /// or connection.
    pub async fn recv_blob(
        &mut self,
        span: BlobSpan,
        mut keep: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), TransportError> {
        debug_assert!(
            !self.reader.is_inside_frame(),
            "a blob follows whole frames"
        );
        let mut at = span.offset;
        let mut chunk = Vec::new();
        while at < span.length {
            chunk.clear();
            let wanted =
                usize::try_from(span.length - at).map_or(CHUNK_BYTES, |n| n.min(CHUNK_BYTES));
            let no_progress = self.no_progress;
            let filled = within(no_progress, self.fill(&mut chunk, wanted)).await;
            at += chunk.len() as u64;
            if !chunk.is_empty()
                && let Err(error) = keep(&chunk)
            {
                self.stop(CloseCode::Internal);
                return Err(TransportError::Keep(error));
            }
            match filled {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    return Err(TransportError::BlobTruncated {
                        got: at,
                        length: span.length,
                    });
                }
                Ok(Err(error)) => return Err(error),
                Err(stalled) => {
                    self.stop(CloseCode::Stalled);
                    return Err(stalled);
                }
            }
        }
        Ok(())
    }

    /// Tells the peer, with a reason, that nothing more is read.
    pub fn stop(&mut self, code: CloseCode) {
        let _ = self.stream.stop(close::wire(code));
    }

    async fn next_frame(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        loop {
            let wanted = self.reader.wanted().clamp(1, CHUNK_BYTES);
            let read = self.stream.read_chunk(wanted, true);
            let read = match self.frame_deadline {
                None => read.await?,
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(read) => read?,
                    Err(_) => return Err(stalled(self.no_progress)),
                },
            };
            let Some(chunk) = read else {
                self.reader.end()?;
                return Ok(None);
            };
            let begins = !self.reader.is_inside_frame();
            // Never more than was wanted, so the reader takes all of it.
            let (_, payload) = self.reader.push(&chunk.bytes)?;
            if payload.is_some() {
                self.frame_deadline = None;
                return Ok(payload);
            }
            // A byte now and then is no progress: a peer that drips would
            // hold a stream for days.
            self.unmarked_bytes += chunk.bytes.len();
            if begins || self.unmarked_bytes >= CHUNK_BYTES {
                self.unmarked_bytes = 0;
                self.frame_deadline = Some(Instant::now() + self.no_progress);
            }
        }
    }

    /// Fills `chunk` up to `wanted` bytes; false if the stream ends before.
    async fn fill(&mut self, chunk: &mut Vec<u8>, wanted: usize) -> Result<bool, TransportError> {
        while chunk.len() < wanted {
            match self.stream.read_chunk(wanted - chunk.len(), true).await? {
                Some(read) => chunk.extend_from_slice(&read.bytes),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Which part of a blob is to come: from `offset` to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobSpan {
    offset: u64,
    length: u64,
}

impl BlobSpan {
    /// The part from `offset` on of a blob of `length` bytes.
    ///
    /// # Errors
    /// [`TransportError::BlobTooLong`] above [`BLOB_BYTES_MAX`],
    /// [`TransportError::OffsetBehindEnd`].
    pub fn new(offset: u64, length: u64) -> Result<Self, TransportError> {
        if length > BLOB_BYTES_MAX {
            return Err(TransportError::BlobTooLong {
                length,
                max: BLOB_BYTES_MAX,
            });
        }
        if offset > length {
            return Err(TransportError::OffsetBehindEnd { offset, length });
        }
        Ok(Self { offset, length })
    }

    /// Bytes that are at hand already.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Bytes of the whole blob.
    pub fn length(self) -> u64 {
        self.length
    }
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, TransportError> {
    timeout(limit, future).await.map_err(|_| stalled(limit))
}

fn stalled(limit: Duration) -> TransportError {
    TransportError::Stalled {
        waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
    }
}
