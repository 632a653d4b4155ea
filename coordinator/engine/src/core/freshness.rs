//! What the coordinator says of itself at the start of each session: which
//! keys may sign releases, and that this is of today.

use std::sync::Arc;

use protocol::ids::Time;
use protocol::trust::keys::SigningKey;
use protocol::trust::trust_root::{Freshness, SignedTrustRoot};

/// How long a device may install what it is offered after it heard from the
/// coordinator.
const FRESH_MS: u64 = 7 * 24 * 3_600_000;

/// The trust root, and the newest statement of freshness.
#[derive(Clone, Debug)]
pub struct FreshnessSigner {
    trust_root: Vec<u8>,
    number: u64,
    signer: Arc<SigningKey>,
    newest: Option<(Time, Vec<u8>)>,
}

impl FreshnessSigner {
    /// What is said under this trust root, signed by a key that it names.
    pub fn new(trust_root: &SignedTrustRoot, signer: Arc<SigningKey>) -> Self {
        Self {
            trust_root: trust_root.to_bytes(),
            number: trust_root.number(),
            signer,
            newest: None,
        }
    }

    /// The trust root's bytes.
    pub fn trust_root(&self) -> Vec<u8> {
        self.trust_root.clone()
    }

    /// A statement that is a quarter of an hour old at most.
    pub fn freshness(&mut self, now: Time) -> Vec<u8> {
        if let Some((at, bytes)) = &self.newest
            && now >= *at
            && now.since_ms(*at) < REUSED_MS
        {
            return bytes.clone();
        }
        let statement = Freshness {
            issued: now,
            expires: now.after_ms(FRESH_MS),
            trust_root: self.number,
        };
        match statement.sign(&self.signer) {
            Ok(bytes) => {
                self.newest = Some((now, bytes.clone()));
                bytes
            }
            Err(error) => {
                tracing::error!(%error, "no statement of freshness");
                Vec::new()
            }
        }
    }
}

/// One signature serves many sessions.
const REUSED_MS: u64 = 15 * 60_000;
