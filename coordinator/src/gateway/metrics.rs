//! The HTTP around the figures: `/metrics` for Prometheus, `/healthz` for
//! the supervisor that starts and stops gateways.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::http::{self, Bounds};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use super::Shared;
use super::figures::Now;

const BOUNDS: Bounds = Bounds {
    connections_max: 8,
    request_wait: Duration::from_secs(15),
    answer_wait: Duration::from_secs(30),
};
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell metrics at {address}: {source}; set metrics.listen to another address")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// An address that is taken, ready to serve.
#[derive(Debug)]
pub(super) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsServer {
    /// Takes the address.
    ///
    /// # Errors
    /// [`MetricsError`].
    pub(super) fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((TcpListener::from_std(listener)?, address))
        });
        bound
            .map(|(listener, address)| Self { listener, address })
            .map_err(|source| MetricsError { address, source })
    }

    /// Where they are told.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub(super) async fn serve(self, shared: Arc<Shared>) {
        let service = service_fn(move |request| {
            let answer = respond(&shared, &request);
            async move { Ok::<_, Infallible>(answer) }
        });
        http::serve("metrics", &self.listener, BOUNDS, service).await;
    }
}

fn respond(shared: &Shared, request: &Request<Incoming>) -> Response<Text> {
    let host = request.headers().get(header::HOST);
    if !is_local(host.and_then(|host| host.to_str().ok())) {
        let text = "ask by IP address or as localhost\n";
        return reply(StatusCode::MISDIRECTED_REQUEST, PLAIN, text);
    }
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "use GET\n");
    }
    let now = Now {
        devices: shared.devices.count(),
        connected: shared.uplinks.now().is_some(),
        cached_bytes: shared.cache.bytes(),
    };
    match request.uri().path() {
        "/metrics" => reply(StatusCode::OK, OPEN_METRICS, shared.figures.render(now)),
        "/healthz" if now.connected => reply(StatusCode::OK, PLAIN, "connected\n"),
        "/healthz" => {
            let text = "the coordinator is not connected\n";
            reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
        }
        _ => {
            let text = "there are GET /metrics and GET /healthz\n";
            reply(StatusCode::NOT_FOUND, PLAIN, text)
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Text> {
    let mut response = Response::new(Text(Some(text.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether the name that was asked for cannot have been rebound to this
/// address by someone else: a browser sends the name that it was given.
fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// The whole body of an answer.
struct Text(Option<Bytes>);

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}
