//! Why nobody answers: what the network says where QUIC hears nothing.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// What is known of an address that did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Packets vanish without a word. A firewall that drops UDP does this, and
    /// so does a machine that is off.
    Complete,
    /// The machine is there and says that nothing listens on the port.
    PortClosed,
    /// A router, or this machine, says that there is no way there.
    NoWay,
    /// This machine may not send there: a rule of its own firewall.
    Forbidden,
}

impl Silence {
    /// Sends one datagram and waits a moment for the network's complaint. A
    /// coordinator ignores the datagram.
    pub(super) async fn of(address: SocketAddr) -> Self {
        match timeout(COMPLAINT_WAIT, complaint(address)).await {
            Err(_) | Ok(Ok(())) => Self::Complete,
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Self::PortClosed,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::NoWay,
                io::ErrorKind::PermissionDenied => Self::Forbidden,
                _ => Self::Complete,
            },
        }
    }

    /// What a person can do about it.
    pub(super) fn advice(self, port: u16) -> String {
        match self {
            Self::Complete => format!(
                "check that the machine is on, that the coordinator runs there, and that UDP port \
                 {port} is open on the way and back (firewalls often block UDP while TCP passes)"
            ),
            Self::PortClosed => format!(
                "check that the coordinator runs there and listens on UDP port {port} \
                 (`alambic-coordinator doctor` on that machine says)"
            ),
            Self::NoWay => "check this device's network, and the address".to_owned(),
            Self::Forbidden => format!("let this device send to UDP port {port} in its firewall"),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "UDP is blocked on the way, or nobody is there",
            Self::PortClosed => "the machine is there, but nothing listens on this UDP port",
            Self::NoWay => "the network has no way there",
            Self::Forbidden => "this machine's own rules block UDP to it",
        })
    }
}

/// Only a connected socket hears of complaints.
async fn complaint(address: SocketAddr) -> io::Result<()> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(&[0]).await?;
    socket.recv(&mut [0]).await.map(drop)
}

/// A complaint comes after one way there and back.
const COMPLAINT_WAIT: Duration = Duration::from_millis(1_000);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_closed_port_and_one_that_says_nothing_are_told_apart() {
        let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = mute.local_addr().unwrap();
        assert_eq!(Silence::of(address).await, Silence::Complete);
        drop(mute);
        assert_eq!(Silence::of(address).await, Silence::PortClosed);
    }
}
