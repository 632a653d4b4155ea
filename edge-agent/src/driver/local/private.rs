//! Answers under differential privacy: each is paid for before it leaves, and
//! what was paid for once is given again for nothing.

use std::collections::BTreeMap;

use common::ids::BlobHash;
use common::task::Task;
use common::wire::messages::Call;
use common::withheld::{RawWithheld, WithheldCode};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tracing::{info, warn};

use super::answer::{abstention, withheld};
use super::explained;
use super::holdings::{Source, view};
use super::in_process::InProcess;
use crate::driver::backend::BackendError;
use crate::policy::{Budget, Charge, Spent};
use crate::work::{self, Entry, Work, private_cost};

impl<S: Source> InProcess<S> {
    /// Answers a call at the expense of the budget. Soft labels, moments and
    /// reports are not told, nor the features' means where a task has its
    /// normaliser learnt.
    pub(super) fn answer_privately(
        &self,
        call: &Call,
        task: &Task,
        blobs: &BTreeMap<BlobHash, Vec<u8>>,
        spent_today: u64,
        budget: Budget,
    ) -> Result<work::Built, BackendError> {
        let folder = self.state.file(SPENT);
        let mut spent = Spent::open(&folder).map_err(|error| explained(&error, error.advice()))?;
        if let Some(entries) = spent.answer(task.hash(), call.round, call.phase) {
            return Ok(self.permitted_of(again(entries), task, spent_today));
        }
        let work = |rows| Work {
            task,
            blobs,
            rows,
            stands_for: None,
            privacy: self
                .settings
                .policy
                .privacy(task.definition().budget.cluster_size_min),
            teacher: &self.settings.teacher,
            seed: self.settings.seed,
        };
        let cost = private_cost(task, call.phase, budget.rho_of_contribution());
        let Some(cost) = cost else {
            info!(
                "{}: nothing leaves under privacy.epsilon but row counts and distilled samples of \
                 tasks with classes",
                call.phase
            );
            return Ok(kept_back());
        };
        if !spent.has_room(&budget, cost) {
            warn!(
                "{}: what privacy.epsilon = {} allows has been told already; raise it, or let this \
                 device receive students only",
                call.phase,
                budget.epsilon()
            );
            return Ok(kept_back());
        }
        let mut rows = self.source.all(task)?;
        self.see_all(task, &mut rows)?;
        let mut random = StdRng::from_os_rng();
        let built = work(view(&rows)).private_answer(call, cost, &mut random);
        let built = built.map_err(|error| {
            let advice = "check that the data folder holds what the task expects; the device \
                 abstains from this phase";
            explained(&error, advice)
        })?;
        self.paid(call, task, built, cost, spent_today, &mut spent)
    }

    /// What the policy permits of an answer, written down with its cost. An
    /// answer that comes to nothing costs as much, for that tells something too.
    fn paid(
        &self,
        call: &Call,
        task: &Task,
        built: work::Built,
        cost: f64,
        spent_today: u64,
        spent: &mut Spent,
    ) -> Result<work::Built, BackendError> {
        let leaving = self.permitted_of(built, task, spent_today);
        let charge = Charge {
            task: task.hash(),
            round: call.round,
            phase: call.phase,
            time: self.settings.clock.now(),
            cost,
            entries: leaving.entries.clone(),
        };
        let charged = spent.charge(charge);
        charged.map_err(|error| explained(&error, error.advice()))?;
        Ok(leaving)
    }

    /// What the policy permits of an answer now, whatever it did when the
    /// answer was computed.
    fn permitted_of(&self, built: work::Built, task: &Task, mut spent_today: u64) -> work::Built {
        let policy = &self.settings.policy;
        let (mut leaving, mut why) = (Vec::new(), built.why);
        for entry in built.entries {
            let bytes = entry.bytes.len() as u64;
            let permitted = policy.permit(entry.kind, entry.rows, bytes, spent_today);
            match permitted.and_then(|()| policy.permit_content(task, &entry)) {
                Ok(()) => {
                    spent_today += bytes;
                    leaving.push(entry);
                }
                Err(refusal) => {
                    info!("{} not sent: {refusal}; {}", entry.kind, refusal.advice());
                    why.get_or_insert_with(|| withheld(&refusal));
                }
            }
        }
        work::Built {
            partial: leaving.is_empty(),
            entries: leaving,
            why,
        }
    }
}

fn again(entries: &[Entry]) -> work::Built {
    work::Built {
        entries: entries.to_vec(),
        ..work::Built::default()
    }
}

fn kept_back() -> work::Built {
    abstention(Some(RawWithheld {
        code: WithheldCode::Policy,
        detail: String::new(),
    }))
}

/// Folder of what was spent of the privacy budget.
pub const SPENT: &str = "privacy";
