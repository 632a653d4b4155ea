//! SIGINT and SIGTERM, for programs that end in order, and SIGHUP, for those
//! that read their configuration again.

use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit::{ExitCode, Failure};

/// The signals that a service listens to, caught from [`Signals::catch`] on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end: SIGTERM, or Ctrl-C.
    Stop,
    /// To read the configuration again: SIGHUP.
    Reload,
}

impl Signals {
    /// Must be called inside a Tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// If the system lets none be caught.
    pub fn catch() -> Result<Self, Failure> {
        let caught = |kind| {
            signal(kind).map_err(|error| {
                let message = format!("cannot wait for signals: {error}");
                Failure::new(ExitCode::Failed, message)
            })
        };
        Ok(Self {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
            hangup: caught(SignalKind::hangup())?,
        })
    }

    /// What the next one asks for.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// Runs something until it ends, which it is to do once `asked` has said so a
/// first time; `None` if it goes on until that is said a second time.
pub async fn until_asked_twice<T>(
    mut asked: impl AsyncFnMut(),
    run: impl AsyncFnOnce(oneshot::Receiver<()>) -> T,
) -> Option<T> {
    let (stop, stopped) = oneshot::channel();
    let twice = async {
        asked().await;
        // Fails only if it has ended.
        let _ = stop.send(());
        asked().await;
    };
    tokio::select! {
        biased;
        ended = run(stopped) => Some(ended),
        () = twice => None,
    }
}

/// From now on `act` is called at every Ctrl-C and SIGTERM, in a thread of its
/// own, and they do not end the program by themselves.
pub fn on_interrupt(act: impl Fn() + Send + 'static) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => act(),
                    _ = terminate.recv() => act(),
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_asked_twice_to_stop_is_not_waited_for() {
        let stops = async |stopped: oneshot::Receiver<()>| stopped.await.is_ok();
        let mut times = 0;
        let once = async || {
            times += 1;
            if times > 1 {
                std::future::pending::<()>().await;
            }
        };
        assert_eq!(until_asked_twice(once, stops).await, Some(true));
        let hangs = async |stopped: oneshot::Receiver<()>| {
            let _ = stopped.await;
            std::future::pending::<()>().await;
        };
        assert_eq!(until_asked_twice(async || {}, hangs).await, None);
    }
}
