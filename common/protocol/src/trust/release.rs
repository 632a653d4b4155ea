//! A signed envelope around a release.
//!
//! The envelope proves who signed the payload and nothing else. What the
//! payload says (version, task, expiry) is for anyone who opens it to judge.

use bincode::{Decode, Encode};

use super::keys::{KeyError, KeyId, Signature, SigningKey, VerifyingKey};

/// The context every release is signed in.
pub const RELEASE_CONTEXT: &str = "alambic release v1";

/// Why a release is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No trusted key has this name.
    #[error("release is signed by key {key}, which is not among the {trusted} trusted")]
    UnknownKey {
        /// The key the release names.
        key: KeyId,
        /// How many keys are trusted.
        trusted: usize,
    },
    /// The signature is not that key's over this payload.
    #[error("release: {0}")]
    Signature(#[from] KeyError),
    /// The bytes are not an envelope.
    #[error("not a signed release: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// A payload, and the signature of one key over it.
///
/// The payload can only be read through [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedRelease {
    payload: Vec<u8>,
    key: KeyId,
    signature: Signature,
}

impl SignedRelease {
    /// Signs `payload`.
    ///
    /// # Errors
    /// None in practice: the context is short enough.
    pub fn sign(key: &SigningKey, payload: Vec<u8>) -> Result<Self, KeyError> {
        let signature = key.sign(RELEASE_CONTEXT, &payload)?;
        Ok(Self {
            payload,
            key: key.verifying_key().id(),
            signature,
        })
    }

    /// The payload, once one of the `trusted` keys is shown to have signed
    /// it. Cost: two passes of SHA-512 over the payload.
    ///
    /// # Errors
    /// [`ReleaseError::UnknownKey`] or [`ReleaseError::Signature`].
    pub fn verify(&self, trusted: &[VerifyingKey]) -> Result<&[u8], ReleaseError> {
        let key = trusted.iter().find(|key| key.id() == self.key);
        let key = key.ok_or(ReleaseError::UnknownKey {
            key: self.key,
            trusted: trusted.len(),
        })?;
        key.verify(RELEASE_CONTEXT, &self.payload, &self.signature)?;
        Ok(&self.payload)
    }

    /// The payload, no matter who signed it: for its author, who keeps it where
    /// nobody else writes.
    pub fn into_unverified(self) -> Vec<u8> {
        self.payload
    }

    /// The key this release says it is signed by, before that is checked.
    pub fn claimed_key(&self) -> KeyId {
        self.key
    }

    /// The envelope as bytes: `"ALR1" | key id | signature | payload`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OVERHEAD_BYTES + self.payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.signature.0);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Nothing is verified.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`] if the head is missing or cut short.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let malformed = |reason| ReleaseError::Malformed { reason };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or(malformed("the first four bytes are not ALR1"))?;
        let (key, rest) = rest
            .split_first_chunk::<16>()
            .ok_or(malformed("it ends inside the key's name"))?;
        let (signature, payload) = rest
            .split_first_chunk::<64>()
            .ok_or(malformed("it ends inside the signature"))?;
        Ok(Self {
            payload: payload.to_vec(),
            key: KeyId(*key),
            signature: Signature(*signature),
        })
    }
}

const MAGIC: &[u8; 4] = b"ALR1";
const OVERHEAD_BYTES: usize = 4 + 16 + 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_envelope_survives_its_bytes(payload in prop::collection::vec(any::<u8>(), 0..500)) {
            let key = SigningKey::generate().unwrap();
            let release = SignedRelease::sign(&key, payload.clone()).unwrap();
            let again = SignedRelease::from_bytes(&release.to_bytes()).unwrap();
            prop_assert_eq!(&again, &release);
            prop_assert_eq!(again.verify(&[key.verifying_key()]).unwrap(), payload.as_slice());
        }

        #[test]
        fn no_changed_byte_is_believed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = SigningKey::generate().unwrap();
            let mut bytes = SignedRelease::sign(&key, vec![5; 90]).unwrap().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let believed = SignedRelease::from_bytes(&bytes)
                .and_then(|release| release.verify(&[key.verifying_key()]).map(<[u8]>::to_vec));
            prop_assert!(believed.is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SignedRelease::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_key_that_is_not_trusted_is_named() {
        let (key, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let release = SignedRelease::sign(&key, b"weights".to_vec()).unwrap();
        assert_eq!(
            release.verify(&[other.verifying_key()]),
            Err(ReleaseError::UnknownKey {
                key: key.verifying_key().id(),
                trusted: 1
            })
        );
    }

    #[test]
    fn a_signature_from_another_context_is_not_a_release() {
        let key = SigningKey::generate().unwrap();
        let release = SignedRelease {
            payload: b"weights".to_vec(),
            key: key.verifying_key().id(),
            signature: key.sign("something else", b"weights").unwrap(),
        };
        assert!(matches!(
            release.verify(&[key.verifying_key()]),
            Err(ReleaseError::Signature(KeyError::BadSignature { .. }))
        ));
    }
}
