//! A device's end: finding the coordinator and being sure it is the one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};

use super::admission::PeerIdentity;
use super::alpn::Protocol;
use super::close;
use super::connection::{Admitted, Connection, peer_chain};
use super::error::TransportError;
use super::listener::{ADMISSION_MARK, LAST_WORD};
use super::silence::Silence;
use super::tls;
use super::tuning::Tuning;
use super::verifier::{CoordinatorVerifier, Trust};
use protocol::close::CloseCode;
use protocol::host_port::HostPort;
use protocol::trust::authority::SERVER_NAME;
use protocol::trust::certificate::{CertificateFacts, Credentials, Fingerprint};
use protocol::trust::clock::Clock;

/// Who the device is, and whom it believes.
#[derive(Clone, Debug)]
pub enum ClientIdentity {
    /// A device that joins: no certificate yet, and the pin of its token.
    Enrolling {
        /// The fingerprint of the authority it must meet.
        ca_pin: Fingerprint,
    },
    /// A device that has joined.
    Enrolled {
        /// Its certificate and key.
        credentials: Credentials,
        /// The authorities it believes; more than one while they are being
        /// exchanged.
        authorities: Vec<CertificateDer<'static>>,
    },
}

/// A UDP socket from which connections are made. One is enough for a device;
/// a new one after a failure gets a new port, and so a new path through a
/// router that lost its memory.
#[derive(Debug)]
pub struct Dialler {
    endpoint: quinn::Endpoint,
    tuning: Tuning,
    clock: Clock,
}

impl Dialler {
    /// Takes any free port, of the address family of `remote`. Must be
    /// called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`TransportError::Address`] if the machine does not have that family.
    pub fn bind(remote: SocketAddr, tuning: Tuning, clock: Clock) -> Result<Self, TransportError> {
        let any = match remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Self::bind_at(any, tuning, clock)
    }

    /// The same, from this address of the machine; port 0 takes any free one.
    ///
    /// # Errors
    /// [`TransportError::Address`] if it is not the machine's.
    pub fn bind_at(
        local: SocketAddr,
        tuning: Tuning,
        clock: Clock,
    ) -> Result<Self, TransportError> {
        let endpoint = UdpSocket::bind(local)
            .and_then(|socket| {
                let runtime = Arc::new(quinn::TokioRuntime);
                quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)
            })
            .map_err(|source| TransportError::binding(local, source))?;
        Ok(Self {
            endpoint,
            tuning,
            clock,
        })
    }

    /// Connects, verifies the coordinator and waits to be admitted.
    ///
    /// Until the coordinator is verified it receives a hello with the name
    /// of the protocol, and nothing else: no certificate and no word of the
    /// device.
    ///
    /// # Errors
    /// About the coordinator: [`TransportError::PinMismatch`],
    /// [`TransportError::ForeignServer`], [`TransportError::ExpiredServer`],
    /// [`TransportError::UnfitServer`]. From the coordinator:
    /// [`TransportError::Closed`] with its code, [`TransportError::NotLeading`]
    /// where another coordinator leads, [`TransportError::RefusedUs`],
    /// [`TransportError::NoCommonProtocol`]. Otherwise
    /// [`TransportError::NoAnswer`], [`TransportError::Stalled`] or
    /// [`TransportError::Credentials`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        identity: &ClientIdentity,
        protocol: Protocol,
    ) -> Result<Connection, TransportError> {
        let (trust, credentials) = match identity {
            ClientIdentity::Enrolling { ca_pin } => (Trust::Pinned(*ca_pin), None),
            ClientIdentity::Enrolled {
                credentials,
                authorities,
            } => (Trust::Authorities(authorities.clone()), Some(credentials)),
        };
        let (config, verifier) = tls::client(
            trust,
            credentials,
            protocol,
            self.clock.clone(),
            &self.tuning,
        )?;
        let connection = self.handshake(address, config, &verifier).await?;
        timeout(self.tuning.handshake(), admitted(&connection))
            .await
            .map_err(|_| TransportError::Stalled {
                waited_ms: self.tuning.handshake_ms,
            })?
            .map_err(not_leading)?;
        let certificate = match peer_chain(&connection).first() {
            None => None,
            Some(der) => Some(CertificateFacts::parse(der)?),
        };
        let admitted = Admitted {
            protocol,
            peer: PeerIdentity::Coordinator,
            certificate,
            no_progress: self.tuning.no_progress(),
            name: None,
            permit: None,
        };
        Ok(Connection::new(connection, admitted))
    }

    /// Closes the connections of this socket and waits until the peers have
    /// been told, but not long: one may have vanished.
    pub async fn close(&self, code: CloseCode) {
        self.endpoint.close(close::wire(code), &[]);
        let _ = timeout(LAST_WORD, self.endpoint.wait_idle()).await;
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        config: quinn::ClientConfig,
        verifier: &CoordinatorVerifier,
    ) -> Result<quinn::Connection, TransportError> {
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| TransportError::Address {
                address,
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
            })?;
        let silent = |waited_ms, silence| TransportError::NoAnswer {
            address,
            waited_ms,
            silence,
        };
        let begun = Instant::now();
        let answered = tokio::select! {
            answered = timeout(self.tuning.handshake(), connecting) => answered,
            silence = complaint(address) => {
                return Err(silent(begun.elapsed().as_millis() as u64, silence));
            }
        };
        match answered {
            Err(_) | Ok(Err(quinn::ConnectionError::TimedOut)) => {
                let silence = Silence::of(address).await;
                Err(silent(self.tuning.handshake_ms, silence))
            }
            Ok(Err(error)) => Err(verifier.take_refusal().unwrap_or_else(|| error.into())),
            Ok(Ok(connection)) => Ok(connection),
        }
    }
}

/// The network's complaint about an address that has not answered for a
/// moment. It is believed if the address stays silent for a second more, for
/// a router may complain of the question and let QUIC pass.
async fn complaint(address: SocketAddr) -> Silence {
    sleep(SILENT).await;
    let silence = Silence::told(address).await;
    sleep(BELIEVED).await;
    silence
}

/// Believes who leads instead. Only here, behind the handshake: the same words in
/// one of its packets could be anybody's.
fn not_leading(error: TransportError) -> TransportError {
    match error {
        TransportError::Closed {
            code: CloseCode::NotLeading,
            reason,
        } => TransportError::NotLeading {
            leader: HostPort::parse(&reason),
        },
        other => other,
    }
}

/// Waits for the admission mark.
async fn admitted(connection: &quinn::Connection) -> Result<(), TransportError> {
    let mut stream = connection.accept_uni().await?;
    let mut mark = [0u8; 1];
    match stream.read(&mut mark).await? {
        Some(1) if mark == [ADMISSION_MARK] => Ok(()),
        _ => {
            connection.close(close::wire(CloseCode::Violation), b"not an admission mark");
            Err(TransportError::Quic {
                reason: "the coordinator's first stream holds no admission mark".to_owned(),
            })
        }
    }
}

/// What answers at all has mostly answered by then, and needs no question.
const SILENT: Duration = Duration::from_millis(500);
const BELIEVED: Duration = Duration::from_secs(1);
