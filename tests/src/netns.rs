//! Two network namespaces and a veth pair (a veth pair) between them: a coordinator
//! at one end, devices at the other. Needs root; a test that may not make them
//! says so and is skipped.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lab::demo::Environment;

/// The coordinator's address.
pub const COORDINATOR: &str = "10.171.0.1";
/// The devices' address at first.
pub const DEVICES: &str = "10.171.0.2";

/// The namespaces. They are gone once this is dropped, whatever happened.
#[derive(Debug)]
pub struct Netns {
    coordinator: String,
    devices: String,
}

impl Netns {
    /// Lays a veth pair; none, with a word about it, if that is not allowed here.
    pub fn lay() -> Option<Self> {
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("{PREFIX}{}-{number}-{end}", std::process::id());
        let netns = Self {
            coordinator: name("c"),
            devices: name("d"),
        };
        match netns.connect() {
            true => Some(netns),
            false => {
                eprintln!("SKIPPED: network namespaces need root and iproute2");
                None
            }
        }
    }

    fn connect(&self) -> bool {
        let (c, d) = (self.coordinator.as_str(), self.devices.as_str());
        let end = |space: &str, link: &str, address: &str| {
            let address = format!("{address}/24");
            ip(&["-n", space, "address", "add", &address, "dev", link])
                && ip(&["-n", space, "link", "set", link, "up"])
                && ip(&["-n", space, "link", "set", "lo", "up"])
        };
        ip(&["netns", "add", c])
            && ip(&["netns", "add", d])
            && ip(&[
                "-n", c, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", d,
            ])
            && end(c, LINK, COORDINATOR)
            && end(d, LINK, DEVICES)
    }

    /// The ground of a fleet whose coordinator and devices are at its ends.
    pub fn environment(&self) -> Environment {
        let within = |space: &String| ["ip", "netns", "exec", space].map(str::to_owned).to_vec();
        Environment {
            coordinator: within(&self.coordinator),
            agents: within(&self.devices),
            listen: Some(format!("{COORDINATOR}:4433")),
        }
    }

    /// The largest packets that pass, from now on.
    pub fn set_mtu(&self, bytes: u32) {
        for space in [&self.coordinator, &self.devices] {
            let mtu = bytes.to_string();
            assert!(ip(&["-n", space, "link", "set", LINK, "mtu", &mtu]));
        }
    }

    /// Gives the devices another address; the old one is gone.
    pub fn move_devices(&self, address: &str) {
        let [old, new] = [DEVICES, address].map(|address| format!("{address}/24"));
        let d = &self.devices;
        assert!(ip(&["-n", d, "address", "del", &old, "dev", LINK]));
        assert!(ip(&["-n", d, "address", "add", &new, "dev", LINK]));
    }

    /// Lets the devices send this many kbit/s and no more; false, with a word
    /// about it, if this kernel has no token bucket (`sch_tbf`).
    pub fn throttle(&self, kbit: u32) -> bool {
        let rate = format!("{kbit}kbit");
        let mut arguments = vec!["-n", &self.devices, "qdisc", "replace", "dev", LINK];
        arguments.extend([
            "root", "tbf", "rate", &rate, "burst", "4kb", "latency", "500ms",
        ]);
        let throttled = run("tc", &arguments);
        if !throttled {
            eprintln!("SKIPPED: this kernel cannot throttle a link (sch_tbf), or tc is missing");
        }
        throttled
    }

    /// Bytes that the devices have sent, headers and all.
    pub fn sent(&self) -> u64 {
        let file = format!("/sys/class/net/{LINK}/statistics/tx_bytes");
        let output = Command::new("ip")
            .args(["netns", "exec", &self.devices, "cat", &file])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for space in [&self.coordinator, &self.devices] {
            ip(&["netns", "delete", space]);
        }
    }
}

/// Takes away what a test process left that was killed.
fn sweep() {
    let Ok(spaces) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
const PREFIX: &str = "alambic-test-";
const LINK: &str = "netns";
