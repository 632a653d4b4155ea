//! Centres of each class, with its label: the plainest points.

use ndarray::{Array2, Axis, concatenate};

use common::math::cluster::KMeansParams;
use common::math::random::rng;
use common::math::regression::kernel_ridge;

use super::method::{Distilled, Method, Monitor};
use super::problem::centred_one_hot;
use super::solve::{Score, answers};
use super::{DistilError, Problem};

/// Per-class k-means; the ridge is chosen on held-out rows.
#[derive(Clone, Copy, Debug)]
pub struct KMeansCentres;

impl Method for KMeansCentres {
    fn distil(
        &self,
        problem: &Problem,
        _monitor: &mut dyn Monitor,
    ) -> Result<Distilled, DistilError> {
        let (points, classes) = centres(problem)?;
        let targets = centred_one_hot(&classes, problem.classes.len()).mapv(f64::from);
        let kernel = problem.kernel.symmetric(points.mapv(f64::from).view());
        let mut best: Option<(f64, Score)> = None;
        for power in RIDGES {
            let ridge = 10f64.powi(power);
            let alpha = kernel_ridge(kernel.view(), targets.view(), ridge)?;
            let inputs = problem.held_out.inputs.view();
            let answers = answers(&problem.kernel, points.view(), &alpha, inputs)?;
            let score = Score::of(&problem.held_out, answers.view());
            if best.is_none_or(|(_, best)| score.accuracy > best.accuracy) {
                best = Some((ridge, score));
            }
        }
        let (ridge, held_out) =
            best.ok_or(common::math::regression::RegressionError::NoCandidate)?;
        Ok(Distilled {
            points,
            labels: targets,
            classes,
            ridge,
            held_out,
            steps: 0,
        })
    }
}

/// `per_class` centres of each class (m × d) and the class of each. A class
/// whose rows repeat is filled up with rows of its own.
///
/// # Errors
/// If a row is not finite.
pub(super) fn centres(problem: &Problem) -> Result<(Array2<f32>, Vec<u16>), DistilError> {
    let mut random = rng(problem.seed, "centres");
    let settings = KMeansParams {
        clusters: problem.per_class,
        cluster_size_min: 1,
        iterations_max: ITERATIONS,
    }
    .check()?;
    let mut all = Vec::new();
    let mut classes = Vec::new();
    for class in 0..problem.classes.len() as u16 {
        let mut members = problem.fit.of_class(class);
        members.truncate(ROWS_MAX.max(problem.per_class));
        let rows = problem.fit.inputs.select(Axis(0), &members);
        let found = settings.fit(rows.view(), None, &mut random)?.centres;
        let missing = problem.per_class.saturating_sub(found.nrows());
        all.push(found);
        all.push(rows.select(Axis(0), &(0..missing).collect::<Vec<_>>()));
        classes.extend(std::iter::repeat_n(class, problem.per_class));
    }
    let views: Vec<_> = all.iter().map(|part| part.view()).collect();
    let points = concatenate(Axis(0), &views).unwrap_or_default();
    Ok((points, classes))
}

/// Lloyd iterations; centres hardly move after that.
const ITERATIONS: usize = 25;
/// Rows of a class that are clustered at most.
const ROWS_MAX: usize = 4_000;
/// Powers of ten of the ridge that are tried.
const RIDGES: std::ops::RangeInclusive<i32> = -6..=1;
