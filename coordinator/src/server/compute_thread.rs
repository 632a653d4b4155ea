//! The one thread on which rounds are computed. What a computation has used
//! and given back stays with its thread's allocator, so that a pool of
//! threads would each keep as much as the largest computation takes.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one piece of work after the other, in the order in
/// which they came. It ends when this is dropped and it is done.
#[derive(Debug)]
pub(crate) struct ComputeThread {
    jobs: mpsc::Sender<Job>,
}

impl ComputeThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("compute".to_owned())
            .spawn(move || {
                for piece in queue {
                    piece();
                }
            })?;
        Ok(Self { jobs })
    }

    /// Queues a piece of work at once; what is returned waits for its result.
    ///
    /// # Errors
    /// What a panic said, if the work ended in one. The thread goes on.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (done, result) = oneshot::channel();
        let piece: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            // Nobody waits any more when the server stops.
            let _ = done.send(outcome.map_err(said));
        });
        // Fails only if the thread is gone, which drops `done`.
        let _ = self.jobs.send(piece);
        async move {
            result
                .await
                .unwrap_or_else(|_| Err("its thread is gone".to_owned()))
        }
    }
}

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
    async fn queued_work_is_done_after_the_handle_is_dropped() {
        let compute_thread = ComputeThread::start().unwrap();
        drop(compute_thread.run(|| ()));
        let last = compute_thread.run(|| 7);
        drop(compute_thread);
        assert_eq!(last.await, Ok(7));
    }
}
