//! The signals a running agent listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ExitCode, Failure};

/// SIGTERM and SIGINT end the agent, SIGHUP has it read its configuration
/// again. Caught from [`Signals::catch`] on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end.
    Stop,
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Must be called inside a Tokio runtime with I/O enabled.
    pub(super) fn catch() -> Result<Self, Failure> {
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

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}
