//! What a device's gradient of a released student tells of rows: figures, each higher
//! where the device more likely summed over the row.
//!
//! A gradient is the mean of e·hᵀ over rows, with the errors e of the student's
//! probabilities and the inputs h of its last layer, which a coordinator can compute of
//! any row it holds. The product ⟨e·hᵀ, gradient⟩ is larger for a row that is in the mean
//! (Dwork et al., *Robust traceability from trace amounts*, FOCS 2015), more so where
//! what all rows have in common is taken out, and where directions are made alike by
//! the covariance of h, which the samples tell.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use common::math::last_layer;
use common::math::linalg::Cholesky;
use common::math::network::{Network, Student, softmax_rows};

use super::AttackError;
use super::observed::{Observed, unreadable};
use super::statistic::Scores;

/// Every statistic that a device's gradient allows of rows with their labels, whose
/// `inputs` are normalised; none where it sent no gradient. Cost: rows·classes·units
/// for each, and units³ a ridge.
pub(super) fn of_gradient(
    device: usize,
    observed: &Observed,
    inputs: ArrayView2<'_, f32>,
    labels: &[u16],
) -> Result<Scores, AttackError> {
    let mut scores = Scores::new();
    let Some(own) = &observed.devices[device].gradient else {
        return Ok(scores);
    };
    let of_student = |one: &&std::sync::Arc<common::model::Release>| one.version() == own.version;
    let Some(release) = observed.students.iter().find(of_student) else {
        return Ok(scores);
    };
    let student = release.student();
    let hidden = before_last(student, inputs)?;
    let mut errors = hidden.dot(&last_layer::weights(student).t());
    softmax_rows(errors.view_mut(), 1.0);
    for (mut row, &label) in errors.rows_mut().into_iter().zip(labels) {
        row[usize::from(label)] -= 1.0;
    }
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
    let samples = before_last(student, observed.set.points.inputs.view())?;
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

/// What the last layer is given of rows, and a one: rows × (units + 1).
fn before_last(student: &Student, inputs: ArrayView2<'_, f32>) -> Result<Array2<f64>, AttackError> {
    let mut workspace = student.workspace(inputs.nrows());
    let hidden = student.before_last(inputs, &mut workspace);
    let mut hidden = hidden.map_err(unreadable)?.mapv(f64::from);
    let ones = Array1::ones(hidden.nrows());
    hidden
        .push_column(ones.view())
        .expect("a column has one value a row");
    Ok(hidden)
}

/// ‖row‖² of each row.
fn squares(rows: &Array2<f64>) -> Array1<f64> {
    rows.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// Ridges that are tried, as shares of the mean of the covariance's diagonal.
const RIDGES: [f64; 3] = [1e-3, 1e-2, 1e-1];
