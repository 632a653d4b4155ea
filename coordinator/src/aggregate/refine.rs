//! Federated kernel inducing points: the transfer set moves along the sum of
//! all devices' gradients.

use ndarray::{Array2, Zip};

use common::gradient::Gradient;
use common::math::exact::{ExactError, ExactSum};
use common::math::kernel::Ntk;
use common::math::quantise::QuantiseError;
use common::math::regression::{RegressionError, regulariser_term};
use common::summary::Points;
use common::task::Task;
use common::teacher::{RawTeacher, TeacherFacts};
use common::transfer::{RawTransferSet, TRANSFER_BITS};

/// The transfer set from which the last move led to the present one.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    /// Its points, m×d.
    pub inputs: Array2<f32>,
    /// How the teacher on it did.
    pub facts: TeacherFacts,
}

/// Why a transfer set could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum RefineError {
    /// A teacher of another number of points.
    #[error("the teacher has {got} coefficients, its transfer set needs {expected}")]
    Teacher {
        /// Points times classes.
        expected: usize,
        /// Coefficients there are.
        got: usize,
    },
    /// Gradients could not be summed.
    #[error("gradients cannot be summed: {0}")]
    Sum(#[from] ExactError),
    /// The coordinator's own term could not be computed.
    #[error(transparent)]
    Regression(#[from] RegressionError),
    /// The points could not be encoded.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
}

/// The furthest that one move takes a value of a point, as a share of the
/// point's spread in each feature.
const RATE: f64 = 0.1;
/// Share of the last move that is made again.
const MOMENTUM: f64 = 0.8;
/// No device's gradient counts for more than this many times the median of
/// all devices, for each row.
const NORM_MAX: f64 = 10.0;

/// The transfer set after one move. At the teacher's α, ∂J/∂S = Σ_k ∂½‖K_kα −
/// T_k‖²/∂S + ∂½λ·tr(αᵀK(S,S)α)/∂S, the last term by the share of the rows
/// that the gradients stand for. Each point moves by −r·σ·g/(|g| + rms g)
/// with σ its spread in a feature: by no more than r·σ whatever any device
/// sends; and by a share of the last move again, unless the teacher did worse
/// after that one. Classes, counts and spreads stay.
///
/// The sum is in fixed point, so it does not depend on the order of devices.
/// What comes out depends on nothing but what is passed in. Cost: two m×m×d
/// products. Source of the gradient: Nguyen, Chen & Lee 2021, by the envelope
/// theorem; of the restart: O'Donoghue & Candès 2015.
///
/// # Errors
/// If the teacher does not fit the points, or a number is too large to sum.
pub fn refine_transfer_set(
    task: &Task,
    points: &Points,
    teacher: &RawTeacher,
    before: Option<&Before>,
    gradients: &[Gradient],
) -> Result<RawTransferSet, RefineError> {
    let (m, classes) = (points.len(), task.classes());
    let alpha = teacher
        .alpha
        .iter()
        .map(|&value| f64::from(value))
        .collect();
    let alpha = Array2::from_shape_vec((m, classes), alpha).map_err(|_| RefineError::Teacher {
        expected: m * classes,
        got: teacher.alpha.len(),
    })?;
    let mut gradient = sum(points.inputs.dim(), gradients)?;
    let rows: u64 = gradients.iter().map(|one| one.rows).sum();
    let share = (rows as f64 / teacher.facts.rows.max(1) as f64).min(1.0);
    let ntk = Ntk::new(teacher.depth);
    let inputs = points.inputs.mapv(f64::from);
    let lambda = teacher.facts.lambda.max(0.0);
    let own = regulariser_term(&ntk, inputs.view(), alpha.view(), lambda)?.1;
    gradient.scaled_add(share, &own);

    let mut moved = inputs.clone();
    let features = task.features().max(1) as f64;
    for (point, mut row) in moved.rows_mut().into_iter().enumerate() {
        let gradient = gradient.row(point);
        let size = (gradient.dot(&gradient) / features).sqrt();
        if size > 0.0 {
            let reach = RATE * f64::from(points.spreads[point]) / features.sqrt();
            Zip::from(&mut row)
                .and(&gradient)
                .for_each(|value, &slope| *value -= reach * slope / (slope.abs() + size));
        }
    }
    let improved = |before: &&Before| {
        before.inputs.dim() == points.inputs.dim()
            && teacher.facts.held_out_error <= before.facts.held_out_error
    };
    if let Some(before) = before.filter(improved) {
        moved.scaled_add(MOMENTUM, &(&inputs - &before.inputs.mapv(f64::from)));
    }
    let moved = Points {
        inputs: moved.mapv(|value| value as f32),
        ..points.clone()
    };
    Ok(RawTransferSet {
        points: moved.to_raw(TRANSFER_BITS)?,
        relevance: None,
    })
}

/// The sum of all gradients, m×d, those that are out of all proportion to
/// their rows scaled down.
fn sum(shape: (usize, usize), gradients: &[Gradient]) -> Result<Array2<f64>, ExactError> {
    let norm = |one: &Gradient| {
        let squares = one.gradient.iter().map(|&value| f64::from(value).powi(2));
        squares.sum::<f64>().sqrt() / one.rows as f64
    };
    let norms: Vec<f64> = gradients.iter().map(norm).collect();
    let mut sorted = norms.clone();
    sorted.sort_by(f64::total_cmp);
    let most = NORM_MAX * sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let mut sum = ExactSum::new(shape.0 * shape.1);
    for (one, norm) in gradients.iter().zip(norms) {
        let scale = if norm > most { most / norm } else { 1.0 };
        let values: Vec<f64> = one
            .gradient
            .iter()
            .map(|&value| f64::from(value) * scale)
            .collect();
        sum.add(&values)?;
    }
    let sum = Array2::from_shape_vec(shape, sum.to_f64());
    Ok(sum.expect("the sum has a value for each of this shape"))
}

#[cfg(test)]
mod tests;
