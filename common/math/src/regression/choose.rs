//! Choosing the ridge, and valuing each device, from moments alone.
//!
//! The squared error on held-out devices is a function of their moments, so
//! leaving devices out is exact validation that needs none of their data.

use super::{MomentSystem, RegressionError, Solution, check_ridge};

/// The ridge that predicts held-out groups best.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The chosen λ.
    pub lambda: f64,
    /// Mean squared error on held-out rows, per row and class, for each
    /// candidate in the order given; infinite where a system could not be
    /// solved.
    pub errors: Vec<f64>,
}

/// Chooses λ (relative, as in [`MomentSystem::solve`]) by leaving out one
/// group of devices at a time. Of equal errors the larger λ wins.
///
/// Groups share one transfer set. Cost: one m³/3 solve per group and
/// candidate; five groups are plenty, so merge devices into them first.
/// Systems that no jitter makes solvable count as infinitely bad; if all are,
/// that is the error.
pub fn choose_ridge(
    groups: &[MomentSystem],
    lambdas: &[f64],
    rho: f64,
) -> Result<Choice, RegressionError> {
    if groups.len() < 2 {
        return Err(RegressionError::Groups(groups.len()));
    }
    for &lambda in lambdas {
        check_ridge("lambda", lambda)?;
    }
    let mut errors = vec![0.0; lambdas.len()];
    let mut failure = RegressionError::NoCandidate;
    for held_out in 0..groups.len() {
        let rest = sum_of_others(groups, held_out)?;
        for (error, &lambda) in errors.iter_mut().zip(lambdas) {
            match rest.solve(lambda, rho) {
                Ok(solution) => *error += groups[held_out].squared_error(solution.alpha.view())?,
                Err(RegressionError::Linalg(cause)) => {
                    *error = f64::INFINITY;
                    failure = cause.into();
                }
                Err(other) => return Err(other),
            }
        }
    }
    let values = groups
        .iter()
        .map(|group| group.rows * group.cross.ncols() as f64)
        .sum::<f64>();
    for error in &mut errors {
        *error /= values.max(1.0);
    }
    let best = errors
        .iter()
        .zip(lambdas)
        .filter(|(error, _)| error.is_finite());
    let best = best.min_by(|a, b| a.0.total_cmp(b.0).then(b.1.total_cmp(a.1)));
    match best {
        Some((_, &lambda)) => Ok(Choice { lambda, errors }),
        None => Err(failure),
    }
}

/// The solution without one device, for every device in turn, at the λ and ρ
/// of `whole` (absolute, so that a device's weight does not move them).
/// `total` is the sum over all devices.
///
/// Lazy: memory for one m×m system however many devices there are, m³/3
/// operations a device.
pub fn leave_one_out<'a>(
    total: &'a MomentSystem,
    devices: impl IntoIterator<Item = &'a MomentSystem>,
    whole: &'a Solution,
) -> impl Iterator<Item = Result<Solution, RegressionError>> {
    devices.into_iter().map(move |device| {
        let mut rest = total.clone();
        rest.subtract(device)?;
        rest.solve_absolute(whole.lambda, whole.rho)
    })
}

fn sum_of_others(
    groups: &[MomentSystem],
    held_out: usize,
) -> Result<MomentSystem, RegressionError> {
    let mut others = groups
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != held_out)
        .map(|(_, group)| group);
    let first = others.next().ok_or(RegressionError::Groups(groups.len()))?;
    let mut sum = first.clone();
    for group in others {
        sum.add(group)?;
    }
    Ok(sum)
}
