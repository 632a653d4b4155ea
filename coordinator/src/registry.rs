//! Who belongs to the fleet: join tokens, admitted devices, revoked keys.
//!
//! Like a task's state, the registry is the fold of its events, and an event
//! is durable before anyone hears of it: a token's use is counted before the
//! certificate it bought leaves the house.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use common::ids::{DeviceId, Time};
use common::trust::certificate::Fingerprint;
use common::trust::token::{TokenError, TokenId, TokenRecord, TokenSecret};
use common::wire::messages::EnrolRefusal;

/// A change of the registry. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum RegistryEvent {
    /// A join token was handed out.
    TokenCreated {
        /// The token, without its secret.
        record: TokenRecord,
        /// When.
        at: Time,
    },
    /// A device joined, or joined again with the same key.
    Admitted {
        /// The device.
        device: DeviceId,
        /// Its certificate.
        certificate: Fingerprint,
        /// A name for people; may be empty.
        label: String,
        /// The token it showed.
        token: TokenId,
        /// When.
        at: Time,
    },
    /// A device's key is believed no more.
    Revoked {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
}

/// A device that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its newest certificate.
    pub certificate: Fingerprint,
    /// A name for people; may be empty.
    pub label: String,
    /// When it first joined.
    pub admitted: Time,
}

/// The fold of all [`RegistryEvent`]s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    tokens: BTreeMap<TokenId, TokenRecord>,
    members: BTreeMap<DeviceId, Member>,
    revoked: BTreeSet<DeviceId>,
}

/// Longest name of a device that is kept, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

impl Registry {
    /// The registry after one more event.
    pub fn apply(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::TokenCreated { record, .. } => {
                self.tokens.insert(record.id, record.clone());
            }
            RegistryEvent::Admitted {
                device,
                certificate,
                label,
                token,
                at,
            } => {
                if let Some(record) = self.tokens.get_mut(token) {
                    record.redeem(*device);
                }
                let admitted = self.members.get(device).map_or(*at, |old| old.admitted);
                let member = Member {
                    certificate: *certificate,
                    label: label.clone(),
                    admitted,
                };
                self.members.insert(*device, member);
            }
            RegistryEvent::Revoked { device, .. } => {
                self.revoked.insert(*device);
            }
        }
    }

    /// Whether a device that shows this token's secret may join now. Changes
    /// nothing.
    ///
    /// # Errors
    /// Why not, as the device is told.
    pub fn check(
        &self,
        token: TokenId,
        secret: &TokenSecret,
        device: DeviceId,
        now: Time,
    ) -> Result<(), EnrolRefusal> {
        let record = self.tokens.get(&token).ok_or(EnrolRefusal::UnknownToken)?;
        record
            .check(secret, device, now)
            .map_err(|error| match error {
                TokenError::Expired { .. } => EnrolRefusal::ExpiredToken,
                TokenError::Used { .. } => EnrolRefusal::UsedToken,
                _ => EnrolRefusal::UnknownToken,
            })?;
        if self.revoked.contains(&device) {
            return Err(EnrolRefusal::RevokedKey);
        }
        Ok(())
    }

    /// Devices that joined.
    pub fn members(&self) -> &BTreeMap<DeviceId, Member> {
        &self.members
    }

    /// Devices whose keys are believed no more.
    pub fn revoked(&self) -> &BTreeSet<DeviceId> {
        &self.revoked
    }

    /// The name people gave a device; empty if none.
    pub fn label(&self, device: DeviceId) -> &str {
        self.members
            .get(&device)
            .map_or("", |member| member.label.as_str())
    }
}

/// A label as it is kept: printable, and not longer than
/// [`LABEL_BYTES_MAX`].
pub fn clean_label(label: &str) -> String {
    let mut kept = String::new();
    for c in label.trim().chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::trust::token::TokenTerms;

    const DEVICE: DeviceId = DeviceId([1; 16]);
    const OTHER: DeviceId = DeviceId([2; 16]);

    fn with_token(uses_max: u32) -> (Registry, TokenId, TokenSecret) {
        let terms = TokenTerms {
            expires: Time(1_000),
            uses_max,
            group: None,
        };
        let (token, record) = TokenRecord::create(Fingerprint([0; 32]), terms).unwrap();
        let mut registry = Registry::default();
        registry.apply(&RegistryEvent::TokenCreated {
            record,
            at: Time(0),
        });
        (registry, token.id, token.secret)
    }

    fn admitted(device: DeviceId, token: TokenId, at: u64) -> RegistryEvent {
        RegistryEvent::Admitted {
            device,
            certificate: Fingerprint([3; 32]),
            label: "pump".into(),
            token,
            at: Time(at),
        }
    }

    #[test]
    fn a_used_token_admits_its_own_device_again_and_no_other() {
        let (mut registry, token, secret) = with_token(1);
        registry.apply(&admitted(DEVICE, token, 10));
        assert_eq!(registry.check(token, &secret, DEVICE, Time(20)), Ok(()));
        assert_eq!(
            registry.check(token, &secret, OTHER, Time(20)),
            Err(EnrolRefusal::UsedToken)
        );
    }

    #[test]
    fn expired_and_forged_tokens_are_refused() {
        let (registry, token, secret) = with_token(1);
        assert_eq!(
            registry.check(token, &secret, DEVICE, Time(1_000)),
            Err(EnrolRefusal::ExpiredToken)
        );
        let forged = TokenSecret::from_slice(&[9; 20]).unwrap();
        assert_eq!(
            registry.check(token, &forged, DEVICE, Time(0)),
            Err(EnrolRefusal::UnknownToken)
        );
        assert_eq!(
            registry.check(TokenId([7; 8]), &secret, DEVICE, Time(0)),
            Err(EnrolRefusal::UnknownToken)
        );
    }

    #[test]
    fn a_revoked_key_never_joins_again() {
        let (mut registry, token, secret) = with_token(2);
        registry.apply(&RegistryEvent::Revoked {
            device: DEVICE,
            at: Time(1),
        });
        assert_eq!(
            registry.check(token, &secret, DEVICE, Time(2)),
            Err(EnrolRefusal::RevokedKey)
        );
        assert_eq!(registry.check(token, &secret, OTHER, Time(2)), Ok(()));
    }

    #[test]
    fn joining_again_keeps_the_first_date_and_takes_the_new_certificate() {
        let (mut registry, token, _) = with_token(1);
        registry.apply(&admitted(DEVICE, token, 10));
        registry.apply(&admitted(DEVICE, token, 50));
        assert_eq!(registry.members()[&DEVICE].admitted, Time(10));
        assert_eq!(registry.label(DEVICE), "pump");
    }

    #[test]
    fn labels_are_cut_and_lose_control_characters() {
        assert_eq!(clean_label(" a\u{1b}[1mb\n "), "a[1mb");
        assert_eq!(clean_label(&"ä".repeat(100)).len(), LABEL_BYTES_MAX);
    }
}
