//! What the core wants done, at once or when the log holds what it follows from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::close::CloseCode;
use protocol::ids::{DeviceId, RoundId, TaskHash};
use protocol::round::Reason;
use protocol::task::Task;
use protocol::wire::messages::{ToDevice, TransferAnswer};

use super::answer::{Answer, Reply, ReplyId};
use super::command::{RunId, SessionId};
use crate::round::{Job, StartRefused, Ticket};
use crate::status::{Fault, FaultKind, Progress};

/// Something to do now. The driver takes effects in order.
#[derive(Debug)]
pub enum Effect {
    /// Answer a question.
    Answer {
        /// Which.
        to: ReplyId,
        /// With what.
        answer: Answer,
    },
    /// A question cannot be answered: nothing is stored at the moment, or the
    /// one who asks was hung up on.
    NoAnswer {
        /// Which.
        to: ReplyId,
    },
    /// Hand a message to a session. If it does not take it, because earlier
    /// ones were not read, the session is closed with [`CloseCode::Stalled`].
    Send {
        /// Whose.
        device: DeviceId,
        /// Which of its sessions.
        session: SessionId,
        /// What.
        message: ToDevice,
    },
    /// Close a session. Nothing more is sent to it.
    Close {
        /// Which.
        session: SessionId,
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people.
        reason: &'static str,
    },
    /// Start a computation.
    Compute(Work),
    /// Tell those who watch.
    Progress(Progress),
    /// Refuse the connections of these devices, and of no others.
    Revoked(BTreeSet<DeviceId>),
    /// Take back what a device broke; its quarantine ends.
    Pardoned(DeviceId),
}

/// A computation to start.
#[derive(Debug)]
pub struct Work {
    /// Names this run.
    pub run: RunId,
    /// Of which task.
    pub task: Arc<Task>,
    /// What to compute.
    pub job: Job,
}

/// What waits for the log.
#[derive(Debug)]
pub(super) enum Pending {
    /// Becomes an effect once the entries before it are durable.
    Effect(Effect),
    /// A message to whatever session the device has by then.
    Send { device: DeviceId, message: ToDevice },
    /// One answer if the entries were stored, another if not.
    Answer {
        to: ReplyId,
        stored: Answer,
        lost: Answer,
    },
}

impl Pending {
    /// Answers with `stored`, or with `lost` if nothing was stored.
    pub(super) fn answer<T: Into<Answer>>(reply: Reply<T>, stored: T, lost: T) -> Self {
        Self::Answer {
            to: reply.id(),
            stored: stored.into(),
            lost: lost.into(),
        }
    }

    /// The same, for what an operator asked for.
    pub(super) fn done<T>(reply: Reply<Result<T, Fault>>, value: T) -> Self
    where
        Result<T, Fault>: Into<Answer>,
    {
        Self::answer(reply, Ok(value), Err(not_stored()))
    }
}

/// The task and number of a round that began, or why none did.
type StartedRound = Result<(TaskHash, RoundId), Fault>;

/// Those who wait for an engine's answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    tickets: u64,
    transfers: BTreeMap<Ticket, Reply<TransferAnswer>>,
    rounds: BTreeMap<Ticket, Reply<StartedRound>>,
}

impl Answers {
    pub(super) fn expect_transfer(&mut self, reply: Reply<TransferAnswer>) -> Ticket {
        let ticket = self.ticket();
        self.transfers.insert(ticket, reply);
        ticket
    }

    pub(super) fn expect_round(&mut self, reply: Reply<StartedRound>) -> Ticket {
        let ticket = self.ticket();
        self.rounds.insert(ticket, reply);
        ticket
    }

    pub(super) fn transfer(&mut self, ticket: Ticket, answer: TransferAnswer) -> Option<Pending> {
        let reply = self.transfers.remove(&ticket)?;
        let lost = TransferAnswer::Refused(Reason::Storage);
        Some(Pending::answer(reply, answer, lost))
    }

    pub(super) fn round(
        &mut self,
        ticket: Ticket,
        task: TaskHash,
        result: Result<RoundId, StartRefused>,
    ) -> Option<Pending> {
        let reply = self.rounds.remove(&ticket)?;
        let answer = result.map(|round| (task, round)).map_err(|refused| {
            let text = match &refused {
                StartRefused::Running(_) => {
                    format!("{refused}; wait for its end, or end it with `round cancel`")
                }
                StartRefused::Archived => refused.to_string(),
            };
            Fault::new(FaultKind::Busy, text)
        });
        Some(Pending::answer(reply, answer, Err(not_stored())))
    }

    /// Answers all that are left, when the engines are thrown away.
    pub(super) fn refuse_all(&mut self) -> Vec<Effect> {
        let transfers = std::mem::take(&mut self.transfers).into_values();
        let transfers = transfers.map(|reply| Effect::Answer {
            to: reply.id(),
            answer: TransferAnswer::Refused(Reason::Storage).into(),
        });
        let rounds = std::mem::take(&mut self.rounds).into_values();
        let rounds = rounds.map(|reply| Effect::Answer {
            to: reply.id(),
            answer: StartedRound::Err(not_stored()).into(),
        });
        transfers.chain(rounds).collect()
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

/// What an operator is told while nothing can be stored.
pub(super) fn not_stored() -> Fault {
    Fault::new(
        FaultKind::Storage,
        "the coordinator cannot store this now; its log says why (a full disk, most often); \
         try again once that is mended",
    )
}
