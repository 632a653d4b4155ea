//! What a released student's last layer has wrong on the device's rows.

use common::gradient::{RawGradient, directions};
use common::math::last_layer::{LastLayerError, Residuals, Wanted};
use common::math::network::Network;
use common::model::Release;
use common::round::Kind;
use ndarray::Array2;

use super::{Entry, View, Work, WorkError};
use common::limits::SAMPLE_ROWS_MEAN;

/// The gradient of all labelled rows that may be spoken of; none where the release
/// was refined as often as its task asks for, or the rows are too few for what this
/// step and those before it tell: a device with fewer rows takes part in fewer steps.
///
/// A gradient is a sum in which a row counts by its error. Where a student is right
/// about all rows but one, it would be that row. So the sum of a class or number leaves only
/// where as many rows carry it as a sample stands for in the mean, and is nothing
/// otherwise.
pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    release: &Release,
) -> Result<Option<Entry>, WorkError> {
    let task = work.task;
    let refined = release.refined();
    if refined >= task.definition().refinement_steps {
        return Ok(None);
    }
    // As many as can be told apart: copies are one row.
    let (inputs, labels, numbers) = view.distinct();
    let rows = labels.len() as u64;
    if rows < work.privacy.rows_min || work.privacy.directions(rows) < directions(task, refined) {
        return Ok(None);
    }
    let student = release.student();
    let wanted = match &numbers {
        Some(numbers) => Wanted::Numbers(numbers.view()),
        None => Wanted::Classes(&labels),
    };
    let mut residuals = Residuals::of(student, inputs.view(), wanted)?;
    let said = student
        .logits(inputs.view())
        .map_err(LastLayerError::from)?;
    let apart = wanted.apart(said.view())?;
    let rows_min = f64::from(SAMPLE_ROWS_MEAN * work.privacy.cluster_size_min);
    let carried = carried_by(&apart);
    for (class, carried) in carried.into_iter().enumerate() {
        if carried < rows_min {
            residuals.gradient.row_mut(class).fill(0.0);
        }
    }
    if residuals.gradient.iter().all(|value| *value == 0.0) {
        return Ok(None);
    }
    let mut class_counts = vec![0; task.classes()];
    for &label in &labels {
        class_counts[usize::from(label)] += 1;
    }
    let raw = RawGradient::of(release.version(), refined, class_counts, &residuals)?;
    Ok(Some(Entry::of(Kind::Gradient, &raw, rows)))
}

/// By how many rows the sum of each output is carried: (Σ|e|)²/Σe² of the errors e of
/// shape (rows, outputs), which is n for n rows with equal errors and the others
/// without, and nearly 1 where one row has nearly all of it (Kish's effective sample
/// size).
fn carried_by(errors: &Array2<f64>) -> Vec<f64> {
    let of = |column: ndarray::ArrayView1<'_, f64>| {
        let sizes = column.iter().map(|error| error.abs());
        let (sum, squares) = sizes.fold((0.0, 0.0), |(sum, squares), size| {
            (sum + size, squares + size * size)
        });
        sum * sum / squares.max(f64::MIN_POSITIVE)
    };
    errors.columns().into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_carried_by_the_rows_that_have_its_error() {
        let mut errors = Array2::zeros((100, 3));
        for row in 0..100 {
            errors[[row, 0]] = 0.2;
            errors[[row, 1]] = if row < 7 { -0.9 } else { 0.0 };
            errors[[row, 2]] = if row == 0 { 1.0 } else { 1e-4 };
        }
        let carried = carried_by(&errors);
        assert!((carried[0] - 100.0).abs() < 1e-3);
        assert!((carried[1] - 7.0).abs() < 1e-3);
        assert!(carried[2] < 1.1);
    }
}
