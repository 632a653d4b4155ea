//! What this machine allows a process, and what a process on it takes.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why a load cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Each device has a socket of its own.
    #[error(
        "{wanted} devices need {wanted} sockets and {SPARE} more files, this process may open \
         {allowed}; raise the hard limit (`ulimit -Hn`, LimitNOFILE= of the service, or \
         /etc/security/limits.conf) or ask for fewer --agents"
    )]
    Files {
        /// Devices wanted.
        wanted: u64,
        /// The hard limit.
        allowed: u64,
    },
}

/// Files besides the devices' sockets: the programs' own.
const SPARE: u64 = 200;

/// Raises the number of files this process may open as far as it needs for so
/// many devices.
///
/// # Errors
/// [`MachineError::Files`] if the hard limit is below that.
pub(super) fn allow_sockets(devices: usize) -> Result<(), MachineError> {
    let wanted = devices as u64;
    let needed = wanted + SPARE;
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if needed > allowed {
        return Err(MachineError::Files { wanted, allowed });
    }
    if limit.current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        };
        // Below the hard limit this is always allowed.
        setrlimit(Resource::Nofile, raised).map_err(|_| MachineError::Files { wanted, allowed })?;
    }
    Ok(())
}

/// The address a device speaks from: on loopback each has one of its own, as
/// it would elsewhere (all of 127.0.0.0/8 is this machine's).
pub(super) fn source(coordinator: SocketAddr, device: usize) -> Option<SocketAddr> {
    match coordinator.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let [_, high, mid, low] = (device as u32).to_be_bytes();
            Some(SocketAddr::from(([127, 16 + (high & 63), mid, low], 0)))
        }
        _ => None,
    }
}

/// Resident memory of a process in bytes, by the key that /proc names it with.
pub(super) fn resident(process: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time a process has used, in seconds.
pub(super) fn processor_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name, in brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let used = ticks()? + ticks()?;
    Some(used as f64 / TICKS_PER_SECOND)
}

/// The process on this machine that answers at a UDP address, if it is on
/// this machine and may be looked at.
pub(super) fn process_at(address: SocketAddr) -> Option<u32> {
    UdpSocket::bind((address.ip(), 0)).ok()?;
    let table = match address {
        SocketAddr::V4(_) => "/proc/net/udp",
        SocketAddr::V6(_) => "/proc/net/udp6",
    };
    let inode = inode_at(&fs::read_to_string(table).ok()?, address.port())?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|process: &u32| {
            let files = fs::read_dir(format!("/proc/{process}/fd"));
            let mut files = files.into_iter().flatten().flatten();
            files.any(|file| {
                fs::read_link(file.path()).is_ok_and(|to| to.to_str() == Some(wanted.as_str()))
            })
        })
}

/// The inode of the socket that is bound to this port and to no peer.
fn inode_at(table: &str, port: u16) -> Option<u64> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(1)?.ends_with(&port) && fields.get(2)?.ends_with(":0000");
        is_ours.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// What /proc counts in, on every Linux there is (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_of_this_process_is_found_to_be_its_own() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = process_at(socket.local_addr().unwrap());
        assert_eq!(found, Some(std::process::id()));
    }

    #[test]
    fn this_process_takes_memory_and_time() {
        let own = std::process::id();
        assert!(resident(own, "VmRSS:").unwrap() > 100_000);
        assert!(processor_seconds(own).unwrap() >= 0.0);
        assert_eq!(resident(own, "no such key:"), None);
    }

    #[test]
    fn sockets_beyond_the_hard_limit_are_refused() {
        let refused = allow_sockets(1 << 40).unwrap_err();
        assert!(refused.to_string().contains("ulimit -Hn"), "{refused}");
        allow_sockets(1).unwrap();
    }

    #[test]
    fn devices_on_loopback_speak_from_addresses_of_their_own() {
        let coordinator = "127.0.0.1:4433".parse().unwrap();
        let sources: std::collections::BTreeSet<_> = (0..10_000)
            .map(|device| source(coordinator, device).unwrap().ip())
            .collect();
        assert_eq!(sources.len(), 10_000);
        assert!(sources.iter().all(IpAddr::is_loopback));
        assert_eq!(source("192.0.2.1:4433".parse().unwrap(), 1), None);
    }
}
