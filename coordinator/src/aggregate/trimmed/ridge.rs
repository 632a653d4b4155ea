//! The ridge with which devices are judged.

use common::math::regression::RegressionError;

use super::{Evidence, Trimmed, chosen_sum, error, smallest};
use crate::aggregate::teacher::ridges;

impl Trimmed<'_> {
    /// The ridge with which devices forecast one another best: the least sum of the errors
    /// of the half of the devices that are forecast best, each by the others (cross-validation
    /// over devices, whole devices left out), the larger of two that are as good.
    ///
    /// What is judged is how well the others' teacher does on a device's rows, so that
    /// is what the ridge is chosen for. Rows of one device, and all the more those that one
    /// distilled sample stands for, are no independent observations: generalised
    /// cross-validation over rows takes ten rows of one sample for ten agreeing answers,
    /// and chooses a ridge that fits the noise between samples. Of the forecasts the
    /// better half alone is asked, as liars may be as many as the rest.
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
            let mut errors = vec![0.0; count];
            for (members, others) in &tried {
                let alpha = others.alpha(lambda)?;
                for &member in members {
                    let device: &Evidence = &self.devices[member];
                    errors[member] = error(device, alpha.view(), others, &[]);
                }
            }
            let half = chosen_sum(&errors, &smallest(&errors, count / 2 + 1));
            if half <= best.0 {
                best = (half, lambda);
            }
        }
        Ok(best.1)
    }
}

/// Most groups of devices that are left out in turn.
const FOLDS_MAX: usize = 32;
