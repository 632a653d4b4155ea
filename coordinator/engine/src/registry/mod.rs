//! Who belongs to the fleet: join tokens, devices that wait to be approved,
//! admitted devices, revoked keys.
//!
//! Like a task's state, the registry is the fold of its events, and an event
//! is durable before anyone hears of it: a token's use is counted before the
//! certificate it bought leaves the house.

mod event;

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use protocol::ids::{DeviceId, Time};
use protocol::trust::token::{Approval, TokenError, TokenId, TokenRecord, TokenSecret};
use protocol::wire::messages::EnrolRefusal;

pub use event::{Certified, RegistryEvent};

/// A device that joined.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Its newest certificate.
    pub certificate: Certified,
    /// A name for people; may be empty.
    pub label: String,
    /// The group its token put it in.
    pub group: Option<String>,
    /// When it first joined.
    pub admitted: Time,
}

/// A device that showed a token and needs an operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Applicant {
    /// A name for people; may be empty.
    pub label: String,
    /// The token it showed.
    pub token: TokenId,
    /// When it came.
    pub applied: Time,
    /// What the operator said.
    pub decision: Decision,
}

/// An operator's word on an applicant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Decision {
    /// None yet.
    Waiting,
    /// It may join.
    Approved,
    /// It may not, by this token.
    Denied,
}

/// A key that is believed no more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Revocation {
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// When.
    pub at: Time,
}

/// What a device that is not in yet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admittance {
    /// A certificate.
    Now,
    /// A place among the applicants.
    Apply,
    /// It has that place already, and waits.
    Wait,
}

/// The fold of all [`RegistryEvent`]s.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Registry {
    tokens: BTreeMap<TokenId, TokenRecord>,
    applicants: BTreeMap<DeviceId, Applicant>,
    members: BTreeMap<DeviceId, Member>,
    revoked: BTreeMap<DeviceId, Revocation>,
    turned_away: BTreeMap<TokenId, u32>,
}

/// The group of members that are no devices but gateways. Tokens that let
/// gateways join put them into it, and no other token may.
pub const GATEWAY_GROUP: &str = "alambic-gateway";

/// Longest name of a device that is kept, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// Devices turned away by one token that are remembered; a leaked token must
/// not fill the log.
pub const TURNED_AWAY_MAX: u32 = 32;

impl Member {
    /// Whether it is a gateway, which has no rows.
    pub fn is_gateway(&self) -> bool {
        self.group.as_deref() == Some(GATEWAY_GROUP)
    }
}

impl Registry {
    /// Whether this is a member that is a gateway.
    pub fn is_gateway(&self, member: DeviceId) -> bool {
        self.members.get(&member).is_some_and(Member::is_gateway)
    }

    /// The group that a member is in, if it is in one.
    pub fn group(&self, member: DeviceId) -> Option<&str> {
        self.members.get(&member)?.group.as_deref()
    }

    /// The registry after one more event.
    pub fn apply(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::TokenCreated { record, .. } => {
                self.tokens.insert(record.id, record.clone());
            }
            RegistryEvent::TokenRevoked { token, at } => {
                if let Some(record) = self.tokens.get_mut(token) {
                    record.revoked = Some(*at);
                }
            }
            RegistryEvent::Admitted {
                device,
                certificate,
                label,
                token,
                at,
            } => self.admitted(*device, *certificate, label, *token, *at),
            RegistryEvent::Renewed {
                device,
                certificate,
                ..
            } => {
                if let Some(member) = self.members.get_mut(device) {
                    member.certificate = *certificate;
                }
            }
            RegistryEvent::Revoked { device, reason, at } => {
                self.applicants.remove(device);
                let revocation = Revocation {
                    reason: reason.clone(),
                    at: *at,
                };
                self.revoked.insert(*device, revocation);
            }
            RegistryEvent::Applied {
                device,
                label,
                token,
                at,
            } => {
                if let Some(record) = self.tokens.get_mut(token) {
                    record.redeem(*device);
                }
                let applicant = Applicant {
                    label: label.clone(),
                    token: *token,
                    applied: *at,
                    decision: Decision::Waiting,
                };
                self.applicants.insert(*device, applicant);
            }
            RegistryEvent::Approved { device, .. } => self.decide(*device, Decision::Approved),
            RegistryEvent::Denied { device, .. } => self.decide(*device, Decision::Denied),
            RegistryEvent::Labelled { device, label, .. } => {
                if let Some(member) = self.members.get_mut(device) {
                    member.label.clone_from(label);
                } else if let Some(applicant) = self.applicants.get_mut(device) {
                    applicant.label.clone_from(label);
                }
            }
            RegistryEvent::TurnedAway { token, .. } => {
                *self.turned_away.entry(*token).or_default() += 1;
            }
        }
    }

    fn admitted(
        &mut self,
        device: DeviceId,
        certificate: Certified,
        label: &str,
        token: TokenId,
        at: Time,
    ) {
        let mut group = None;
        if let Some(record) = self.tokens.get_mut(&token) {
            record.redeem(device);
            group.clone_from(&record.group);
        }
        let before = self.members.get(&device);
        let applied = self.applicants.remove(&device);
        // What an operator called the device outlasts what it calls itself.
        let known = before.map(|member| member.label.clone());
        let known = known.or(applied.map(|applicant| applicant.label));
        let member = Member {
            certificate,
            label: known
                .filter(|label| !label.is_empty())
                .unwrap_or_else(|| label.to_owned()),
            group: group.or_else(|| before.and_then(|member| member.group.clone())),
            admitted: before.map_or(at, |member| member.admitted),
        };
        self.members.insert(device, member);
    }

    fn decide(&mut self, device: DeviceId, decision: Decision) {
        if let Some(applicant) = self.applicants.get_mut(&device) {
            applicant.decision = decision;
        }
    }

    /// What a device that shows this token's secret may have now. Changes
    /// nothing. A device that waits may outwait its token.
    ///
    /// # Errors
    /// Why it may have nothing, as it is told.
    pub fn check(
        &self,
        token: TokenId,
        secret: &TokenSecret,
        device: DeviceId,
        now: Time,
    ) -> Result<Admittance, EnrolRefusal> {
        let record = self.tokens.get(&token).ok_or(EnrolRefusal::UnknownToken)?;
        record
            .prove(secret)
            .map_err(|_| EnrolRefusal::UnknownToken)?;
        if self.revoked.contains_key(&device) {
            return Err(EnrolRefusal::RevokedKey);
        }
        let applicant = self.applicants.get(&device);
        if let Some(applicant) = applicant.filter(|applicant| applicant.token == token) {
            return match applicant.decision {
                Decision::Waiting => Ok(Admittance::Wait),
                Decision::Approved => Ok(Admittance::Now),
                Decision::Denied => Err(EnrolRefusal::Denied),
            };
        }
        record
            .check(secret, device, now)
            .map_err(|error| match error {
                TokenError::Expired { .. } => EnrolRefusal::ExpiredToken,
                TokenError::Used { .. } => EnrolRefusal::UsedToken,
                TokenError::Revoked { .. } => EnrolRefusal::RevokedToken,
                _ => EnrolRefusal::UnknownToken,
            })?;
        let is_known = self.members.contains_key(&device);
        Ok(match record.approval {
            Approval::Manual if !is_known => Admittance::Apply,
            _ => Admittance::Now,
        })
    }

    /// Whether a device may have its next certificate.
    ///
    /// # Errors
    /// Why not, as it is told.
    pub fn check_renewal(&self, device: DeviceId) -> Result<(), EnrolRefusal> {
        if self.revoked.contains_key(&device) {
            Err(EnrolRefusal::RevokedKey)
        } else if self.members.contains_key(&device) {
            Ok(())
        } else {
            Err(EnrolRefusal::NotAMember)
        }
    }

    /// Whether it is worth remembering that a device was turned away: it knew
    /// the secret of a token that has not been tried too often.
    pub fn is_worth_remembering(&self, token: TokenId, secret: &TokenSecret) -> bool {
        let is_proven = |record: &TokenRecord| record.prove(secret).is_ok();
        self.tokens.get(&token).is_some_and(is_proven)
            && self.turned_away.get(&token).copied().unwrap_or(0) < TURNED_AWAY_MAX
    }

    /// All tokens.
    pub fn tokens(&self) -> &BTreeMap<TokenId, TokenRecord> {
        &self.tokens
    }

    /// Devices that showed a token and were not let in yet.
    pub fn applicants(&self) -> &BTreeMap<DeviceId, Applicant> {
        &self.applicants
    }

    /// Devices that joined.
    pub fn members(&self) -> &BTreeMap<DeviceId, Member> {
        &self.members
    }

    /// Devices whose keys are believed no more, and why.
    pub fn revoked(&self) -> &BTreeMap<DeviceId, Revocation> {
        &self.revoked
    }

    /// The name people gave a device; empty if none.
    pub fn label(&self, device: DeviceId) -> &str {
        let member = self.members.get(&device).map(|member| &member.label);
        let applicant = self.applicants.get(&device).map(|one| &one.label);
        member.or(applicant).map_or("", String::as_str)
    }
}

/// A label as it is kept: printable, in one direction, and not longer than
/// [`LABEL_BYTES_MAX`].
pub fn clean_label(label: &str) -> String {
    let mut kept = String::new();
    let shows = |c: &char| !c.is_control() && !is_invisible(*c);
    for c in label.trim().chars().filter(shows) {
        if kept.len() + c.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

/// Characters that show nothing and change how others are read: marks of
/// direction (which show a name backwards), joiners and blanks without width.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a label could be read as the short id of a device.
pub fn looks_like_id(label: &str) -> bool {
    label.len() >= SHORT_ID_DIGITS && label.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Digits of an id where it is shown in short.
const SHORT_ID_DIGITS: usize = 8;

#[cfg(test)]
mod tests;
