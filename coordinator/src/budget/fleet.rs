//! The plan of a task whose budget the coordinator plans, from profiles.

use common::limits::{ROWS_PER_DIRECTION, SAMPLE_ROWS_MEAN};
use common::profile::Profile;
use common::task::{BudgetPlan, Contribute, Target, Task, USUAL};

use super::{Fixed, Kinds, Setting, plan};
use crate::aggregate::{ROWS_OVER_MEDIAN_MAX, RowsCap};
use crate::round::{BudgetReasons, PlannedBudget};

/// What devices spend their bytes on, planned from how many there are and the rows
/// they say they hold; none for a task whose file says it.
///
/// No device counts for more than three times the rows of the median one, so that
/// nobody moves the plan by a claim. Devices are taken to have the policy that an
/// agent has by default.
pub fn planned_budget(task: &Task, profiles: &[Profile]) -> Option<PlannedBudget> {
    let definition = task.definition();
    if !definition.auto_budget {
        return None;
    }
    let claimed: Vec<u64> = profiles.iter().map(Profile::rows).collect();
    let cap = RowsCap::of(&claimed, ROWS_OVER_MEDIAN_MAX);
    let rows: u64 = claimed.iter().map(|&rows| cap.rows(rows)).sum();
    let (devices, all) = (profiles.len(), rows as usize);
    let each = all / devices.max(1);
    let projection = task.learnt_projection();
    let profile_bytes = projection.map_or(0, |projection| projection.profile_bytes());
    let setting = Setting {
        features: task.features(),
        classes: task.outputs(),
        devices,
        rounds: 1,
        rows: all,
        directions: (each / ROWS_PER_DIRECTION as usize).saturating_sub(2),
        rows_a_point_min: (SAMPLE_ROWS_MEAN * definition.budget.cluster_size_min) as usize,
        lists: definition.features.is_measured(),
        // A profile that projections are learnt from is of the features before them.
        learns_normaliser: task.learns_normaliser() && projection.is_none(),
        learns_quantiles: task.learns_quantiles(),
        parameters: task.student().parameters(),
        // The task says how often its students are refined.
        last_layer: None,
        uplink_bytes: definition.budget.uplink_bytes_max - profile_bytes,
    };
    let fixed = Fixed {
        contribute: asked(task),
        ..Fixed::default()
    };
    let found = plan(&setting, fixed);
    Some(PlannedBudget {
        plan: BudgetPlan {
            points_per_device: found.points_per_device,
            points_max: found.points_max,
            bits: found.bits,
            rank_max: found.rank,
            landmarks_max: found.landmarks,
            contribute: found.contribute.into(),
        },
        devices: u32::try_from(devices).unwrap_or(u32::MAX),
        rows,
        reasons: BudgetReasons {
            points: found.points_reason,
            bits: found.bits_reason,
            rank: found.rank_reason,
            landmarks: found.landmarks_reason,
            contribute: found.contribute_reason,
        },
    })
}

/// What the task's file asks devices to send, where it does: moments of numbers and
/// everything of classes leave the choice to the plan.
fn asked(task: &Task) -> Kinds {
    let definition = task.definition();
    match (definition.contribute, task.target()) {
        _ if definition.classes == [USUAL] => Kinds::Points,
        (Contribute::Both, Target::Class) | (Contribute::Moments, Target::Number(_)) => Kinds::Both,
        (Contribute::Both | Contribute::Moments, _) => Kinds::Moments,
        (Contribute::Labels, _) => Kinds::Labels,
        (Contribute::Points, _) => Kinds::Points,
    }
}

impl From<Kinds> for Contribute {
    fn from(kinds: Kinds) -> Self {
        match kinds {
            Kinds::Points => Self::Points,
            Kinds::Labels => Self::Labels,
            Kinds::Moments => Self::Moments,
            Kinds::Both => Self::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::profile::RawProfile;
    use common::task::RawTask;

    fn task(budget: &str) -> Task {
        let text = format!(
            "name = \"t\"\n[input]\nshape = [28, 28]\n[normaliser]\nrange = [0, 1]\n\
             [features]\nstage = \"raw\"\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n{budget}"
        );
        RawTask::parse(&text).unwrap()
    }

    fn profiles(task: &Task, rows: &[u64]) -> Vec<Profile> {
        let raw = |&rows: &u64| RawProfile {
            rows,
            class_counts: vec![rows, 0, 0],
            moments: None,
        };
        let checked = |raw| Profile::check(raw, task.features(), 3, false).unwrap();
        rows.iter().map(raw).map(checked).collect()
    }

    #[test]
    fn a_plan_follows_devices_and_rows() {
        let task = task("[budget]\nplan = \"auto\"\nuplink_bytes_max = 100000");
        let many = planned_budget(&task, &profiles(&task, &[6_000; 10])).unwrap();
        assert_eq!((many.devices, many.rows), (10, 60_000));
        assert_eq!(many.reasons.points, "as many as the bytes allow");
        let few = planned_budget(&task, &profiles(&task, &[100; 10])).unwrap();
        assert!(few.plan.points_per_device < many.plan.points_per_device);
        // What is planned is a task, and one that no claim of one device moves far.
        let planned = task.planned(&many.plan).unwrap();
        assert_eq!(planned.definition().budget.points_max, many.plan.points_max);
        let mut rows = [100; 10];
        rows[3] = 9_000_000;
        let liar = planned_budget(&task, &profiles(&task, &rows)).unwrap();
        assert_eq!(liar.rows, 1_200);
    }

    #[test]
    fn a_file_that_says_it_has_no_plan() {
        let task = task("");
        assert_eq!(planned_budget(&task, &profiles(&task, &[100; 10])), None);
    }
}
