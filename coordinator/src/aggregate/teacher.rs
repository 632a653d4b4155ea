//! The global teacher, from moments, labels, or both.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand_distr::{Distribution, StandardNormal};

use common::math::kernel::{KernelError, Ntk};
use common::math::network::softmax_rows;
use common::math::random::rng;
use common::math::regression::{
    MomentSystem, RegressionError, RidgeScore, Whitener, choose_ridge_gcv, leave_one_point_out,
    weighted_ridge,
};
use common::summary::Points;
use common::task::Task;
use common::teacher::{RawTeacher, Teacher, TeacherFacts};
use common::transfer::TransferSet;

use super::basis::Basis;
use super::consensus::consensus;
use super::moments::MomentSum;
use common::labels::Labels;

/// Everything the devices answered on the transfer set.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The transfer set.
    pub set: &'a TransferSet,
    /// Its bases.
    pub basis: &'a Basis,
    /// The sum of all moments.
    pub moments: &'a MomentSum,
    /// Labels of the devices that sent no moments, in device order. (Who sent
    /// moments has said all its labels say, and exactly.)
    pub labels: &'a [Labels],
}

/// Why no teacher could be solved.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// No device sent labels or moments.
    #[error("no device contributed labels or moments")]
    NoEvidence,
    /// The system could not be solved.
    #[error(transparent)]
    Regression(#[from] RegressionError),
    /// The kernel refused its inputs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The solution is no teacher.
    #[error(transparent)]
    Teacher(#[from] common::teacher::TeacherError),
}

/// Exponents of √10 of the ridges tried, for a kernel of order 1.
const RIDGES: std::ops::RangeInclusive<i32> = -8..=6;
/// Ridge of coefficients on points from which feature weights are learnt.
const POINT_RIDGE: f64 = 0.3;
/// Ridges tried for a teacher solved from points alone. Where classes lie apart
/// everything up to 1 is alike; where they overlap (photographs through a frozen
/// network, points of ten rows) 0.3 had 76.5 % on unseen rows and 36 had 77.8.
const POINT_RIDGES: [f64; 7] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Temperatures tried where the task lets the coordinator choose.
const TEMPERATURES: [f64; 5] = [0.1, 0.125, 0.15, 0.2, 0.25];
/// Samples drawn around each point to fit the temperature.
const SAMPLES: usize = 4;

/// Solves (ΣG + λ·K_SS)·α = ΣB, with λ by generalised cross-validation.
/// Labels speak for the devices that sent no moments: each point is then a
/// row that carries those devices' consensus, counted as often as the rows it
/// stands for and only as far as one of them knows the region. The temperature is the one under which samples
/// drawn around each point (as wide as its spread) are most likely of its
/// class.
///
/// # Errors
/// If nothing was contributed, or the system cannot be solved.
pub fn solve_teacher(task: &Task, evidence: &Evidence<'_>) -> Result<RawTeacher, SolveError> {
    if evidence.moments.devices() == 0 && evidence.labels.is_empty() {
        return Err(SolveError::NoEvidence);
    }
    let ntk = Ntk::new(task.definition().teacher.depth);
    let whitener = &evidence.basis.whitener;
    let mut system = evidence.basis.whitened(&evidence.moments.system())?;
    if !evidence.labels.is_empty() {
        system.add(&whitener.whiten(&label_system(&ntk, evidence, task)?)?)?;
    }
    let ridge = choose_ridge_gcv(&system, &ridges())?;
    let solution = system.solve_absolute(ridge.lambda, 0.0)?;
    let alpha = whitener.coefficients(solution.alpha.view())?;
    let facts = TeacherFacts {
        lambda: ridge.lambda,
        jitter: solution.jitter,
        held_out_error: ridge.error,
        rows: evidence.moments.rows(),
        moments: evidence.moments.devices(),
        labels: evidence.labels.len() as u32,
    };
    tempered(task, evidence.set, &alpha, facts)
}

/// The ridges that are tried.
pub(super) fn ridges() -> Vec<f64> {
    RIDGES
        .map(|power| 10f64.powf(f64::from(power) / 2.0))
        .collect()
}

/// The teacher of the points alone: kernel ridge regression on them with
/// their classes, each as often as the rows it stands for.
///
/// Memory: one matrix of m×m doubles. Cost m³/3.
///
/// # Errors
/// If the system cannot be solved.
pub fn solve_points(task: &Task, set: &TransferSet) -> Result<RawTeacher, SolveError> {
    let points = &set.points;
    let seen = set.seen_points();
    let (alpha, ridge) = solved(task, points, seen.view(), Ridge::LeftOut)?;
    let facts = TeacherFacts {
        lambda: ridge.lambda,
        jitter: 0.0,
        held_out_error: ridge.error,
        rows: points.rows(),
        moments: 0,
        labels: 0,
    };
    tempered(task, set, &alpha, facts)
}

/// α (m×C) of the points with their classes, whose inputs the kernel sees as
/// `seen` (m×d).
pub(super) fn point_coefficients(
    task: &Task,
    points: &Points,
    seen: ArrayView2<'_, f32>,
) -> Result<Array2<f64>, RegressionError> {
    solved(task, points, seen, Ridge::Fixed).map(|(alpha, _)| alpha)
}

/// Where the ridge of points that carry classes is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ridge {
    /// Always the same.
    Fixed,
    /// The best for points that are left out, one by one.
    LeftOut,
}

fn solved(
    task: &Task,
    points: &Points,
    seen: ArrayView2<'_, f32>,
    ridge: Ridge,
) -> Result<(Array2<f64>, RidgeScore), RegressionError> {
    let weights: Vec<f64> = points
        .counts
        .iter()
        .map(|&count| f64::from(count))
        .collect();
    let targets = point_targets(task, points);
    let ntk = Ntk::new(task.definition().teacher.depth);
    if points.targets.is_some() {
        return numbers_solved(&ntk, seen, &weights, &targets);
    }
    let ridge = match ridge {
        Ridge::Fixed => RidgeScore {
            lambda: POINT_RIDGE,
            error: -1.0,
        },
        Ridge::LeftOut => left_out(&ntk, seen, &weights, &targets)?,
    };
    let alpha = weighted_ridge(&ntk, seen, &weights, targets.view(), ridge.lambda)?;
    Ok((alpha, ridge))
}

/// The ridge that is best for points that are left out, if any is better for them than
/// the mean of all targets, else [`POINT_RIDGE`]. Of many points some choose it:
/// what is added for a point does not depend on how many there are.
fn left_out(
    ntk: &Ntk,
    seen: ArrayView2<'_, f32>,
    weights: &[f64],
    targets: &Array2<f64>,
) -> Result<RidgeScore, RegressionError> {
    let every = weights.len().div_ceil(RIDGE_POINTS_MAX).max(1);
    let chosen: Vec<usize> = (0..weights.len()).step_by(every).collect();
    let weights: Vec<f64> = chosen.iter().map(|&point| weights[point]).collect();
    let (some, targets) = (
        seen.select(Axis(0), &chosen),
        targets.select(Axis(0), &chosen),
    );
    let best = leave_one_point_out(ntk, some.view(), &weights, targets.view(), &POINT_RIDGES)?;
    // Where points say less of one another than the mean of all does, the largest
    // ridge is the least wrong, and knows nothing.
    Ok(match best.error < spread(&weights, targets.view()) {
        true => best,
        false => RidgeScore {
            lambda: POINT_RIDGE,
            ..best
        },
    })
}

/// The squared error of the weighted mean of all targets, a value in the mean.
fn spread(weights: &[f64], targets: ArrayView2<'_, f64>) -> f64 {
    let all: f64 = weights.iter().sum();
    let weights = Array1::from(weights.to_vec());
    let mean = weights.dot(&targets) / all;
    let squares = (&targets - &mean).mapv(|one| one * one);
    weights.dot(&squares).sum() / (all * targets.ncols().max(1) as f64)
}

/// The same for numbers, with the ridge of generalised cross-validation: unlike a
/// class, the mean number of a few rows has noise that residuals show. Each point
/// is one observation, weighed by the rows it stands for. Of many points some
/// choose the ridge, which does not depend on how many there are. Cost m³/3, and
/// 11 times the cube of [`RIDGE_POINTS_MAX`] at most.
fn numbers_solved(
    ntk: &Ntk,
    seen: ArrayView2<'_, f32>,
    weights: &[f64],
    targets: &Array2<f64>,
) -> Result<(Array2<f64>, RidgeScore), RegressionError> {
    let every = weights.len().div_ceil(RIDGE_POINTS_MAX).max(1);
    let chosen: Vec<usize> = (0..weights.len()).step_by(every).collect();
    let some = seen.select(Axis(0), &chosen);
    let mut kernel = ntk.matrix(some.view(), some.view())?.mapv(f64::from);
    let mut wanted = targets.select(Axis(0), &chosen);
    for (row, &point) in chosen.iter().enumerate() {
        let root = weights[point].sqrt();
        kernel.row_mut(row).mapv_inplace(|value| value * root);
        wanted.row_mut(row).mapv_inplace(|value| value * root);
    }
    let mut system = MomentSystem::empty(ntk, some.view(), wanted.ncols());
    system.gram = kernel.t().dot(&kernel);
    system.cross = kernel.t().dot(&wanted);
    system.rows = chosen.len() as f64;
    system.target_square = wanted.iter().map(|value| value * value).sum();
    let white = Whitener::of(ntk, some.view())?.whiten(&system)?;
    let ridge = choose_ridge_gcv(&white, &ridges())?;
    let alpha = weighted_ridge(ntk, seen, weights, targets.view(), ridge.lambda)?;
    Ok((alpha, ridge))
}

/// Most points that choose a ridge.
const RIDGE_POINTS_MAX: usize = 800;

/// What points say of the rows they stand for: their numbers, or their classes
/// one-hot and centred by 1/C.
pub(super) fn point_targets(task: &Task, points: &Points) -> Array2<f64> {
    if let Some(targets) = &points.targets {
        return targets.mapv(f64::from);
    }
    let classes = task.outputs();
    let centre = 1.0 / classes as f64;
    Array2::from_shape_fn((points.len(), classes), |(point, class)| {
        f64::from(u8::from(usize::from(points.classes[point]) == class)) - centre
    })
}

/// The teacher of these coefficients, with the task's temperature or the best.
fn tempered(
    task: &Task,
    set: &TransferSet,
    alpha: &Array2<f64>,
    facts: TeacherFacts,
) -> Result<RawTeacher, SolveError> {
    let mut raw = RawTeacher {
        depth: task.definition().teacher.depth,
        alpha: alpha.iter().map(|&value| value as f32).collect(),
        temperature: 1.0,
        facts,
    };
    raw.temperature = match task.definition().distillation.temperature {
        // Numbers are not tempered.
        _ if !task.target().is_class() => 1.0,
        chosen if chosen > 0.0 => chosen,
        _ => best_temperature(task, set, &raw)?,
    };
    Ok(raw)
}

/// The moments of the points themselves, labelled by consensus.
fn label_system(
    ntk: &Ntk,
    evidence: &Evidence<'_>,
    task: &Task,
) -> Result<MomentSystem, SolveError> {
    let classes = task.classes();
    let (seen, support) = (evidence.set.seen_points(), evidence.set.seen());
    let points = seen.view();
    let asked = task.definition().method.consensus;
    let (joined, weights) = consensus(evidence.labels, points.nrows(), classes, asked);
    // √w on both sides of the regression weighs a row by w.
    let roots: Vec<f64> = weights
        .iter()
        .zip(&evidence.set.points.counts)
        .map(|(&weight, &count)| (f64::from(weight) * f64::from(count)).sqrt())
        .collect();
    let mut kernel = ntk.matrix(points, support.view())?.mapv(f64::from);
    let mut targets = joined.mapv(|value| f64::from(value) - 1.0 / classes as f64);
    for (row, &root) in roots.iter().enumerate() {
        kernel.row_mut(row).mapv_inplace(|value| value * root);
        targets.row_mut(row).mapv_inplace(|value| value * root);
    }
    let mut system = MomentSystem::empty(ntk, support.view(), classes);
    system.gram = kernel.t().dot(&kernel);
    system.cross = kernel.t().dot(&targets);
    system.rows = roots.iter().map(|root| root * root).sum::<f64>().max(1.0);
    system.target_square = targets.iter().map(|value| value * value).sum();
    Ok(system)
}

fn best_temperature(task: &Task, set: &TransferSet, raw: &RawTeacher) -> Result<f32, SolveError> {
    let points = &set.points;
    let teacher = Teacher::on(raw.clone(), set, task.outputs())?;
    let seed = task.definition().distillation.seed;
    let answers = teacher.answers(around(points, seed).view())?;
    let loss = |temperature: f64| {
        let mut probabilities = answers.clone();
        softmax_rows(probabilities.view_mut(), temperature);
        negative_log_likelihood(probabilities.view(), points)
    };
    let best = TEMPERATURES
        .into_iter()
        .min_by(|one, other| loss(*one).total_cmp(&loss(*other)));
    Ok(best.unwrap_or(0.15) as f32)
}

/// Samples as wide as each point's spread, point after point.
fn around(points: &Points, seed: u64) -> Array2<f32> {
    let mut random = rng(seed, "temperature");
    let features = points.inputs.ncols();
    let root = (features.max(1) as f32).sqrt();
    Array2::from_shape_fn((points.len() * SAMPLES, features), |(row, feature)| {
        let point = row / SAMPLES;
        let noise: f32 = StandardNormal.sample(&mut random);
        points.inputs[[point, feature]] + noise * points.spreads[point] / root
    })
}

fn negative_log_likelihood(probabilities: ArrayView2<'_, f32>, points: &Points) -> f64 {
    probabilities
        .rows()
        .into_iter()
        .enumerate()
        .map(|(row, probabilities)| {
            let point = row / SAMPLES;
            let right = probabilities[usize::from(points.classes[point])].max(1e-9);
            -f64::from(right).ln() * f64::from(points.counts[point])
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::Rng as _;

    /// The ridge of 80 points in a plane with these classes.
    fn ridge(class: impl Fn(usize, f32) -> bool) -> f64 {
        let mut random = rng(3, "points");
        let points = Array2::from_shape_fn((80, 2), |_| random.random_range(-1.0f32..1.0));
        let targets = Array2::from_shape_fn((80, 2), |(at, column)| {
            let is_first = class(at, points[[at, 0]]);
            if is_first == (column == 0) { 0.5 } else { -0.5 }
        });
        let ntk = Ntk::new(2);
        left_out(&ntk, points.view(), &[10.0; 80], &targets)
            .unwrap()
            .lambda
    }

    #[test]
    fn points_that_tell_nothing_of_each_other_keep_the_usual_ridge() {
        // Neighbours are of either class by turns.
        assert_eq!(ridge(|at, _| at % 2 == 0), POINT_RIDGE);
        assert!(POINT_RIDGES.contains(&ridge(|_, x| x > 0.0)));
        let spread = spread(&[1.0, 3.0], ndarray::array![[1.0], [-1.0]].view());
        assert!((spread - 0.75).abs() < 1e-12, "{spread}");
    }
}
