//! The HTTP around the readings.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use common::http::{self, Bounds};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use super::readings::Readings;
use super::text::render;
use crate::state::StateDir;

/// What readers may take of it.
const BOUNDS: Bounds = Bounds {
    connections_max: 4,
    request_wait: Duration::from_secs(15),
    answer_wait: Duration::from_secs(30),
};
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell metrics at {address}: {source}; set metrics.listen to another address")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// An address that is taken, ready to serve.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    state: StateDir,
    pub(super) bounds: Bounds,
}

impl MetricsServer {
    /// Takes the address, which the configuration has checked to be a
    /// loopback one. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`MetricsError`].
    pub fn bind(address: SocketAddr, state: StateDir) -> Result<Self, MetricsError> {
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((TcpListener::from_std(listener)?, address))
        });
        match bound {
            Ok((listener, address)) => Ok(Self {
                listener,
                address,
                state,
                bounds: BOUNDS,
            }),
            Err(source) => Err(MetricsError { address, source }),
        }
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let state = Arc::new(self.state);
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { respond(&state, request).await }
        });
        http::serve("metrics", &self.listener, self.bounds, service).await;
    }
}

type Reply = Response<Full<Bytes>>;

async fn respond(state: &Arc<StateDir>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    if !is_local(host) {
        let text = "ask by IP address or as localhost\n";
        return Ok(reply(StatusCode::MISDIRECTED_REQUEST, PLAIN, text));
    }
    Ok(match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => {
            let state = state.clone();
            match tokio::task::spawn_blocking(move || render(&Readings::take(&state))).await {
                Ok(text) => reply(StatusCode::OK, OPEN_METRICS, text),
                Err(error) => {
                    let text = error.to_string();
                    reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text)
                }
            }
        }
        ("/metrics", _) => reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "use GET\n"),
        _ => reply(StatusCode::NOT_FOUND, PLAIN, "there is GET /metrics\n"),
    })
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

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_hosts_may_ask() {
        for host in [
            "127.0.0.1:4481",
            "127.0.0.1",
            "[::1]:4481",
            "[::1]",
            "localhost",
            "LocalHost:4481",
        ] {
            assert!(is_local(Some(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:4481", "localhost.evil", ""] {
            assert!(!is_local(Some(host)), "{host}");
        }
        assert!(!is_local(None));
    }
}
