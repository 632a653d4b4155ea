//! A thread that waits for the database, so that the calls of a store may
//! block any thread, also one that drives a runtime.

use std::future::Future;
use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::error::DatabaseError;

/// The thread and its runtime. What it still does when it is dropped is given
/// up, and its connections end.
#[derive(Debug)]
pub(super) struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || {
                // Ends when the sender is used or gone.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Waits for what is done on the thread, which must bound its own time.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DatabaseError>> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (done, outcome) = sync_channel(1);
        self.handle.spawn(async move {
            // Fails only if the caller has stopped waiting.
            let _ = done.send(work.await);
        });
        outcome.recv().unwrap_or_else(|_| {
            Err(DatabaseError::Lost {
                reason: "a call to it broke off".to_owned(),
            })
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the thread has ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
