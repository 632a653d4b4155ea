//! Profiles that no fleet of honest devices has: one device's mean of 1e18
//! would otherwise be everyone's normaliser.

use common::profile::RawFeatureMoments;

use super::robust::{CONSISTENT, median};

/// Which profiles count, and for which features.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProfileOutliers {
    devices: Vec<Standing>,
}

/// How one profile stands beside the others.
#[derive(Clone, Debug, Default, PartialEq)]
struct Standing {
    /// Features in which it lies far from the fleet.
    far: u32,
    /// Features in which that can be told.
    judged: u32,
    /// Features that are taken from the others alone, ascending.
    left_out: Vec<usize>,
}

impl ProfileOutliers {
    /// Judges the profiles of a fleet, one device one vote whatever rows it
    /// claims. In each feature a device is as far out as its mean square about
    /// the median of all means, beside the median device's: a ratio that knows
    /// no unit. What is far depends on the fleet: [`FAR`] standard deviations
    /// at least, and more where honest devices differ by more (six times the
    /// normal-consistent median absolute deviation of the logarithms: Rousseeuw
    /// & Croux 1993). A profile that is far in more than a quarter of the
    /// features counts for none of them; one that is beyond [`BEYOND`] in a few
    /// counts for the others.
    ///
    /// Two devices have no majority, so all of them count, and so does
    /// everything in a feature that is constant on most devices. Cost K·log K
    /// for each feature.
    pub(super) fn of(profiles: &[&RawFeatureMoments]) -> Self {
        let mut devices = vec![Standing::default(); profiles.len()];
        if profiles.len() >= MAJORITY_MIN {
            let features = profiles.iter().map(|one| one.mean.len()).min();
            for feature in 0..features.unwrap_or(0) {
                judge(profiles, feature, &mut devices);
            }
        }
        Self { devices }
    }

    /// Whether a profile counts for nothing: the features in which it lies far
    /// out, of those in which that can be told.
    pub(super) fn refused(&self, device: usize) -> Option<(u32, u32)> {
        let Standing { far, judged, .. } = self.devices.get(device)?;
        (*far * FEATURES_SHARE > *judged).then_some((*far, *judged))
    }

    /// Whether a profile counts for this feature.
    pub(super) fn counts(&self, device: usize, feature: usize) -> bool {
        self.refused(device).is_none()
            && self
                .devices
                .get(device)
                .is_none_or(|one| one.left_out.binary_search(&feature).is_err())
    }
}

fn judge(profiles: &[&RawFeatureMoments], feature: usize, devices: &mut [Standing]) {
    let means = profiles.iter().map(|one| f64::from(one.mean[feature]));
    let centre = median(means.clone().collect());
    let squares: Vec<f64> = profiles
        .iter()
        .zip(means)
        .map(|(one, mean)| f64::from(one.variance[feature]) + (mean - centre).powi(2))
        .collect();
    let usual = median(squares.clone());
    let rounding = (ROUNDING * centre.abs()).powi(2);
    if usual <= rounding.max(f64::MIN_POSITIVE) {
        return;
    }
    // Half of the devices lie below, so only what lies above can be far out.
    let ratios: Vec<f64> = squares
        .iter()
        .map(|square| (square / usual).max(f64::MIN_POSITIVE).ln())
        .collect();
    let spread = SIX_DEVIATIONS * median(ratios.iter().map(|ratio| ratio.abs()).collect());
    let (far, beyond) = (2.0 * FAR.ln(), 2.0 * BEYOND.ln());
    for (ratio, device) in ratios.into_iter().zip(devices) {
        device.judged += 1;
        device.far += u32::from(ratio > far.max(spread));
        if ratio > beyond.max(spread) {
            device.left_out.push(feature);
        }
    }
}

/// Fewest devices of which a majority can be told.
const MAJORITY_MIN: usize = 3;
/// Standard deviations of the fleet within which a profile is never far.
const FAR: f64 = 10.0;
/// Standard deviations beyond which a single feature is left out.
const BEYOND: f64 = 100.0;
/// One in so many features may be far.
const FEATURES_SHARE: u32 = 4;
/// Six standard deviations by the median absolute deviation.
const SIX_DEVIATIONS: f64 = 6.0 * CONSISTENT;
/// Below this share of the mean a deviation is f32 rounding.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use proptest::prelude::*;
    use rand::Rng;

    fn honest(seed: u64, devices: usize, features: usize) -> Vec<RawFeatureMoments> {
        let mut random = rng(seed, "profiles");
        let mut device = || RawFeatureMoments {
            mean: (0..features)
                .map(|_| 5.0 + random.random_range(-2.0f32..2.0))
                .collect(),
            variance: (0..features)
                .map(|_| random.random_range(0.05f32..2.0))
                .collect(),
        };
        (0..devices).map(|_| device()).collect()
    }

    fn judged(profiles: &[RawFeatureMoments]) -> ProfileOutliers {
        ProfileOutliers::of(&profiles.iter().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn honest_profiles_count_for_every_feature(seed in 0u64..1_000, devices in 2usize..30) {
            let profiles = honest(seed, devices, 12);
            let judged = judged(&profiles);
            for device in 0..devices {
                prop_assert_eq!(judged.refused(device), None);
                prop_assert!((0..12).all(|feature| judged.counts(device, feature)));
            }
        }

        #[test]
        fn four_in_ten_immense_profiles_are_refused(seed in 0u64..1_000, devices in 5usize..30) {
            let mut profiles = honest(seed, devices, 12);
            let liars = devices * 2 / 5;
            for profile in &mut profiles[..liars] {
                profile.mean.fill(1e18);
                profile.variance.fill(1e36);
            }
            let judged = judged(&profiles);
            for device in 0..devices {
                prop_assert_eq!(judged.refused(device).is_some(), device < liars);
            }
        }
    }

    #[test]
    fn one_immense_feature_is_taken_from_the_others() {
        let mut profiles = honest(7, 9, 12);
        profiles[4].mean[3] = -1e12;
        let judged = judged(&profiles);
        assert_eq!(judged.refused(4), None);
        assert!(!judged.counts(4, 3) && judged.counts(4, 2) && judged.counts(5, 3));
    }

    #[test]
    fn a_feature_that_only_one_device_has_stays_its_own() {
        let mut profiles = honest(9, 6, 4);
        for profile in &mut profiles[1..] {
            (profile.mean[2], profile.variance[2]) = (0.0, 0.0);
        }
        let judged = judged(&profiles);
        assert!((0..6).all(|device| judged.counts(device, 2)));
    }

    #[test]
    fn two_devices_have_no_majority() {
        let mut profiles = honest(3, 2, 4);
        profiles[0].mean.fill(1e18);
        assert_eq!(judged(&profiles).refused(0), None);
    }
}
