//! An agent that a test starts itself, in place of one of a fleet.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use lab::demo::program;

/// A running agent, which is killed with its owner.
pub struct AgentProcess(Child);

impl AgentProcess {
    /// Starts it on the `state` and `data` in its home, and on `agent.toml` if that is
    /// there. `adjust` may set more of the command, such as where its log goes.
    pub fn start(home: &Path, adjust: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(program("alambic-agent").unwrap());
        let configuration = home.join("agent.toml");
        if configuration.exists() {
            command.arg("--config").arg(configuration);
        }
        command.arg("--state").arg(home.join("state"));
        command.arg("--data").arg(home.join("data")).arg("run");
        command.env("OPENBLAS_NUM_THREADS", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        adjust(&mut command);
        Self(command.spawn().unwrap())
    }

    /// Its log, where `adjust` made that a pipe.
    pub fn log(&mut self) -> ChildStderr {
        self.0.stderr.take().unwrap()
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
