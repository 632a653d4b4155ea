//! Join tokens: what an operator hands to a new device.
//!
//! Written `alambic1.<id>.<secret>.<ca pin>`. The id names the coordinator's
//! record; the secret proves the token; the pin is the fingerprint of the
//! coordinator's authority, so that the device knows whom it talks to before
//! it says anything. The coordinator keeps the hash of the secret only.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bincode::{Decode, Encode};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::certificate::Fingerprint;
use crate::human;
use crate::ids::{DeviceId, Time};

/// Why a token was not understood or not honoured. No variant carries the
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text does not have the form of a token.
    #[error("not a join token: {reason}; expected alambic1.<id>.<secret>.<pin>, copied whole")]
    Malformed {
        /// Which part is wrong, and how.
        reason: &'static str,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new token")]
    Randomness,
    /// The secret is not the one that was handed out under this id.
    #[error("token {id} is forged: its secret does not match")]
    Forged {
        /// The token's id.
        id: TokenId,
    },
    /// The token's time is over.
    #[error("token {id} expired {} ago; create another", human::span(*.ago_ms))]
    Expired {
        /// The token's id.
        id: TokenId,
        /// How long ago.
        ago_ms: u64,
    },
    /// The operator took it back.
    #[error("token {id} was revoked; ask for another")]
    Revoked {
        /// The token's id.
        id: TokenId,
    },
    /// Other devices have used the token up.
    #[error("token {id} is used up: {uses_max} of {uses_max} uses taken; create another")]
    Used {
        /// The token's id.
        id: TokenId,
        /// How many devices it admits.
        uses_max: u32,
    },
}

/// Names a token. Not a secret. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TokenId(pub [u8; 8]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0u8; 8];
        hex::decode_to_slice(text, &mut id).map_err(|_| TokenError::Malformed {
            reason: "the id is not 16 hexadecimal digits",
        })?;
        Ok(Self(id))
    }
}

impl Serialize for TokenId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The secret of a token: 160 random bits. Its `Debug` hides them.
#[derive(Clone, Encode, Decode)]
pub struct TokenSecret([u8; 20]);

impl TokenSecret {
    /// The secret that came over the wire as these bytes.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] if they are not 20.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TokenError> {
        let bytes = bytes.try_into().map_err(|_| TokenError::Malformed {
            reason: "the secret is not 20 bytes long",
        })?;
        Ok(Self(bytes))
    }

    /// The bytes that prove the token. Show them to the coordinator only.
    pub fn reveal(&self) -> [u8; 20] {
        self.0
    }

    /// What the coordinator keeps. Bound to the id, so a hash moved to
    /// another record proves nothing there.
    fn hash(&self, id: TokenId) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_derive_key("alambic join token secret v1");
        hasher.update(&id.0);
        hasher.update(&self.0);
        hasher.finalize()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(hidden)")
    }
}

/// A join token as the device holds it.
#[derive(Clone, Debug)]
pub struct JoinToken {
    /// Names the coordinator's record.
    pub id: TokenId,
    /// Proves the token.
    pub secret: TokenSecret,
    /// The fingerprint of the authority the device must meet.
    pub ca_pin: Fingerprint,
}

impl JoinToken {
    /// The token as text. This is the secret, to be shown once.
    pub fn reveal(&self) -> String {
        format!(
            "{PREFIX}.{}.{}.{}",
            self.id,
            URL_SAFE_NO_PAD.encode(self.secret.0),
            URL_SAFE_NO_PAD.encode(self.ca_pin.0)
        )
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |reason| TokenError::Malformed { reason };
        let mut parts = text.trim().split('.');
        if parts.next() != Some(PREFIX) {
            return Err(malformed("it does not begin with alambic1"));
        }
        let (Some(id), Some(secret), Some(pin), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("it does not have four parts"));
        };
        Ok(Self {
            id: id.parse()?,
            secret: TokenSecret(
                decode(secret).ok_or(malformed("the secret is cut short or mistyped"))?,
            ),
            ca_pin: Fingerprint(decode(pin).ok_or(malformed("the pin is cut short or mistyped"))?),
        })
    }
}

/// Whether a person has to approve a device that shows a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// The token is enough.
    #[default]
    Auto,
    /// The device waits until an operator has approved it.
    Manual,
}

/// What a token allows, chosen when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// When it stops being honoured.
    pub expires: Time,
    /// How many devices it admits.
    pub uses_max: u32,
    /// The group its devices join.
    pub group: Option<String>,
    /// Whether a person approves each device.
    pub approval: Approval,
}

/// A token as the coordinator keeps it: no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token's name.
    pub id: TokenId,
    /// The hash of the token's secret.
    pub secret_hash: [u8; 32],
    /// When it stops being honoured.
    pub expires: Time,
    /// How many devices it admits.
    pub uses_max: u32,
    /// The devices it has admitted.
    pub redeemed_by: Vec<DeviceId>,
    /// The group its devices join.
    pub group: Option<String>,
    /// Whether a person approves each device.
    pub approval: Approval,
    /// When the operator took it back.
    pub revoked: Option<Time>,
}

impl TokenRecord {
    /// A new token, and the record to keep of it.
    ///
    /// # Errors
    /// [`TokenError::Randomness`] if the system has none.
    pub fn create(ca_pin: Fingerprint, terms: TokenTerms) -> Result<(JoinToken, Self), TokenError> {
        let random = SystemRandom::new();
        let (mut id, mut secret) = ([0u8; 8], [0u8; 20]);
        random.fill(&mut id).map_err(|_| TokenError::Randomness)?;
        random
            .fill(&mut secret)
            .map_err(|_| TokenError::Randomness)?;
        let token = JoinToken {
            id: TokenId(id),
            secret: TokenSecret(secret),
            ca_pin,
        };
        let record = Self {
            id: token.id,
            secret_hash: *token.secret.hash(token.id).as_bytes(),
            expires: terms.expires,
            uses_max: terms.uses_max,
            redeemed_by: Vec::new(),
            group: terms.group,
            approval: terms.approval,
            revoked: None,
        };
        Ok((token, record))
    }

    /// How many more devices this token admits.
    pub fn uses_left(&self) -> u32 {
        let used = u32::try_from(self.redeemed_by.len()).unwrap_or(u32::MAX);
        self.uses_max.saturating_sub(used)
    }

    /// Whether `secret` is this token's, whatever else is wrong with it.
    /// Takes the same time wherever the two differ.
    ///
    /// # Errors
    /// [`TokenError::Forged`].
    pub fn prove(&self, secret: &TokenSecret) -> Result<(), TokenError> {
        // Comparing two `blake3::Hash` takes the same time wherever they differ.
        if secret.hash(self.id) == blake3::Hash::from_bytes(self.secret_hash) {
            Ok(())
        } else {
            Err(TokenError::Forged { id: self.id })
        }
    }

    /// Whether `device`, showing `secret`, may join now. Changes nothing;
    /// the caller records the admission with [`redeem`](Self::redeem).
    ///
    /// A device that was admitted before is admitted again while the token
    /// lasts and takes no further use: its first answer may have been lost.
    /// The secret is compared in constant time and before anything else, so
    /// that anyone who does not know it learns nothing.
    ///
    /// # Errors
    /// [`TokenError::Forged`], [`TokenError::Revoked`],
    /// [`TokenError::Expired`] or [`TokenError::Used`], judged in this order.
    pub fn check(
        &self,
        secret: &TokenSecret,
        device: DeviceId,
        now: Time,
    ) -> Result<(), TokenError> {
        self.prove(secret)?;
        if self.revoked.is_some() {
            return Err(TokenError::Revoked { id: self.id });
        }
        if now >= self.expires {
            return Err(TokenError::Expired {
                id: self.id,
                ago_ms: now.since_ms(self.expires),
            });
        }
        if self.uses_left() == 0 && !self.redeemed_by.contains(&device) {
            return Err(TokenError::Used {
                id: self.id,
                uses_max: self.uses_max,
            });
        }
        Ok(())
    }

    /// Records that `device` has joined by this token.
    pub fn redeem(&mut self, device: DeviceId) {
        if !self.redeemed_by.contains(&device) {
            self.redeemed_by.push(device);
        }
    }
}

const PREFIX: &str = "alambic1";

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
