//! A device's distilled samples as the sums over rows that they stand for, so
//! that devices whose samples contradict the others' are found by the same
//! judgement as those whose sums do.

use ndarray::ArrayView2;

use common::math::kernel::Ntk;
use common::math::regression::RegressionError;
use common::moments::Moments;
use common::summary::Points;
use common::task::Task;
use common::transfer::TransferSet;

use super::basis::Basis;
use super::judge::{Directions, Judge, Verdict};
use super::moments::weighed;
use super::teacher::point_targets;
use super::{RowsCap, SolveError};

/// Which of these devices' samples (by place) contradict the others', on the
/// transfer set that all of them make. No device counts for more rows than the
/// median one. Cost: the basis of the set (5m³/3), m²·d for n samples m²·n, and
/// the judgement.
///
/// # Errors
/// If the set's kernel matrix cannot be factored.
pub fn contradicting_samples(
    task: &Task,
    set: &TransferSet,
    summaries: &[Points],
) -> Result<Verdict, SolveError> {
    let basis = Basis::of(task, set)?;
    let rows: Vec<u64> = summaries.iter().map(Points::rows).collect();
    let cap = RowsCap::of(&rows, 1.0);
    let directions = Directions::new(set.support());
    let judge = Judge::new(task, &basis, set, directions, summaries.len())?;
    let evidence = summaries.iter().map(|points| {
        let sums = sums(task, &basis, set, points)?;
        Ok(judge.moments(&weighed(sums, cap.share(points.rows()))))
    });
    let evidence = evidence.collect::<Result<Vec<_>, RegressionError>>()?;
    Ok(judge.verdict(&evidence)?)
}

/// The moments of rows that lie where the samples are, each as often as its
/// sample counts. Cost m²·n for n samples.
fn sums(
    task: &Task,
    basis: &Basis,
    set: &TransferSet,
    points: &Points,
) -> Result<Moments, RegressionError> {
    let ntk = Ntk::new(task.definition().teacher.depth);
    let seen = set.relevance.through(points.inputs.view());
    let kernel = ntk.matrix(set.seen().view(), seen.view())?.mapv(f64::from);
    let mut factor = basis.travelling(kernel.view())?;
    let mut targets = point_targets(task, points).mapv(|value| value as f32);
    let target_square = square(targets.view(), &points.counts);
    for (index, &count) in points.counts.iter().enumerate() {
        let root = (count as f32).sqrt();
        factor.row_mut(index).mapv_inplace(|value| value * root);
        targets.row_mut(index).mapv_inplace(|value| value * root);
    }
    Ok(Moments {
        rows: points.rows(),
        target_square,
        factor,
        targets,
        remainder: 0.0,
    })
}

fn square(targets: ArrayView2<'_, f32>, counts: &[u32]) -> f64 {
    let rows = targets.outer_iter().zip(counts);
    rows.map(|(row, &count)| {
        let square: f64 = row.iter().map(|&one| f64::from(one).powi(2)).sum();
        square * f64::from(count)
    })
    .sum()
}
