//! HTTP/1 for people and programs on this machine: one loop that accepts
//! connections and holds each of them to its bounds.

mod host_name;
mod metrics;
mod usage;
mod write_timeout;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use host_name::{host_name, is_local};
pub use metrics::{Answer, MetricsError, MetricsServer};
use usage::{Counted, Open, Usage};
use write_timeout::WriteTimeout;

/// What peers may take of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at a time. One more closes the one that has been idle for the
    /// longest time; while all are being answered it waits.
    pub connections_max: usize,
    /// How long a peer may take to send the head of a request, or be idle.
    pub request_wait: Duration,
    /// How long a peer may leave an answer unread.
    pub answer_wait: Duration,
}

/// Takes an address, and says which, since port 0 asks for any. Must be called inside a
/// Tokio runtime.
///
/// # Errors
/// What the system says.
pub fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Where connections come from.
pub trait Accept: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    ///
    /// # Errors
    /// What the system says; most often that there are no descriptors left.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Answers until it is dropped, which ends its connections too. `what` names
/// the server in the log.
pub async fn serve<L, S, B>(what: &'static str, listener: &L, bounds: Bounds, service: S)
where
    L: Accept,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(bounds.connections_max));
    let mut tasks = JoinSet::new();
    let mut open = Open::default();
    loop {
        match listener.next().await {
            Ok(stream) => {
                while tasks.try_join_next().is_some() {}
                if permits.available_permits() == 0 {
                    open.close_idlest();
                }
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let usage = Usage::new();
                let service = Counted {
                    service: service.clone(),
                    usage: usage.clone(),
                };
                let handle = tasks.spawn(async move {
                    let _permit = permit;
                    let stream = WriteTimeout::new(stream, bounds.answer_wait);
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(bounds.request_wait)
                        .max_buf_size(BUFFER_BYTES_MAX)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, what, "a reader hung up, or was given up");
                    }
                });
                open.add(handle, usage);
            }
            Err(error) => {
                // Out of descriptors, most likely; others close theirs.
                tracing::error!(%error, what, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Longest head of a request, and what is buffered of an answer.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Before another connection is tried after one that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Bytes, Frame};
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    const BOUNDS: Bounds = Bounds {
        connections_max: 1,
        request_wait: Duration::from_secs(60),
        answer_wait: Duration::from_millis(40),
    };

    /// More than the system buffers for a socket.
    struct Long(usize);

    impl Body for Long {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.0.checked_sub(1) else {
                return Poll::Ready(None);
            };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
        }
    }

    async fn ask(folder: &tempfile::TempDir, path: &str) -> UnixStream {
        let mut stream = UnixStream::connect(folder.path().join("http"))
            .await
            .unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn whoever_leaves_an_answer_unread_makes_room_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("http")).unwrap();
        let service = service_fn(|request: Request<Incoming>| async move {
            let pieces = if request.uri().path() == "/long" {
                4096
            } else {
                1
            };
            Ok::<_, Infallible>(Response::new(Long(pieces)))
        });
        let server = tokio::spawn(async move { serve("test", &listener, BOUNDS, service).await });
        let unread = ask(&folder, "/long").await;
        let mut answer = Vec::new();
        let mut next = ask(&folder, "/short").await;
        next.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        assert!(!server.is_finished());
        drop(unread);
    }

    #[tokio::test]
    async fn idle_connections_make_room_for_one_that_asks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http");
        let listener = UnixListener::bind(&path).unwrap();
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Long(1))) });
        let bounds = Bounds {
            connections_max: 2,
            answer_wait: Duration::from_secs(60),
            ..BOUNDS
        };
        let server = tokio::spawn(async move { serve("test", &listener, bounds, service).await });
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut answer = Vec::new();
        let mut asking = ask(&folder, "/").await;
        asking.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        assert!(!server.is_finished());
    }
}
