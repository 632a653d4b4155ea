//! One normaliser for all devices, from their profiles.

use common::features::{Atom, Curve, FeatureError, Normaliser};
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
        Normalisation::Learnt { clip } | Normalisation::Curved { clip } => clip,
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
    let mut variance: Vec<f64> = squares
        .iter()
        .map(|square| square / rows.max(1.0))
        .collect();
    let mut curves = Vec::new();
    for feature in 0..mean.len() {
        let mut atoms = atoms(profiles, feature);
        let Some(curve) = Curve::of(feature as u32, &mut atoms, variance[feature].sqrt()) else {
            continue;
        };
        (mean[feature], variance[feature]) = bent(&curve, &atoms);
        curves.push(curve);
    }
    // Rows of one norm are easier on every kernel tried.
    let stage = &task.definition().features;
    stage.normaliser(&mean, &variance, clip, curves)
}

/// The blocks of a feature on all devices, each for its share of the rows.
fn atoms(profiles: &[Profile], feature: usize) -> Vec<Atom> {
    let blocks = profiles.iter().filter_map(|profile| {
        let means = profile.blocks()?.means.row(feature);
        Some((profile.rows() as f64 / means.len() as f64, means))
    });
    let atoms = blocks.flat_map(|(rows, means)| {
        means.into_iter().map(move |&mean| Atom {
            value: f64::from(mean),
            rows,
        })
    });
    atoms.collect()
}

/// Mean and variance of a feature after its curve.
fn bent(curve: &Curve, atoms: &[Atom]) -> (f64, f64) {
    let rows: f64 = atoms.iter().map(|atom| atom.rows).sum();
    let level = |atom: &Atom| f64::from(curve.apply(atom.value as f32));
    let mean = atoms
        .iter()
        .map(|atom| atom.rows * level(atom))
        .sum::<f64>()
        / rows;
    let square = |atom: &Atom| atom.rows * (level(atom) - mean).powi(2);
    (mean, atoms.iter().map(square).sum::<f64>() / rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::blocks::RawBlocks;
    use common::profile::{RawFeatureMoments, RawProfile};
    use common::task::RawTask;
    use ndarray::{Array2, Axis};

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
    fn heavy_columns_spread_over_devices_are_bent_as_if_they_were_in_one_place() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [features]\nstage = \"lifted\"";
        let task = RawTask::parse(task).unwrap();
        let share = |row: usize| (row as f64 + 0.5) / 400.0;
        let rows = Array2::from_shape_fn((400, 3), |(row, column)| {
            let logit = (share(row) / (1.0 - share(row))).ln();
            [(3.0 * logit).exp() as f32, logit as f32, 0.0][column]
        });
        let profile = |chosen: &[usize]| {
            let features = rows.select(Axis(0), chosen);
            let raw = RawProfile {
                rows: chosen.len() as u64,
                class_counts: vec![0, 0],
                moments: RawFeatureMoments::of(features.view()),
            };
            let profile = Profile::check(raw, 3, 2, true).unwrap();
            profile
                .with_blocks(RawBlocks::of(features.view(), 5), 5)
                .unwrap()
        };
        // One device has the low half, two share the rest.
        let parts: [Vec<usize>; 3] = [
            (0..200).collect(),
            (200..400).step_by(2).collect(),
            (201..400).step_by(2).collect(),
        ];
        let profiles: Vec<Profile> = parts.iter().map(|part| profile(part)).collect();
        let normaliser = learn_normaliser(&task, &profiles).unwrap();
        let view = normaliser.apply(rows.view()).unwrap();
        // Brought to one length, which the constant tells.
        let value = |row: usize, column: usize| view[[row, column]] / view[[row, 2]];
        for row in [60, 130, 200, 270, 340] {
            assert!((value(row, 0) - value(row, 1)).abs() < 0.35, "{row}");
        }
        let straight = RawTask::parse(
            "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
             [features]\nstage = \"lifted\"\n[normaliser]\ncurves = false",
        )
        .unwrap();
        let straight = learn_normaliser(&straight, &profiles[..0]);
        assert!(straight.is_ok());
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
