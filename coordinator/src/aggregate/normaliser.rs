//! One normaliser for all devices, from their profiles.

use common::features::{Atom, FeatureError, Normaliser, QuantileTransform, TargetScale};
use common::profile::{Profile, RawFeatureMoments};
use common::task::{Normalisation, Task};

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};
use super::profile_outliers::ProfileOutliers;
use super::projection::{DeviceSketch, learn_projection};

/// A normaliser, and the profiles that are not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct LearntNormaliser {
    /// What every device applies.
    pub normaliser: Normaliser,
    /// The scale of the numbers that the task asks for, if it asks for any.
    pub targets: Option<TargetScale>,
    /// Profiles that count for nothing, by their place, with the features in
    /// which they lie far from the fleet and those in which that can be told.
    pub refused: Vec<(usize, u32, u32)>,
}

/// The normaliser of all devices' rows together, as if they had been in one
/// place: means and variances combine exactly (Chan, Golub & LeVeque 1983),
/// in device order. No device counts for more rows than the task allows beside
/// the median device's, and what lies as far out as no honest fleet does is
/// taken from the others alone (`ProfileOutliers`); where neither applies,
/// nothing differs from the pooled rows.
///
/// # Errors
/// If no profile carries feature moments where the task learns them.
pub fn learn_normaliser(
    task: &Task,
    profiles: &[Profile],
) -> Result<LearntNormaliser, FeatureError> {
    let clip = match task.definition().normalisation {
        Normalisation::Range { low, high } => {
            return Ok(LearntNormaliser {
                normaliser: Normaliser::of_range(task.features(), low, high)?,
                targets: learn_targets(task, profiles, &[]),
                refused: Vec::new(),
            });
        }
        Normalisation::Learnt { clip } | Normalisation::Quantiles { clip } => clip,
    };
    let fleet = Fleet::of(profiles);
    let mut mean = Vec::with_capacity(task.stage_features());
    let mut variance = Vec::with_capacity(task.stage_features());
    let mut transforms = Vec::new();
    for feature in 0..task.stage_features() {
        let (mut centre, mut spread) = fleet.pooled(feature);
        let mut atoms = fleet.atoms(feature);
        if let Some(transform) = QuantileTransform::of(feature as u32, &mut atoms, spread.sqrt()) {
            (centre, spread) = bent(&transform, &atoms);
            transforms.push(transform);
        }
        mean.push(centre);
        variance.push(spread);
    }
    // Rows of one norm are easier on every kernel tried.
    let stage = &task.definition().features;
    let mut normaliser = stage.normaliser(&mean, &variance, clip, transforms)?;
    if let Some(projection) = task.learnt_projection() {
        let learnt = learn_projection(task, &projection, &normaliser, &fleet.sketches())?;
        normaliser = normaliser.with_projection(learnt);
    }
    Ok(LearntNormaliser {
        normaliser,
        targets: learn_targets(task, profiles, &fleet.refused()),
        refused: fleet.refused(),
    })
}

/// Mean and spread of each number over the labelled rows of all devices but
/// those `refused`, combined and capped as features are. A number in which a
/// device lies far from the fleet is taken from the others alone.
fn learn_targets(
    task: &Task,
    profiles: &[Profile],
    refused: &[(usize, u32, u32)],
) -> Option<TargetScale> {
    let values = task.target().numbers().len();
    if values == 0 {
        return None;
    }
    let is_out = |place: usize| refused.iter().any(|one| one.0 == place);
    let kept = profiles.iter().enumerate().filter(|(at, _)| !is_out(*at));
    let kept = kept.filter_map(|(at, profile)| {
        let rows: u64 = profile.class_counts().iter().sum();
        Some((at, profile, profile.targets()?, rows))
    });
    let kept: Vec<_> = kept.collect();
    let moments: Vec<_> = kept.iter().map(|(_, _, moments, _)| *moments).collect();
    let outliers = ProfileOutliers::of(&moments);
    let rows: Vec<u64> = kept.iter().map(|(.., rows)| *rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let devices = kept.into_iter().map(|(at, profile, moments, rows)| {
        let counted = rows as f64 * cap.share(rows);
        (at, profile, moments, counted)
    });
    let fleet = Fleet {
        devices: devices.collect(),
        outliers,
    };
    let pooled: Vec<(f64, f64)> = (0..values).map(|value| fleet.pooled(value)).collect();
    let (mean, variance): (Vec<f64>, Vec<f64>) = pooled.into_iter().unzip();
    Some(TargetScale::of(&mean, &variance))
}

/// The profiles of a fleet, and what each counts for.
struct Fleet<'a> {
    /// Place, profile, its feature moments, and the rows it counts for.
    devices: Vec<(usize, &'a Profile, &'a RawFeatureMoments, f64)>,
    outliers: ProfileOutliers,
}

impl<'a> Fleet<'a> {
    fn of(profiles: &'a [Profile]) -> Self {
        let with_moments = profiles.iter().enumerate();
        let with_moments: Vec<_> = with_moments
            .filter_map(|(place, profile)| Some((place, profile, profile.moments()?)))
            .collect();
        let moments: Vec<_> = with_moments.iter().map(|(.., moments)| *moments).collect();
        let outliers = ProfileOutliers::of(&moments);
        let counted = with_moments.iter().enumerate();
        let rows: Vec<u64> = counted
            .filter(|(device, _)| outliers.refused(*device).is_none())
            .map(|(_, (_, profile, _))| profile.rows())
            .collect();
        let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
        let devices = with_moments.into_iter().map(|(place, profile, moments)| {
            let rows = profile.rows() as f64 * cap.share(profile.rows());
            (place, profile, moments, rows)
        });
        Self {
            devices: devices.collect(),
            outliers,
        }
    }

    /// Profiles that count for a feature.
    fn counting(
        &self,
        feature: usize,
    ) -> impl Iterator<Item = (&'a Profile, &'a RawFeatureMoments, f64)> {
        let devices = self.devices.iter().enumerate();
        devices
            .filter(move |(device, _)| self.outliers.counts(*device, feature))
            .map(|(_, &(_, profile, moments, rows))| (profile, moments, rows))
    }

    /// Mean and variance of a feature over all rows that count.
    fn pooled(&self, feature: usize) -> (f64, f64) {
        let (mut rows, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (_, moments, added) in self.counting(feature) {
            let total = rows + added;
            let shift = f64::from(moments.mean[feature]) - mean;
            squares +=
                f64::from(moments.variance[feature]) * added + shift * shift * rows * added / total;
            mean += shift * added / total;
            rows = total;
        }
        (mean, squares / rows.max(1.0))
    }

    /// The blocks of a feature on all devices, each for its share of the rows.
    fn atoms(&self, feature: usize) -> Vec<Atom> {
        let blocks = self.counting(feature).filter_map(|(profile, _, rows)| {
            let means = profile.blocks()?.means.row(feature);
            Some((rows / means.len() as f64, means))
        });
        let atoms = blocks.flat_map(|(rows, means)| {
            means.into_iter().map(move |&mean| Atom {
                value: f64::from(mean),
                rows,
            })
        });
        atoms.collect()
    }

    /// What devices say for a projection, but for those that count for nothing.
    fn sketches(&self) -> Vec<DeviceSketch<'a>> {
        let devices = self.devices.iter().enumerate();
        let devices = devices.filter(|(device, _)| self.outliers.refused(*device).is_none());
        let told = devices.filter_map(|(device, &(_, profile, moments, rows))| {
            let share = rows / profile.rows() as f64;
            let class_rows = profile.class_counts().iter();
            let features = 0..moments.mean.len();
            Some(DeviceSketch {
                moments,
                sketch: profile.sketch()?,
                rows,
                class_rows: class_rows.map(|&rows| rows as f64 * share).collect(),
                counts: { features }
                    .map(|feature| self.outliers.counts(device, feature))
                    .collect(),
            })
        });
        told.collect()
    }

    fn refused(&self) -> Vec<(usize, u32, u32)> {
        let devices = self.devices.iter().enumerate();
        let refused = devices.filter_map(|(device, &(place, ..))| {
            let (far, judged) = self.outliers.refused(device)?;
            Some((place, far, judged))
        });
        refused.collect()
    }
}

/// Mean and variance of a feature after its transform.
fn bent(transform: &QuantileTransform, atoms: &[Atom]) -> (f64, f64) {
    let rows: f64 = atoms.iter().map(|atom| atom.rows).sum();
    let level = |atom: &Atom| f64::from(transform.apply(atom.value as f32));
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
        let task = "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
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
        assert!(split.refused.is_empty());
        let (split, whole) = (
            split.normaliser.apply(inputs.view()).unwrap(),
            whole.normaliser.apply(inputs.view()).unwrap(),
        );
        assert!(
            (&split - &whole)
                .iter()
                .all(|difference| difference.abs() < 1e-4)
        );
    }

    #[test]
    fn transforms_do_not_depend_on_the_partition() {
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
        let view = normaliser.normaliser.apply(rows.view()).unwrap();
        // Brought to one length, which the constant tells.
        let value = |row: usize, column: usize| view[[row, column]] / view[[row, 2]];
        for row in [60, 130, 200, 270, 340] {
            assert!((value(row, 0) - value(row, 1)).abs() < 0.35, "{row}");
        }
        let straight = RawTask::parse(
            "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
             [features]\nstage = \"lifted\"\n[normaliser]\nquantiles = false",
        )
        .unwrap();
        let straight = learn_normaliser(&straight, &profiles[..0]);
        assert!(straight.is_ok());
    }

    #[test]
    fn one_huge_profile_leaves_the_others_unchanged() {
        let task = "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(task).unwrap();
        let honest = [
            profile(&[1.0, 2.0, 3.0]),
            profile(&[1.5, 2.5, 4.0]),
            profile(&[0.5, 2.0, 3.5]),
        ];
        let raw = RawProfile {
            rows: 9_000_000,
            class_counts: vec![0, 0],
            moments: Some(RawFeatureMoments {
                mean: vec![1e18],
                variance: vec![1e36],
            }),
        };
        let liar = Profile::check(raw, 1, 2, true).unwrap();
        let with = [
            honest[0].clone(),
            liar,
            honest[1].clone(),
            honest[2].clone(),
        ];
        let with = learn_normaliser(&task, &with).unwrap();
        assert_eq!(with.refused, [(1, 1, 1)]);
        let without = learn_normaliser(&task, &honest).unwrap();
        assert_eq!(with.normaliser, without.normaliser);
    }

    #[test]
    fn the_most_extreme_profiles_give_a_normaliser() {
        let task = "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
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
