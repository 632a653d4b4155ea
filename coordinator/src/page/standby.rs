//! What is told at the page's address while another coordinator leads: who
//! that is, and metrics. It ends when this one begins to lead.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use hyper::{Response, StatusCode};
use tokio::sync::oneshot;

use super::server::{Content, PageServer};
use super::{PageError, PageSettings};
use crate::metrics;
use crate::store::DatabaseMetrics;

/// A thread that answers until this is dropped; the address is free then.
#[derive(Debug)]
pub(crate) struct StandbyPage {
    told: Arc<Told>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Told {
    database: DatabaseMetrics,
    /// Why it waits, and how long the lease of another lasts still.
    waits: Mutex<(String, Option<u64>)>,
}

impl StandbyPage {
    /// Takes the address and answers there. None if it is not to be had: a
    /// standby is no worse for it.
    pub(crate) fn start(settings: &PageSettings, database: DatabaseMetrics) -> Option<Self> {
        let told = Arc::new(Told {
            database,
            waits: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let (telling, settings) = (told.clone(), settings.clone());
        let thread = thread::spawn(move || {
            if let Err(error) = serve(settings, telling, stopped) {
                tracing::warn!(%error, "nobody is told that this coordinator stands by");
            }
        });
        Some(Self {
            told,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Changes what is told: why it waits, and how long the lease of another
    /// lasts still.
    pub(crate) fn tell(&self, line: &str, left_ms: Option<u64>) {
        *self.told.waits() = (line.to_owned(), left_ms);
    }
}

impl Drop for StandbyPage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say beyond what it logged.
            let _ = thread.join();
        }
    }
}

impl Told {
    fn waits(&self) -> std::sync::MutexGuard<'_, (String, Option<u64>)> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `/metrics`; every other path gets 503 and the name of the leader, so
    /// that load balancers and people look for the one that serves.
    pub(super) fn answer(&self, path: &str) -> Response<Content> {
        let (line, left_ms) = self.waits().clone();
        if path == "/metrics" {
            let text = metrics::text_of_standby(&self.database, left_ms);
            return Content::of(super::scrape::TYPE, text);
        }
        let mut response = Content::of("text/plain; charset=utf-8", format!("{line}\n"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}

fn serve(
    settings: PageSettings,
    told: Arc<Told>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), PageError> {
    let address = settings.listen;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| PageError { address, source })?;
    runtime.block_on(async {
        let Some(server) = PageServer::bind(settings)? else {
            return Ok(());
        };
        tokio::select! {
            () = server.answer_with(move |uri| ready(told.answer(uri.path()))) => {}
            _ = stopped => {}
        }
        Ok(())
    })
}
