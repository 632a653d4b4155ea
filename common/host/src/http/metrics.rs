//! A server of a few texts for programs on this machine: metrics, health.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use super::{Bounds, bind, is_local, serve};

/// What readers may take of it.
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

/// What is answered to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Answer {
    /// Metrics in OpenMetrics' format.
    pub fn metrics(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            kind: OPEN_METRICS,
            text,
        }
    }

    /// Plain words.
    pub fn plain(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            kind: PLAIN,
            text: text.into(),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.text.into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// An address that is taken, ready to serve metrics.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    /// What readers may take of it.
    pub bounds: Bounds,
}

impl MetricsServer {
    /// Takes the address. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If it is not to be had.
    pub fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let (listener, address) =
            bind(address).map_err(|source| MetricsError { address, source })?;
        Ok(Self {
            listener,
            address,
            bounds: BOUNDS,
        })
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers GET of a path by what `answer` says, and 404 with the paths that there
    /// are where it says nothing, until it is dropped. Only who asks by an address or
    /// as `localhost` is answered ([`is_local`]).
    pub async fn serve<F, A>(self, paths: &'static [&'static str], answer: F)
    where
        F: Fn(String) -> A + Clone + Send + 'static,
        A: Future<Output = Option<Answer>> + Send,
    {
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let found = match refused(&request) {
                    Some(refused) => refused,
                    None => {
                        let found = answer(request.uri().path().to_owned()).await;
                        found.unwrap_or_else(|| missing(paths))
                    }
                };
                Ok::<_, Infallible>(found.into_response())
            }
        });
        serve("metrics", &self.listener, self.bounds, service).await;
    }
}

fn refused(request: &Request<Incoming>) -> Option<Answer> {
    let host = request.headers().get(header::HOST);
    let (status, text) = if !is_local(host.and_then(|host| host.to_str().ok())) {
        let text = "ask by IP address or as localhost\n";
        (StatusCode::MISDIRECTED_REQUEST, text)
    } else if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "use GET\n")
    } else {
        return None;
    };
    Some(Answer::plain(status, text))
}

fn missing(paths: &[&str]) -> Answer {
    let text = format!("there is GET {}\n", paths.join(" and GET "));
    Answer::plain(StatusCode::NOT_FOUND, text)
}
