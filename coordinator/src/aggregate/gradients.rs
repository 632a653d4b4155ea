//! Devices' gradients of a student's last layer, joined so that no device moves it
//! much further than an ordinary one could.
//!
//! A sum has no breakdown point, and rows are a claim. So a device's rows count up
//! to [`ROWS_OVER_MEDIAN_MAX`] times the median's, as everywhere, and the mean
//! gradient of its rows is cut to [`NORM_OVER_MEDIAN_MAX`] times the median
//! device's: a device of few classes or odd rows may honestly have a larger one,
//! while one that says something else altogether is left with the weight of such a
//! device.

use common::gradient::Gradient;
use common::math::last_layer::{LastLayerError, Residuals};

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};

/// How many times the median device's mean gradient one device's may be long.
///
/// Honest devices with a tenth of the classes each reach 2.2 (letters, Dirichlet 0.1).
const NORM_OVER_MEDIAN_MAX: f64 = 3.0;

/// All devices' gradients in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// What they say together, each with its weight.
    pub residuals: Residuals,
    /// Rows of each class that count in it.
    pub class_rows: Vec<f64>,
    /// How many were cut in rows or length.
    pub cut: usize,
}

/// Joins gradients of the same student; none of nobody.
///
/// # Errors
/// If they are of different layers.
pub fn join_gradients(of: &[Gradient]) -> Result<Option<Joined>, LastLayerError> {
    let Some(first) = of.first() else {
        return Ok(None);
    };
    let rows: Vec<u64> = of.iter().map(|one| one.residuals.rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let lengths: Vec<f64> = of.iter().map(|one| mean_length(&one.residuals)).collect();
    let longest = NORM_OVER_MEDIAN_MAX * lower_median(&lengths);
    let (classes, width) = first.residuals.gradient.dim();
    let mut residuals = Residuals::zeros(classes, width - 1);
    let mut class_rows = vec![0.0; classes];
    let mut cut = 0;
    for (gradient, length) in of.iter().zip(lengths) {
        let one = &gradient.residuals;
        let weight = cap.share(one.rows);
        for (sum, &rows) in class_rows.iter_mut().zip(&gradient.class_counts) {
            *sum += weight * rows as f64;
        }
        let shorter = match length > longest {
            true => longest / length,
            false => 1.0,
        };
        cut += usize::from(weight < 1.0 || shorter < 1.0);
        // Its rows and their errors stay: the rest of them say nothing.
        let bounded = Residuals {
            gradient: one.gradient.mapv(|value| shorter * value),
            ..one.clone()
        };
        residuals.add(&bounded, weight)?;
    }
    Ok(Some(Joined {
        residuals,
        class_rows,
        cut,
    }))
}

fn mean_length(residuals: &Residuals) -> f64 {
    let square: f64 = residuals.gradient.iter().map(|value| value * value).sum();
    square.sqrt() / residuals.rows.max(1) as f64
}

/// The median; of an even number the lower of the two in the middle.
fn lower_median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::ids::Version;
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    fn of(rows: u64, each: f64) -> Gradient {
        Gradient {
            version: Version {
                epoch: 1,
                number: 1,
            },
            class_counts: vec![rows, 0],
            residuals: Residuals {
                gradient: Array2::from_elem((2, 3), each * rows as f64),
                square: 0.1 * rows as f64,
                rows,
            },
        }
    }

    #[test]
    fn honest_devices_are_summed_as_they_are() {
        let joined = join_gradients(&[of(100, 0.1), of(300, -0.04)])
            .unwrap()
            .unwrap();
        assert_eq!(joined.cut, 0);
        assert_eq!(joined.residuals.rows, 400);
        assert_eq!(joined.class_rows, [400.0, 0.0]);
        let sum = 100.0 * 0.1 - 300.0 * 0.04;
        let gradient = joined.residuals.gradient;
        assert!(gradient.iter().all(|value| (value - sum).abs() < 1e-9));
        assert_eq!(join_gradients(&[]).unwrap(), None);
    }

    #[test]
    fn gradients_of_different_layers_are_refused() {
        let other = Gradient {
            residuals: Residuals::zeros(2, 5),
            ..of(100, 0.1)
        };
        assert!(join_gradients(&[of(100, 0.1), other]).is_err());
    }

    proptest! {
        #[test]
        fn a_liar_pulls_no_further_than_a_large_device(
            honest in prop::collection::vec((50u64..500, 0.01..0.2f64), 3..20),
            rows in 1u64..1_000_000_000, each in -1e6..1e6f64,
        ) {
            let devices: Vec<_> = honest.iter().map(|&(rows, each)| of(rows, each)).collect();
            let alone = join_gradients(&devices).unwrap().unwrap().residuals;
            let mut with = devices.clone();
            with.push(of(rows, each));
            let joined = join_gradients(&with).unwrap().unwrap().residuals;
            let most = honest.iter().map(|&(rows, _)| rows).max().unwrap() as f64;
            let longest = honest.iter().map(|&(_, each)| each).fold(0.0, f64::max);
            for (a, b) in alone.gradient.iter().zip(&joined.gradient) {
                // What it adds, and what its word moves the caps of others by.
                let all: f64 = honest.iter().map(|&(rows, each)| rows as f64 * each).sum();
                prop_assert!((a - b).abs() <= 9.0 * most * longest + all);
            }
        }
    }
}
