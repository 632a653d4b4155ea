//! What comes in from devices: contributions.

use common::ids::{TaskHash, Time};
use common::round::Reason;
use common::wire::messages::TransferAnswer;

use super::super::command::{Offer, Reply};
use super::Core;
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
                    bytes: offer.bytes,
                    checked,
                    ticket: self.answers.expect_transfer(reply),
                };
                self.arriving_bytes = offer.bytes;
                self.feed(now, at, input);
            }
        }
    }

    fn task_of(&self, task: TaskHash) -> Result<usize, Reason> {
        self.position(task).ok_or(if self.in_service {
            Reason::UnknownTask
        } else {
            Reason::Storage
        })
    }
}
