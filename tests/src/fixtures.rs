//! The small fleet that is kept in `tests/state`, and how to start it again.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coordinator::admin::Client;
use coordinator::status::{OutcomeStatus, Status};
use lab::demo::program;
use tempfile::TempDir;

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    /// Starts it, silent but for its log.
    pub fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One archive for each earlier minor version.
pub fn archives() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let entries = fs::read_dir(folder).unwrap();
    let mut archives: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    archives.sort();
    assert!(!archives.is_empty());
    archives
}

/// Unpacks one: `coordinator`, `agent-0`, `agent-1`, `data-0`, `data-1`, and
/// what they said.
pub fn unpack(archive: &Path) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(home.path());
    assert!(tar.status().unwrap().success());
    home
}

/// Starts its coordinator.
pub fn serve(home: &Path) -> (Running, Client, SocketAddr) {
    let state = home.join("coordinator");
    let mut serve = coordinator(home);
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Running::start(serve);
    let mut client = wait_for(|| Client::connect(state.join("admin.sock")).ok());
    let address = client.status().unwrap().address;
    (server, client, address)
}

/// A command of its coordinator's program.
pub fn coordinator(home: &Path) -> Command {
    let mut command = Command::new(program("alambic-coordinator").unwrap());
    command
        .env_remove("ALAMBIC_CONFIG")
        .env("ALAMBIC_STATE", home.join("coordinator"));
    command
}

/// A command of one agent's program.
pub fn agent(home: &Path, index: usize) -> Command {
    let mut command = Command::new(program("alambic-agent").unwrap());
    on_agent(&mut command, home, index);
    command
}

/// Has a program work on one agent's state.
pub fn on_agent(command: &mut Command, home: &Path, index: usize) {
    command
        .env_remove("ALAMBIC_CONFIG")
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("ALAMBIC_STATE", home.join(format!("agent-{index}")))
        .env("ALAMBIC_DATA", home.join(format!("data-{index}")));
}

/// Waits until this many devices have a session.
pub fn wait_connected(client: &mut Client, count: usize) {
    wait_for(|| {
        let devices = client.status().unwrap().devices;
        let connected = devices.iter().filter(|device| device.connected).count();
        (connected == count).then_some(())
    });
}

/// Runs both agents, by the commands that are made for them, through one round
/// of the kept task, and says how the coordinator stands after it.
pub fn completed_round(
    client: &mut Client,
    address: SocketAddr,
    command: impl Fn(usize) -> Command,
) -> (Status, [Running; 2]) {
    let agents = [0, 1].map(|index| {
        let mut command = command(index);
        command
            .arg("run")
            .env("ALAMBIC_COORDINATOR", address.to_string());
        Running::start(command)
    });
    wait_connected(client, 2);
    client.run_round(Some("state"), |_| {}).unwrap();
    let status = client.status().unwrap();
    let ended = status.tasks[0].history.last().unwrap();
    let completed = matches!(ended.outcome, OutcomeStatus::Completed { .. });
    assert!(completed, "{:?}", ended.outcome);
    (status, agents)
}

fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come up");
        std::thread::yield_now();
    }
}

/// How long a program may take to come up; an emulated one takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
