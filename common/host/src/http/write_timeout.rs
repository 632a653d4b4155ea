//! A stream that is given up when its peer does not read: each of the few
//! connections there are belongs to someone who does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// `T`, whose writes fail with `TimedOut` once they stood still for a time.
pub(super) struct WriteTimeout<T> {
    inner: T,
    limit: Duration,
    /// Whether a write waits, and so the time counts.
    waits: bool,
    until: Pin<Box<Sleep>>,
}

impl<T> WriteTimeout<T> {
    pub(super) fn new(inner: T, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            waits: false,
            until: Box::pin(sleep(limit)),
        }
    }

    /// Ready with an error once the peer has not read for too long.
    fn stands_still(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.waits {
            self.waits = true;
            let until = Instant::now() + self.limit;
            self.until.as_mut().reset(until);
        }
        ready!(self.until.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.waits = false;
                Poll::Ready(written)
            }
            Poll::Pending => self.stands_still(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => self.stands_still(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    const LIMIT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn whoever_does_not_read_is_given_up() {
        let (here, _there) = duplex(64);
        let error = WriteTimeout::new(here, LIMIT)
            .write_all(&[7; 1_000])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_reads_a_little_now_and_then_is_not() {
        let (here, mut there) = duplex(64);
        let mut write_timeout = WriteTimeout::new(here, LIMIT);
        let mut beats = tokio::time::interval(LIMIT / 4);
        let mut read = Vec::new();
        let reading = async {
            while read.len() < 640 {
                beats.tick().await;
                let mut some = [0; 64];
                there.read_exact(&mut some).await.unwrap();
                read.extend_from_slice(&some);
            }
        };
        let (written, ()) = tokio::join!(write_timeout.write_all(&[7; 640]), reading);
        written.unwrap();
        assert_eq!(read, [7; 640]);
    }
}
