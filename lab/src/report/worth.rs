//! What each device is worth to the fleet: the teacher solved again without
//! it.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

use common::math::kernel::Ntk;
use common::math::regression::{MomentSystem, RegressionError, choose_ridge_gcv};
use common::round::Kind;
use common::transfer::TransferSet;
use coordinator::aggregate::{Basis, MomentSum};
use coordinator::validation;

use super::detail::DetailError;
use crate::simulation::Simulation;

/// A device's worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// Squared error of the global teacher on the device's own evidence, per
    /// row and class.
    pub own_with: f64,
    /// The same of the teacher solved without the device: how little the
    /// others know of its data.
    pub own_without: f64,
    /// Accuracy on the test set that goes with it. Only shown; nothing is
    /// chosen by it.
    pub accuracy_lost: f64,
}

/// What the fleet is tried on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial<'a> {
    /// The transfer set.
    pub set: &'a TransferSet,
    /// Test inputs in the normalised feature space.
    pub view: ArrayView2<'a, f32>,
    /// Their classes.
    pub labels: &'a [u16],
}

/// The worth of the (at most) [`DEVICES_MAX`] devices with most rows whose
/// moments are in the teacher, by device number. Each is subtracted from the
/// exact sum, and the rest is solved: cost about 10·m³ and a product of the
/// test set's kernel with the coefficients a device.
pub(super) fn leave_one_out(
    simulation: &Simulation,
    trial: Trial<'_>,
) -> Result<BTreeMap<usize, Worth>, DetailError> {
    let task = simulation.task();
    let (support, classes) = (trial.set.support(), task.classes());
    let basis = Basis::of(task, trial.set)?;
    let read = |blob| {
        let bytes = simulation.blob(blob).unwrap_or_default();
        let moments =
            validation::moments(task, &bytes, support).map_err(DetailError::Contribution)?;
        Ok::<_, DetailError>(basis.held_to_rows(moments)?)
    };
    let mut sum = MomentSum::new(support, classes);
    let mut all = Vec::new();
    for contribution in simulation.contributions(Kind::Moments) {
        let moments = read(contribution.blob)?;
        sum.add(&moments)?;
        all.push((moments.rows, contribution));
    }
    if all.len() < 2 {
        return Ok(BTreeMap::new());
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.0));
    all.truncate(DEVICES_MAX);

    let ntk = Ntk::new(task.definition().teacher.depth);
    let view = trial.set.relevance.through(trial.view);
    let kernel = ntk.matrix(view.view(), trial.set.seen().view())?;
    let right = |beta: &Array2<f64>| -> Result<f64, RegressionError> {
        let alpha = basis.whitener.coefficients(beta.view())?;
        Ok(share_right(
            &kernel.dot(&alpha.mapv(|value| value as f32)),
            trial.labels,
        ))
    };
    let whole = solve(&basis.whitened(&sum.system())?)?;
    let accuracy = right(&whole)?;
    let mut found = BTreeMap::new();
    for (rows, contribution) in all {
        let moments = read(contribution.blob)?;
        sum.remove(&moments)?;
        let without = solve(&basis.whitened(&sum.system())?)?;
        sum.add(&moments)?;
        let mut own = MomentSum::new(support, classes);
        own.add(&moments)?;
        let own = basis.whitened(&own.system())?;
        let error = |beta: &Array2<f64>| -> Result<f64, RegressionError> {
            Ok(own.squared_error(beta.view())?.max(0.0) / (rows.max(1) as f64 * classes as f64))
        };
        let worth = Worth {
            own_with: error(&whole)?,
            own_without: error(&without)?,
            accuracy_lost: accuracy - right(&without)?,
        };
        found.insert(contribution.device, worth);
    }
    Ok(found)
}

/// Coefficients in the whitened basis, the ridge chosen as the coordinator
/// does.
fn solve(system: &MomentSystem) -> Result<Array2<f64>, RegressionError> {
    let ridges: Vec<f64> = (-8..=6)
        .map(|power| 10f64.powf(f64::from(power) / 2.0))
        .collect();
    let ridge = choose_ridge_gcv(system, &ridges)?;
    Ok(system.solve_absolute(ridge.lambda, 0.0)?.alpha)
}

fn share_right(answers: &Array2<f32>, labels: &[u16]) -> f64 {
    let right = answers
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| {
            let best =
                (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            best == usize::from(**label)
        })
        .count();
    right as f64 / labels.len().max(1) as f64
}

/// Devices that are left out in turn.
pub(super) const DEVICES_MAX: usize = 100;
