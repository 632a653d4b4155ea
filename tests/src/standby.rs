//! Coordinators as processes that share a database, with the keys of one
//! fleet.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

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

/// An address that nobody listened at a moment ago, and that was not given
/// before: the system may well choose one twice.
pub fn free_address() -> String {
    static GIVEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    loop {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(address.clone()) {
            return address;
        }
    }
}

/// A coordinator's process.
pub struct Coordinator {
    program: PathBuf,
    process: Child,
    state: PathBuf,
    log: PathBuf,
    listen: String,
    page: String,
    environment: Vec<String>,
}

impl Coordinator {
    /// With the keys of another, as its operator would copy them.
    pub fn start(state: &Path, keys: &Path, listen: &str, environment: &[String]) -> Self {
        Self::start_as(&own_program(), (state, keys), listen, environment)
    }

    /// The same of another version's program.
    pub fn start_as(
        program: &Path,
        (state, keys): (&Path, &Path),
        listen: &str,
        environment: &[String],
    ) -> Self {
        fs::create_dir(state).unwrap();
        for entry in fs::read_dir(keys).unwrap().flatten() {
            let name = entry.file_name();
            if entry.file_type().unwrap().is_file() && name != "sessions" {
                fs::copy(entry.path(), state.join(name)).unwrap();
            }
        }
        Self::on_as(program, state, listen, environment)
    }

    /// On a state directory that is there.
    pub fn on(state: &Path, listen: &str, environment: &[String]) -> Self {
        Self::on_as(&own_program(), state, listen, environment)
    }

    fn on_as(program: &Path, state: &Path, listen: &str, environment: &[String]) -> Self {
        let log = state.with_extension("log");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let page = free.local_addr().unwrap().to_string();
        drop(free);
        Self {
            program: program.to_owned(),
            process: serve(program, state, &log, (listen, &page), environment),
            state: state.to_owned(),
            log,
            listen: listen.to_owned(),
            page,
            environment: environment.to_vec(),
        }
    }

    /// Starts it again, as a service manager would, with a new log.
    pub fn again(&mut self) {
        self.end();
        let addresses = (self.listen.as_str(), self.page.as_str());
        let (program, state) = (&self.program, &self.state);
        self.process = serve(program, state, &self.log, addresses, &self.environment);
    }

    /// Stops it in order, as an upgrade of its package does, and starts this
    /// program in its place.
    pub fn upgrade(&mut self, program: PathBuf) {
        self.signal(Signal::TERM);
        let ended = self.process.wait().unwrap();
        // One that stands by has nothing to put in order, and ends by the signal.
        let is_orderly = ended.success() || ended.signal() == Some(Signal::TERM.as_raw());
        assert!(is_orderly, "{ended}: {}", self.told());
        self.program = program;
        self.again();
    }

    /// The program that its process runs.
    pub fn runs(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.process.id())).unwrap()
    }

    /// What its page's address answers, status and headers included; nothing
    /// if nobody answers.
    pub fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(&self.page) {
            let host = &self.page;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            // A process that ends meanwhile has answered nothing.
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// What its program says of this state directory.
    pub fn doctor(&self) -> String {
        self.operator(&["doctor"]).1
    }

    /// Runs a command of its program on its state: exit code, standard output.
    pub fn operator(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let asked = Command::new("env")
            .args(&self.environment)
            .arg(&self.program)
            .arg("--state")
            .arg(&self.state)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        (asked.status.code(), said)
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
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

/// The coordinator's program of this build.
pub fn own_program() -> PathBuf {
    program("alambic-coordinator").unwrap()
}

fn serve(
    program: &Path,
    state: &Path,
    log: &Path,
    (listen, page): (&str, &str),
    environment: &[String],
) -> Child {
    let mut command = Command::new("env");
    command.args(environment).arg(program);
    command.arg("--state").arg(state);
    command.args(["serve", "--listen", listen, "--page", page]);
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
