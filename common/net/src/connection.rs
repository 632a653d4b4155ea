//! A connection whose peer is known and admitted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::admission::PeerIdentity;
use super::alpn::Protocol;
use super::close;
use super::connection_limiter::Permit;
use super::error::TransportError;
use super::reset::ConnectionName;
use super::stream::Stream;
use protocol::close::CloseCode;
use protocol::traffic::Traffic;
use protocol::trust::certificate::CertificateFacts;

/// One connection. Clones share it; it closes when the last of them and of
/// its streams is dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: quinn::Connection,
    facts: Arc<Facts>,
}

/// What was settled by the handshake.
#[derive(Debug)]
struct Facts {
    protocol: Protocol,
    peer: PeerIdentity,
    certificate: Option<CertificateFacts>,
    handshake: Traffic,
    no_progress: Duration,
    name: Option<ConnectionName>,
    /// Counted against the limits as long as the connection is used.
    _permit: Option<Permit>,
}

/// The peer as admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) protocol: Protocol,
    pub(crate) peer: PeerIdentity,
    pub(crate) certificate: Option<CertificateFacts>,
    pub(crate) no_progress: Duration,
    pub(crate) name: Option<ConnectionName>,
    pub(crate) permit: Option<Permit>,
}

impl Connection {
    /// Counts the handshake's bytes; to be called when it is over.
    pub(crate) fn new(inner: quinn::Connection, admitted: Admitted) -> Self {
        let facts = Facts {
            protocol: admitted.protocol,
            peer: admitted.peer,
            certificate: admitted.certificate,
            handshake: traffic_of(&inner),
            no_progress: admitted.no_progress,
            name: admitted.name,
            _permit: admitted.permit,
        };
        Self {
            inner,
            facts: Arc::new(facts),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerIdentity {
        self.facts.peer
    }

    /// The protocol spoken.
    pub fn protocol(&self) -> Protocol {
        self.facts.protocol
    }

    /// What the peer's certificate says, if it showed one. Its `not_before`
    /// is a date signed by the fleet's authority: it is that late at least.
    pub fn peer_certificate(&self) -> Option<&CertificateFacts> {
        self.facts.certificate.as_ref()
    }

    /// The certificates the peer showed, its own first. A device that joins
    /// finds the authority's here, already checked against its pin.
    pub fn peer_chain(&self) -> Vec<CertificateDer<'static>> {
        peer_chain(&self.inner)
    }

    /// Where the peer is. It may move while the connection lasts.
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// What the device names this connection by; `None` on the device's side.
    pub fn name(&self) -> Option<ConnectionName> {
        self.facts.name
    }

    /// The time a packet takes there and back, as QUIC estimates it.
    pub fn round_trip(&self) -> Duration {
        self.inner.rtt()
    }

    /// The largest UDP payload that is known to get through to the peer. 1200
    /// bytes unless [`super::Tuning::mtu_discovery`] is on.
    pub fn path_mtu(&self) -> u16 {
        self.inner.stats().path.current_mtu
    }

    /// Opens the control stream, which goes before every transfer. The peer
    /// sees it with the first frame sent on it.
    ///
    /// # Errors
    /// The loss of the connection.
    pub async fn open_control(&self) -> Result<Stream, TransportError> {
        let pair = self.inner.open_bi().await?;
        raise(&pair.0);
        Ok(Stream::new(pair, self.facts.no_progress))
    }

    /// The control stream, which the peer opens first of all, and within the
    /// no-progress timeout.
    ///
    /// # Errors
    /// [`TransportError::Stalled`] if it does not, or the loss of the
    /// connection.
    pub async fn accept_control(&self) -> Result<Stream, TransportError> {
        let limit = self.facts.no_progress;
        let pair = timeout(limit, self.inner.accept_bi()).await;
        let pair = pair.map_err(|_| TransportError::Stalled {
            waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        })??;
        raise(&pair.0);
        Ok(Stream::new(pair, limit))
    }

    /// Opens a stream for one transfer. Waits while the peer allows no
    /// further stream.
    ///
    /// # Errors
    /// The loss of the connection.
    pub async fn open_transfer(&self) -> Result<Stream, TransportError> {
        let pair = self.inner.open_bi().await?;
        Ok(Stream::new(pair, self.facts.no_progress))
    }

    /// The next stream the peer opens for a transfer. The future can be
    /// dropped at any time.
    ///
    /// # Errors
    /// The loss of the connection, and so its ordinary end too.
    pub async fn accept_transfer(&self) -> Result<Stream, TransportError> {
        let pair = self.inner.accept_bi().await?;
        Ok(Stream::new(pair, self.facts.no_progress))
    }

    /// Closes the connection at once. What the peer has not received yet is
    /// lost, so only the side that received the last word should do this.
    /// `reason` is for people and must hold no secret.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(close::wire(code), reason.as_bytes());
    }

    /// Lets the peer, who is a gateway, open this many streams at a time and
    /// send this many bytes that have not been read.
    pub fn widen(&self, streams: u32, window_bytes: u32) {
        self.inner.set_max_concurrent_bi_streams(streams.into());
        self.inner.set_receive_window(window_bytes.into());
        self.inner.set_send_window(window_bytes.into());
    }

    /// The no-progress timeout.
    pub fn no_progress(&self) -> Duration {
        self.facts.no_progress
    }

    /// Waits for the connection's end and says how it came.
    pub async fn closed(&self) -> TransportError {
        self.inner.closed().await.into()
    }

    /// All bytes of this connection up to now, the handshake's included.
    pub fn traffic(&self) -> Traffic {
        traffic_of(&self.inner)
    }

    /// The bytes of the handshake: up to the admission as a device counts
    /// them, and up to the client's last flight as a coordinator does.
    pub fn handshake_traffic(&self) -> Traffic {
        self.facts.handshake
    }

    /// The bytes after the handshake.
    pub fn work_traffic(&self) -> Traffic {
        self.traffic().since(self.facts.handshake)
    }
}

fn traffic_of(connection: &quinn::Connection) -> Traffic {
    let stats = connection.stats();
    Traffic {
        udp_tx_bytes: stats.udp_tx.bytes,
        udp_rx_bytes: stats.udp_rx.bytes,
    }
}

/// The peer's certificates, its own first; none if it showed none.
pub(crate) fn peer_chain(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map_or_else(Vec::new, |chain| *chain)
}

/// Lets the control stream go before transfers, which have priority 0.
fn raise(stream: &quinn::SendStream) {
    // Fails only if the stream is closed, and then nothing is sent on it.
    let _ = stream.set_priority(1);
}
