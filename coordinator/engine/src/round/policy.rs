//! When phases close and rounds begin.

use protocol::round::{Kind, Phase};
use protocol::task::{BudgetPlan, TaskDefinition};

use crate::rollout::Releases;

/// A profile or report may always be this long, however small the budget.
const CONTRIBUTION_BYTES_MIN: u64 = 64 * 1024;

/// The windows of a task's rounds, taken from its definition.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundPolicy {
    /// Fewest devices whose contributions make a phase count.
    pub devices_min: u32,
    /// Share of the waited-for devices that starts the grace time, 0..=1.
    pub quorum: f64,
    /// Milliseconds until a gathering phase ends, by [`Phase`].
    pub deadline_ms: [u64; 7],
    /// Milliseconds between quorum and the end of a gathering phase.
    pub grace_ms: u64,
    /// Milliseconds between automatic rounds; none means rounds start by hand.
    pub interval_ms: Option<u64>,
    /// Devices with new data that let an automatic round start after the
    /// first one.
    pub new_data_devices_min: u32,
    /// Which of labels and moments the contribute phase asks for.
    pub contribute: Vec<Kind>,
    /// Longest contribution taken, in bytes.
    pub contribution_bytes_max: u64,
    /// Most bytes of contributions taken from one device in one round.
    pub round_bytes_max: u64,
    /// Most rows one contribution may claim to describe.
    pub rows_max: u64,
    /// Most points of the transfer set.
    pub points_max: u32,
    /// Rounds after a round that refine its student.
    pub refinement_steps: u32,
    /// How a standing task's students come about; none of a task whose rounds
    /// wait for their devices.
    pub standing: Option<StandingPolicy>,
    /// Who is offered what a round released.
    pub releases: Releases,
}

/// When what stands of a standing task's devices is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingPolicy {
    /// Rows of contributions that no student stands on, which are enough for
    /// the next one.
    pub rows_new: u64,
    /// Milliseconds after which fewer are enough.
    pub interval_ms: u64,
}

impl RoundPolicy {
    /// The rules of a task.
    pub fn of(task: &TaskDefinition) -> Self {
        let (rounds, budget) = (&task.rounds, &task.budget);
        Self {
            devices_min: rounds.devices_min,
            quorum: f64::from(rounds.quorum),
            deadline_ms: rounds.deadline_ms,
            grace_ms: rounds.grace_ms,
            interval_ms: rounds.interval_ms,
            new_data_devices_min: rounds.new_data_devices_min,
            contribute: task.contribute.kinds().to_vec(),
            contribution_bytes_max: budget.uplink_bytes_max.max(CONTRIBUTION_BYTES_MIN),
            round_bytes_max: budget.uplink_bytes_max.max(CONTRIBUTION_BYTES_MIN),
            rows_max: protocol::limits::ROWS_MAX,
            points_max: budget.points_max,
            refinement_steps: task.refinement_steps,
            standing: task.standing.map(|standing| StandingPolicy {
                rows_new: standing.rows_new,
                interval_ms: standing.interval_ms,
            }),
            releases: Releases::default(),
        }
    }

    /// From now on as was planned.
    pub fn follow(&mut self, plan: &BudgetPlan) {
        self.contribute = plan.contribute.kinds().to_vec();
        self.points_max = plan.points_max;
    }

    /// Devices that must contribute for the phase to count, of those waited
    /// for.
    pub fn quorum_of(&self, participants: usize) -> u32 {
        self.share_of(participants).max(self.devices_min)
    }

    /// The quorum's share of this many devices, at least one.
    pub fn share_of(&self, participants: usize) -> u32 {
        // The share may come from an f32, whose 0.8 lies above 0.8 and would
        // ask for all of five devices.
        let share = self.quorum * (1.0 - f64::from(f32::EPSILON));
        ((share * participants as f64).ceil() as u32).max(1)
    }

    /// The kinds that a phase waits for.
    pub fn kinds(&self, phase: Phase) -> &[Kind] {
        match phase {
            Phase::Contribute => &self.contribute,
            Phase::Report if self.refinement_steps == 0 => &[Kind::Report],
            other => other.kinds(),
        }
    }

    /// The phase's deadline, in milliseconds from its opening.
    pub fn deadline_of(&self, phase: Phase) -> u64 {
        self.deadline_ms[phase as usize]
    }
}
