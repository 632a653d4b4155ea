//! The HTTP server of the page: who may ask, how much, and in what headers
//! the answer goes.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use common::http::{self, Bounds};
use common::transport::{Bucket, Rate};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::route;
use super::view::Viewer;
use super::{PageError, PageSettings};
use crate::server::Shared;

/// What readers may take of it.
const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    request_wait: Duration::from_secs(15),
    answer_wait: Duration::from_secs(30),
};
/// Requests of all readers. Answers are drawn on the threads that also take
/// contributions, so there are not more of them than people look at.
const REQUESTS: Rate = Rate {
    per_second: 20,
    burst: 200,
};
/// The same for `/metrics`, so that nobody who asks for pages blinds the
/// monitoring.
const SCRAPES: Rate = Rate {
    per_second: 2,
    burst: 20,
};

/// An address that is taken, ready to serve.
#[derive(Debug)]
pub(crate) struct PageServer {
    listener: TcpListener,
    address: SocketAddr,
    settings: PageSettings,
}

impl PageServer {
    /// Takes the address. None if it is not to be had and not required.
    ///
    /// # Errors
    /// What is in the way of an address that is required.
    pub(crate) fn bind(settings: PageSettings) -> Result<Option<Self>, PageError> {
        let bound = StdListener::bind(settings.listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((TcpListener::from_std(listener)?, address))
        });
        match bound {
            Ok((listener, address)) => Ok(Some(Self {
                listener,
                address,
                settings,
            })),
            Err(source) => {
                let error = PageError {
                    address: settings.listen,
                    source,
                };
                if settings.required {
                    return Err(error);
                }
                tracing::warn!(%error, "going on without the page");
                Ok(None)
            }
        }
    }

    /// Where it is served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        let viewer = Arc::new(Viewer::new(shared, self.settings.state.clone()));
        let respond = move |uri: Uri| {
            let viewer = viewer.clone();
            async move { route::answer(&viewer, &uri).await }
        };
        self.answer_with(respond).await;
    }

    /// Answers with this, until it is dropped.
    pub(super) async fn answer_with<F>(self, respond: impl Fn(Uri) -> F + Clone + Send + 'static)
    where
        F: Future<Output = Response<Content>> + Send + 'static,
    {
        let hosts = Arc::new(Hosts(self.settings.hosts));
        let pace = Arc::new(Pace::new(Instant::now()));
        let service = service_fn(move |request: Request<Incoming>| {
            let refused = refuse(&hosts, &pace, &request);
            let respond = respond.clone();
            async move {
                let answer = match refused {
                    Some(refused) => refused,
                    None => respond(request.into_parts().0.uri).await,
                };
                Ok::<_, Infallible>(with_headers(answer))
            }
        });
        http::serve("page", &self.listener, BOUNDS, service).await;
    }
}

/// Why a request is not answered; none if it is.
fn refuse(hosts: &Hosts, pace: &Pace, request: &Request<Incoming>) -> Option<Response<Content>> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    if !hosts.allow(host) {
        let text = "This name is not allowed here: ask by IP address or as localhost, or add the \
                    name to page.hosts in the coordinator's configuration.\n";
        Some(Content::text(StatusCode::MISDIRECTED_REQUEST, text))
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused =
            Content::text(StatusCode::METHOD_NOT_ALLOWED, "This page is read-only.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allowed);
        Some(refused)
    } else if !pace.allows(Instant::now(), request.uri().path()) {
        let text = "Too many requests; try again in some seconds.\n";
        let mut refused = Content::text(StatusCode::TOO_MANY_REQUESTS, text);
        let wait = HeaderValue::from_static("5");
        refused.headers_mut().insert(header::RETRY_AFTER, wait);
        Some(refused)
    } else {
        None
    }
}

fn with_headers(mut response: Response<Content>) -> Response<Content> {
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Sent with everything. Nothing is loaded from elsewhere, no script or style
/// stands in a page, nobody may frame it, and no answer stays in a cache.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// How often all readers together may ask.
#[derive(Debug)]
struct Pace {
    pages: Mutex<Bucket>,
    scrapes: Mutex<Bucket>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            pages: Mutex::new(Bucket::full(REQUESTS, now)),
            scrapes: Mutex::new(Bucket::full(SCRAPES, now)),
        }
    }

    fn allows(&self, now: Instant, path: &str) -> bool {
        let (bucket, rate) = match path {
            "/metrics" => (&self.scrapes, SCRAPES),
            _ => (&self.pages, REQUESTS),
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.try_take(rate, now, 1)
    }
}

/// Names by which the page may be asked. A browser that a foreign name was
/// rebound to this address sends that name, and is refused; an address
/// cannot be rebound.
#[derive(Debug)]
struct Hosts(Vec<String>);

impl Hosts {
    fn allow(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|one| one.eq_ignore_ascii_case(name))
    }
}

/// The body of an answer: whole, or as it happens.
#[derive(Debug)]
pub(super) enum Content {
    Whole(Option<Bytes>),
    Live {
        events: mpsc::Receiver<Bytes>,
        /// Held as long as someone reads.
        _reader: OwnedSemaphorePermit,
    },
}

impl Content {
    /// An answer of this type.
    pub(super) fn of(kind: &'static str, bytes: impl Into<Bytes>) -> Response<Self> {
        let mut response = Response::new(Self::Whole(Some(bytes.into())));
        let kind = HeaderValue::from_static(kind);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// A few words.
    pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Self> {
        let mut response = Self::of("text/plain; charset=utf-8", text);
        *response.status_mut() = status;
        response
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Live { events, .. } => events
                .poll_recv(context)
                .map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Live { .. } => hyper::body::SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn too_many_page_requests_leave_metrics_available() {
        let now = Instant::now();
        let pace = Pace::new(now);
        assert!((0..REQUESTS.burst).all(|_| pace.allows(now, "/")));
        assert!(!pace.allows(now, "/audit"));
        assert!(pace.allows(now, "/metrics"));
        assert!(pace.allows(now + Duration::from_secs(1), "/audit"));
    }

    #[test]
    fn only_local_and_listed_hosts_may_ask() {
        let hosts = Hosts(vec!["fleet.example".into()]);
        for host in [
            "127.0.0.1:4480",
            "127.0.0.1",
            "[::1]:4480",
            "[::1]",
            "localhost",
            "LocalHost:4480",
            "fleet.example:4480",
        ] {
            assert!(hosts.allow(Some(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:4480", "localhost.evil", ""] {
            assert!(!hosts.allow(Some(host)), "{host}");
        }
        assert!(!hosts.allow(None));
    }
}
