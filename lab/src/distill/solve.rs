//! Label solve: the best coefficients for given points, in closed form.

use ndarray::{Array2, ArrayView2, s};

use common::math::kernel::{Ntk, rows_per_block};
use common::math::regression::{MomentSystem, RegressionError};

use super::problem::Rows;
use super::{DistilError, Problem};

/// Coefficients of f(x) = K(x,S)·α on given points S.
#[derive(Clone, Debug)]
pub struct Solved {
    /// α, m × C.
    pub alpha: Array2<f64>,
    /// λ of the penalty ½λ·tr(αᵀK(S,S)α), divided by the rows.
    pub lambda_per_row: f64,
    /// How f does on held-out rows.
    pub score: Score,
}

/// How answers do on held-out rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Share of right answers.
    pub accuracy: f64,
    /// ½·mean((f − t)²) over rows and classes.
    pub loss: f64,
}

impl Score {
    /// A smaller loss: it tells apart what equally many right answers do not.
    pub fn beats(&self, other: &Self) -> bool {
        self.loss < other.loss
    }

    /// Of answers (n × C) on rows.
    pub(super) fn of(rows: &Rows, answers: ArrayView2<'_, f32>) -> Self {
        let squares = answers.iter().zip(&rows.targets);
        let squares: f64 = squares.map(|(f, t)| f64::from(f - t).powi(2)).sum();
        Self {
            accuracy: rows.accuracy(answers),
            loss: 0.5 * squares / rows.targets.len().max(1) as f64,
        }
    }
}

/// Solves (G + λ·K(S,S))·α = B for the first `rows` rows that are learnt
/// from, with the λ whose loss on held-out rows is least.
///
/// Cost: rows·m·(2d + 2m) operations, and m³/3 for each of a dozen λ. Source:
/// Nguyen, Novak, Xiao & Lee 2021 (label solve), on moments.
///
/// # Errors
/// If the points are not finite or no λ gives a solvable system.
pub fn solve(
    problem: &Problem,
    points: ArrayView2<'_, f32>,
    rows: usize,
) -> Result<Solved, DistilError> {
    let count = rows.min(problem.fit.len());
    let system = MomentSystem::gather(
        &problem.kernel,
        points,
        problem.fit.inputs.slice(s![..count, ..]),
        problem.fit.targets.slice(s![..count, ..]),
    )?;
    let held = problem
        .kernel
        .matrix(problem.held_out.inputs.view(), points)?;
    let mut best: Option<Solved> = None;
    for power in LAMBDAS {
        let lambda_per_row = 10f64.powi(power);
        let alpha = system
            .solve_absolute(lambda_per_row * count as f64, 0.0)?
            .alpha;
        let answers = held.dot(&alpha.mapv(|value| value as f32));
        let score = Score::of(&problem.held_out, answers.view());
        if best
            .as_ref()
            .is_none_or(|best| score.loss < best.score.loss)
        {
            best = Some(Solved {
                alpha,
                lambda_per_row,
                score,
            });
        }
    }
    Ok(best.ok_or(RegressionError::NoCandidate)?)
}

/// K(x,S)·α of rows x (n × d), n × C, in blocks.
///
/// # Errors
/// If rows and points differ in width.
pub fn answers(
    kernel: &Ntk,
    points: ArrayView2<'_, f32>,
    alpha: &Array2<f64>,
    inputs: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, DistilError> {
    let alpha = alpha.mapv(|value| value as f32);
    let mut out = Array2::zeros((inputs.nrows(), alpha.ncols()));
    kernel.for_each_block(inputs, points, rows_per_block(points.nrows()), |k, rows| {
        out.slice_mut(s![rows, ..]).assign(&k.dot(&alpha));
    })?;
    Ok(out)
}

/// Powers of ten of λ a row that are tried.
const LAMBDAS: std::ops::RangeInclusive<i32> = -8..=0;
