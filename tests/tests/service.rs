//! The programs as a service manager starts them: it is played by the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coordinator::admin::Client;
use lab::demo::program;
use rustix::process::{Pid, Signal, kill_process};

/// A program under a service manager.
struct Service {
    child: Child,
    socket: UnixDatagram,
}

impl Service {
    fn start(folder: &Path, mut command: Command) -> Self {
        let path = folder.join("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "2000000")
            .env_remove("ALAMBIC_STATE")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    /// Waits until the manager hears this.
    fn hears(&self, wanted: &str) {
        let mut buffer = [0u8; 512];
        let mut heard = Vec::new();
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) => panic!("{wanted} was not heard ({error}), only {heard:?}"),
            };
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
            heard.push(said);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    fn end(mut self) {
        self.signal(Signal::TERM);
        self.hears("STOPPING=1");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn coordinator(state: &Path) -> Command {
    let mut command = Command::new(program("alambic-coordinator").unwrap());
    command.arg("--state").arg(state);
    command
}

fn agent(folder: &Path) -> Command {
    let mut command = Command::new(program("alambic-agent").unwrap());
    command
        .args(["run", "--config"])
        .arg(folder.join("agent.toml"))
        .env("CREDENTIALS_DIRECTORY", folder.join("credentials"));
    command
}

#[test]
fn both_programs_run_as_services() {
    let folder = tempfile::tempdir().unwrap();
    let home = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let state: PathBuf = folder.path().join("state");
    let made = coordinator(&state)
        .args(["init", "--json"])
        .output()
        .unwrap();
    assert!(made.status.success());
    let mut serve = coordinator(&state);
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Service::start(&home("server"), serve);
    server.hears("READY=1");
    server.hears("WATCHDOG=1");

    server.signal(Signal::HUP);
    server.hears("RELOADING=1");
    server.hears("READY=1");

    let mut client = Client::connect(state.join("admin.sock")).unwrap();
    let address = client.status().unwrap().address;
    let device = home("device");
    fs::write(
        device.join("agent.toml"),
        format!(
            "state = \"{}\"\n[coordinator]\naddress = \"{address}\"\n",
            device.join("state").display()
        ),
    )
    .unwrap();
    let token = client.create_token(60_000, 1).unwrap();
    fs::write(home("device/credentials").join("join-token"), &token).unwrap();
    let first = Service::start(&device, agent(&device));
    first.hears("READY=1");
    first.hears("STATUS=connected");
    first.end();

    // An enrolled device needs no token any more.
    fs::remove_dir_all(device.join("credentials")).unwrap();
    let second = Service::start(&device, agent(&device));
    second.hears("STATUS=connected");
    second.hears("WATCHDOG=1");

    // A file that does not fit changes nothing; one that does is taken.
    let fits = fs::read_to_string(device.join("agent.toml")).unwrap();
    fs::write(device.join("agent.toml"), "nonsense").unwrap();
    second.signal(Signal::HUP);
    second.hears("RELOADING=1");
    second.hears("READY=1");
    fs::write(device.join("agent.toml"), fits).unwrap();
    second.signal(Signal::HUP);
    second.hears("RELOADING=1");
    second.hears("STATUS=connected");
    second.end();
    server.end();
}

/// How long a program may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);
