//! QUIC connections between devices and their coordinator.
//!
//! One protocol name (ALPN) stands for one protocol and major version, see
//! [`alpn::Protocol`]. TLS 1.3 only; no resumption, no tickets and no
//! 0-RTT, because each of them would let a device in without its certificate
//! being looked at again.
//!
//! **Admission.** The handshake shows who the peer is; whether it may stay is
//! decided right after, in [`admission`], before a byte of its is read. The
//! coordinator then opens a one-way stream with a single byte, the admission
//! mark, and only with it does [`dialler::Dialler::connect`] return. So a
//! refusal reaches the device as a reason code from `connect`, and the bytes
//! of the handshake can be told from those of the work. The mark travels with
//! the packet that confirms the handshake and costs no packet of its own.
//!
//! **After that** the device opens the control stream and one stream for each
//! transfer ([`stream::Stream`]). What the frames mean is not this module's
//! business.

pub mod admission;
pub mod alpn;
mod close;
pub mod connection;
pub mod connection_limiter;
pub mod dialler;
pub mod enrolment;
pub mod error;
pub mod listener;
pub mod rate;
pub mod relayed;
pub mod reset;
pub mod search;
pub mod silence;
pub mod stream;
mod tls;
pub mod tuning;
mod verifier;

#[cfg(test)]
mod tests;

pub use admission::PeerIdentity;
pub use alpn::Protocol;
pub use connection::Connection;
pub use connection_limiter::{ConnectionCounts, ConnectionLimiter, ConnectionLimits};
pub use dialler::{ClientIdentity, Dialler};
pub use error::{Blame, TransportError};
pub use listener::{Arrival, Listener, ListenerSettings};
pub use rate::{Bucket, Rate};
pub use relayed::RelayedPeers;
pub use reset::ConnectionName;
pub use search::{Search, resolve};
pub use silence::Silence;
pub use stream::{BlobSpan, FrameReceiver, FrameSender, Stream, splice};
pub use tuning::{GATEWAY_WINDOW_BYTES, Tuning};

pub use protocol::close::CloseCode;
pub use protocol::traffic::Traffic;
