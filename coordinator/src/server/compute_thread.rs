//! The one thread on which rounds are computed. What a computation has used
//! and given back stays with its thread's allocator, so that a pool of
//! threads would each keep as much as the largest computation takes.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::liveness::interruptible;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one piece of work after the other, in the order in
/// which they came.
///
/// It ends when this is dropped: what is under way is given up at its next
/// heartbeat, and what is queued is not begun. The log has the job, and it runs
/// again after the next start. A process that ended beside a computation would
/// take OpenBLAS's memory away from under it, and crash.
#[derive(Debug)]
pub(crate) struct ComputeThread {
    /// None while this is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    stopping: Arc<AtomicBool>,
    /// Closed once the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl ComputeThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ending, ended) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let is_stopping = stopping.clone();
        thread::Builder::new()
            .name("compute".to_owned())
            .spawn(move || {
                let _ending = ending;
                for piece in queue {
                    if is_stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    piece();
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            stopping,
            ended,
        })
    }

    /// Queues a piece of work at once; what is returned waits for its result.
    ///
    /// # Errors
    /// What a panic said, if the work ended in one, and the thread goes on; or
    /// that it was given up because the thread ends.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (done, result) = oneshot::channel();
        let stopping = self.stopping.clone();
        let piece: Job = Box::new(move || {
            let enough = move || stopping.load(Ordering::Relaxed);
            let outcome = catch_unwind(AssertUnwindSafe(|| interruptible(enough, work)));
            let outcome = match outcome {
                Ok(done) => done.map_err(|interrupted| interrupted.to_string()),
                Err(panic) => Err(said(panic)),
            };
            // Nobody waits any more when the server stops.
            let _ = done.send(outcome);
        });
        if let Some(jobs) = &self.jobs {
            // Fails only if the thread is gone, which drops `done`.
            let _ = jobs.send(piece);
        }
        async move {
            result
                .await
                .unwrap_or_else(|_| Err("its thread is gone".to_owned()))
        }
    }
}

impl Drop for ComputeThread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.jobs = None;
        let waited = self.ended.recv_timeout(STOP_WAIT);
        if waited == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("a computation does not end; it is left behind");
        }
    }
}

/// Heartbeats come far more often than this.
const STOP_WAIT: Duration = Duration::from_secs(5);

fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.or_else(|other| other.downcast::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|_| "a panic without words".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_run_in_order_on_one_thread_and_outlive_a_panic() {
        let compute_thread = ComputeThread::start().unwrap();
        let first = compute_thread.run(|| thread::current().id());
        let broken = compute_thread.run(|| -> u8 { panic!("no {}", "way") });
        let short = compute_thread.run(|| -> u8 { panic!("short") });
        let last = compute_thread.run(|| thread::current().id());
        assert_eq!(last.await.unwrap(), first.await.unwrap());
        assert_eq!(broken.await, Err("no way".to_owned()));
        assert_eq!(short.await, Err("short".to_owned()));
    }

    #[tokio::test]
    async fn work_is_given_up_at_a_heartbeat_when_the_thread_ends() {
        let compute_thread = ComputeThread::start().unwrap();
        let (began, begun) = mpsc::channel();
        let endless = compute_thread.run(move || -> u8 {
            loop {
                let _ = began.send(());
                common::liveness::heartbeat();
            }
        });
        let queued = compute_thread.run(|| 7);
        begun.recv().unwrap();
        drop(compute_thread);
        while begun.try_recv().is_ok() {}
        assert_eq!(begun.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(endless.await, Err("interrupted".to_owned()));
        assert_eq!(queued.await, Err("its thread is gone".to_owned()));
    }
}
