//! What comes in from devices: contributions.

use protocol::ids::Time;
use protocol::round::Reason;
use protocol::wire::messages::TransferAnswer;

use super::Core;
use crate::core::command::{Offer, Reply};
use crate::round::Input;

impl Core {
    /// A contribution is offered; its bytes have not come.
    pub(super) fn offered(&mut self, now: Time, offer: Offer, reply: Reply<TransferAnswer>) {
        match self.task_of(&offer) {
            Err(reason) => {
                self.answer(reply, TransferAnswer::Refused(reason));
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
        match self.task_of(&offer) {
            Err(reason) => {
                self.answer(reply, TransferAnswer::Refused(reason));
            }
            Ok(at) => {
                let input = Input::Arrived {
                    device: offer.device,
                    key: offer.key,
                    blob: offer.blob,
                    bytes: offer.bytes,
                    checked,
                    ticket: self.answers.expect_transfer(reply),
                };
                self.arriving_bytes = offer.bytes;
                self.feed(now, at, input);
            }
        }
    }

    /// A transfer may outlast its device's membership by a moment.
    fn task_of(&self, offer: &Offer) -> Result<usize, Reason> {
        if self.registry.revoked().contains_key(&offer.device) {
            return Err(Reason::NotAdmitted);
        }
        let found = self.position_for(offer.key.task, offer.device);
        found.ok_or(if self.in_service {
            Reason::UnknownTask
        } else {
            Reason::Storage
        })
    }
}
