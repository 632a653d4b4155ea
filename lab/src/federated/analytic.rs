//! Analytic federated learning: the ridge regression of all rows in one
//! round, exact under any partition, from the sums of each device.

use ndarray::{Array2, ArrayView2, Axis, s};

use common::math::linalg::{Cholesky, LinalgError};

use super::fleet::{Fleet, Rows, one_hot};
use super::{FederatedError, Rival, most_likely, right, traffic};

pub(super) fn run(fleet: &Fleet) -> Result<Rival, FederatedError> {
    let width = fleet.test.inputs.ncols();
    let mut gram = Array2::<f64>::zeros((width, width));
    let mut products = Array2::<f64>::zeros((width, fleet.classes));
    for device in &fleet.devices {
        let targets = one_hot(&device.labels, fleet.classes);
        let blocks = device.inputs.axis_chunks_iter(Axis(0), BLOCK_ROWS);
        for (inputs, targets) in blocks.zip(targets.axis_chunks_iter(Axis(0), BLOCK_ROWS)) {
            let inputs = inputs.mapv(f64::from);
            gram += &inputs.t().dot(&inputs);
            products += &inputs.t().dot(&targets.mapv(f64::from));
            common::liveness::heartbeat();
        }
    }
    let mean = gram.diag().sum() / width.max(1) as f64;
    let solve = |share: f64| -> Result<(f64, f64, Array2<f64>), LinalgError> {
        let mut system = gram.clone();
        system.diag_mut().mapv_inplace(|value| value + share * mean);
        let weights = Cholesky::factor_in_place(system)?.solve(products.view())?;
        Ok((score(&fleet.held_out, weights.view()), share, weights))
    };
    let mut best = solve(RIDGES[0])?;
    for &share in &RIDGES[1..] {
        let found = solve(share)?;
        if found.0 > best.0 {
            best = found;
        }
    }
    let (_, share, weights) = best;
    let reached = score(&fleet.test, weights.view());
    let numbers = width * (width + 1) / 2 + width * fleet.classes;
    let down = 8 * width * fleet.classes;
    let (uplink_bytes, downlink_bytes) = traffic(1, 8 * numbers as u64, down as u64);
    Ok(Rival {
        name: "AFL",
        accuracy: reached,
        rounds: 1,
        uplink_bytes,
        downlink_bytes,
        by_round: vec![reached],
        chosen: format!("ridge {share:e} of the mean square"),
        note: "a linear classifier on the stage's features, not the task's student; in double precision",
    })
}

fn score(rows: &Rows, weights: ArrayView2<'_, f64>) -> f64 {
    let mut said = Vec::with_capacity(rows.labels.len());
    let mut at = 0;
    while at < rows.labels.len() {
        let to = (at + BLOCK_ROWS).min(rows.labels.len());
        let inputs = rows.inputs.slice(s![at..to, ..]).mapv(f64::from);
        said.extend(most_likely(inputs.dot(&weights).view()));
        at = to;
    }
    right(&said, &rows.labels)
}

const BLOCK_ROWS: usize = 512;
/// Ridges that are tried, as shares of a feature's mean squared sum.
const RIDGES: [f64; 6] = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
