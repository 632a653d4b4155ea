//! Real endpoints on loopback, with real certificates.
#![allow(clippy::unwrap_used)]

mod gateways;
mod identity;
mod search;
mod streams;

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use protocol::ids::Time;
use protocol::trust::authority::{Authority, SigningRequest};
use protocol::trust::clock::Clock;
use protocol::trust::device_key::DeviceKey;

const NOW: Time = Time(1_800_000_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An authority, a listener that trusts it, and a device's socket.
struct Fleet {
    authority: Authority,
    listener: Listener,
    dialler: Dialler,
    address: SocketAddr,
}

type Met = (
    Result<Connection, TransportError>,
    Result<Connection, TransportError>,
);

impl Fleet {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ListenerSettings)) -> Self {
        let authority = Authority::create("test", NOW).unwrap();
        let mut settings = settings(&authority);
        change(&mut settings);
        let tuning = Tuning {
            no_progress_ms: settings.tuning.no_progress_ms,
            ..Tuning::device()
        };
        let listener = Listener::bind(ANY_PORT, settings).unwrap();
        let address = listener.local_address().unwrap();
        let dialler = Dialler::bind(address, tuning, Clock::fixed(NOW)).unwrap();
        Self {
            authority,
            listener,
            dialler,
            address,
        }
    }

    /// A device of this fleet, with a certificate for 30 days.
    fn device(&self) -> ClientIdentity {
        enrolled(&self.authority, &self.authority)
    }

    /// What the coordinator and the device make of each other.
    async fn meet(&self, identity: &ClientIdentity, protocol: Protocol) -> Met {
        tokio::join!(
            async { self.listener.next().await.unwrap().admit().await },
            self.dialler.connect(self.address, identity, protocol)
        )
    }

    /// Both ends of an admitted device's connection.
    async fn connected(&self) -> (Connection, Connection) {
        let (server, device) = self.meet(&self.device(), Protocol::Devices).await;
        (server.unwrap(), device.unwrap())
    }
}

fn settings(authority: &Authority) -> ListenerSettings {
    let credentials = authority.server_certificate(&[], NOW, 90).unwrap();
    let trusted = vec![authority.certificate().clone()];
    ListenerSettings::new(credentials, trusted, Clock::fixed(NOW))
}

/// A device certified by one authority, which believes another.
fn enrolled(certified_by: &Authority, believes: &Authority) -> ClientIdentity {
    let key = DeviceKey::generate().unwrap();
    let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
    let certificate = certified_by.sign_device(&request, NOW, 30).unwrap();
    ClientIdentity::Enrolled {
        credentials: key.certified(certificate).unwrap(),
        authorities: vec![believes.certificate().clone()],
    }
}
