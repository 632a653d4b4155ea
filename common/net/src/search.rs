//! From a name to a connection: the addresses behind it, and which of them
//! answers.

mod race;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use self::race::Race;
use super::alpn::Protocol;
use super::connection::Connection;
use super::dialler::{ClientIdentity, Dialler};
use super::error::TransportError;
use super::tuning::Tuning;
use protocol::trust::clock::Clock;

/// What a connection is made with, whichever address it leads to.
#[derive(Clone, Debug)]
pub struct Search {
    /// Who the device is, and whom it believes.
    pub identity: ClientIdentity,
    /// What it wants to speak.
    pub protocol: Protocol,
    /// How the connection behaves.
    pub tuning: Tuning,
    /// What certificates are judged by.
    pub clock: Clock,
}

impl Search {
    /// Connects to the coordinator at `host:port`, or at one of several with
    /// commas between them, of which only one serves. A name may have several
    /// addresses, and some of them dead (often the one of IPv6): where one
    /// has not answered after a quarter of a second, the next is tried beside
    /// it, and the first to answer wins (RFC 8305). One that stands by for another
    /// says where that one is, and is believed for this search: its address is
    /// tried as well.
    ///
    /// Where there are several coordinators, by their addresses or by a
    /// standby's word, one that is gone without a word is noticed after 10 s.
    ///
    /// # Errors
    /// [`TransportError::UnknownHost`]; where all addresses fail, the error
    /// that says most: what a coordinator answered before what a network did,
    /// and that before silence.
    pub async fn connect(&self, host: &str) -> Result<(Dialler, Connection), TransportError> {
        let addresses = resolve(host).await?;
        let mut search = self.clone();
        if host.contains(',') || are_several(&addresses) {
            search.tuning = search.tuning.of_several();
        }
        search.race(addresses).await
    }

    pub(super) async fn race(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<(Dialler, Connection), TransportError> {
        Race::new(self.clone(), alternated(addresses)).run().await
    }

    async fn attempt(&self, address: SocketAddr) -> Result<(Dialler, Connection), TransportError> {
        let dialler = Dialler::bind(address, self.tuning.clone(), self.clock.clone())?;
        let connected = dialler.connect(address, &self.identity, self.protocol);
        let connection = connected.await?;
        Ok((dialler, connection))
    }
}

/// The addresses behind `host:port`, or behind several with commas between
/// them, in the order to try them. An address of one link says on which:
/// `[fe80::1%eth0]:7433` (RFC 4007).
///
/// # Errors
/// [`TransportError::UnknownHost`] if there are none: one of several names
/// that is not known now does not keep from the others.
pub async fn resolve(hosts: &str) -> Result<Vec<SocketAddr>, TransportError> {
    let (mut found, mut failure) = (Vec::new(), None);
    for host in hosts.split(',').map(str::trim) {
        match resolve_one(host).await {
            Ok(some) => found.extend(some),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

async fn resolve_one(host: &str) -> Result<Vec<SocketAddr>, TransportError> {
    let unknown = |source| TransportError::UnknownHost {
        host: host.to_owned(),
        source,
    };
    if let Some(scoped) = scoped(host) {
        return Ok(vec![scoped.map_err(unknown)?]);
    }
    let found = tokio::net::lookup_host(host).await.map_err(unknown)?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(unknown(std::io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// `[address%zone]:port`, the zone an interface's name or number; `None` if
/// it is not written so.
fn scoped(host: &str) -> Option<std::io::Result<SocketAddr>> {
    let (inside, port) = host.strip_prefix('[')?.split_once("]:")?;
    let (address, zone) = inside.split_once('%')?;
    let (address, port) = (address.parse::<Ipv6Addr>().ok()?, port.parse().ok()?);
    let index = match zone.parse::<u32>() {
        Ok(index) => Ok(index),
        Err(_) => interface(zone),
    };
    let at = |index| SocketAddr::V6(SocketAddrV6::new(address, port, 0, index));
    Some(index.map(at))
}

fn interface(name: &str) -> std::io::Result<u32> {
    let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    rustix::net::netdevice::name_to_index(&socket, name).map_err(|error| {
        let text = format!("interface {name}: {error}; `ip link` lists this machine's");
        std::io::Error::new(std::io::Error::from(error).kind(), text)
    })
}

/// Each family in its order, the families by turns: if the one does not work,
/// the second attempt is of the other.
fn alternated(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (same, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = (same.next(), other.next());
        if pair == (None, None) {
            ordered.truncate(ADDRESSES_MAX);
            return ordered;
        }
        ordered.extend(pair.0.into_iter().chain(pair.1));
    }
}

/// Whether these addresses of a name are of several machines: one machine
/// often has an address of each family.
fn are_several(addresses: &[SocketAddr]) -> bool {
    let of_v4 = addresses.iter().filter(|address| address.is_ipv4());
    let of_v4 = of_v4.count();
    of_v4.max(addresses.len() - of_v4) > 1
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn addresses(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let found = addresses(&["[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1"]);
        let expected = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(alternated(found), expected);
        assert_eq!(alternated(Vec::new()), Vec::new());
    }

    #[test]
    fn both_families_of_one_machine_are_not_several() {
        assert!(!are_several(&addresses(&["[::1]:1", "10.0.0.1:1"])));
        assert!(are_several(&addresses(&["10.0.0.2:1", "10.0.0.1:1"])));
        assert!(are_several(&addresses(&[
            "[::1]:1",
            "10.0.0.1:1",
            "[::2]:1"
        ])));
        assert!(!are_several(&[]));
    }

    #[tokio::test]
    async fn an_unknown_host_does_not_hide_the_others() {
        let found = resolve("127.0.0.1:1, no.such.invalid:2,[::1]:3")
            .await
            .unwrap();
        assert_eq!(found, addresses(&["127.0.0.1:1", "[::1]:3"]));
        let error = resolve("no.such.invalid:2").await.unwrap_err();
        assert!(matches!(error, TransportError::UnknownHost { .. }));
    }

    #[tokio::test]
    async fn an_address_of_a_link_says_which_link() {
        let lo = |text| async move { resolve(text).await.map(|found| found[0]) };
        let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 7_433, 0, 1);
        let expected = SocketAddr::V6(expected);
        assert_eq!(lo("[fe80::1%lo]:7433").await.unwrap(), expected);
        assert_eq!(lo("[fe80::1%1]:7433").await.unwrap(), expected);
        let error = lo("[fe80::1%nosuch]:7433").await.unwrap_err();
        assert!(matches!(error, TransportError::UnknownHost { .. }));
        assert!(error.to_string().contains("interface nosuch"), "{error}");
        assert!(lo("[fe80::1%lo]:seven").await.is_err());
    }
}
