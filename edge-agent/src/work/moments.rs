//! Moments on the transfer set, compressed into virtual rows.

use ndarray::{Array1, Array2, Axis, concatenate, s};

use common::math::kernel::Ntk;
use common::math::linalg::top_eigenpairs;
use common::math::quantise::{Layout, QuantisedMatrix, Scheme};
use common::math::regression::{MomentSystem, Preconditioner, RegressionError, Whitener};
use common::moments::{RawMoments, factor_bits};
use common::round::Kind;
use common::task::{Target, Task};
use common::transfer::TransferSet;

use super::{Entry, View, Work, WorkError};
use crate::teacher::LocalTeacher;

/// Virtual rows stop where what is left of the trace is this share of it:
/// below their rounding.
const TAIL: f64 = 1e-4;
/// Labels of virtual rows are few and get more bits than the rows.
const TARGET_BITS: u8 = 12;

pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    transfer: &TransferSet,
    teacher: Option<&dyn LocalTeacher>,
) -> Result<Option<Entry>, WorkError> {
    let Some(teacher) = teacher else {
        return Ok(None);
    };
    let directions = work.privacy.directions(view.distinct_rows());
    if directions == 0 {
        return Ok(None);
    }
    let definition = work.task.definition();
    let ntk = Ntk::new(definition.teacher.depth);
    let group_rows_min = work.privacy.rows_per_direction as usize;
    let targets = targets(view, teacher)?;
    let targets = match work.task.target() {
        Target::Class => grouped(targets, group_rows_min),
        Target::Number(_) => grouped_numbers(targets, group_rows_min),
    };
    let support = transfer.seen();
    let rows = transfer.feature_weights.through(view.inputs.view());
    let system = MomentSystem::gather(&ntk, support.view(), rows.view(), targets.view())?;
    let whitener = Whitener::of(&ntk, support.view())?;
    let basis = Preconditioner::of(&whitener, &transfer.support_counts())?;
    let white = basis.apply(&whitener.whiten(&system)?)?;
    let covariance = targets.t().dot(&targets).mapv(f64::from);
    let rank = rank_within(work.task, transfer).min(directions);
    let raw = compress(&white, &covariance, rank, definition.budget.bits)?;
    Ok(Some(Entry::of(Kind::Moments, &raw, view.distinct_rows())))
}

/// Numbers or centred one-hot labels, then the teacher's for rows without one.
pub(super) fn targets(view: &View, teacher: &dyn LocalTeacher) -> Result<Array2<f32>, WorkError> {
    let hard = view.labelled().targets();
    if view.unlabelled().is_empty() {
        return Ok(hard);
    }
    let soft = teacher.targets(view.unlabelled())?;
    let joined = concatenate(Axis(0), &[hard.view(), soft.view()]);
    Ok(joined.expect("both have one column a class or number"))
}

/// Each number of each row as the mean of a group of at least `rows_min` rows
/// that are next to one another in order of it (microaggregation: Domingo-Ferrer
/// & Mateo-Sanz 2002). A labelled virtual row is a sum of rows weighted by their
/// numbers: one far number would make it that row. Fewer rows are one group.
fn grouped_numbers(mut targets: Array2<f32>, rows_min: usize) -> Array2<f32> {
    let rows = targets.nrows();
    let groups = (rows / rows_min.max(1)).max(1);
    for mut column in targets.columns_mut() {
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&one, &other| column[one].total_cmp(&column[other]).then(one.cmp(&other)));
        for group in 0..groups {
            let members = &order[group * rows / groups..(group + 1) * rows / groups];
            let sum: f64 = members.iter().map(|&row| f64::from(column[row])).sum();
            let mean = (sum / members.len().max(1) as f64) as f32;
            members.iter().for_each(|&row| column[row] = mean);
        }
    }
    targets
}

/// Targets in groups of at least `rows_min` rows, each row with the mean of its
/// group: by the class that a row's target is largest in, the smallest groups
/// joined until they are large enough. A labelled virtual row is a sum of rows
/// weighted by their targets, so that of a class of three rows would tell of
/// three rows; so does a soft label that is like no other.
fn grouped(mut targets: Array2<f32>, rows_min: usize) -> Array2<f32> {
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); targets.ncols()];
    for (index, target) in targets.outer_iter().enumerate() {
        let better = |best: usize, at: usize| if target[at] > target[best] { at } else { best };
        groups[(0..target.len()).fold(0, better)].push(index);
    }
    groups.retain(|group| !group.is_empty());
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    while groups.len() > 1 && groups.last().is_some_and(|group| group.len() < rows_min) {
        let smallest = groups.pop().unwrap_or_default();
        if let Some(group) = groups.last_mut() {
            group.extend(smallest);
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    }
    for group in groups {
        let Some(mean) = targets.select(Axis(0), &group).mean_axis(Axis(0)) else {
            continue;
        };
        for index in group {
            targets.row_mut(index).assign(&mean);
        }
    }
    targets
}

/// Virtual rows that fit what the budget leaves for moments.
fn rank_within(task: &Task, transfer: &TransferSet) -> usize {
    let (definition, classes) = (task.definition(), task.outputs());
    let (points, features) = transfer.points.inputs.dim();
    let support = transfer.support();
    let budget = &definition.budget;
    if budget.rank_max > 0 {
        return (budget.rank_max as usize).min(support);
    }
    let row_bytes = support * usize::from(factor_bits(budget.bits)) / 8 + 8;
    let labels = points * (classes * usize::from(budget.label_bits) / 8 + 1);
    let labels = labels * usize::from(definition.contribute.kinds().contains(&Kind::Labels));
    // The same round's points went before and count towards the same budget.
    let summary = budget.points_per_device as usize * (features * usize::from(budget.bits) / 8 + 8);
    // A profile is small but for its sketch.
    let projection = task.learnt_projection();
    let profile = projection.map_or(0, |projection| projection.profile_bytes() as usize);
    // Framing and acknowledgements take a few per cent.
    let left = (budget.uplink_bytes_max as f64 * 0.85) as usize;
    let carried = classes * support * usize::from(budget.bits - factor_bits(budget.bits)) / 8;
    (left.saturating_sub(profile + summary + labels + carried + 4_096) / row_bytes)
        .clamp(8, support.max(8))
        .min(support)
}

/// Virtual rows of a system in the basis of moments; `covariance` is TᵀT
/// (classes × classes), which holds all that is needed of an orthonormal basis
/// P of the columns of T: with TᵀT = W·Σ²·Wᵀ, H = B·W·Σ⁻¹ and PᵀT = Σ·Wᵀ.
///
/// What is left of G once these are taken out, as they arrive, is a few large
/// directions above a floor that is alike in all others. The floor goes to the
/// diagonal and the directions keep what stands above it (Tipping & Bishop
/// 1999), so that what is cut off is not missed.
fn compress(
    system: &MomentSystem,
    covariance: &Array2<f64>,
    rank: usize,
    bits: u8,
) -> Result<RawMoments, WorkError> {
    let (squares, basis) =
        top_eigenpairs(covariance.view(), covariance.nrows()).map_err(RegressionError::from)?;
    let floor = squares.first().copied().unwrap_or(0.0) * 1e-9;
    let labelled = squares
        .iter()
        .take_while(|&&square| square > floor.max(1e-12))
        .count()
        .min(rank);
    let roots = squares.slice(s![..labelled]).mapv(f64::sqrt);
    let basis = basis.slice(s![.., ..labelled]);
    let carried = (&system.cross.dot(&basis) / &roots).reversed_axes();
    let labels = (&basis * &roots).reversed_axes();

    let quantise = |values: &Array2<f64>, bits: u8, scheme| {
        let narrow = values.mapv(|value| value as f32);
        QuantisedMatrix::encode(narrow.view(), bits, Layout::Row, scheme)
    };
    let carried = quantise(&carried, bits, Scheme::Symmetric)?;
    let arrives = carried.decode().mapv(f64::from);
    let left = &system.gram - &arrives.t().dot(&arrives);
    let room = rank.min(system.rows as usize).saturating_sub(labelled);
    let (values, vectors) = top_eigenpairs(left.view(), room).map_err(RegressionError::from)?;
    let kept = kept(&values, system.gram.diag().sum(), left.diag().sum());
    let values = values.slice(s![..kept]);
    let rest = (left.diag().sum() - values.sum()).max(0.0);
    let floor = rest / (left.nrows() - kept).max(1) as f64;
    let scales = values.mapv(|value| (value - floor).max(0.0).sqrt());
    let others = (&vectors.slice(s![.., ..kept]) * &scales).reversed_axes();

    let factor = quantise(
        &others.as_standard_layout().into_owned(),
        factor_bits(bits),
        Scheme::Symmetric,
    )?;
    let square = |values: &Array2<f64>| values.iter().map(|value| value * value).sum::<f64>();
    let held = square(&arrives) + square(&factor.decode().mapv(f64::from));
    let points = system.gram.nrows().max(1) as f64;
    let remainder = (system.gram.diag().sum() - held).max(0.0) / points;
    Ok(RawMoments {
        rows: system.rows as u64,
        target_square: system.target_square as f32,
        carried: carried.into_raw(),
        targets: quantise(&labels, TARGET_BITS, Scheme::Symmetric)?.into_raw(),
        factor: factor.into_raw(),
        remainder: remainder as f32,
    })
}

/// How many of the largest eigenvalues hold all but a tail of the trace;
/// `left` is what they all hold together.
fn kept(values: &Array1<f64>, trace: f64, mut left: f64) -> usize {
    for (index, value) in values.iter().enumerate() {
        if left <= TAIL * trace || *value <= 0.0 {
            return index;
        }
        left -= value;
    }
    values.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::teacher::centred_one_hot;
    use common::math::random::rng;
    use common::moments::{Moments, MomentsFrame};
    use rand::Rng;

    struct Case {
        white: MomentSystem,
        covariance: Array2<f64>,
        frame: MomentsFrame,
    }

    fn case(rows: usize) -> Case {
        let ntk = Ntk::new(2);
        let mut random = rng(9, "moments");
        let mut x = Array2::from_shape_fn((rows, 8), |_| random.random_range(-1.0f32..1.0));
        for mut row in x.rows_mut() {
            let norm = (row.dot(&row) / row.len() as f32).sqrt();
            row /= norm;
        }
        let class = |row: ndarray::ArrayView1<'_, f32>| u16::from(row[0] * row[1] > 0.0);
        let labels: Vec<u16> = x.rows().into_iter().map(class).collect();
        let points = x.slice(s![..40, ..]);
        let targets = centred_one_hot(&labels, 2);
        let system = MomentSystem::gather(&ntk, points, x.view(), targets.view()).unwrap();
        let whitener = Whitener::of(&ntk, points).unwrap();
        let basis = Preconditioner::of(&whitener, &[rows as u32 / 40; 40]).unwrap();
        Case {
            white: basis.apply(&whitener.whiten(&system).unwrap()).unwrap(),
            covariance: targets.t().dot(&targets).mapv(f64::from),
            frame: MomentsFrame::of(&ntk, 40, 8, 2),
        }
    }

    /// Error on the true rows of the teacher solved from what was sent.
    fn error_at(case: &Case, rank: usize, bits: u8) -> f64 {
        let raw = compress(&case.white, &case.covariance, rank, bits).unwrap();
        let moments = Moments::check(raw, case.frame).unwrap();
        assert!(moments.rank() <= rank);
        let factor = moments.factor.mapv(f64::from);
        let carried = factor.slice(s![..moments.targets.nrows(), ..]);
        let mut decoded = case.white.clone();
        decoded.gram = factor.t().dot(&factor);
        let rest = f64::from(moments.remainder);
        decoded.gram.diag_mut().map_inplace(|value| *value += rest);
        decoded.cross = carried.t().dot(&moments.targets.mapv(f64::from));
        let beta = decoded.solve_absolute(0.1, 0.0).unwrap().alpha;
        case.white.squared_error(beta.view()).unwrap() / case.white.target_square
    }

    #[test]
    fn what_is_sent_passes_the_checks_and_loses_almost_nothing() {
        let case = case(400);
        let exact = case.white.solve_absolute(0.1, 0.0).unwrap().alpha;
        let best = case.white.squared_error(exact.view()).unwrap() / case.white.target_square;
        let sent = error_at(&case, 42, 8);
        assert!(sent < best + 0.01, "{sent} against {best}");
    }

    #[test]
    fn no_number_is_told_of_fewer_rows_than_a_direction_needs() {
        let mut random = rng(4, "numbers");
        let mut numbers = Array2::from_shape_fn((47, 2), |_| random.random_range(-1.0f32..1.0));
        numbers[[3, 0]] = 6.0;
        let grouped = grouped_numbers(numbers.clone(), 15);
        for (before, after) in numbers.columns().into_iter().zip(grouped.columns()) {
            let mut values: Vec<u32> = after.iter().map(|value| value.to_bits()).collect();
            values.sort_unstable();
            let groups: Vec<usize> = values.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
            assert_eq!(groups.len(), 3, "{groups:?}");
            assert!(groups.iter().all(|&rows| rows >= 15), "{groups:?}");
            assert!((before.sum() - after.sum()).abs() < 1e-4);
        }
        assert!(grouped[[3, 0]] < 2.0);
        let few = grouped_numbers(numbers.slice(s![..9, ..]).to_owned(), 15);
        assert!(few.column(0).iter().all(|value| *value == few[[0, 0]]));
    }

    #[test]
    fn a_lower_rank_degrades_gently() {
        let case = case(400);
        let (full, low) = (error_at(&case, 42, 8), error_at(&case, 12, 8));
        assert!(low < full + 0.2 && low < 0.9, "{low} against {full}");
    }

    #[test]
    fn one_class_alone_is_carried_by_one_virtual_row() {
        let mut case = case(60);
        let ones = Array2::from_shape_fn((60, 2), |(_, class)| if class == 0 { 0.5 } else { -0.5 });
        case.covariance = ones.t().dot(&ones);
        let raw = compress(&case.white, &case.covariance, 10, 8).unwrap();
        assert_eq!(raw.targets.rows, 1);
    }

    #[test]
    fn a_sketch_leaves_moments_fewer_bytes() {
        let task = |more: &str| {
            let text = format!(
                "name = \"t\"\ncontribute = \"moments\"\n[input]\nshape = [8, 8]\n[classes]\n\
                 names = [\"a\", \"b\"]\n[features]\nstage = \"onnx\"\nmodel = \"{}\"\n\
                 width = 1280\nbytes = 9\ndirections = 60\n{more}",
                "ab".repeat(32)
            );
            common::task::RawTask::parse(&text).unwrap()
        };
        let transfer = TransferSet {
            points: common::summary::Points {
                inputs: Array2::from_shape_fn((500, 60), |(row, at)| ((row * 7 + at) % 11) as f32),
                classes: vec![0; 500],
                counts: vec![10; 500],
                spreads: vec![0.1; 500],
                targets: None,
            },
            feature_weights: common::feature_weights::FeatureWeights::alike(),
            landmarks: Array2::zeros((0, 60)),
        };
        let learning = task("learn_directions = true\n");
        let (with, without) = (
            rank_within(&learning, &transfer),
            rank_within(&task("[normaliser]\nquantiles = false\n"), &transfer),
        );
        let profile = learning.learnt_projection().unwrap().profile_bytes() as usize;
        let row_bytes = 500 * usize::from(factor_bits(8)) / 8 + 8;
        assert!((without - with).abs_diff(profile / row_bytes) <= 1);
        assert!(with > 8, "{with}");
    }
}
