//! What comes in from devices: contributions, and devices that join.

use common::ids::{TaskHash, Time};
use common::round::Reason;
use common::wire::messages::{EnrolRefusal, TransferAnswer};

use super::super::command::{Admission, Offer, Reply};
use super::Core;
use super::effect::Effect;
use crate::registry::RegistryEvent;
use crate::round::Input;

impl Core {
    /// A contribution is offered; its bytes have not come.
    pub(super) fn offered(&mut self, now: Time, offer: Offer, reply: Reply<TransferAnswer>) {
        match self.task_of(offer.key.task) {
            Err(reason) => {
                let _ = reply.send(TransferAnswer::Refused(reason));
            }
            Ok(at) => {
                let input = Input::Offered {
                    device: offer.device,
                    key: offer.key,
                    blob: offer.blob,
                    bytes: offer.bytes,
                    ticket: self.answers.expect_transfer(reply),
                };
                self.feed(now, at, input);
            }
        }
    }

    /// A contribution's bytes are durable and were checked.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        offer: Offer,
        checked: Result<u64, Reason>,
        reply: Reply<TransferAnswer>,
    ) {
        match self.task_of(offer.key.task) {
            Err(reason) => {
                let _ = reply.send(TransferAnswer::Refused(reason));
            }
            Ok(at) => {
                let input = Input::Arrived {
                    device: offer.device,
                    key: offer.key,
                    blob: offer.blob,
                    checked,
                    ticket: self.answers.expect_transfer(reply),
                };
                self.arriving_bytes = offer.bytes;
                self.feed(now, at, input);
            }
        }
    }

    /// A device shows a token. What it buys is counted durably before the
    /// device hears of it.
    pub(super) fn admit(
        &mut self,
        now: Time,
        admission: Admission,
        reply: Reply<Result<(), EnrolRefusal>>,
    ) {
        let Admission {
            device,
            certificate,
            label,
            token,
            secret,
        } = admission;
        let allowed = if self.in_service {
            self.registry.check(token, &secret, device, now)
        } else {
            Err(EnrolRefusal::Storage)
        };
        if let Err(refusal) = allowed {
            tracing::warn!(device = %device.short(), %token, %refusal, "not admitted");
            let _ = reply.send(Err(refusal));
            return;
        }
        self.record(RegistryEvent::Admitted {
            device,
            certificate,
            label,
            token,
            at: now,
        });
        let lost = || Err(EnrolRefusal::Storage);
        self.effects.push(Effect::reply(reply, Ok(()), lost));
    }

    fn task_of(&self, task: TaskHash) -> Result<usize, Reason> {
        self.position(task).ok_or(if self.in_service {
            Reason::UnknownTask
        } else {
            Reason::Storage
        })
    }
}
