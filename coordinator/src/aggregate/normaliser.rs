//! One normaliser for all devices, from their profiles.

use common::features::{FeatureError, Normaliser};
use common::profile::Profile;
use common::task::{Normalisation, Task};

/// The normaliser of all devices' rows together, as if they had been in one
/// place: means and variances combine exactly (Chan, Golub & LeVeque 1983),
/// in device order.
///
/// # Errors
/// If no profile carries feature moments where the task learns them.
pub fn learn_normaliser(task: &Task, profiles: &[Profile]) -> Result<Normaliser, FeatureError> {
    let clip = match task.definition().normalisation {
        Normalisation::Range { low, high } => {
            return Normaliser::of_range(task.features(), low, high);
        }
        Normalisation::Learnt { clip } => clip,
    };
    let mut rows = 0.0;
    let mut mean = vec![0.0; task.features()];
    let mut squares = vec![0.0; task.features()];
    for profile in profiles {
        let Some(moments) = profile.moments() else {
            continue;
        };
        let added = profile.rows() as f64;
        let total = rows + added;
        for (feature, mean) in mean.iter_mut().enumerate() {
            let shift = f64::from(moments.mean[feature]) - *mean;
            squares[feature] +=
                f64::from(moments.variance[feature]) * added + shift * shift * rows * added / total;
            *mean += shift * added / total;
        }
        rows = total;
    }
    let variance: Vec<f64> = squares
        .iter()
        .map(|square| square / rows.max(1.0))
        .collect();
    // Rows of one norm are easier on every kernel tried.
    let stage = &task.definition().features;
    stage.normaliser(&mean, &variance, clip)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::profile::{RawFeatureMoments, RawProfile};
    use common::task::RawTask;

    fn profile(values: &[f32]) -> Profile {
        let rows = values.len() as f32;
        let mean = values.iter().sum::<f32>() / rows;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f32>()
            / rows;
        let raw = RawProfile {
            rows: values.len() as u64,
            class_counts: vec![0, 0],
            moments: Some(RawFeatureMoments {
                mean: vec![mean],
                variance: vec![variance],
            }),
        };
        Profile::check(raw, 1, 2, true).unwrap()
    }

    #[test]
    fn three_devices_give_the_normaliser_of_their_pooled_rows() {
        let task = "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]";
        let task = RawTask::parse(task).unwrap();
        let (a, b, c) = (
            [1000.0, 1001.0, 1002.5],
            [1004.0, 999.0],
            [1010.0, 990.0, 1000.5, 1001.0],
        );
        let pooled: Vec<f32> = a.iter().chain(&b).chain(&c).copied().collect();
        let split = learn_normaliser(&task, &[profile(&a), profile(&b), profile(&c)]).unwrap();
        let whole = learn_normaliser(&task, &[profile(&pooled)]).unwrap();
        let inputs = ndarray::array![[997.0f32], [1003.0]];
        let (split, whole) = (
            split.apply(inputs.view()).unwrap(),
            whole.apply(inputs.view()).unwrap(),
        );
        assert!(
            (&split - &whole)
                .iter()
                .all(|difference| difference.abs() < 1e-4)
        );
    }

    #[test]
    fn the_most_extreme_profile_that_is_taken_leaves_a_normaliser() {
        let task = "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]";
        let task = RawTask::parse(task).unwrap();
        let extreme = |mean: f32, variance: f32| {
            let raw = RawProfile {
                rows: common::limits::ROWS_MAX,
                class_counts: vec![0, 0],
                moments: Some(RawFeatureMoments {
                    mean: vec![mean],
                    variance: vec![variance],
                }),
            };
            Profile::check(raw, 1, 2, true)
        };
        let honest = profile(&[1.0, 2.0, 3.0]);
        let liars = [
            extreme(1e18, 1e36).unwrap(),
            extreme(-1e18, 1e36).unwrap(),
            honest,
        ];
        learn_normaliser(&task, &liars).unwrap();
        assert!(extreme(3e38, 0.0).is_err() && extreme(0.0, 3e38).is_err());
    }
}
