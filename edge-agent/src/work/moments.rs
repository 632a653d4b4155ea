//! Moments on the transfer set, compressed into pseudo-rows.

use ndarray::{Array1, Array2, Axis, concatenate, s};

use common::math::kernel::Ntk;
use common::math::linalg::top_eigenpairs;
use common::math::quantise::{Layout, QuantisedMatrix, Scheme};
use common::math::regression::{MomentSystem, RegressionError};
use common::moments::RawMoments;
use common::round::Kind;
use common::task::Budget;
use common::transfer::TransferSet;

use super::{Entry, View, Work, WorkError};
use crate::teacher::{LocalTeacher, centred_one_hot};

/// Pseudo-rows stop where what is left of the trace is this share of it:
/// below the error of eight bits.
const TAIL: f64 = 1e-5;
/// Targets of pseudo-rows are few and get more bits than the factor.
const TARGET_BITS: u8 = 12;

pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    transfer: &TransferSet,
    teacher: Option<&Box<dyn LocalTeacher>>,
) -> Result<Option<Entry>, WorkError> {
    let Some(teacher) = teacher else { return Ok(None) };
    let definition = work.task.definition();
    let ntk = Ntk::new(definition.teacher.depth);
    let targets = targets(view, teacher.as_ref())?;
    let points = transfer.points.inputs.view();
    let system = MomentSystem::gather(&ntk, points, view.inputs.view(), targets.view())?;
    let rank = rank_within(&definition.budget, points.nrows(), work.task.classes());
    let raw = compress(&system, rank, definition.budget.bits)?;
    Ok(Some(Entry::of(Kind::Moments, &raw, view.rows())))
}

/// Centred one-hot labels, then the teacher's centred soft labels for rows
/// without one.
fn targets(view: &View, teacher: &dyn LocalTeacher) -> Result<Array2<f32>, WorkError> {
    let classes = view.class_counts.len();
    let hard = centred_one_hot(&view.labels, classes);
    if view.unlabelled().is_empty() {
        return Ok(hard);
    }
    let soft = teacher.probabilities(view.unlabelled())? - 1.0 / classes as f32;
    let joined = concatenate(Axis(0), &[hard.view(), soft.view()]);
    Ok(joined.expect("both have one column a class"))
}

/// Pseudo-rows that fit what the budget leaves for moments.
fn rank_within(budget: &Budget, points: usize, classes: usize) -> usize {
    if budget.rank_max > 0 {
        return (budget.rank_max as usize).min(points);
    }
    let row_bytes = points * usize::from(budget.bits) / 8 + classes * 3 / 2 + 8;
    let labels = points * (classes * usize::from(budget.label_bits) / 8 + 1);
    // Framing and acknowledgements take a few per cent; profile and points of
    // the same round were sent before.
    let left = (budget.uplink_bytes_max as f64 * 0.85) as usize;
    (left.saturating_sub(labels + 4_096) / row_bytes).clamp(8, points.max(8)).min(points)
}

/// G ≈ V·Vᵀ by its largest eigenpairs and B ≈ V·W by least squares on the
/// quantised V, so that what the coordinator decodes belongs together.
fn compress(system: &MomentSystem, rank: usize, bits: u8) -> Result<RawMoments, WorkError> {
    let rank = rank.min(system.rows as usize);
    let (values, vectors) =
        top_eigenpairs(system.gram.view(), rank).map_err(RegressionError::from)?;
    let kept = kept(&values, system.gram.diag().sum());
    let roots = values.slice(s![..kept]).mapv(|value| value.max(0.0).sqrt());
    let factor = (&vectors.slice(s![.., ..kept]) * &roots).reversed_axes();
    let narrow = factor.mapv(|value| value as f32);
    let encoded = QuantisedMatrix::encode(narrow.view(), bits, Layout::Row, Scheme::Symmetric)?;
    let decoded = encoded.decode().mapv(f64::from);
    let targets = pseudo_targets(&decoded, &factor, &roots, system);
    let targets = QuantisedMatrix::encode(
        targets.mapv(|value| value as f32).view(),
        TARGET_BITS,
        Layout::Row,
        Scheme::Symmetric,
    )?;
    Ok(RawMoments {
        rows: system.rows as u64,
        target_square: system.target_square as f32,
        factor: encoded.into_raw(),
        targets: targets.into_raw(),
    })
}

/// How many of the largest eigenvalues hold all but a tail of the trace.
fn kept(values: &Array1<f64>, trace: f64) -> usize {
    let mut left = trace;
    for (index, value) in values.iter().enumerate() {
        if left <= TAIL * trace || *value <= 0.0 {
            return index.max(1);
        }
        left -= value;
    }
    values.len()
}

/// W with V·W ≈ Q·Qᵀ·B for the quantised V. Its columns are nearly the scaled
/// eigenvectors, so one step of refinement on the exact answer, W₀ = Λ^-½QᵀB
/// + Λ⁻¹·V̂(QQᵀB − V̂ᵀW₀), is enough.
fn pseudo_targets(
    quantised: &Array2<f64>,
    factor: &Array2<f64>,
    roots: &Array1<f64>,
    system: &MomentSystem,
) -> Array2<f64> {
    let inverse = roots.mapv(|root| if root > 0.0 { 1.0 / (root * root) } else { 0.0 });
    let inverse = inverse.insert_axis(Axis(1));
    let exact = factor.dot(&system.cross) * &inverse;
    let wanted = factor.t().dot(&exact);
    let short = wanted - quantised.t().dot(&exact);
    &exact + &(quantised.dot(&short) * &inverse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use common::moments::{Moments, MomentsFrame};
    use rand::Rng;

    fn system(rows: usize) -> (MomentSystem, MomentsFrame) {
        let ntk = Ntk::new(2);
        let mut random = rng(9, "moments");
        let unit = |mut x: Array2<f32>| {
            for mut row in x.rows_mut() {
                let norm = (row.dot(&row) / row.len() as f32).sqrt();
                row /= norm;
            }
            x
        };
        let x = unit(Array2::from_shape_fn((rows, 8), |_| random.random_range(-1.0f32..1.0)));
        let labels: Vec<u16> = x.rows().into_iter().map(|row| u16::from(row[0] * row[1] > 0.0)).collect();
        let points = x.slice(s![..40, ..]).to_owned();
        let targets = centred_one_hot(&labels, 2);
        let system = MomentSystem::gather(&ntk, points.view(), x.view(), targets.view()).unwrap();
        (system, MomentsFrame::of(&ntk, points.view(), 2))
    }

    fn solve_error(system: &MomentSystem, moments: &Moments) -> f64 {
        let factor = moments.factor.mapv(f64::from);
        let mut decoded = system.clone();
        decoded.gram = factor.t().dot(&factor);
        decoded.cross = factor.t().dot(&moments.targets.mapv(f64::from));
        let alpha = decoded.solve_absolute(1.0, 0.0).unwrap().alpha;
        system.squared_error(alpha.view()).unwrap() / system.target_square
    }

    #[test]
    fn compressed_moments_pass_the_checks_and_lose_almost_nothing() {
        let (system, frame) = system(400);
        let exact = system.solve_absolute(1.0, 0.0).unwrap().alpha;
        let best = system.squared_error(exact.view()).unwrap() / system.target_square;
        let raw = compress(&system, 40, 8).unwrap();
        let error = solve_error(&system, &Moments::check(raw, frame).unwrap());
        assert!(error < best + 0.01, "{error} against {best}");
    }

    #[test]
    fn a_lower_rank_is_shorter_and_a_little_worse() {
        let (system, frame) = system(400);
        let full = Moments::check(compress(&system, 40, 8).unwrap(), frame).unwrap();
        let low = Moments::check(compress(&system, 10, 8).unwrap(), frame).unwrap();
        assert!(low.rank() == 10 && full.rank() > 10);
        assert!(solve_error(&system, &low) >= solve_error(&system, &full) - 1e-3);
        assert!(solve_error(&system, &low) < 0.9);
    }
}
