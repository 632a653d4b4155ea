//! Why nobody answers: what the network says where QUIC hears nothing.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
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
    /// The path takes no packets as large as those that QUIC begins with.
    SmallPackets {
        /// The largest IP packet that it takes, in bytes.
        mtu: u32,
    },
}

impl Silence {
    /// Sends a datagram as large as QUIC's first and one of one byte, and
    /// waits a moment for the network's complaint. A coordinator ignores both.
    pub(super) async fn of(address: SocketAddr) -> Self {
        let complaint = complaint(address, &[&[0; QUIC_BYTES_MIN], &[0]]);
        timeout(COMPLAINT_WAIT, complaint)
            .await
            .unwrap_or(Self::Complete)
    }

    /// Sends a datagram of one byte and is ready once the network complains
    /// of it; never, while it does not.
    pub(super) async fn told(address: SocketAddr) -> Self {
        match complaint(address, &[&[0]]).await {
            Self::Complete => std::future::pending().await,
            silence => silence,
        }
    }

    /// What a person can do about it.
    pub(super) fn advice(self, port: u16) -> String {
        match self {
            Self::Complete => format!(
                "check that the machine is on, that the coordinator runs there, and that UDP port \
                 {port} is open on the way and back (firewalls often block UDP while TCP passes); \
                 through a tunnel, that packets of 1,200 bytes pass (`ping -M do -s 1200`)"
            ),
            Self::PortClosed => format!(
                "check that the coordinator runs there and listens on UDP port {port} \
                 (`alambic-coordinator doctor` on that machine says)"
            ),
            Self::NoWay => "check this device's network, and the address".to_owned(),
            Self::Forbidden => format!("let this device send to UDP port {port} in its firewall"),
            Self::SmallPackets { .. } => "raise the MTU of the interface or tunnel on the way to \
                 1,280 or more (`ip route get` names the interface, `ip link` shows its MTU)"
                .to_owned(),
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
            Self::SmallPackets { mtu } => {
                return write!(
                    f,
                    "the path takes IP packets of {mtu} bytes at most (its MTU), and QUIC needs \
                     {QUIC_BYTES_MIN} of payload"
                );
            }
        })
    }
}

/// What the network says of these datagrams. Returns only once it says
/// something, or the far end did.
async fn complaint(address: SocketAddr, datagrams: &[&[u8]]) -> Silence {
    let socket = match connected(address).await {
        Ok(socket) => socket,
        Err(error) => return of_error(&error, None),
    };
    if let Some(mtu) = mtu(&socket, address)
        && mtu < QUIC_BYTES_MIN as u32 + header_bytes(address)
    {
        return Silence::SmallPackets { mtu };
    }
    let heard = async {
        for datagram in datagrams {
            socket.send(datagram).await?;
        }
        socket.recv(&mut [0]).await
    };
    match heard.await {
        // Who answers this is not silent, and its answer means nothing.
        Ok(_) => Silence::Complete,
        Err(error) => of_error(&error, mtu(&socket, address)),
    }
}

/// A socket whose packets may not be cut into pieces, like QUIC's. Only a
/// connected one hears of complaints.
async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
    }
    socket.connect(address).await?;
    Ok(socket)
}

/// The largest IP packet on the path, as far as this machine knows.
fn mtu(socket: &UdpSocket, address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V4(_) => sockopt::ip_mtu(socket).ok(),
        SocketAddr::V6(_) => sockopt::ipv6_mtu(socket).ok(),
    }
}

fn of_error(error: &io::Error, mtu: Option<u32>) -> Silence {
    if Errno::from_io_error(error) == Some(Errno::MSGSIZE) {
        return Silence::SmallPackets {
            mtu: mtu.unwrap_or_default(),
        };
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Silence::PortClosed,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Silence::NoWay,
        io::ErrorKind::PermissionDenied => Silence::Forbidden,
        _ => Silence::Complete,
    }
}

/// Headers of UDP and IP.
fn header_bytes(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

/// The smallest datagrams that may begin a connection (RFC 9000, section 14.1).
const QUIC_BYTES_MIN: usize = 1_200;
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
        assert_eq!(Silence::told(address).await, Silence::PortClosed);
    }

    #[test]
    fn a_packet_too_large_for_the_path_is_no_blocked_port() {
        let error = io::Error::from(Errno::MSGSIZE);
        let small = of_error(&error, Some(1_100));
        assert_eq!(small, Silence::SmallPackets { mtu: 1_100 });
        let text = small.to_string();
        assert!(
            text.contains("1100 bytes") && text.contains("1200"),
            "{text}"
        );
        assert!(!text.contains("blocked"), "{text}");
        assert!(small.advice(1).contains("MTU"));
    }
}
