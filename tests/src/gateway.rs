//! A gateway as a process between a fleet's agents and its coordinator.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coordinator::admin::Client;
use coordinator::registry::GATEWAY_GROUP;
use lab::demo::program;

/// A gateway that runs until this is dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Where devices reach it.
    pub address: SocketAddr,
    folder: PathBuf,
    coordinator: String,
    process: Option<Child>,
}

impl Gateway {
    /// A loopback address whose UDP port is free now.
    pub fn free_address() -> SocketAddr {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    }

    /// A gateway that joins the fleet of this coordinator, which it finds at
    /// `coordinator`, and runs.
    pub fn start(
        client: &mut Client,
        folder: PathBuf,
        address: SocketAddr,
        coordinator: String,
    ) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let wish = coordinator::admin::TokenWish {
            ttl_ms: 60_000,
            uses: 1,
            group: Some(GATEWAY_GROUP.to_owned()),
            approval: common::trust::token::Approval::Auto,
        };
        let request = coordinator::admin::Request::CreateToken(wish);
        let token = match client.ask(&request).unwrap() {
            coordinator::admin::Response::Token { token, .. } => token,
            other => panic!("{other:?}"),
        };
        let joined = Command::new(program("alambic-coordinator").unwrap())
            .args(["gateway", "enrol", "--name", "hall", "--coordinator"])
            .arg(&coordinator)
            .arg("--state")
            .arg(folder.join("state"))
            .env("ALAMBIC_TOKEN", token)
            .output()
            .unwrap();
        assert!(joined.status.success(), "{joined:?}");
        let mut gateway = Self {
            address,
            folder,
            coordinator,
            process: None,
        };
        gateway.run();
        gateway
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again after it was killed, and waits until it is ready.
    pub fn run(&mut self) {
        let log = self.folder.join("gateway.log");
        let process = Command::new(program("alambic-coordinator").unwrap())
            .args(["gateway", "run", "--metrics", "127.0.0.1:0", "--listen"])
            .arg(self.address.to_string())
            .args(["--coordinator", &self.coordinator, "--state"])
            .arg(self.folder.join("state"))
            .env("ALAMBIC_LOG", "info,coordinator::gateway=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let begun = Instant::now();
        while !self.log().contains("metrics: http://") {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.log());
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default()
    }

    /// One of its metrics.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.trim().parse().unwrap()
    }

    /// What its HTTP server answers.
    pub fn get(&self, path: &str) -> String {
        let log = self.log();
        let after = log.split("metrics: http://").nth(1).unwrap();
        let address = after.split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}
