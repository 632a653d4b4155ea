//! A coordinator for tests: real transport on loopback, scripted answers.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use common::ids::Time;
use common::transport::{Arrival, Connection, Listener, ListenerSettings, Stream, Tuning};
use common::trust::authority::{Authority, SigningRequest};
use common::trust::certificate::certificate_to_pem;
use common::trust::clock::Clock;
use common::trust::keys::SigningKey;
use common::trust::trust_root::{Freshness, SignedTrustRoot, TrustRoot};
use common::wire::codec::{decode, encode};
use common::wire::messages::{Hello, ToCoordinator, ToDevice, TransferAnswer, TransferRequest};

use crate::identity::{Identity, Membership, TimeFloor, load_or_make_key};
use crate::route::Route;
use crate::state::StateDir;
use crate::trust::Trust;

pub(crate) struct Fleet {
    pub(crate) authority: Authority,
    pub(crate) signing: SigningKey,
    pub(crate) trust_root: Vec<u8>,
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    /// How far behind its clock is that certifies devices.
    pub(crate) behind_ms: u64,
}

/// A device's session as the coordinator sees it.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) control: Stream,
    pub(crate) hello: Hello,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let now = Clock::system().now();
        let authority = Authority::create("test", now).unwrap();
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        let server = authority
            .server_certificate(&[loopback.into()], now, 30)
            .unwrap();
        let settings = ListenerSettings::new(
            server,
            vec![authority.certificate().clone()],
            Clock::system(),
        );
        let signing = SigningKey::generate().unwrap();
        let listener = Listener::bind((loopback, 0).into(), settings).unwrap();
        Self {
            address: listener.local_address().unwrap(),
            authority,
            trust_root: trust_root(&signing),
            signing,
            listener,
            folder: tempfile::tempdir().unwrap(),
            behind_ms: 0,
        }
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::create(&self.folder.path().join("state")).unwrap()
    }

    /// A certificate for a device's signing request.
    pub(crate) fn certify(&self, csr: &[u8]) -> Vec<u8> {
        let request = SigningRequest::parse(csr).unwrap();
        let now = Time(Clock::system().now().0 - self.behind_ms);
        let certificate = self.authority.sign_device(&request, now, 30).unwrap();
        certificate.to_vec()
    }

    /// Makes the device in [`Self::state`] a member.
    pub(crate) fn join(&self) -> Arc<Identity> {
        let state = self.state();
        let key = load_or_make_key(&state).unwrap();
        let certificate = self.certify(&key.signing_request().unwrap());
        let membership = Membership {
            coordinator: self.address.to_string(),
            device: key.device(),
            label: String::new(),
            certificate: certificate_to_pem(&certificate.into()),
            authority: self.authority.certificate_pem(),
        };
        membership.store(&state).unwrap();
        Trust::first(&self.trust_root)
            .unwrap()
            .store(&state)
            .unwrap();
        Arc::new(Identity::load(&state).unwrap())
    }

    pub(crate) fn route(&self, identity: Arc<Identity>) -> Route {
        Route {
            coordinator: identity.membership.coordinator.clone(),
            identity,
            floor: TimeFloor(Time(0)),
            tuning: Tuning::device(),
        }
    }

    pub(crate) async fn arrival(&self) -> Arrival {
        self.listener.next().await.unwrap()
    }

    /// The next device that says hello.
    pub(crate) async fn session(&self) -> Session {
        let connection = self.arrival().await.admit().await.unwrap();
        let mut control = connection.accept_control().await.unwrap();
        let first = control.recv().await.unwrap().unwrap();
        let ToCoordinator::Hello(hello) = decode(&first).unwrap() else {
            panic!("the first message is no hello");
        };
        Session {
            connection,
            control,
            hello,
        }
    }
}

/// A trust root that names one key, by a root that nobody keeps.
pub(crate) fn trust_root(key: &SigningKey) -> Vec<u8> {
    let root = SigningKey::generate().unwrap();
    let trust_root = TrustRoot {
        number: 1,
        issued: Time(1),
        expires: Time(u64::MAX),
        root: root.verifying_key(),
        release_keys: vec![key.verifying_key()],
    };
    SignedTrustRoot::sign(trust_root, &[&root])
        .unwrap()
        .to_bytes()
}

/// A statement that is fresh for ever.
pub(crate) fn freshness(key: &SigningKey) -> Vec<u8> {
    let statement = Freshness {
        issued: Time(1),
        expires: Time(u64::MAX),
        trust_root: 1,
    };
    statement.sign(key).unwrap()
}

impl Session {
    pub(crate) async fn push(&mut self, message: ToDevice) {
        self.control.send(&encode(&message)).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> ToCoordinator {
        decode(&self.control.recv().await.unwrap().unwrap()).unwrap()
    }

    /// The next transfer the device asks for.
    pub(crate) async fn transfer(&self) -> (TransferRequest, Stream) {
        let mut stream = self.connection.accept_transfer().await.unwrap();
        let request = stream.recv().await.unwrap().unwrap();
        (decode(&request).unwrap(), stream)
    }

    /// Serves one fetch of `bytes`.
    pub(crate) async fn serve(&self, bytes: &[u8]) -> TransferRequest {
        let (request, mut stream) = self.transfer().await;
        let TransferRequest::Fetch { offset, .. } = request else {
            panic!("{request:?} is no fetch");
        };
        let answer = TransferAnswer::Blob {
            bytes: bytes.len() as u64,
        };
        stream.send(&encode(&answer)).await.unwrap();
        stream.sender.send_blob(offset, bytes).await.unwrap();
        stream.sender.finish();
        stream.sender.delivered().await.unwrap();
        request
    }

    /// Takes one offered contribution and accepts it.
    pub(crate) async fn accept(&self) -> (TransferRequest, Vec<u8>) {
        let (request, mut stream) = self.transfer().await;
        let bytes = match request {
            TransferRequest::Whole { bytes, .. } => bytes,
            TransferRequest::Offer { bytes, .. } => {
                let send = TransferAnswer::Send { offset: 0 };
                stream.send(&encode(&send)).await.unwrap();
                bytes
            }
            other => panic!("{other:?} is no offer"),
        };
        let mut got = Vec::new();
        let span = common::transport::BlobSpan::new(0, bytes).unwrap();
        let keep = |chunk: &[u8]| {
            got.extend_from_slice(chunk);
            Ok(())
        };
        stream.receiver.recv_blob(span, keep).await.unwrap();
        stream
            .send(&encode(&TransferAnswer::Accepted))
            .await
            .unwrap();
        stream.sender.finish();
        stream.sender.delivered().await.unwrap();
        (request, got)
    }
}
