//! Ed25519 keys that sign what the fleet must believe: releases today,
//! device feeds tomorrow.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::pem;

/// Why a key could not be used or a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new key")]
    Randomness,
    /// The text is not an Ed25519 key in PKCS#8 PEM.
    #[error("not an Ed25519 private key in PKCS#8 PEM: {reason}")]
    Malformed {
        /// What is wrong with it; never any part of the key.
        reason: String,
    },
    /// The written public key is not 64 hexadecimal digits.
    #[error("expected a public key of 64 hexadecimal digits, got {got:?}")]
    MalformedPublic {
        /// What was given.
        got: String,
    },
    /// The written name of a key is not 32 hexadecimal digits.
    #[error("expected a key's id of 32 hexadecimal digits, got {got:?}")]
    MalformedId {
        /// What was given.
        got: String,
    },
    /// The signature is not this key's over these bytes in this context.
    #[error("signature does not hold: key {key}, context {context:?}")]
    BadSignature {
        /// The key it was held against.
        key: KeyId,
        /// The context it was held against.
        context: String,
    },
    /// The context is longer than the 255 bytes its length field can say.
    #[error("signature context of {length} bytes is longer than 255")]
    ContextTooLong {
        /// The context's length.
        length: usize,
    },
}

/// Names a key: the first 16 bytes of the BLAKE3 hash of the public key.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::MalformedId {
            got: text.to_owned(),
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// An Ed25519 signature.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

/// The public half of a [`SigningKey`]. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct VerifyingKey(pub [u8; 32]);

impl VerifyingKey {
    /// The key that came over the wire as these bytes.
    ///
    /// # Errors
    /// [`KeyError::MalformedPublic`] if they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::MalformedPublic {
            got: hex::encode(bytes),
        })?;
        Ok(Self(bytes))
    }

    /// This key's name.
    pub fn id(&self) -> KeyId {
        let mut id = [0u8; 16];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        KeyId(id)
    }

    /// Checks that `signature` is this key's over `bytes` in `context`.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not;
    /// [`KeyError::ContextTooLong`] above 255 bytes.
    pub fn verify(
        &self,
        context: &str,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), KeyError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&in_context(context, bytes)?, &signature.0)
            .map_err(|_| KeyError::BadSignature {
                key: self.id(),
                context: context.to_owned(),
            })
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::MalformedPublic {
            got: text.to_owned(),
        })?;
        Ok(Self(bytes))
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An Ed25519 private key. Its `Debug` shows the public half only.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] if there is none.
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyError::Randomness)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a key from PKCS#8 PEM, with or without the public half.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for anything else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
            KeyError::Malformed {
                reason: error.to_string(),
            }
        })?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    /// The key as PKCS#8 PEM. This is the secret: keep it where only its
    /// owner reads.
    pub fn to_pem(&self) -> String {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    /// The half that may be shown to everyone.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(bytes)
    }

    /// Signs `bytes` for one purpose. A signature made in one context never
    /// holds in another.
    ///
    /// # Errors
    /// [`KeyError::ContextTooLong`] above 255 bytes.
    pub fn sign(&self, context: &str, bytes: &[u8]) -> Result<Signature, KeyError> {
        let signature = self.pair.sign(&in_context(context, bytes)?);
        let mut out = [0u8; 64];
        out.copy_from_slice(signature.as_ref());
        Ok(Signature(out))
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|rejected| {
            KeyError::Malformed {
                reason: rejected.to_string(),
            }
        })?;
        Ok(Self {
            pair,
            pkcs8: der.to_vec(),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().id())
    }
}

/// What is signed: the context with its length before it, then the bytes, so
/// that no two pairs give the same message.
fn in_context(context: &str, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
    let length = u8::try_from(context.len()).map_err(|_| KeyError::ContextTooLong {
        length: context.len(),
    })?;
    let mut message = Vec::with_capacity(1 + context.len() + bytes.len());
    message.push(length);
    message.extend_from_slice(context.as_bytes());
    message.extend_from_slice(bytes);
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_signature_holds_for_its_bytes_and_context_only(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            other in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let key = SigningKey::generate().unwrap();
            let signature = key.sign("purpose one", &bytes).unwrap();
            let public = key.verifying_key();
            prop_assert_eq!(public.verify("purpose one", &bytes, &signature), Ok(()));
            prop_assert!(public.verify("purpose two", &bytes, &signature).is_err());
            prop_assert_eq!(public.verify("purpose one", &other, &signature).is_ok(), bytes == other);
        }
    }

    #[test]
    fn the_signature_binds_context_and_bytes_apart() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign("ab", b"cd").unwrap();
        let refused = key.verifying_key().verify("abc", b"d", &signature);
        assert_eq!(
            refused,
            Err(KeyError::BadSignature {
                key: key.verifying_key().id(),
                context: "abc".into()
            })
        );
    }

    #[test]
    fn a_key_survives_pem_and_signs_the_same() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(again.sign("c", b"x"), key.sign("c", b"x"));
    }

    #[test]
    fn another_key_does_not_verify() {
        let (one, two) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let signature = one.sign("c", b"x").unwrap();
        assert!(matches!(
            two.verifying_key().verify("c", b"x", &signature),
            Err(KeyError::BadSignature { .. })
        ));
    }

    #[test]
    fn nothing_secret_is_in_debug_or_in_an_error() {
        let key = SigningKey::generate().unwrap();
        let secret = hex::encode(&key.pkcs8[16..48]);
        assert!(!format!("{key:?}").contains(&secret));
        let broken = key.to_pem().replace("PRIVATE KEY", "SECRET");
        let error = SigningKey::from_pem(&broken).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }));
        let line = key.to_pem().lines().nth(1).unwrap().to_owned();
        assert!(!error.to_string().contains(&line));
    }

    #[test]
    fn a_public_key_survives_its_written_form() {
        let key = SigningKey::generate().unwrap().verifying_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!(matches!(
            "abc".parse::<VerifyingKey>(),
            Err(KeyError::MalformedPublic { .. })
        ));
    }
}
