//! Who joins, who stays, and who has to go.

use protocol::close::CloseCode;
use protocol::ids::{DeviceId, Time};
use protocol::trust::token::TokenId;
use protocol::wire::messages::EnrolRefusal;

use super::effect::{Effect, Pending, not_stored};
use super::{Core, Runner};
use crate::core::command::{Admission, Admitted, Reply};
use crate::registry::{Admittance, Certified, Decision, RegistryEvent, clean_label, looks_like_id};
use crate::round::Input;
use crate::status::{Fault, FaultKind};

impl Core {
    /// A device shows a token. What it buys is counted durably before the
    /// device hears of it.
    pub(super) fn admit(
        &mut self,
        now: Time,
        admission: Admission,
        reply: Reply<Result<Admitted, EnrolRefusal>>,
    ) {
        let Admission {
            device,
            certificate,
            label,
            token,
            secret,
        } = admission;
        // A label must not read as another device's id.
        let label = match looks_like_id(clean_label(&label).as_str()) {
            true => String::new(),
            false => label,
        };
        let allowed = if self.in_service {
            self.registry.check(token, &secret, device, now)
        } else {
            Err(EnrolRefusal::Storage)
        };
        let (event, answer) = match allowed {
            Ok(Admittance::Wait) => {
                self.answer(reply, Ok(Admitted::Waiting));
                return;
            }
            Ok(Admittance::Now) => (
                RegistryEvent::Admitted {
                    device,
                    certificate,
                    label,
                    token,
                    at: now,
                },
                Ok(Admitted::Member),
            ),
            Ok(Admittance::Apply) => {
                tracing::info!(%device, label, "waits for approval");
                (
                    RegistryEvent::Applied {
                        device,
                        label,
                        token,
                        at: now,
                    },
                    Ok(Admitted::Waiting),
                )
            }
            Err(refusal) => {
                tracing::warn!(device = %device.short(), %token, %refusal, "not admitted");
                if !self.registry.is_worth_remembering(token, &secret) {
                    self.answer(reply, Err(refusal));
                    return;
                }
                (
                    RegistryEvent::TurnedAway {
                        device,
                        token,
                        reason: refusal,
                        at: now,
                    },
                    Err(refusal),
                )
            }
        };
        let before = self.tasks_for(device);
        self.record(event);
        if answer == Ok(Admitted::Member) && !self.registry.is_gateway(device) {
            self.joined(now, device, &before);
        }
        let lost = Err(EnrolRefusal::Storage);
        self.pending.push(Pending::answer(reply, answer, lost));
    }

    /// A device wants its next certificate.
    pub(super) fn renew(
        &mut self,
        now: Time,
        device: DeviceId,
        certificate: Certified,
        reply: Reply<Result<(), EnrolRefusal>>,
    ) {
        let allowed = if self.in_service {
            self.registry.check_renewal(device)
        } else {
            Err(EnrolRefusal::Storage)
        };
        if let Err(refusal) = allowed {
            tracing::warn!(device = %device.short(), %refusal, "not renewed");
            self.answer(reply, Err(refusal));
            return;
        }
        self.record(RegistryEvent::Renewed {
            device,
            certificate,
            at: now,
        });
        let lost = Err(EnrolRefusal::Storage);
        self.pending.push(Pending::answer(reply, Ok(()), lost));
    }

    /// Ends a device's session at once, and what it waits for; its key is
    /// refused from the moment this is durable.
    pub(super) fn revoke(
        &mut self,
        now: Time,
        device: DeviceId,
        reason: &str,
    ) -> Result<(), Fault> {
        self.known(device)?;
        if !self.registry.revoked().contains_key(&device) {
            let reason = clean(reason, REASON_BYTES_MAX);
            self.record(RegistryEvent::Revoked {
                device,
                reason,
                at: now,
            });
            let revoked = self.revoked();
            self.pending.push(Pending::Effect(revoked));
        }
        self.close(device, CloseCode::Revoked, "revoked by an operator");
        for at in 0..self.tasks.len() {
            self.feed(now, at, Input::Dismissed { device });
        }
        Ok(())
    }

    /// Revokes a device and takes its contributions out of every task.
    pub(super) fn forget(&mut self, now: Time, device: DeviceId) -> Result<(), Fault> {
        let open = |runner: &&Runner| {
            let state = runner.engine.state();
            // A standing task's round ends without a loss.
            let waits = state.round.is_some() && !runner.engine.is_standing();
            waits && state.has_of(device)
        };
        if let Some(runner) = self.tasks.iter().find(open) {
            let name = &runner.task.definition().name;
            let message = format!(
                "a round of task {name} is open; wait for its end, or end it with `round cancel`"
            );
            return Err(Fault::new(FaultKind::Busy, message));
        }
        self.revoke(now, device, "forgotten")?;
        for at in 0..self.tasks.len() {
            self.feed(now, at, Input::Forgotten { device });
        }
        Ok(())
    }

    /// Takes a device's strikes and breaches back, whatever it is suspected of.
    pub(super) fn pardon(&mut self, now: Time, device: DeviceId) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        self.known(device)?;
        self.pending.push(Pending::Effect(Effect::Pardoned(device)));
        for at in 0..self.tasks.len() {
            self.feed(now, at, Input::Pardoned { device });
        }
        Ok(())
    }

    pub(super) fn revoke_token(&mut self, now: Time, token: TokenId) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let Some(record) = self.registry.tokens().get(&token) else {
            let message = format!("no token {token}; `token list` shows all");
            return Err(Fault::new(FaultKind::NotFound, message));
        };
        if record.revoked.is_none() {
            self.record(RegistryEvent::TokenRevoked { token, at: now });
        }
        Ok(())
    }

    /// An operator's word on a device that waits. Saying the same again
    /// changes nothing; a device that was let in has to be revoked.
    pub(super) fn decide(
        &mut self,
        now: Time,
        device: DeviceId,
        approved: bool,
    ) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let Some(applicant) = self.registry.applicants().get(&device) else {
            let message = if self.registry.members().contains_key(&device) {
                format!("device {device} has joined; `device revoke` puts it out")
            } else {
                format!("no device {device} waits for approval; `device list` shows those that do")
            };
            return Err(Fault::new(FaultKind::NotFound, message));
        };
        let (decision, event) = if approved {
            (
                Decision::Approved,
                RegistryEvent::Approved { device, at: now },
            )
        } else {
            (Decision::Denied, RegistryEvent::Denied { device, at: now })
        };
        if applicant.decision != decision {
            self.record(event);
        }
        Ok(())
    }

    pub(super) fn label(&mut self, now: Time, device: DeviceId, label: &str) -> Result<(), Fault> {
        self.known(device)?;
        let label = clean_label(label);
        if looks_like_id(&label) {
            let message = format!(
                "{label} could be a device's id; give it a name that has more than digits and a to f"
            );
            return Err(Fault {
                kind: FaultKind::Invalid,
                message,
            });
        }
        if self.registry.label(device) != label {
            self.record(RegistryEvent::Labelled {
                device,
                label,
                at: now,
            });
        }
        Ok(())
    }

    /// Whether a device has joined, or waits to.
    fn known(&self, device: DeviceId) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let is_known = self.registry.members().contains_key(&device)
            || self.registry.applicants().contains_key(&device)
            || self.registry.revoked().contains_key(&device);
        if is_known {
            return Ok(());
        }
        let message = format!("no device {device}; `device list` shows those that joined");
        Err(Fault::new(FaultKind::NotFound, message))
    }
}

/// Printable text of at most this many bytes.
fn clean(text: &str, bytes_max: usize) -> String {
    let mut kept = String::new();
    for c in text.trim().chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > bytes_max {
            break;
        }
        kept.push(c);
    }
    kept
}

/// Longest reason of a revocation that is kept, in bytes.
const REASON_BYTES_MAX: usize = 256;
