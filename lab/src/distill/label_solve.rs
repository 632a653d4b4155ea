//! Centres of each class, with labels in closed form.

use ndarray::{Array2, ArrayView2};

use super::kmeans::centres;
use super::method::{Distilled, Method, Monitor};
use super::solve::{Solved, solve};
use super::{DistilError, Problem};

/// Label solve on k-means centres.
#[derive(Clone, Copy, Debug)]
pub struct LabelSolve;

impl Method for LabelSolve {
    fn distil(
        &self,
        problem: &Problem,
        _monitor: &mut dyn Monitor,
    ) -> Result<Distilled, DistilError> {
        let (points, classes) = centres(problem)?;
        let solved = solve(problem, points.view(), usize::MAX)?;
        Ok(with_labels(problem, points, classes, &solved, 0))
    }
}

/// The labels Y = (K(S,S) + ρ·tr/m·I)·α under which regression on the points
/// gives exactly the solved α.
pub(super) fn with_labels(
    problem: &Problem,
    points: Array2<f32>,
    classes: Vec<u16>,
    solved: &Solved,
    steps: u32,
) -> Distilled {
    let labels = labels(
        &problem.kernel.symmetric(points.mapv(f64::from).view()),
        solved.alpha.view(),
    );
    Distilled {
        points,
        labels,
        classes,
        ridge: RIDGE,
        held_out: solved.score,
        steps,
    }
}

fn labels(kernel: &Array2<f64>, alpha: ArrayView2<'_, f64>) -> Array2<f64> {
    let mean = kernel.diag().sum() / kernel.nrows().max(1) as f64;
    kernel.dot(&alpha) + alpha.mapv(|value| value * RIDGE * mean)
}

/// ρ: small enough to change nothing, large enough that labels in single
/// precision give the coefficients back.
const RIDGE: f64 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::kernel::Ntk;
    use common::math::random::rng;
    use common::math::regression::kernel_ridge;
    use rand::Rng;

    #[test]
    fn regression_on_solved_labels_gives_the_solution_back() {
        let mut random = rng(1, "points");
        let points = Array2::from_shape_fn((12, 5), |_| random.random_range(-1.0..1.0));
        let alpha = Array2::from_shape_fn((12, 3), |_| random.random_range(-1.0..1.0));
        let kernel = Ntk::new(1).symmetric(points.view());
        let found = kernel_ridge(kernel.view(), labels(&kernel, alpha.view()).view(), RIDGE);
        let error = (&found.unwrap() - &alpha).mapv(f64::abs).sum();
        assert!(error < 1e-8, "{error:e}");
    }
}
