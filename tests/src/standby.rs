//! Coordinators as processes that share a database, with the keys of one
//! fleet.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coordinator::admin::Client;
use lab::demo::program;
use rustix::process::{Pid, Signal, kill_process};

/// Makes the keys of a fleet.
pub fn init(state: &Path) {
    let mut command = Command::new(program("alambic-coordinator").unwrap());
    let made = command
        .arg("init")
        .arg("--state")
        .arg(state)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// An address that nobody listened at a moment ago.
pub fn free_address() -> String {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// A coordinator's process.
pub struct Coordinator {
    process: Child,
    state: PathBuf,
    log: PathBuf,
    listen: String,
    environment: Vec<String>,
}

impl Coordinator {
    /// With the keys of another, as its operator would copy them.
    pub fn start(state: &Path, keys: &Path, listen: &str, environment: &[String]) -> Self {
        fs::create_dir(state).unwrap();
        for entry in fs::read_dir(keys).unwrap().flatten() {
            let name = entry.file_name();
            if entry.file_type().unwrap().is_file() && name != "sessions" {
                fs::copy(entry.path(), state.join(name)).unwrap();
            }
        }
        let log = state.with_extension("log");
        Self {
            process: serve(state, &log, listen, environment),
            state: state.to_owned(),
            log,
            listen: listen.to_owned(),
            environment: environment.to_vec(),
        }
    }

    /// Starts it again, as a service manager would, with a new log.
    pub fn again(&mut self) {
        self.end();
        self.process = serve(&self.state, &self.log, &self.listen, &self.environment);
    }

    /// Its operator's connection, if it serves.
    pub fn client(&self) -> Option<Client> {
        let mut client = Client::connect(self.state.join("admin.sock")).ok()?;
        client.status().ok()?;
        Some(client)
    }

    /// What it has logged.
    pub fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits until it has ended by itself: its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// Kills it, if it runs.
    pub fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(state: &Path, log: &Path, listen: &str, environment: &[String]) -> Child {
    let mut command = Command::new("env");
    command
        .args(environment)
        .arg(program("alambic-coordinator").unwrap());
    command.arg("--state").arg(state);
    command.args(["serve", "--listen", listen, "--page", "off"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.end();
    }
}
