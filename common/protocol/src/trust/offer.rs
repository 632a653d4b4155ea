//! Offers of contributions that a device signs, because its session is passed
//! on: what a gateway has no key for it cannot make up.

use bincode::{Decode, Encode};
use rcgen::{KeyPair, SigningKey as _};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::codec::encode;
use crate::ids::{BlobHash, DeviceId};
use crate::round::ContributionKey;

/// Bytes of a signature by Ed25519.
pub const OFFER_SIGNATURE_BYTES: usize = 64;

/// What is signed: a contribution's key, and which bytes it is. The hash stands
/// for the bytes, the key for task, transfer set, round, phase and kind, so a
/// signature that is shown again counts for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedOffer {
    /// The device that offers.
    pub device: DeviceId,
    /// What the contribution is for.
    pub key: ContributionKey,
    /// Name of its bytes.
    pub blob: BlobHash,
    /// Their length.
    pub bytes: u64,
}

impl SignedOffer {
    /// The signature by a device's private key; none if that is no Ed25519 key.
    pub fn sign(&self, key: &PrivatePkcs8KeyDer<'_>) -> Option<[u8; OFFER_SIGNATURE_BYTES]> {
        let pair = KeyPair::try_from(key).ok()?;
        pair.sign(&self.message()).ok()?.try_into().ok()
    }

    /// Whether this is the signature of the device whose key this is
    /// (SubjectPublicKeyInfo, DER): the key makes the device's id.
    pub fn is_signed(&self, public_key: &[u8], signature: &[u8; OFFER_SIGNATURE_BYTES]) -> bool {
        let Some(raw) = public_key.strip_prefix(&ED25519_PREFIX[..]) else {
            return false;
        };
        DeviceId::of_public_key(public_key) == self.device
            && ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, raw)
                .verify(&self.message(), signature)
                .is_ok()
    }

    fn message(&self) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        message.extend(encode(self));
        message
    }
}

/// Keeps these signatures from being taken for others of the same key, such as
/// those of TLS, which begin with 64 spaces.
const DOMAIN: &[u8] = b"alambic offer v1\n";

/// SubjectPublicKeyInfo of an Ed25519 key, before its 32 bytes (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ids::{RoundId, TaskHash, Time};
    use crate::round::{Kind, Phase};
    use crate::trust::authority::{Authority, SigningRequest};
    use crate::trust::device_key::DeviceKey;

    #[test]
    fn only_the_devices_own_offer_as_it_stands_is_signed() {
        let authority = Authority::create("test", Time(0)).unwrap();
        let credentials = || {
            let key = DeviceKey::generate().unwrap();
            let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
            let certificate = authority.sign_device(&request, Time(0), 1).unwrap();
            key.certified(certificate).unwrap()
        };
        let (own, other) = (credentials(), credentials());
        let facts = own.facts().unwrap();
        let offer = SignedOffer {
            device: facts.device,
            key: ContributionKey {
                task: TaskHash([1; 32]),
                transfer: None,
                round: RoundId(1),
                phase: Phase::Contribute,
                kind: Kind::Moments,
            },
            blob: BlobHash([2; 32]),
            bytes: 100,
        };
        let signature = offer.sign(own.key()).unwrap();
        assert!(offer.is_signed(&facts.public_key, &signature));
        let forged = offer.sign(other.key()).unwrap();
        assert!(!offer.is_signed(&facts.public_key, &forged));
        let theirs = other.facts().unwrap().public_key;
        assert!(!offer.is_signed(&theirs, &forged), "another device's key");
        let changed = [
            SignedOffer {
                bytes: 101,
                ..offer
            },
            SignedOffer {
                blob: BlobHash([3; 32]),
                ..offer
            },
            SignedOffer {
                key: ContributionKey {
                    round: RoundId(2),
                    ..offer.key
                },
                ..offer
            },
            SignedOffer {
                device: DeviceId([0; 16]),
                ..offer
            },
        ];
        for offer in changed {
            assert!(!offer.is_signed(&facts.public_key, &signature), "{offer:?}");
        }
        assert!(!offer.is_signed(b"no key", &signature));
    }
}
