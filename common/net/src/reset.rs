//! How devices learn that a coordinator no longer has their connections.
//!
//! A stateless reset (RFC 9000, section 10.3) is a datagram that ends in a
//! token which only the device and its coordinator know: the coordinator
//! derives it from its key and the connection's name, and told it to the device
//! inside the encrypted handshake. So a coordinator that was killed and started
//! again can end connections that it no longer has, and nobody else can: who
//! watched the network has never seen the token, and one that was sent is worth
//! nothing for the next connection, which has another name.
//!
//! Resets are sent in answer to a packet of an unknown connection, and without
//! one, to devices that are known to have been connected
//! ([`super::Listener::remind`]); those come back at once instead of with their
//! next keep-alive.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};
use ring::rand::{SecureRandom as _, SystemRandom};

use protocol::trust::certificate::Credentials;

/// What a device names a connection by in each packet it sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionName(pub [u8; 8]);

impl fmt::Debug for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The keys that names and tokens are made with. They outlive the process,
/// for they are derived from the server's own.
#[derive(Clone)]
pub(crate) struct Resets {
    tokens: ring::hmac::Key,
    names: u64,
}

impl fmt::Debug for Resets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resets")
    }
}

impl Resets {
    pub(crate) fn of(credentials: &Credentials) -> Self {
        let secret = credentials.key().secret_pkcs8_der();
        let tokens = blake3::derive_key("alambic quic stateless reset v1", secret);
        let names = blake3::derive_key("alambic quic connection ids v1", secret);
        let mut first = [0u8; 8];
        first.copy_from_slice(&names[..8]);
        Self {
            tokens: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &tokens),
            names: u64::from_le_bytes(first),
        }
    }

    /// An endpoint that makes and recognises names with these keys.
    pub(crate) fn endpoint(&self) -> quinn::EndpointConfig {
        let mut config = quinn::EndpointConfig::new(Arc::new(self.tokens.clone()));
        let names = self.names;
        config.cid_generator(move || Box::new(Names(HashedConnectionIdGenerator::from_key(names))));
        config.min_reset_interval(RESET_INTERVAL);
        config
    }

    /// A datagram that ends the connection of this name for the device that
    /// has it, and looks like any other packet. `None` without randomness.
    pub(crate) fn datagram(&self, name: ConnectionName) -> Option<[u8; RESET_BYTES]> {
        let mut datagram = [0; RESET_BYTES];
        SystemRandom::new().fill(&mut datagram).ok()?;
        // A short header: fixed bit set, form bit not.
        datagram[0] = 0x40 | (datagram[0] & 0x3f);
        let token = ring::hmac::sign(&self.tokens, &name.0);
        datagram[RESET_BYTES - TOKEN_BYTES..].copy_from_slice(&token.as_ref()[..TOKEN_BYTES]);
        Some(datagram)
    }
}

/// Runs what makes a connection, and says which name the peer was given for
/// it: the first that is made on this thread meanwhile.
pub(crate) fn naming<T>(make: impl FnOnce() -> T) -> (T, Option<ConnectionName>) {
    FIRST.set(None);
    let made = make();
    let name = FIRST.take().and_then(|id| id[..].try_into().ok());
    (made, name.map(ConnectionName))
}

thread_local! {
    static FIRST: Cell<Option<ConnectionId>> = const { Cell::new(None) };
}

/// quinn's generator, watched.
struct Names(HashedConnectionIdGenerator);

impl ConnectionIdGenerator for Names {
    fn generate_cid(&mut self) -> ConnectionId {
        let id = self.0.generate_cid();
        FIRST.set(FIRST.get().or(Some(id)));
        id
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.0.validate(id)
    }

    fn cid_len(&self) -> usize {
        self.0.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.0.cid_lifetime()
    }
}

/// Between two resets in answer to packets; each answers one packet with a
/// smaller one.
const RESET_INTERVAL: Duration = Duration::from_millis(1);
const TOKEN_BYTES: usize = 16;
/// As long as a packet with an acknowledgement: 27 bytes that say nothing, and
/// the token.
const RESET_BYTES: usize = 43;
