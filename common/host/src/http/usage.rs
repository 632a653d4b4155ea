//! What a connection is doing, so that one that does nothing can be closed for
//! one that wants something.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::task::AbortHandle;

/// How many requests of a connection are being answered, and when the last answer
/// ended.
#[derive(Debug)]
pub(super) struct Usage {
    answering: AtomicU32,
    idle_since: Mutex<Instant>,
}

impl Usage {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answering: AtomicU32::new(0),
            idle_since: Mutex::new(Instant::now()),
        })
    }

    /// Since when it is idle, unless it is being answered.
    fn idle_since(&self) -> Option<Instant> {
        let idle = self.answering.load(Ordering::Acquire) == 0;
        idle.then(|| {
            *self
                .idle_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        })
    }
}

/// Counts a request from its head to the end of its answer's head.
struct Answering(Arc<Usage>);

impl Answering {
    fn begin(usage: &Arc<Usage>) -> Self {
        usage.answering.fetch_add(1, Ordering::AcqRel);
        Self(usage.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        *self
            .0
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.answering.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub(super) struct Counted<S> {
    pub(super) service: S,
    pub(super) usage: Arc<Usage>,
}

impl<S> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send + 'static>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answering = Answering::begin(&self.usage);
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(answering);
            answer
        })
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Open(Vec<(AbortHandle, Arc<Usage>)>);

impl Open {
    pub(super) fn add(&mut self, handle: AbortHandle, usage: Arc<Usage>) {
        self.0.retain(|(handle, _)| !handle.is_finished());
        self.0.push((handle, usage));
    }

    /// Closes the connection that has been idle for the longest time, if any is.
    pub(super) fn close_idlest(&mut self) {
        let open = self.0.iter().filter(|(handle, _)| !handle.is_finished());
        let idle = open.filter_map(|(handle, usage)| Some((usage.idle_since()?, handle)));
        if let Some((_, handle)) = idle.min_by_key(|(since, _)| *since) {
            handle.abort();
        }
    }
}
