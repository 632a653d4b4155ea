//! What a device's gradient of a released student tells of rows: figures, each higher
//! where the device more likely summed over the row.
//!
//! A gradient is the mean of e·hᵀ over rows, with the errors e of the student's
//! probabilities and the inputs h of its last layer, which a coordinator can compute of
//! any row it holds. The product ⟨e·hᵀ, gradient⟩ is larger for a row that is in the mean
//! (Dwork et al., *Robust traceability from trace amounts*, FOCS 2015), more so where
//! what all rows have in common is taken out, and where directions are made alike by
//! the covariance of h, which the samples tell.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis};

use common::math::last_layer;
use common::math::linalg::Cholesky;
use common::math::network::{Student, softmax_rows};
use common::model::Release;

use super::AttackError;
use super::observed::{Observed, unreadable};
use super::statistic::{Scores, squares};

/// Every statistic that a device's gradient allows of rows with their labels, whose
/// `inputs` are normalised; none where it sent no gradient. Cost: rows·classes·units
/// for each, and units³ a ridge.
pub(super) fn of_gradient(
    device: usize,
    observed: &Observed,
    inputs: ArrayView2<'_, f32>,
    labels: &[u16],
) -> Result<Scores, AttackError> {
    let Some(own) = &observed.devices[device].gradient else {
        return Ok(Scores::new());
    };
    let of_student = |one: &&Arc<Release>| one.version() == own.version;
    let Some(release) = observed.students.iter().find(of_student) else {
        return Ok(Scores::new());
    };
    let mean = &own.residuals.gradient / own.residuals.rows.max(1) as f64;
    let (mut others, mut rows) = (Array2::zeros(mean.dim()), 0.0);
    for (at, one) in observed.devices.iter().enumerate() {
        if let Some(other) = one.gradient.as_ref().filter(|_| at != device)
            && other.version == own.version
        {
            others += &other.residuals.gradient;
            rows += other.residuals.rows as f64;
        }
    }
    let apart = &mean - &(others / f64::max(rows, 1.0));
    let samples = observed.set.points.inputs.view();
    tested(release.student(), samples, [mean, apart], (inputs, labels))
}

/// The statistics of rows with labels, under a device's mean gradient of this student
/// and what of it the others' does not have; `samples` tell the covariance.
fn tested(
    student: &Student,
    samples: ArrayView2<'_, f32>,
    [mean, apart]: [Array2<f64>; 2],
    (inputs, labels): (ArrayView2<'_, f32>, &[u16]),
) -> Result<Scores, AttackError> {
    let mut scores = Scores::new();
    let hidden = last_layer::before_last(student, inputs).map_err(unreadable)?;
    let mut errors = hidden.dot(&last_layer::weights(student).t());
    softmax_rows(errors.view_mut(), 1.0);
    for (mut row, &label) in errors.rows_mut().into_iter().zip(labels) {
        row[usize::from(label)] -= 1.0;
    }
    let lengths = squares(&errors) * squares(&hidden);
    scores.push((
        format!("{NAMED} error of the student"),
        squares(&errors).mapv(|value| -value).to_vec(),
    ));
    let mut tell = |name: String, towards: &Array2<f64>| {
        let along = &errors * &hidden.dot(&towards.t());
        let all = along.sum_axis(Axis(1));
        let of_label = { along.rows().into_iter().zip(labels) }
            .map(|(row, &label)| row[usize::from(label)])
            .collect();
        let for_length = (&all / &lengths.mapv(|value| value.sqrt().max(1e-12))).to_vec();
        scores.push((format!("{name}, of the label"), of_label));
        scores.push((format!("{name} for its length"), for_length));
        scores.push((name, all.to_vec()));
    };
    tell(format!("{NAMED} along it"), &mean);
    tell(format!("{NAMED} along what is the device's own"), &apart);
    let samples = last_layer::before_last(student, samples).map_err(unreadable)?;
    let covariance = samples.t().dot(&samples) / samples.nrows().max(1) as f64;
    let scale = covariance.diag().mean().unwrap_or(1.0).max(1e-12);
    for ridge in RIDGES {
        let mut ridged = covariance.clone();
        ridged
            .diag_mut()
            .map_inplace(|value| *value += ridge * scale);
        let factor = Cholesky::factor(ridged.view()).map_err(unreadable)?;
        let white = factor.solve(apart.t()).map_err(unreadable)?;
        let name = format!("{NAMED} along its own, directions alike, ridge {ridge:e}");
        tell(name, &white.t().to_owned());
    }
    Ok(scores)
}

/// Whether a statistic of this name is one of [`of_gradient`].
pub(super) fn is_of_gradient(name: &str) -> bool {
    name.starts_with(NAMED)
}

/// What the names of all of them begin with.
const NAMED: &str = "gradient:";

/// Ridges that are tried, as shares of the mean of the covariance's diagonal.
const RIDGES: [f64; 3] = [1e-3, 1e-2, 1e-1];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::math::last_layer::{Residuals, Wanted};
    use common::math::network::{MlpShape, StudentShape};
    use common::math::random::rng;
    use rand::Rng as _;

    use super::*;
    use crate::attack::roc::area;

    /// A sum of few rows gives them away, and one of many tells of none.
    #[test]
    fn rows_of_a_small_sum_are_told_from_others() {
        let shape = StudentShape::Mlp(MlpShape {
            inputs: 6,
            hidden: vec![48],
            outputs: 4,
        });
        let student = Student::new(&shape, &mut rng(1, "weights")).unwrap();
        let mut random = rng(2, "rows");
        let mut rows = |count: usize| {
            let inputs =
                Array2::from_shape_simple_fn((count, 6), || random.random_range(-2.0..2.0));
            let labels: Vec<u16> = (0..count).map(|_| random.random_range(0..4)).collect();
            (inputs, labels)
        };
        let (samples, (others, labels)) = (rows(200).0, rows(300));
        let mut found = |members: usize| {
            let (inputs, of) = rows(members);
            let sum = Residuals::of(&student, inputs.view(), Wanted::Classes(&of)).unwrap();
            let mean = sum.gradient / members as f64;
            let scores = |inputs: &Array2<f32>, labels: &[u16]| {
                let told = [mean.clone(), mean.clone()];
                tested(&student, samples.view(), told, (inputs.view(), labels)).unwrap()
            };
            let (own, other) = (scores(&inputs, &of), scores(&others, &labels));
            let areas = own
                .iter()
                .zip(&other)
                .filter_map(|((name, own), (_, other))| {
                    assert!(is_of_gradient(name), "{name}");
                    area(own, other)
                });
            areas.fold(0.0, f64::max)
        };
        assert!(found(3) > 0.95);
        assert!(found(3_000) < 0.6);
    }
}
