//! The influence of each device: the teacher solved again without it.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

use common::math::kernel::Ntk;
use common::round::Kind;
use common::transfer::TransferSet;
use coordinator::aggregate;
use coordinator::validation;

use super::detail::DetailError;
use crate::simulation::Simulation;

/// A device's influence, with what it does on the test set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Influence {
    /// What the moments say.
    pub of_moments: aggregate::Influence,
    /// Accuracy on the test set that goes with the device. Only shown; nothing
    /// is chosen by it.
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

/// The influence of the (at most) [`DEVICES_MAX`] devices with most rows whose
/// moments are in the teacher, by device number. Cost: that of
/// [`aggregate::leave_one_out`], and a product of the test set's kernel with the
/// coefficients a device.
pub(super) fn leave_one_out(
    simulation: &Simulation,
    trial: Trial<'_>,
) -> Result<BTreeMap<usize, Influence>, DetailError> {
    let task = simulation.task();
    let contributions = simulation.contributions(Kind::Moments);
    let read = |at: usize| {
        let bytes = simulation.blob(contributions[at].blob).unwrap_or_default();
        let moments = validation::moments(task, &bytes, trial.set.support());
        moments.map_err(DetailError::Contribution)
    };
    let ntk = Ntk::new(task.definition().teacher.depth);
    let view = trial.set.feature_weights.through(trial.view);
    let kernel = ntk.matrix(view.view(), trial.set.seen().view())?;
    let right = |alpha: &Array2<f64>| {
        let answers = kernel.dot(&alpha.mapv(|value| value as f32));
        share_right(&answers, trial.labels)
    };
    let mut accuracy = None;
    let mut found = BTreeMap::new();
    let bounds = [contributions.len(), DEVICES_MAX];
    aggregate::leave_one_out(task, trial.set, bounds, read, |left| {
        let accuracy = *accuracy.get_or_insert_with(|| right(left.with));
        let influence = Influence {
            of_moments: left.influence,
            accuracy_lost: accuracy - right(&left.without),
        };
        found.insert(contributions[left.device].device, influence);
        Ok(())
    })?;
    Ok(found)
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
