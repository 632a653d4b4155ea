//! The programs as processes: found, started with a log, killed and measured.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::DemoError;
use super::error::FleetError;

/// Where a fleet's programs run and meet. By default on this machine, over
/// loopback.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Put before the coordinator's command line, as `ip netns exec x`.
    pub coordinator: Vec<String>,
    /// Put before each agent's.
    pub agents: Vec<String>,
    /// Where the coordinator listens; a free loopback port if not said.
    pub listen: Option<String>,
}

/// A program that should run and has ended, with the last it wrote.
pub(super) fn ended(what: String, status: std::process::ExitStatus, log: PathBuf) -> FleetError {
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    FleetError::Ended {
        what,
        status: status.to_string(),
        log,
        tail,
    }
}

pub(super) fn kill(child: &mut Child, folder: &Path) -> Result<(), DemoError> {
    let file = |cause| FleetError::File {
        path: folder.to_owned(),
        cause,
    };
    child.kill().map_err(file)?;
    child.wait().map_err(file)?;
    Ok(())
}

/// A program of ours, behind what is to stand before it.
pub(super) fn command(before: &[String], name: &str) -> Result<Command, FleetError> {
    let program = program(name)?;
    Ok(match before {
        [] => Command::new(program),
        [first, others @ ..] => {
            let mut command = Command::new(first);
            command.args(others).arg(program);
            command
        }
    })
}

/// Starts a coordinator on the state in a demo's folder.
pub(super) fn serve(
    environment: &Environment,
    folder: &Path,
    listen: &str,
) -> Result<Child, FleetError> {
    let log = folder.join("coordinator.log");
    command(&environment.coordinator, "alambic-coordinator")?
        .arg("--state")
        .arg(folder.join("coordinator"))
        .args(["serve", "--listen", listen, "--page", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(open_log(&log)?)
        .spawn()
        .map_err(|cause| FleetError::File { path: log, cause })
}

/// Starts an agent on the state and data in its folder.
pub(super) fn run_agent(environment: &Environment, home: &Path) -> Result<Child, FleetError> {
    let log = home.join("agent.log");
    command(&environment.agents, "alambic-agent")?
        .arg("--state")
        .arg(home.join("state"))
        .arg("--data")
        .arg(home.join("data"))
        .arg("run")
        // As the systemd unit does: one BLAS thread, one memory arena.
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("MALLOC_ARENA_MAX", "1")
        // In the state directory, so that each device has its own.
        .env("ALAMBIC_PREDICTIONS", "predict.sock")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(open_log(&log)?)
        .spawn()
        .map_err(|cause| FleetError::File { path: log, cause })
}

/// A loopback address whose UDP port is free now. None that the system gives to
/// clients, if there is another: one of them would have it while a coordinator that
/// was stopped is away.
pub(super) fn free_address(folder: &Path) -> Result<String, FleetError> {
    // Keys of a hash are random in each process and call.
    let random = RandomState::new();
    let count = u64::from(SERVER_PORTS.end - SERVER_PORTS.start);
    let drawn = (0..TRIES).map(|one| SERVER_PORTS.start + (random.hash_one(one) % count) as u16);
    let free = drawn.chain([0]).find_map(|port| {
        let bound = std::net::UdpSocket::bind(("127.0.0.1", port));
        let address = bound.and_then(|socket| socket.local_addr());
        (port == 0 || address.is_ok()).then_some(address)
    });
    let free = free.unwrap_or_else(|| Err(std::io::ErrorKind::AddrInUse.into()));
    let free = free.map_err(|cause| FleetError::File {
        path: folder.to_owned(),
        cause,
    })?;
    Ok(free.to_string())
}

/// Below those that Linux gives to clients (ip_local_port_range: 32768 to 60999).
const SERVER_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried before any will do.
const TRIES: usize = 32;

/// The program beside this one.
///
/// # Errors
/// If it has not been built.
pub fn program(name: &str) -> Result<PathBuf, FleetError> {
    let own = std::env::current_exe().map_err(|cause| FleetError::File {
        path: PathBuf::from(name),
        cause,
    })?;
    // Tests and examples run from a folder below the binaries'.
    let candidates = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let mut missing = PathBuf::from(name);
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
        missing = candidate;
    }
    Err(FleetError::Program(missing))
}

pub(super) fn make_folder(path: &Path) -> Result<(), FleetError> {
    fs::create_dir_all(path).map_err(|cause| FleetError::File {
        path: path.to_owned(),
        cause,
    })
}

fn open_log(path: &Path) -> Result<File, FleetError> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|cause| FleetError::File {
            path: path.to_owned(),
            cause,
        })
}

pub(super) fn resident(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
