//! Data that is unlike the rest of a fleet's, by what profiles say.
//!
//! Profiles are judged one device one vote. What is told is for people: nothing
//! is left out of a computation for it.

use common::ids::DeviceId;
use common::profile::Profile;
use common::task::{InputKind, Task};

use super::robust::{CONSISTENT, median};
use crate::status::{OddKind, OddStatus};

/// What is odd about the profiles of a fleet, by device; nothing of fewer than
/// three. Names of devices are left to who knows them. Cost K·log K for each
/// feature.
pub(crate) fn odd_data(task: &Task, profiles: &[(DeviceId, Profile)]) -> Vec<OddStatus> {
    let mut found = Vec::new();
    if profiles.len() < DEVICES_MIN {
        return found;
    }
    of_features(task, profiles, &mut found);
    of_classes(task, profiles, &mut found);
    found.sort_by_key(|one| one.device.device);
    found
}

fn of_features(task: &Task, profiles: &[(DeviceId, Profile)], found: &mut Vec<OddStatus>) {
    let with = profiles.iter().filter_map(|(device, profile)| {
        let moments = profile.moments()?;
        Some((*device, moments))
    });
    let with: Vec<_> = with.collect();
    if with.len() < DEVICES_MIN {
        return;
    }
    let names = feature_names(task);
    for feature in 0..task.stage_features() {
        let column = || {
            names
                .get(feature)
                .cloned()
                .unwrap_or_else(|| format!("feature {feature}"))
        };
        let of = |at: usize| {
            let moments = with[at].1;
            let mean = moments.mean.get(feature).copied().unwrap_or(0.0);
            let variance = moments.variance.get(feature).copied().unwrap_or(0.0);
            (f64::from(mean), f64::from(variance).max(0.0).sqrt())
        };
        let all: Vec<(f64, f64)> = (0..with.len()).map(of).collect();
        let fleet = Fleet::of(&all);
        for (&(device, _), &(mean, deviation)) in with.iter().zip(&all) {
            if let Some((kind, factor)) = fleet.judge(mean, deviation) {
                found.push(OddStatus::new(device, kind, column(), factor));
            }
        }
    }
}

/// What the features are called, in the task's own names of its columns or
/// channels where it has any.
fn feature_names(task: &Task) -> Vec<String> {
    let names = task.definition().features.names(task.stage_shape());
    let mut names = names.unwrap_or_default();
    if task.definition().backbone.is_some() {
        return names;
    }
    let values = task.input_shape().values();
    for (at, own) in task
        .input()
        .value_names(values)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        match names.get_mut(at) {
            Some(name) if *name == format!("value {at}") => *name = own,
            _ => {}
        }
    }
    if let InputKind::Series(series) = task.input() {
        // The last first, for what stands for the tenth begins as the first's.
        for (at, channel) in series.channels.iter().enumerate().rev() {
            let written = format!("channel {at}");
            for name in &mut names {
                *name = name.replace(&written, &channel.name);
            }
        }
    }
    names
}

/// What a feature is like on most devices.
struct Fleet {
    mean: f64,
    deviation: f64,
    /// How far honest devices' means lie apart, and the logarithms of their
    /// deviations: robust standard deviations.
    means_apart: f64,
    deviations_apart: f64,
    /// Most devices' values differ.
    varies: bool,
}

impl Fleet {
    fn of(all: &[(f64, f64)]) -> Self {
        let mean = median(all.iter().map(|one| one.0).collect());
        let deviation = median(all.iter().map(|one| one.1).collect());
        let rounding = ROUNDING * mean.abs();
        let varying = all.iter().filter(|one| one.1 > rounding).count();
        let apart = |values: Vec<f64>| CONSISTENT * median(values);
        let logarithms = all.iter().filter(|one| one.1 > rounding);
        Self {
            mean,
            deviation,
            means_apart: apart(all.iter().map(|one| (one.0 - mean).abs()).collect()),
            deviations_apart: apart(
                logarithms
                    .map(|one| (one.1 / deviation).ln().abs())
                    .collect(),
            ),
            varies: 3 * varying >= 2 * all.len() && deviation > rounding,
        }
    }

    /// What is odd about a device of this mean and standard deviation, and by
    /// which factor.
    fn judge(&self, mean: f64, deviation: f64) -> Option<(OddKind, f64)> {
        if !self.varies {
            return None;
        }
        if deviation <= ROUNDING * mean.abs() {
            return Some((OddKind::Constant, 0.0));
        }
        let spread = deviation / self.deviation;
        let is_spread = spread.ln().abs() > SPREAD.ln().max(APART * self.deviations_apart);
        let away = (mean - self.mean).abs();
        let is_far = away > FAR * self.deviation && away > APART * self.means_apart;
        // Another unit multiplies mean and deviation alike.
        let times = mean / self.mean;
        let alike = times > 0.0 && (times / spread).ln().abs() < ALIKE.ln();
        match (is_spread, is_far) {
            (true, _) if alike => Some((OddKind::Unit, times)),
            (_, true) => Some((OddKind::Mean, away / self.deviation)),
            (true, false) => Some((OddKind::Spread, spread)),
            (false, false) => None,
        }
    }
}

fn of_classes(task: &Task, profiles: &[(DeviceId, Profile)], found: &mut Vec<OddStatus>) {
    for (class, name) in task.definition().classes.iter().enumerate() {
        let has = |profile: &Profile| {
            profile
                .class_counts()
                .get(class)
                .is_some_and(|&rows| rows > 0)
        };
        let mut speakers = profiles.iter().filter(|(_, profile)| has(profile));
        if let (Some((device, _)), None) = (speakers.next(), speakers.next()) {
            found.push(OddStatus::new(*device, OddKind::Alone, name.clone(), 0.0));
        }
    }
}

/// Fewest devices of which one can be told from the others.
const DEVICES_MIN: usize = 3;
/// Below this share of the mean a deviation is f32 rounding.
const ROUNDING: f64 = 1e-6;
/// So many robust standard deviations among the devices are far.
const APART: f64 = 6.0;
/// And so many of a device's own values.
const FAR: f64 = 6.0;
/// A device whose values spread so many times as far, or as little, is odd.
const SPREAD: f64 = 8.0;
/// Two ratios that differ by less are one factor.
const ALIKE: f64 = 1.5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use common::profile::{RawFeatureMoments, RawProfile};
    use common::task::RawTask;
    use common::wire::codec::encode;
    use proptest::prelude::*;
    use rand::Rng as _;

    fn task() -> Task {
        let text = "name = \"pump\"\n[classes]\nnames = [\"ok\", \"blocked\"]\n[input]\nkind = \"table\"\n\
                    columns = [{ name = \"flow\" }, { name = \"bar\" }]\n[features]\nstage = \"raw\"";
        RawTask::parse(text).unwrap()
    }

    fn profile(task: &Task, moments: [(f32, f32); 2], counts: [u64; 2]) -> Profile {
        let raw = RawProfile {
            rows: counts.iter().sum(),
            class_counts: counts.to_vec(),
            moments: Some(RawFeatureMoments {
                mean: moments.iter().map(|one| one.0).collect(),
                variance: moments.iter().map(|one| one.1 * one.1).collect(),
            }),
        };
        let mut bytes = encode(&raw);
        if task.learns_quantiles() {
            let rows = ndarray::Array2::from_shape_fn((60, task.features()), |(row, _)| row as f32);
            bytes.extend(encode(&common::blocks::RawBlocks::of(rows.view(), 10)));
        }
        crate::validation::profile(task, &bytes).unwrap()
    }

    fn device(at: usize) -> DeviceId {
        DeviceId([at as u8; 16])
    }

    fn fleet(seed: u64, devices: usize) -> Vec<[(f32, f32); 2]> {
        let mut random = rng(seed, "fleet");
        (0..devices)
            .map(|_| {
                [
                    (
                        20.0 + random.random_range(-2.0..2.0),
                        3.0 + random.random_range(-0.5..0.5),
                    ),
                    (
                        1.5 + random.random_range(-0.2..0.2),
                        0.2 + random.random_range(-0.05..0.05),
                    ),
                ]
            })
            .collect()
    }

    fn odd(task: &Task, fleet: &[[(f32, f32); 2]]) -> Vec<OddStatus> {
        let profiles = fleet.iter().enumerate();
        let profiles: Vec<_> = profiles
            .map(|(at, moments)| (device(at), profile(task, *moments, [40, 20])))
            .collect();
        odd_data(task, &profiles)
    }

    proptest! {
        #[test]
        fn nothing_is_odd_in_an_honest_fleet(seed in 0u64..10_000, devices in 0usize..40) {
            prop_assert_eq!(odd(&task(), &fleet(seed, devices)), vec![]);
        }
    }

    #[test]
    fn another_unit_a_stuck_sensor_and_a_far_one_are_named() {
        let task = task();
        let mut fleet = fleet(3, 12);
        fleet[2][0] = (fleet[2][0].0 * 1_000.0, fleet[2][0].1 * 1_000.0);
        fleet[4][1].1 = 0.0;
        fleet[5][1].0 = 40.0;
        fleet[7][0].1 *= 30.0;
        let found = odd(&task, &fleet);
        let told: Vec<_> = { found.iter() }
            .map(|one| (one.device.device, one.kind, one.name.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (device(2), OddKind::Unit, "flow"),
                (device(4), OddKind::Constant, "bar"),
                (device(5), OddKind::Mean, "bar"),
                (device(7), OddKind::Spread, "flow"),
            ]
        );
        let text = found[0].text();
        assert!(
            text.starts_with("flow is ") && text.ends_with("times the fleet's: another unit?"),
            "{text}"
        );
        assert!((found[0].factor / 1_000.0).ln().abs() < 0.3);
    }

    #[test]
    fn a_class_of_a_single_device_is_named() {
        let task = task();
        let of = |counts: [[u64; 2]; 4]| {
            let profiles = counts.into_iter().enumerate();
            let profiles: Vec<_> = profiles
                .map(|(at, counts)| (device(at), profile(&task, [(1.0, 1.0); 2], counts)))
                .collect();
            odd_data(&task, &profiles)
        };
        let alone = of([[60, 0], [60, 0], [30, 30], [60, 0]]);
        assert_eq!(alone.len(), 1);
        assert_eq!(
            (alone[0].kind, alone[0].name.as_str()),
            (OddKind::Alone, "blocked")
        );
        assert_eq!(of([[60, 0], [60, 0], [30, 30], [30, 30]]), []);
    }
}
