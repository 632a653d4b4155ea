//! What happens once the log holds what it follows from.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::ids::{DeviceId, RoundId, TaskHash};
use common::round::Reason;
use common::task::Task;
use common::wire::messages::{ToDevice, TransferAnswer};

use crate::core::command::{Reply, RunId};
use crate::journal::Pin;
use crate::round::{Job, StartRefused, Ticket};
use crate::status::{Fault, FaultKind, Progress};

/// Something to do once the entries before it are durable.
pub(super) enum Effect {
    /// Answer someone; told whether the entries were stored.
    Reply(Box<dyn FnOnce(bool) + Send>),
    Send {
        device: DeviceId,
        message: ToDevice,
    },
    Work(Work),
    Progress(Progress),
    PublishRevoked,
    /// What was on its way into the log has arrived.
    LetGo(Pin),
}

/// A computation to start.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) run: RunId,
    pub(crate) task: Arc<Task>,
    pub(crate) job: Job,
}

impl Effect {
    /// Answers with `stored`, or with what `lost` makes if nothing was.
    pub(super) fn reply<T: Send + 'static>(
        reply: Reply<T>,
        stored: T,
        lost: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self::Reply(Box::new(move |durable| {
            // Fails only if the asker is gone.
            let _ = reply.send(if durable { stored } else { lost() });
        }))
    }

    /// The same, for what may fail.
    pub(super) fn done<T: Send + 'static>(reply: Reply<Result<T, Fault>>, value: T) -> Self {
        Self::reply(reply, Ok(value), || Err(not_stored()))
    }
}

/// The task and number of a round that began, or why none did.
type StartedRound = Result<(TaskHash, RoundId), Fault>;

/// Those who wait for an engine's answer.
#[derive(Default)]
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

    pub(super) fn transfer(&mut self, ticket: Ticket, answer: TransferAnswer) -> Option<Effect> {
        let reply = self.transfers.remove(&ticket)?;
        let lost = || TransferAnswer::Refused(Reason::Storage);
        Some(Effect::reply(reply, answer, lost))
    }

    pub(super) fn round(
        &mut self,
        ticket: Ticket,
        task: TaskHash,
        result: Result<RoundId, StartRefused>,
    ) -> Option<Effect> {
        let reply = self.rounds.remove(&ticket)?;
        let answer = result.map(|round| (task, round)).map_err(|refused| {
            let advice = "wait for its end, or end it with `round cancel`";
            Fault::new(FaultKind::Busy, format!("{refused}; {advice}"))
        });
        Some(Effect::reply(reply, answer, || Err(not_stored())))
    }

    /// Answers whoever is left, when the engines are thrown away.
    pub(super) fn refuse_all(&mut self) {
        for (_, reply) in std::mem::take(&mut self.transfers) {
            let _ = reply.send(TransferAnswer::Refused(Reason::Storage));
        }
        for (_, reply) in std::mem::take(&mut self.rounds) {
            let _ = reply.send(Err(not_stored()));
        }
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
