//! A server, an operator and devices to try it with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::ids::{BlobHash, DeviceId, TaskHash, Time};
use common::round::{ContributionKey, Kind, Reason};
use common::task::Task;
use common::transport::{
    BlobSpan, ClientIdentity, CloseCode, Connection, Dialler, Protocol, Stream, TransportError,
    Tuning,
};
use common::trust::bundle::believe;
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;
use common::trust::token::{Approval, JoinToken};
use common::wire::codec::{decode, encode};
use common::wire::messages::{
    Call, EnrolAnswer, EnrolRequest, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice,
    TransferAnswer, TransferRequest,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::{Parts, ServeError, Server};
use crate::admin::{AdminError, Client, Request, Response, TokenWish};
use crate::compute::Made;
use crate::identity::{CertificateTerms, Identity};
use crate::round::{Comparison, Job, JobKind, JobOutput, Product};
use crate::server::ComputeBackend;
use crate::status::Status;
use crate::store::{MemoryStore, Store};
use crate::validation::ReadBlob;

/// Two devices, both needed.
pub(super) const PAIR: &str = r#"
name = "pair"
contribute = "both"
[input]
shape = [2]
[classes]
names = ["off", "on"]
[rounds]
devices_min = 2
quorum = 1.0
"#;

/// Mathematics that make short blobs and like all that does not begin with
/// `bad`.
struct Fake;

impl ComputeBackend for Fake {
    fn run(&self, job: &Job, _: &Task, _: ReadBlob<'_>, _: Time) -> Result<Made, String> {
        let bytes = format!("{:?}", job.kind).into_bytes();
        let blob = BlobHash::of(&bytes);
        let output = match &job.kind {
            JobKind::Normalise { .. } => JobOutput::Product(Product::Normaliser(blob)),
            JobKind::Gather { .. } => JobOutput::Product(Product::TransferSet { blob, points: 9 }),
            JobKind::Solve { .. } => JobOutput::Product(Product::Teacher(blob)),
            JobKind::Distil { .. } | JobKind::Refine { .. } => {
                JobOutput::Product(Product::Student(blob))
            }
            JobKind::Compare { .. } => JobOutput::Compared(Comparison::Better),
            JobKind::Sign { .. } | JobKind::SignAgain { .. } => JobOutput::Release {
                blob,
                bytes: bytes.len() as u64,
            },
        };
        Ok(Made { bytes, output })
    }

    fn check(
        &self,
        _: &Task,
        _: &ContributionKey,
        bytes: &[u8],
        _: ReadBlob<'_>,
    ) -> Result<u64, Reason> {
        if bytes.starts_with(b"bad") {
            return Err(Reason::NotFinite);
        }
        Ok(bytes.len() as u64)
    }

    fn scored(&self, _: &[u8]) -> Option<common::report::RawReport> {
        Some(common::report::RawReport {
            version: common::ids::Version {
                epoch: 1,
                number: 1,
            },
            rows: 10,
            correct: 9,
            previous_correct: None,
            installed: true,
            errors: common::wire::codec::Trailing(None),
        })
    }
}

/// A running server.
pub(super) struct Rig {
    pub(super) store: Arc<MemoryStore>,
    pub(super) address: std::net::SocketAddr,
    pub(super) socket: PathBuf,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
    folder: Arc<tempfile::TempDir>,
    keys: Keys,
}

/// What a coordinator is recognised by after a restart, and its clock.
#[derive(Clone)]
struct Keys(Arc<tempfile::TempDir>, Arc<AtomicU64>);

impl Keys {
    fn load(&self) -> Identity {
        Identity::load(self.0.path(), &[], Clock::system().now()).unwrap()
    }
}

impl Rig {
    pub(super) fn start() -> Self {
        Self::begin(|_| {})
    }

    /// One with a page on a free port.
    pub(super) fn start_with_page() -> Self {
        Self::start_with_page_on(MemoryStore::new())
    }

    /// The same on a store that holds something already.
    pub(super) fn start_with_page_on(store: MemoryStore) -> Self {
        Self::begin_on(store, |parts| {
            parts.page = Some(crate::page::PageSettings {
                listen: ([127, 0, 0, 1], 0).into(),
                required: true,
                public: false,
                hosts: Vec::new(),
                state: std::env::temp_dir(),
            });
        })
    }

    pub(super) fn begin(change: impl FnOnce(&mut Parts)) -> Self {
        Self::begin_on(MemoryStore::new(), change)
    }

    fn begin_on(store: MemoryStore, change: impl FnOnce(&mut Parts)) -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let keys = Keys(Arc::new(tempfile::tempdir().unwrap()), ahead);
        let identity = Identity::generate(&[], Clock::system().now()).unwrap();
        identity.create_in(keys.0.path()).unwrap();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::launch(Arc::new(store), folder, keys, change)
    }

    fn start_with(store: Arc<MemoryStore>, folder: Arc<tempfile::TempDir>, keys: Keys) -> Self {
        Self::launch(store, folder, keys, |_| {})
    }

    fn launch(
        store: Arc<MemoryStore>,
        folder: Arc<tempfile::TempDir>,
        keys: Keys,
        change: impl FnOnce(&mut Parts),
    ) -> Self {
        let socket = folder.path().join("admin.sock");
        let (system, ahead) = (Clock::system(), keys.1.clone());
        let clock = Clock::new(move || system.now().after_ms(ahead.load(Ordering::SeqCst)));
        let mut parts = Parts {
            clock,
            ..parts(&store, &socket, keys.load())
        };
        change(&mut parts);
        let server = Server::start(parts).unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            address: server.address().unwrap(),
            running: tokio::spawn(server.run_until(async {
                let _ = stopped.await;
            })),
            store,
            socket,
            stop,
            folder,
            keys,
        }
    }

    /// Sets the coordinator's clock ahead.
    pub(super) fn advance(&self, ms: u64) {
        self.keys.1.fetch_add(ms, Ordering::SeqCst);
    }

    /// The coordinator's state directory.
    pub(super) fn state(&self) -> &std::path::Path {
        self.keys.0.path()
    }

    /// Stops the server and waits for its end.
    pub(super) async fn stop(self) -> (Arc<MemoryStore>, Stopped) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        (self.store, Stopped(self.folder, self.keys))
    }

    /// Stops the server and starts another on the same store.
    pub(super) async fn restart(self) -> Self {
        let (store, Stopped(folder, keys)) = self.stop().await;
        Self::start_with(store, folder, keys)
    }

    /// Asks the operators' socket, which blocks, away from the server.
    pub(super) async fn operate<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Client) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let socket = self.socket.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&mut Client::connect(socket)?));
        asked.await.unwrap()
    }

    pub(super) async fn status(&self) -> Status {
        self.operate(Client::status).await.unwrap()
    }

    pub(super) async fn task(&self, text: &'static str) -> TaskHash {
        let made = self.operate(|client| client.create_task(text)).await;
        made.unwrap().task
    }

    pub(super) async fn token(&self, uses: u32) -> JoinToken {
        let made = self
            .operate(move |client| client.create_token(60_000, uses))
            .await;
        made.unwrap().parse().unwrap()
    }

    pub(super) async fn token_with_approval(&self) -> JoinToken {
        let wish = TokenWish {
            ttl_ms: 60_000,
            uses: 1,
            group: Some("hall".into()),
            approval: Approval::Manual,
        };
        let made = self
            .operate(|client| client.ask(&Request::CreateToken(wish)))
            .await;
        let Response::Token { token, .. } = made.unwrap() else {
            panic!("not a token")
        };
        token.parse().unwrap()
    }

    /// Asks for something that is answered by `Done`, or for its fault.
    pub(super) async fn done(&self, request: Request) -> Result<(), AdminError> {
        let answer = self.operate(move |client| client.ask(&request)).await?;
        assert_eq!(answer, Response::Done);
        Ok(())
    }

    pub(super) fn dialler(&self) -> Dialler {
        Dialler::bind(self.address, Tuning::device(), Clock::system()).unwrap()
    }

    /// Joins by a token and returns the answer.
    pub(super) async fn enrol(&self, token: &JoinToken, key: &DeviceKey) -> EnrolAnswer {
        let identity = ClientIdentity::Enrolling {
            ca_pin: token.ca_pin,
        };
        let request = EnrolRequest::Join {
            token: token.id.to_string(),
            secret: token.secret.reveal().to_vec(),
            csr: key.signing_request().unwrap(),
            label: "pump".into(),
        };
        self.ask_at_door(&identity, &request).await.unwrap()
    }

    /// Asks on the enrolment protocol.
    pub(super) async fn ask_at_door(
        &self,
        identity: &ClientIdentity,
        request: &EnrolRequest,
    ) -> Result<EnrolAnswer, TransportError> {
        let dialler = self.dialler();
        let connection = dialler
            .connect(self.address, identity, Protocol::Enrolment)
            .await?;
        let mut stream = connection.open_control().await.unwrap();
        let answer = stream.ask(&encode(request)).await.unwrap().unwrap();
        connection.close(CloseCode::Normal, "");
        dialler.close(CloseCode::Normal).await;
        Ok(decode(&answer).unwrap())
    }

    /// A new device that has joined.
    pub(super) async fn device(&self) -> Device {
        let token = self.token(1).await;
        let key = DeviceKey::generate().unwrap();
        let EnrolAnswer::Issued {
            device,
            certificate,
            authorities,
            ..
        } = self.enrol(&token, &key).await
        else {
            panic!("not admitted")
        };
        let identity = ClientIdentity::Enrolled {
            credentials: key.certified(certificate.into()).unwrap(),
            authorities: authorities
                .into_iter()
                .map(|one| one.certificate.into())
                .collect(),
        };
        Device {
            id: device,
            identity,
            key,
        }
    }
}

/// What is left of a stopped server.
pub(super) struct Stopped(Arc<tempfile::TempDir>, Keys);

/// What a server on this store is made of.
pub(super) fn parts(
    store: &Arc<MemoryStore>,
    socket: &std::path::Path,
    identity: Identity,
) -> Parts {
    let store = store.clone();
    Parts {
        limits: Default::default(),
        releases: crate::rollout::Releases::default(),
        listen: ([127, 0, 0, 1], 0).into(),
        admin_socket: socket.to_owned(),
        database: None,
        connections: None,
        identity,
        open_store: Box::new(move || {
            store.restart();
            Ok(store.clone() as Arc<dyn Store>)
        }),
        compute: Arc::new(Fake),
        clock: Clock::system(),
        uptime: None,
        renew_before: None,
        tuning: Tuning::coordinator(),
        certificates: CertificateTerms::default(),
        page: None,
        retention: crate::journal::Retention::default(),
        service: common::service::Service::none(),
    }
}

/// A device's credentials.
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) identity: ClientIdentity,
    pub(super) key: DeviceKey,
}

impl Device {
    /// Asks for the next certificate and takes it.
    pub(super) async fn renew(&mut self, rig: &Rig) -> Result<EnrolAnswer, TransportError> {
        let request = EnrolRequest::Renew {
            csr: self.key.signing_request().unwrap(),
        };
        let answer = rig.ask_at_door(&self.identity, &request).await?;
        if let EnrolAnswer::Renewed {
            certificate,
            authorities,
        } = &answer
        {
            let ClientIdentity::Enrolled {
                authorities: trusted,
                ..
            } = &self.identity
            else {
                panic!("not enrolled")
            };
            self.identity = ClientIdentity::Enrolled {
                credentials: self.key.certified(certificate.clone().into()).unwrap(),
                authorities: believe(trusted, authorities),
            };
        }
        Ok(answer)
    }

    pub(super) async fn dial(&self, rig: &Rig) -> Result<(Dialler, Connection), TransportError> {
        let dialler = rig.dialler();
        let connection = dialler
            .connect(rig.address, &self.identity, Protocol::Devices)
            .await?;
        Ok((dialler, connection))
    }

    /// A session that was welcomed.
    pub(super) async fn session(&self, rig: &Rig) -> Session {
        let (dialler, connection) = self.dial(rig).await.unwrap();
        let mut control = connection.open_control().await.unwrap();
        control.send(&encode(&hello(PROTOCOL_MINOR))).await.unwrap();
        let mut session = Session {
            _dialler: dialler,
            connection,
            control,
        };
        assert!(matches!(session.next().await, ToDevice::Welcome(_)));
        session
    }
}

pub(super) fn hello(minor: u16) -> ToCoordinator {
    ToCoordinator::Hello(Hello {
        minor,
        agent: "test".into(),
        installed: Vec::new(),
        instance: 0,
        clock: Time(0),
    })
}

/// A device's end of a session.
pub(super) struct Session {
    _dialler: Dialler,
    pub(super) connection: Connection,
    pub(super) control: Stream,
}

impl Session {
    pub(super) async fn next(&mut self) -> ToDevice {
        decode(&self.control.recv().await.unwrap().unwrap()).unwrap()
    }

    /// The next call; other messages are passed over.
    pub(super) async fn call(&mut self) -> Call {
        loop {
            if let ToDevice::Call(call) = self.next().await {
                return call;
            }
        }
    }

    pub(super) async fn ask(&self, request: TransferRequest) -> TransferAnswer {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let answer = stream.ask(&encode(&request)).await.unwrap().unwrap();
        decode(&answer).unwrap()
    }

    /// Offers these bytes and sends what is asked of them.
    pub(super) async fn give(&self, key: ContributionKey, bytes: &[u8]) -> TransferAnswer {
        let blob = BlobHash::of(bytes);
        self.give_as(key, blob, bytes).await
    }

    /// The same, under a name that may be another's.
    pub(super) async fn give_as(
        &self,
        key: ContributionKey,
        blob: BlobHash,
        bytes: &[u8],
    ) -> TransferAnswer {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let offer = TransferRequest::Offer {
            key,
            blob,
            bytes: bytes.len() as u64,
        };
        let answer = stream.ask(&encode(&offer)).await.unwrap().unwrap();
        let answer = decode(&answer).unwrap();
        let TransferAnswer::Send { offset } = answer else {
            return answer;
        };
        stream.sender.send_blob(offset, bytes).await.unwrap();
        decode(&stream.receiver.recv_answer().await.unwrap().unwrap()).unwrap()
    }

    /// The same with the bytes behind the offer, which says this length. None if the
    /// stream is given up.
    pub(super) async fn give_whole(
        &self,
        key: ContributionKey,
        bytes: &[u8],
        length: u64,
    ) -> Option<TransferAnswer> {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let offer = TransferRequest::Whole {
            key,
            blob: BlobHash::of(bytes),
            bytes: length,
            signature: None,
        };
        stream.send(&encode(&offer)).await.unwrap();
        let _ = stream.sender.send_blob(0, bytes).await;
        let answer = stream.receiver.recv_answer().await.ok()??;
        Some(decode(&answer).unwrap())
    }

    /// Gives until it is taken, as a device does after a transient refusal.
    pub(super) async fn give_until_taken(&self, key: ContributionKey, bytes: &[u8]) {
        for _ in 0..10_000 {
            match self.give(key, bytes).await {
                TransferAnswer::Accepted => return,
                TransferAnswer::Refused(Reason::Storage) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("never taken");
    }

    /// Fetches a blob, if there is one for this device.
    pub(super) async fn fetch(&self, blob: BlobHash) -> Option<Vec<u8>> {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let request = TransferRequest::Fetch { blob, offset: 0 };
        let answer = stream.ask(&encode(&request)).await.unwrap().unwrap();
        let TransferAnswer::Blob { bytes } = decode(&answer).unwrap() else {
            return None;
        };
        let span = BlobSpan::new(0, bytes).unwrap();
        let mut whole = Vec::new();
        stream
            .receiver
            .recv_blob(span, |chunk| {
                whole.extend_from_slice(chunk);
                Ok(())
            })
            .await
            .unwrap();
        Some(whole)
    }

    /// Answers every call of a round until the student has been reported on.
    pub(super) async fn take_part(mut self) -> Self {
        loop {
            let call = self.call().await;
            let kinds = call.phase.kinds().iter();
            // Nothing is refined here.
            for kind in kinds.filter(|kind| **kind != Kind::Gradient) {
                let bytes = format!("{kind} of {:?}", self.connection.handshake_traffic());
                self.give_until_taken(key(&call, *kind), bytes.as_bytes())
                    .await;
            }
            if call.phase == common::round::Phase::Report {
                return self;
            }
        }
    }
}

pub(super) fn key(call: &Call, kind: Kind) -> ContributionKey {
    ContributionKey {
        task: call.task,
        transfer: call.context.transfer,
        round: call.round,
        phase: call.phase,
        kind,
    }
}
