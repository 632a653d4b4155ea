//! What a task's bytes are spent on where the coordinator plans it.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::checked::{Task, TaskError};
use super::definition::Contribute;

/// What a device spends its bytes on in a task with an automatic budget, planned
/// from the devices and rows of the profile phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct BudgetPlan {
    /// Distilled points a device may send in one round.
    pub points_per_device: u32,
    /// Points of the transfer set in all.
    pub points_max: u32,
    /// Bits a value of points and moments.
    pub bits: u8,
    /// Virtual rows of a device's moments; 0 stands for as many as the bytes
    /// allow.
    pub rank_max: u32,
    /// Most landmarks beside the points.
    pub landmarks_max: u32,
    /// What devices answer on the transfer set.
    pub contribute: Contribute,
}

impl Task {
    /// The same task with its budget as it was planned; its bytes and its name
    /// stay.
    ///
    /// # Errors
    /// If its budget is not planned, or a task may not have what the plan says.
    pub fn planned(&self, plan: &BudgetPlan) -> Result<Self, TaskError> {
        if !self.definition().auto_budget {
            return Err(TaskError::Value {
                key: "budget.plan",
                value: "\"fixed\"".to_owned(),
                allowed: "\"auto\", for a budget that was planned".to_owned(),
            });
        }
        let mut definition = self.definition().clone();
        definition.budget.points_per_device = plan.points_per_device;
        definition.budget.points_max = plan.points_max;
        definition.budget.bits = plan.bits;
        definition.budget.rank_max = plan.rank_max;
        definition.method.landmarks_max = plan.landmarks_max;
        definition.contribute = plan.contribute;
        Ok(Self::check(definition)?.named_as(self))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::task::RawTask;

    const PLAN: BudgetPlan = BudgetPlan {
        points_per_device: 7,
        points_max: 70,
        bits: 6,
        rank_max: 12,
        landmarks_max: 40,
        contribute: Contribute::Moments,
    };

    fn text(budget: &str) -> String {
        format!("name = \"t\"\n{budget}\n[input]\nshape = [8]\n[classes]\nnames = [\"a\", \"b\"]\n")
    }

    #[test]
    fn a_planned_task_keeps_its_name() {
        let task = RawTask::parse(&text("budget = \"auto\"")).unwrap();
        let planned = task.planned(&PLAN).unwrap();
        assert_eq!(
            (planned.hash(), planned.bytes()),
            (task.hash(), task.bytes())
        );
        assert_eq!(planned.definition().budget.points_max, 70);
        assert_eq!(planned.definition().contribute, Contribute::Moments);
        assert_eq!(Task::from_bytes(planned.bytes()).unwrap(), task);
        // It may be planned anew.
        let other = BudgetPlan {
            points_max: 90,
            ..PLAN
        };
        assert_eq!(
            planned
                .planned(&other)
                .unwrap()
                .definition()
                .budget
                .points_max,
            90
        );
    }

    #[test]
    fn a_fixed_task_takes_no_plan() {
        let task = RawTask::parse(&text("")).unwrap();
        assert!(task.planned(&PLAN).is_err());
        let task = RawTask::parse(&text("budget = \"auto\"")).unwrap();
        let points_max = 0;
        assert!(task.planned(&BudgetPlan { points_max, ..PLAN }).is_err());
    }
}
