//! What can go wrong between two programs, and whose fault it is.

use std::io;
use std::net::SocketAddr;

use quinn::{ConnectionError, ReadError, WriteError};

use super::close;
use super::silence::Silence;
use protocol::close::CloseCode;
use protocol::host_port::HostPort;
use protocol::human;
use protocol::trust::certificate::{CertificateError, Fingerprint};
use protocol::wire::frame::FrameError;

/// Who is to blame for an error, and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer misbehaved, or is not who it should be: refuse and count.
    Peer,
    /// The network, the clock or the machine: try again.
    World,
    /// This program or its configuration: trying again changes nothing.
    Us,
}

/// Why a connection or a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The server's authority is not the one the token pins.
    #[error("the server's authority is {}, the token expects {pinned}", shown(*.sent))]
    PinMismatch {
        /// What the token pins.
        pinned: Fingerprint,
        /// What the server showed, if anything.
        sent: Option<Fingerprint>,
    },
    /// The server's certificate was not signed by an authority we know.
    #[error("the server's certificate is from another authority")]
    ForeignServer,
    /// The server's certificate is over.
    #[error("the server's certificate has expired (by this device's clock)")]
    ExpiredServer,
    /// The server is a gateway, and this is not for gateways to hear.
    #[error("the server is a gateway; nobody joins there, and no other gateway connects to it")]
    GatewayServer,
    /// The server's certificate is unfit in another way.
    #[error("the server's certificate is not fit: {reason}")]
    UnfitServer {
        /// What is wrong with it.
        reason: String,
    },
    /// The peer's certificate was refused here.
    #[error("the peer's certificate was refused: {reason}")]
    RefusedPeer {
        /// What is wrong with it.
        reason: String,
    },
    /// The peer was turned away after the handshake, with this code.
    #[error("the peer was not admitted: {code}")]
    NotAdmitted {
        /// The code it was sent.
        code: CloseCode,
    },
    /// The peer refused our certificate.
    #[error("the peer refuses this program's certificate (TLS alert {alert})")]
    RefusedUs {
        /// The TLS alert number.
        alert: u8,
    },
    /// The peer does not speak the protocol, or not this version of it.
    #[error("no common protocol version with the peer")]
    NoCommonProtocol,
    /// The peer closed the connection.
    #[error("the peer closed the connection: {code}{}", with_reason(.reason))]
    Closed {
        /// Its code.
        code: CloseCode,
        /// Its words, possibly none.
        reason: String,
    },
    /// The coordinator stands by for another, or the gateway has none.
    #[error("{}", leading(.leader.as_ref()))]
    NotLeading {
        /// Where it says that the other is, if it knows.
        leader: Option<HostPort>,
    },
    /// The peer gave up one stream.
    #[error("the peer gave up the stream: {code}")]
    StreamGivenUp {
        /// Its code.
        code: CloseCode,
    },
    /// The peer said what it may not say.
    #[error("the protocol was broken: {reason}")]
    Violation {
        /// What it said.
        reason: String,
    },
    /// The peer broke QUIC itself.
    #[error("QUIC was broken: {reason}")]
    Quic {
        /// What QUIC says of it.
        reason: String,
    },
    /// The peer sent a malformed frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The blob is longer than any may be.
    #[error("blob of {length} bytes is longer than the {max} allowed")]
    BlobTooLong {
        /// The declared length.
        length: u64,
        /// What is allowed.
        max: u64,
    },
    /// The offset lies behind the blob's end.
    #[error("offset {offset} lies behind the end of a blob of {length} bytes")]
    OffsetBehindEnd {
        /// The offset asked for.
        offset: u64,
        /// The blob's length.
        length: u64,
    },
    /// The stream ended before the blob did.
    #[error("blob ended at {got} of {length} bytes")]
    BlobTruncated {
        /// Bytes at hand, those before the offset included.
        got: u64,
        /// The declared length.
        length: u64,
    },
    /// A transfer stood still.
    #[error("no progress for {}", human::span(*.waited_ms))]
    Stalled {
        /// How long it was waited.
        waited_ms: u64,
    },
    /// Nobody answers at the address.
    #[error("no answer from UDP address {address} within {}: {silence}", human::span(*.waited_ms))]
    NoAnswer {
        /// Where it was tried.
        address: SocketAddr,
        /// How long.
        waited_ms: u64,
        /// What the network says about it.
        silence: Silence,
    },
    /// The connection went silent, or the peer forgot it.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// How it was lost.
        reason: &'static str,
    },
    /// The host's name leads nowhere.
    #[error("cannot find the address of {host}: {source}")]
    UnknownHost {
        /// The name and port.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another program has the port.
    #[error("UDP port in use: {address}")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address could not be taken for another reason.
    #[error("cannot use UDP address {address}: {source}")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// What came could not be kept.
    #[error("cannot keep what came: {0}")]
    Keep(#[source] io::Error),
    /// Our own certificate, key or authority cannot be used.
    #[error("this program's own credentials cannot be used: {reason}")]
    Credentials {
        /// What is wrong with them.
        reason: String,
    },
    /// The connection was closed on this side.
    #[error("the connection was closed on this side")]
    ClosedHere,
}

impl TransportError {
    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Closed { code, .. } | Self::StreamGivenUp { code } => match code {
                CloseCode::Normal
                | CloseCode::Superseded
                | CloseCode::Shutdown
                | CloseCode::Overloaded
                | CloseCode::Stalled
                | CloseCode::Internal
                | CloseCode::Quarantined
                | CloseCode::NotLeading
                | CloseCode::Other(_) => Blame::World,
                CloseCode::Unauthenticated
                | CloseCode::Expired
                | CloseCode::Revoked
                | CloseCode::ProtocolVersion
                | CloseCode::NotAGateway
                | CloseCode::Violation => Blame::Us,
            },
            Self::PinMismatch { .. }
            | Self::ForeignServer
            | Self::UnfitServer { .. }
            | Self::RefusedPeer { .. }
            | Self::NotAdmitted { .. }
            | Self::NoCommonProtocol
            | Self::Violation { .. }
            | Self::Quic { .. }
            | Self::Frame(_)
            | Self::BlobTooLong { .. }
            | Self::OffsetBehindEnd { .. }
            | Self::BlobTruncated { .. } => Blame::Peer,
            Self::ExpiredServer
            | Self::NotLeading { .. }
            | Self::Stalled { .. }
            | Self::NoAnswer { .. }
            | Self::Lost { .. }
            | Self::UnknownHost { .. }
            | Self::AddressInUse { .. }
            | Self::Address { .. }
            | Self::Keep(_) => Blame::World,
            Self::RefusedUs { .. }
            | Self::Credentials { .. }
            | Self::GatewayServer
            | Self::ClosedHere => Blame::Us,
        }
    }

    /// What a person can do about it, where there is something.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::PinMismatch { .. } => "compare the token with the coordinator's \
                 (`alambic-coordinator token create` prints a fresh one); if it is right, \
                 something else answers at this address"
                .to_owned(),
            Self::ForeignServer => "this is not the coordinator this device joined; check the \
                 address; if it was set up anew, join it with a new token (`alambic-agent enrol --again`)"
                .to_owned(),
            Self::GatewayServer => "name the coordinator itself; a device that has joined may be \
                 led through the gateway afterwards (`[coordinator] address` in agent.toml)"
                .to_owned(),
            Self::Closed {
                code: CloseCode::NotAGateway,
                ..
            } => "let this gateway join with a token for gateways (`alambic-coordinator gateway \
                 token`)"
                .to_owned(),
            Self::NotLeading { leader: None } => "it is tried again; if this stays, see whether a \
                 coordinator runs, and name every address that leads to it, with commas between"
                .to_owned(),
            Self::ExpiredServer => "check this device's clock; if it is right, the coordinator \
                 needs a new server certificate"
                .to_owned(),
            Self::RefusedUs { .. }
            | Self::Closed {
                code: CloseCode::Unauthenticated,
                ..
            } => "join again with a new token (`alambic-agent enrol --again`)".to_owned(),
            Self::Closed {
                code: CloseCode::Revoked,
                ..
            } => "this device was revoked: ask the operator; once it is repaired, join with a new token \
                 (`alambic-agent enrol --again`)"
                .to_owned(),
            Self::Closed {
                code: CloseCode::Superseded,
                ..
            } => "if this comes back, another machine has this device's key (a copied image): on \
                 the copy, enrol again (`alambic-agent enrol --again`) with a new token"
                .to_owned(),
            Self::Closed {
                code: CloseCode::Expired,
                ..
            } => "it is tried again; if the clocks of both machines are right and this stays, join with a \
                 new token (`alambic-agent enrol --again`)"
                .to_owned(),
            Self::Closed {
                code: CloseCode::Quarantined,
                ..
            } => "update this program; the coordinator's `device show` says until when it is kept \
                 out"
            .to_owned(),
            Self::NoCommonProtocol
            | Self::Closed {
                code: CloseCode::ProtocolVersion,
                ..
            } => "update the older of the two programs".to_owned(),
            Self::NoAnswer {
                address, silence, ..
            } => silence.advice(address.port()),
            Self::UnknownHost { .. } => "check the name and the network".to_owned(),
            Self::AddressInUse { address } => format!(
                "stop the program that uses UDP port {port} (`ss -ulpn 'sport = :{port}'` names \
                 it), or choose another port",
                port = address.port()
            ),
            Self::Address { .. } => "choose an address of this machine and a port above 1023, \
                 or 0.0.0.0 for all its addresses"
                .to_owned(),
            Self::Keep(_) => {
                "free some space on the disk that holds the state directory, or check \
                 its mount"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// Whether the peer broke the protocol in a way that no network does.
    pub fn is_violation(&self) -> bool {
        // A frame may be cut short by a transfer that was given up.
        let is_cut = matches!(self, Self::Frame(FrameError::Truncated { .. }));
        !is_cut && matches!(self, Self::Violation { .. } | Self::Frame(_))
    }

    /// The code to tell a peer that caused this.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::NotAdmitted { code } => *code,
            Self::NoCommonProtocol => CloseCode::ProtocolVersion,
            Self::Stalled { .. } => CloseCode::Stalled,
            _ if self.blame() == Blame::Peer => CloseCode::Violation,
            _ => CloseCode::Internal,
        }
    }

    /// An address that could not be bound.
    pub(crate) fn binding(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { address },
            _ => Self::Address { address, source },
        }
    }
}

impl From<CertificateError> for TransportError {
    fn from(error: CertificateError) -> Self {
        Self::Credentials {
            reason: error.to_string(),
        }
    }
}

impl From<rustls::Error> for TransportError {
    fn from(error: rustls::Error) -> Self {
        Self::Credentials {
            reason: error.to_string(),
        }
    }
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: close::of_wire(close.error_code),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                CONNECTION_REFUSED => Self::Closed {
                    code: CloseCode::Overloaded,
                    reason: String::new(),
                },
                code => match alert(code) {
                    Some(ALERT_NO_PROTOCOL) => Self::NoCommonProtocol,
                    Some(alert) => Self::RefusedUs { alert },
                    None => Self::Quic {
                        reason: close.to_string(),
                    },
                },
            },
            ConnectionError::TransportError(error) => match alert(u64::from(error.code)) {
                Some(ALERT_NO_PROTOCOL) => Self::NoCommonProtocol,
                Some(_) => Self::RefusedPeer {
                    reason: error.reason,
                },
                None => Self::Quic {
                    reason: error.to_string(),
                },
            },
            ConnectionError::VersionMismatch => Self::NoCommonProtocol,
            ConnectionError::Reset => Self::Lost {
                reason: "the peer forgot it",
            },
            ConnectionError::TimedOut => Self::Lost {
                reason: "nothing came any more",
            },
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::CidsExhausted => Self::Lost {
                reason: "no connection number is free",
            },
        }
    }
}

impl From<ReadError> for TransportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::StreamGivenUp {
                code: close::of_wire(code),
            },
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::ClosedHere,
        }
    }
}

impl From<WriteError> for TransportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::StreamGivenUp {
                code: close::of_wire(code),
            },
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::ClosedHere,
        }
    }
}

/// The TLS alert inside a QUIC error code (RFC 9001, section 4.8).
fn alert(code: u64) -> Option<u8> {
    code.checked_sub(0x100)
        .and_then(|alert| alert.try_into().ok())
}

fn shown(fingerprint: Option<Fingerprint>) -> String {
    fingerprint.map_or_else(|| "not shown".to_owned(), |one| one.to_string())
}

fn with_reason(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

fn leading(leader: Option<&HostPort>) -> String {
    match leader {
        Some(leader) => format!("this coordinator stands by for another, which is at {leader}"),
        None => "this coordinator stands by for another, or this gateway has none".to_owned(),
    }
}

const ALERT_NO_PROTOCOL: u8 = 120;
const CONNECTION_REFUSED: u64 = 2;
