//! The ridge with which devices are judged.

use common::math::regression::RegressionError;

use super::{ERROR_MAX, Trimmed, error};
use crate::aggregate::teacher::ridges;

impl Trimmed<'_> {
    /// The ridge with which devices forecast one another best: the least sum of the errors
    /// with which each is forecast by the others (cross-validation over devices, whole
    /// devices left out), the larger of two that are as good. No error counts for more than that
    /// of no answer: labels that contradict the others' have it at every ridge, and so
    /// say nothing of which is best.
    ///
    /// What is judged is how well the others' teacher does on a device's rows, so that
    /// is what the ridge is chosen for. Rows of one device, and all the more those that one
    /// distilled sample stands for, are no independent observations: generalised
    /// cross-validation over rows takes ten rows of one sample for ten answers that agree,
    /// and chooses a ridge that fits the noise between samples.
    ///
    /// In fleets of more than [`FOLDS_MAX`] devices as many groups are left out in turn.
    /// Cost [`FOLDS_MAX`]·p³/3 and K·p²·C for each ridge.
    pub(super) fn forecasting_ridge(&self) -> Result<f64, RegressionError> {
        let count = self.devices.len();
        let folds = count.clamp(1, FOLDS_MAX);
        let all = self.sum(&vec![true; count]);
        let mut tried = Vec::new();
        for fold in 0..folds {
            let members: Vec<usize> = (fold..count).step_by(folds).collect();
            let mut others = all.clone();
            for &member in &members {
                others.add(&self.devices[member], -1.0);
            }
            tried.push((members, others));
        }
        let mut best = (f64::INFINITY, 1.0);
        for lambda in ridges() {
            let mut sum = 0.0;
            for (members, others) in &tried {
                let alpha = others.alpha(lambda)?;
                for &member in members {
                    let device = &self.devices[member];
                    sum += error(device, alpha.view(), others, &[]).min(ERROR_MAX);
                }
            }
            if sum <= best.0 {
                best = (sum, lambda);
            }
        }
        Ok(best.1)
    }
}

/// Most groups of devices that are left out in turn.
const FOLDS_MAX: usize = 32;
