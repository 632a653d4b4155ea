//! Peers that do what no honest device does, against a real coordinator.
//!
//! [`Mallory`] holds a certificate of the fleet and breaks the rules behind
//! it; [`stranger`] has none; [`lies`] are contributions that no data makes;
//! [`web`] reads the page as nobody should.
#![allow(clippy::unwrap_used)]

pub mod lies;
pub mod stranger;
pub mod web;

use std::net::SocketAddr;

use common::ids::{BlobHash, DeviceId};
use common::round::{ContributionKey, Kind, Phase};
use common::task::Task;
use common::transport::{
    BlobSpan, ClientIdentity, CloseCode, Connection, Dialler, Protocol, Stream, TransportError,
    Tuning,
};
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;
use common::trust::token::JoinToken;
use common::wire::codec::{decode, encode};
use common::wire::messages::{
    Call, EnrolAnswer, EnrolRequest, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice,
    TransferAnswer, TransferRequest, Welcome,
};

/// A member of the fleet that is up to no good.
pub struct Mallory {
    /// Its name.
    pub id: DeviceId,
    address: SocketAddr,
    identity: ClientIdentity,
}

impl Mallory {
    /// Joins by a token, as any device does.
    pub async fn join(address: SocketAddr, token: &str) -> Self {
        let token: JoinToken = token.parse().unwrap();
        let key = DeviceKey::generate().unwrap();
        let dialler = Dialler::bind(address, Tuning::device(), Clock::system()).unwrap();
        let ca_pin = token.ca_pin;
        let identity = ClientIdentity::Enrolling { ca_pin };
        let connection = dialler.connect(address, &identity, Protocol::Enrolment);
        let connection = connection.await.unwrap();
        let request = EnrolRequest::Join {
            token: token.id.to_string(),
            secret: token.secret.reveal().to_vec(),
            csr: key.signing_request().unwrap(),
            label: "mallory".into(),
        };
        let mut stream = connection.open_control().await.unwrap();
        let answer = stream.ask(&encode(&request)).await.unwrap();
        let EnrolAnswer::Issued {
            device,
            certificate,
            authorities,
            ..
        } = decode(&answer.unwrap()).unwrap()
        else {
            panic!("not admitted")
        };
        connection.close(CloseCode::Normal, "");
        let authorities = authorities.into_iter().map(|one| one.certificate.into());
        Self {
            id: device,
            address,
            identity: ClientIdentity::Enrolled {
                credentials: key.certified(certificate.into()).unwrap(),
                authorities: authorities.collect(),
            },
        }
    }

    /// A connection on which nothing has been said.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn connect(&self) -> Result<(Dialler, Connection), TransportError> {
        let dialler = Dialler::bind(self.address, Tuning::device(), Clock::system())?;
        let connection = dialler
            .connect(self.address, &self.identity, Protocol::Devices)
            .await?;
        Ok((dialler, connection))
    }

    /// A session that was welcomed.
    pub async fn session(&self) -> Session {
        let (dialler, connection) = self.connect().await.unwrap();
        let mut control = connection.open_control().await.unwrap();
        control.send(&encode(&hello(PROTOCOL_MINOR))).await.unwrap();
        let first = control.recv().await.unwrap().unwrap();
        let ToDevice::Welcome(welcome) = decode(&first).unwrap() else {
            panic!("not welcome")
        };
        Session {
            _dialler: dialler,
            connection,
            control,
            welcome,
        }
    }

    /// Says this as the first thing on a control stream, as it is, and
    /// returns the code it is thrown out with.
    pub async fn thrown_out_for(&self, bytes: &[u8]) -> CloseCode {
        let (_dialler, connection) = self.connect().await.unwrap();
        let mut control = connection.open_control().await.unwrap();
        // It may be thrown out while it still speaks.
        let _ = control.sender.send_blob(0, bytes).await;
        code(connection.closed().await)
    }

    /// The code with which its sessions are refused.
    pub async fn refused_with(&self) -> CloseCode {
        match self.connect().await {
            Ok((_dialler, connection)) => code(connection.closed().await),
            Err(error) => code(error),
        }
    }
}

/// A session of Mallory's.
pub struct Session {
    _dialler: Dialler,
    /// Its connection.
    pub connection: Connection,
    /// Its control stream.
    pub control: Stream,
    /// What it was welcomed with.
    pub welcome: Welcome,
}

impl Session {
    /// The call to a phase; whatever comes before it is passed over.
    pub async fn call(&mut self, phase: Phase) -> Call {
        loop {
            let message = self.control.recv().await.unwrap().unwrap();
            if let ToDevice::Call(call) = decode(&message).unwrap()
                && call.phase == phase
            {
                return call;
            }
        }
    }

    /// Says on the control stream.
    pub async fn say(&mut self, message: &ToCoordinator) {
        self.control.send(&encode(message)).await.unwrap();
    }

    /// Says that it has nothing for this call.
    pub async fn abstain(&mut self, call: &Call) {
        let (task, round, phase) = (call.task, call.round, call.phase);
        self.say(&ToCoordinator::Abstain { task, round, phase })
            .await;
    }

    /// Asks on a transfer stream.
    pub async fn ask(&self, request: TransferRequest) -> TransferAnswer {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let answer = stream.ask(&encode(&request)).await.unwrap().unwrap();
        decode(&answer).unwrap()
    }

    /// Offers these bytes and sends what is asked of them.
    pub async fn give(&self, key: ContributionKey, bytes: &[u8]) -> TransferAnswer {
        self.give_as(key, BlobHash::of(bytes), bytes).await
    }

    /// The same, under a name that may be another's.
    pub async fn give_as(
        &self,
        key: ContributionKey,
        blob: BlobHash,
        bytes: &[u8],
    ) -> TransferAnswer {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let bytes_len = bytes.len() as u64;
        let offer = TransferRequest::Offer {
            key,
            blob,
            bytes: bytes_len,
        };
        let answer = stream.ask(&encode(&offer)).await.unwrap().unwrap();
        let TransferAnswer::Send { offset } = decode(&answer).unwrap() else {
            return decode(&answer).unwrap();
        };
        stream.sender.send_blob(offset, bytes).await.unwrap();
        decode(&stream.receiver.recv_answer().await.unwrap().unwrap()).unwrap()
    }

    /// Fetches a blob that the fleet shares.
    pub async fn fetch(&self, blob: BlobHash) -> Option<Vec<u8>> {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let request = TransferRequest::Fetch { blob, offset: 0 };
        let answer = stream.ask(&encode(&request)).await.unwrap().unwrap();
        let TransferAnswer::Blob { bytes } = decode(&answer).unwrap() else {
            return None;
        };
        let mut whole = Vec::new();
        let span = BlobSpan::new(0, bytes).unwrap();
        let received = stream.receiver.recv_blob(span, |chunk| {
            whole.extend_from_slice(chunk);
            Ok(())
        });
        received.await.unwrap();
        Some(whole)
    }

    /// The task it was welcomed with.
    pub async fn task(&self) -> Task {
        let spec = self.welcome.tasks[0].1;
        Task::from_bytes(&self.fetch(spec).await.unwrap()).unwrap()
    }
}

/// The key of an answer to a call.
pub fn key(call: &Call, kind: Kind) -> ContributionKey {
    ContributionKey {
        task: call.task,
        transfer: call.context.transfer,
        round: call.round,
        phase: call.phase,
        kind,
    }
}

/// The first message of a session.
pub fn hello(minor: u16) -> ToCoordinator {
    ToCoordinator::Hello(Hello {
        minor,
        agent: "mallory".into(),
        installed: Vec::new(),
        instance: 0,
        clock: common::ids::Time(0),
    })
}

/// The code a connection was closed with.
pub fn code(error: TransportError) -> CloseCode {
    match error {
        TransportError::Closed { code, .. } => code,
        other => panic!("not closed by the coordinator: {other}"),
    }
}
