//! The coordinator's end: who connects, and who is let in.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use quinn::ServerConfig;
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::admission::{self, PeerIdentity, Question};
use super::alpn::Protocol;
use super::close;
use super::connection::{Admitted, Connection, peer_chain};
use super::connection_limiter::{ConnectionLimiter, ConnectionLimits, Permit, Verdict};
use super::error::TransportError;
use super::reset::{ConnectionName, Resets, naming};
use super::tls;
use super::tuning::Tuning;
use protocol::close::CloseCode;
use protocol::ids::DeviceId;
use protocol::trust::certificate::{CertificateFacts, Credentials};
use protocol::trust::clock::Clock;

/// What a listener needs to know.
#[derive(Clone)]
pub struct ListenerSettings {
    /// The server's own certificate and key.
    pub credentials: Credentials,
    /// The authorities whose devices are known; more than one while they are
    /// being exchanged.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The time certificates are judged by.
    pub clock: Clock,
    /// How connections behave.
    pub tuning: Tuning,
    /// Tells whether a device was revoked. Asked at each handshake.
    pub revoked: Arc<dyn Fn(DeviceId) -> bool + Send + Sync>,
    /// How long a device may renew after its certificate is over.
    pub grace_ms: u64,
    /// What may be open at a time and come in a time. Taken when the address
    /// is.
    pub limits: ConnectionLimits,
    /// What is spoken here: a gateway speaks with no other gateway.
    pub protocols: &'static [Protocol],
}

impl ListenerSettings {
    /// The usual settings: 180 days of grace, the limits of
    /// [`protocol::limits`], nobody revoked.
    pub fn new(
        credentials: Credentials,
        authorities: Vec<CertificateDer<'static>>,
        clock: Clock,
    ) -> Self {
        Self {
            credentials,
            authorities,
            clock,
            tuning: Tuning::coordinator(),
            revoked: Arc::new(|_| false),
            grace_ms: GRACE_MS,
            limits: ConnectionLimits::default(),
            protocols: &Protocol::ALL,
        }
    }

    fn server(&self) -> Result<ServerConfig, TransportError> {
        tls::server(
            &self.credentials,
            &self.authorities,
            self.clock.clone(),
            &self.tuning,
            self.protocols,
        )
    }
}

impl fmt::Debug for ListenerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerSettings")
            .field("credentials", &self.credentials)
            .field("tuning", &self.tuning)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A UDP port on which devices are answered.
#[derive(Debug)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    settings: RwLock<Arc<ListenerSettings>>,
    /// The endpoint's socket once more.
    socket: UdpSocket,
    resets: Resets,
    limiter: Arc<ConnectionLimiter>,
}

impl Listener {
    /// Takes the address. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`TransportError::AddressInUse`] or [`TransportError::Address`];
    /// [`TransportError::Credentials`] if certificate, key and authorities
    /// cannot be used.
    pub fn bind(address: SocketAddr, settings: ListenerSettings) -> Result<Self, TransportError> {
        let config = settings.server()?;
        let resets = Resets::of(&settings.credentials);
        let bound = UdpSocket::bind(address).and_then(|socket| {
            // What the system gives is what there is.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES);
            let again = socket.try_clone()?;
            let runtime = Arc::new(quinn::TokioRuntime);
            let own = resets.endpoint();
            Ok((
                quinn::Endpoint::new(own, Some(config), socket, runtime)?,
                again,
            ))
        });
        let (endpoint, socket) =
            bound.map_err(|source| TransportError::binding(address, source))?;
        Ok(Self {
            endpoint,
            limiter: Arc::new(ConnectionLimiter::new(settings.limits)),
            settings: RwLock::new(Arc::new(settings)),
            socket,
            resets,
        })
    }

    /// Tells a device that had this connection with an earlier process of the
    /// same coordinator that it is gone, so that it comes back at once: one
    /// datagram of 43 bytes. Nothing happens at the device if it has no such
    /// connection.
    ///
    /// # Errors
    /// What the system says; the device then finds out by itself.
    pub fn remind(&self, device: SocketAddr, name: ConnectionName) -> std::io::Result<()> {
        let datagram = self.resets.datagram(name);
        let datagram = datagram.ok_or(std::io::ErrorKind::Unsupported)?;
        self.socket.send_to(&datagram, device).map(drop)
    }

    /// The address taken, with the port the system chose if none was asked.
    ///
    /// # Errors
    /// [`TransportError::Lost`] if the socket is gone.
    pub fn local_address(&self) -> Result<SocketAddr, TransportError> {
        self.endpoint
            .local_addr()
            .map_err(|_| TransportError::Lost {
                reason: "the socket is gone",
            })
    }

    /// Uses other certificates for connections from now on; the open ones
    /// stay as they are.
    ///
    /// # Errors
    /// [`TransportError::Credentials`]; then nothing has changed.
    pub fn replace(&self, settings: ListenerSettings) -> Result<(), TransportError> {
        let config = settings.server()?;
        self.endpoint.set_server_config(Some(config));
        let mut current = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(settings);
        Ok(())
    }

    /// The next peer that connects, or `None` once the listener is closed. Its
    /// handshake has not been looked at: [`Arrival::admit`] does that, and
    /// belongs in a task of its own, so that a slow peer delays nobody. The
    /// future can be dropped at any time.
    pub async fn next(&self) -> Option<Arrival> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let open = self.endpoint.open_connections();
            let from = incoming.remote_address();
            let validated = incoming.remote_address_validated();
            match self
                .limiter
                .try_accept(Instant::now(), from.ip(), validated, open)
            {
                Verdict::Accept(permit) => {
                    return Some(Arrival {
                        incoming,
                        settings: self.settings(),
                        permit,
                    });
                }
                // Fails only for an address that was validated by a retry.
                Verdict::Validate => drop(incoming.retry()),
                Verdict::Refuse(why) => {
                    tracing::debug!(open, %from, ?why, "not looked at");
                    incoming.refuse();
                }
            }
        }
    }

    fn settings(&self) -> Arc<ListenerSettings> {
        let current = self.settings.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What counts connections, for those who want to see its figures.
    pub fn limiter(&self) -> Arc<ConnectionLimiter> {
        self.limiter.clone()
    }

    /// Connections that are open now, half-open ones included.
    pub fn connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    /// Closes every connection and the port, and waits until the peers have
    /// been told, but not long: one that has vanished is told for a minute.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.endpoint.close(close::wire(code), reason.as_bytes());
        let _ = timeout(LAST_WORD, self.endpoint.wait_idle()).await;
    }
}

/// A peer that connects.
#[derive(Debug)]
pub struct Arrival {
    incoming: quinn::Incoming,
    settings: Arc<ListenerSettings>,
    permit: Permit,
}

impl Arrival {
    /// Where it connects from.
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Completes the handshake and decides. A peer that is turned away is
    /// told why, and nothing it sent is read.
    ///
    /// # Errors
    /// [`TransportError::NotAdmitted`] with the code sent;
    /// [`TransportError::RefusedPeer`] for a certificate from elsewhere;
    /// [`TransportError::NoCommonProtocol`]; [`TransportError::Stalled`] if
    /// the handshake takes too long; the loss of the connection.
    pub async fn admit(self) -> Result<Connection, TransportError> {
        let (connection, name, settings, mut permit) = self.shake_hands().await?;
        let chain = peer_chain(&connection);
        let certificate = match chain.first() {
            None => None,
            Some(der) => Some(CertificateFacts::parse(der)?),
        };
        let decided = decide(&connection, certificate.as_ref(), &settings);
        let decided = decided.and_then(|(protocol, peer)| {
            let anonymous = peer == PeerIdentity::Anonymous;
            match protocol {
                Protocol::Enrolment if !permit.may_enrol(Instant::now(), anonymous) => {
                    Err(CloseCode::Overloaded)
                }
                _ => Ok((protocol, peer)),
            }
        });
        match decided {
            Ok((protocol, peer)) => {
                mark(&connection).await?;
                let admitted = Admitted {
                    protocol,
                    peer,
                    certificate,
                    no_progress: settings.tuning.no_progress(),
                    name,
                    permit: Some(permit),
                };
                Ok(Connection::new(connection, admitted))
            }
            Err(code) => {
                connection.close(close::wire(code), code.to_string().as_bytes());
                Err(TransportError::NotAdmitted { code })
            }
        }
    }

    /// Completes the handshake with any peer and closes the connection with this
    /// code and reason. Nothing it sent is read.
    ///
    /// # Errors
    /// As of [`Self::admit`], where the peer cannot be told.
    pub async fn turn_away(self, code: CloseCode, words: &str) -> Result<(), TransportError> {
        let (connection, _, _, permit) = self.shake_hands().await?;
        connection.close(close::wire(code), words.as_bytes());
        drop(permit);
        Ok(())
    }

    async fn shake_hands(self) -> Result<Greeted, TransportError> {
        let Self {
            incoming,
            settings,
            mut permit,
        } = self;
        let (connecting, name) = naming(|| incoming.accept());
        let connecting = connecting?;
        let connection = timeout(settings.tuning.handshake(), connecting)
            .await
            .map_err(|_| TransportError::Stalled {
                waited_ms: settings.tuning.handshake_ms,
            })??;
        permit.shook_hands(Instant::now());
        Ok((connection, name, settings, permit))
    }
}

/// A connection after its handshake, and what it came with.
type Greeted = (
    quinn::Connection,
    Option<ConnectionName>,
    Arc<ListenerSettings>,
    Permit,
);

fn decide(
    connection: &quinn::Connection,
    certificate: Option<&CertificateFacts>,
    settings: &ListenerSettings,
) -> Result<(Protocol, PeerIdentity), CloseCode> {
    let data = connection.handshake_data();
    let name = data
        .and_then(|any| any.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let protocol = name
        .and_then(|name| Protocol::of_alpn(&name))
        .ok_or(CloseCode::ProtocolVersion)?;
    let peer = admission::decide(Question {
        protocol,
        certificate,
        revoked: certificate.is_some_and(|facts| (settings.revoked)(facts.device)),
        now: settings.clock.now(),
        grace_ms: settings.grace_ms,
    })?;
    Ok((protocol, peer))
}

/// Tells the peer that it is admitted.
async fn mark(connection: &quinn::Connection) -> Result<(), TransportError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(&[ADMISSION_MARK]).await?;
    // Fails only if the stream is closed already.
    let _ = stream.finish();
    Ok(())
}

/// The only byte on the coordinator's one-way stream.
pub(crate) const ADMISSION_MARK: u8 = 1;

/// How long an end of connections takes at most. Peers that are there hear of
/// it at once; others find out by themselves.
pub(crate) const LAST_WORD: Duration = Duration::from_millis(1_500);

const GRACE_MS: u64 = 180 * 24 * 60 * 60 * 1_000;
/// What the system is asked to keep of datagrams that have not been read: a
/// thousand handshakes at once. It gives what `net.core.rmem_max` allows.
const RECEIVE_BYTES: usize = 4 << 20;
