//! Devices whose owners ask for differential privacy.

use common::math::random::rng;
use common::wire::messages::Call;
use edge_agent::data::SplitRule;
use edge_agent::policy::Budget;
use edge_agent::work::{Built, RawRows, TeacherChoice, Work, private_cost};

use super::device::{ABSTAIN, blobs_of, failed, seed};
use super::{Simulation, SimulationError};

/// What simulated devices may tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protection {
    /// What everything that a device tells may cost.
    pub budget: Budget,
    /// The first so many devices are pilots, whose owners ask for none: their
    /// rows give the fleet its normaliser where the task has it learnt.
    pub pilots: usize,
    /// Seed of the noise, which real devices draw from their system.
    pub seed: u64,
}

impl Simulation {
    /// Whether what a device tells has noise.
    pub fn is_protected(&self, device: usize) -> bool {
        self.protection
            .is_some_and(|protection| device >= protection.pilots)
    }

    /// Whether an attack looks at a device: not at pilots, who ask for no noise.
    pub fn is_looked_at(&self, device: usize) -> bool {
        self.protection.is_none() || self.is_protected(device)
    }

    /// What an agent with `[privacy]` answers: of profile and summary the first
    /// of each, which is all that its budget is for.
    pub(super) fn compute_privately(
        &self,
        index: usize,
        call: &Call,
        protection: Protection,
    ) -> Result<Built, SimulationError> {
        let spent = self.rounds_begun > 1;
        let cost = private_cost(
            &self.task,
            call.phase,
            protection.budget.rho_of_contribution(),
        );
        let Some(cost) = cost.filter(|_| !spent) else {
            return Ok(ABSTAIN);
        };
        let all_learn = SplitRule {
            one_in: 0,
            ..SplitRule::default()
        };
        let rows = self.rows_of(index).split(all_learn).training;
        let blobs = blobs_of(self, call);
        let work = Work {
            task: &self.task,
            blobs: &blobs,
            rows: RawRows {
                inputs: rows.inputs(),
                seen: None,
                labels: rows.labels(),
                numbers: rows.numbers(),
                soft: None,
            },
            stands_for: None,
            privacy: self.privacy,
            teacher: &TeacherChoice::Kernel,
            seed: seed(self.devices[index].id),
        };
        let stream = format!("noise/{}/{}", index, call.phase);
        let mut random = rng(protection.seed, &stream);
        let built = work.private_answer(call, cost, &mut random);
        built.map_err(|error| failed(index, &error))
    }
}
