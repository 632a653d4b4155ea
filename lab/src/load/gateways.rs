//! Gateways between a load's devices and its coordinator, each a process of its
//! own as an operator would run it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::trust::token::Approval;
use coordinator::admin::{AdminError, Client, Request, Response, TokenWish};
use coordinator::registry::GATEWAY_GROUP;

use super::machine;
use super::report::Memory;
use crate::demo::program;

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its process or its folder.
    #[error("cannot start gateway {number}: {source}")]
    Start {
        /// Which.
        number: usize,
        /// Why.
        source: io::Error,
    },
    /// It ended, or did not become ready in time.
    #[error("gateway {number} does not come up; its log {log} ends with:\n{tail}")]
    NotReady {
        /// Which.
        number: usize,
        /// The file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The coordinator gives no token.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It answered something else.
    #[error("the coordinator gave no token for gateways")]
    Token,
    /// The program.
    #[error(transparent)]
    Program(#[from] crate::demo::FleetError),
}

/// Gateways that run until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Gateways(Vec<Gateway>);

#[derive(Debug)]
struct Gateway {
    address: SocketAddr,
    metrics: String,
    process: Child,
}

impl Gateways {
    /// Lets this many join the coordinator and waits until they are connected.
    pub(super) fn start(
        folder: &Path,
        coordinator: SocketAddr,
        client: &mut Client,
        count: usize,
    ) -> Result<Self, GatewayError> {
        let wish = TokenWish {
            ttl_ms: 3_600_000,
            uses: count as u32,
            group: Some(GATEWAY_GROUP.to_owned()),
            approval: Approval::Auto,
        };
        let Response::Token { token, .. } = client.ask(&Request::CreateToken(wish))? else {
            return Err(GatewayError::Token);
        };
        let mut all = Self::default();
        for number in 0..count {
            let state = folder.join(format!("gateway-{number}"));
            all.0
                .push(Gateway::start(number, &state, coordinator, &token)?);
        }
        Ok(all)
    }

    /// Where devices reach them; empty if there are none.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|one| one.address).collect()
    }

    /// Their processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.0.iter().map(|one| one.process.id()).collect()
    }

    /// Memory of all together, by the key that /proc names it with.
    pub(super) fn resident(&self, key: &str) -> u64 {
        let of = |process| machine::resident(process, key).unwrap_or_default();
        self.processes().into_iter().map(of).sum()
    }

    /// Bytes of blobs that they asked the coordinator for.
    pub(super) fn fetched_bytes(&self) -> u64 {
        let of = |one: &Gateway| metric(&one.metrics, "alambic_gateway_fetched_bytes_total ");
        self.0.iter().filter_map(of).sum()
    }

    /// What they take with these sessions, and took before; none if there are
    /// none.
    pub(super) fn memory(&self, before: u64, idle: u64, sessions: usize) -> Option<Memory> {
        (!self.0.is_empty()).then(|| Memory {
            before,
            idle,
            per_session: idle.saturating_sub(before) / sessions.max(1) as u64,
            peak: self.resident("VmHWM:"),
        })
    }
}

impl Gateway {
    fn start(
        number: usize,
        state: &Path,
        coordinator: SocketAddr,
        token: &str,
    ) -> Result<Self, GatewayError> {
        let failed = |source| GatewayError::Start { number, source };
        fs::create_dir_all(state).map_err(failed)?;
        let coordinator = coordinator.to_string();
        let log = state.join("gateway.log");
        let joined = Command::new(program("alambic-coordinator")?)
            .args(["gateway", "enrol", "--coordinator", &coordinator])
            .args(["--name", &format!("load-{number}"), "--state"])
            .arg(state)
            .env("ALAMBIC_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).map_err(failed)?)
            .status()
            .map_err(failed)?;
        if !joined.success() {
            return Err(not_ready(number, log));
        }
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.map_err(failed)?;
        let process = Command::new(program("alambic-coordinator")?)
            .args(["gateway", "run", "--metrics", "127.0.0.1:0", "--listen"])
            .arg(address.to_string())
            .args(["--coordinator", &coordinator, "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let mut gateway = Self {
            address,
            metrics: String::new(),
            process,
        };
        let begun = Instant::now();
        while !gateway.is_ready(&log) {
            let ended = gateway.process.try_wait().map_err(failed)?;
            if ended.is_some() || begun.elapsed() > READY_MAX {
                return Err(not_ready(number, log));
            }
            thread::sleep(LOOK);
        }
        Ok(gateway)
    }

    /// Whether it serves and the coordinator is connected.
    fn is_ready(&mut self, log: &Path) -> bool {
        let said = fs::read_to_string(log).unwrap_or_default();
        let told = said.split("metrics: http://").nth(1);
        let Some((address, _)) = told.and_then(|told| told.split_once('/')) else {
            return false;
        };
        address.clone_into(&mut self.metrics);
        ask(address, "/healthz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn not_ready(number: usize, log: PathBuf) -> GatewayError {
    let said = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    GatewayError::NotReady { number, log, tail }
}

/// One of its metrics, if it answers.
fn metric(address: &str, name: &str) -> Option<u64> {
    let text = ask(address, "/metrics").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

fn ask(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const READY_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_secs(10);
