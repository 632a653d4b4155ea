//! The task of a load, and contributions to it that pass every check.

use common::ids::BlobHash;
use common::math::quantise::QuantiseError;
use common::profile::RawProfile;
use common::summary::Points;
use common::wire::codec::encode;
use ndarray::Array2;

/// A contribution's bytes and their name.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// Their hash.
    pub(super) blob: BlobHash,
}

impl Payload {
    fn of(bytes: Vec<u8>) -> Self {
        let blob = BlobHash::of(&bytes);
        Self { bytes, blob }
    }
}

/// The file of a task whose devices send points of some 4 KB each, and whose
/// signed student has about `release_bytes`.
pub(super) fn task_file(release_bytes: u64) -> String {
    let hidden = release_bytes.saturating_sub(OVERHEAD_BYTES) / BYTES_A_UNIT;
    let hidden = hidden.max(1);
    let names: Vec<String> = (0..CLASSES).map(|class| format!("c{class}")).collect();
    format!(
        "name = \"load\"\ncontribute = \"points\"\n\n\
         [input]\nshape = [{FEATURES}]\n\n\
         [classes]\nnames = {names:?}\n\n\
         [normaliser]\nrange = [0.0, 1.0]\n\n\
         [student]\nhidden = [{hidden}]\n\n\
         [budget]\npoints_per_device = {POINTS}\npoints_max = {TRANSFER_POINTS}\n\
         uplink_bytes_max = 67108864\n\n\
         [distillation]\nsteps = 20\nbatch = 64\n\n\
         [rounds]\ndevices_min = 1\nquorum = 1.0\ngrace_s = 3600.0\n\
         deadline_s = {{ profile = 3600.0, summarise = 3600.0, contribute = 3600.0, \
         report = 3600.0 }}\n"
    )
}

/// What a device says of its rows.
pub(super) fn profile() -> Payload {
    Payload::of(encode(&RawProfile {
        rows: u64::from(ROWS) * POINTS as u64,
        class_counts: vec![0; CLASSES],
        moments: None,
    }))
}

/// The points of a device's contribution, another for each `turn`.
///
/// # Errors
/// None: its values are finite.
pub(super) fn summary(device: usize, turn: usize) -> Result<Payload, QuantiseError> {
    let class = |point: usize| (device + point) % CLASSES;
    // A wave for each class, and on it what tells devices and turns apart.
    let value = |(point, feature): (usize, usize)| {
        let wave = (0.1 * (feature * (1 + class(point))) as f32).sin();
        let own = ((device * 31 + turn * 17 + point * 7 + feature) % 97) as f32 / 97.0;
        0.5 + 0.3 * wave + 0.2 * (own - 0.5)
    };
    let points = Points {
        inputs: Array2::from_shape_fn((POINTS, FEATURES), value),
        classes: (0..POINTS).map(|point| class(point) as u16).collect(),
        counts: vec![ROWS; POINTS],
        spreads: vec![0.1; POINTS],
        targets: None,
    };
    Ok(Payload::of(encode(&points.to_raw(8)?)))
}

const FEATURES: usize = 256;
const CLASSES: usize = 10;
/// Points of a contribution.
const POINTS: usize = 16;
/// Points that the coordinator makes of all of them.
const TRANSFER_POINTS: usize = 20;
/// Rows a point stands for.
const ROWS: u32 = 20;
/// What a hidden unit adds to a signed student: a weight from each feature and
/// to each class, a scale, a bias.
const BYTES_A_UNIT: u64 = (FEATURES + CLASSES + 6) as u64;
/// The rest of it: task, normaliser, signature.
const OVERHEAD_BYTES: u64 = 3_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{RoundId, TaskHash};
    use common::round::{ContributionKey, Kind, Phase};
    use common::task::RawTask;
    use coordinator::validation;

    #[test]
    fn contributions_pass_the_coordinators_checks_and_differ() {
        let task = RawTask::parse(&task_file(20_000)).unwrap();
        let key = |kind, phase| ContributionKey {
            task: TaskHash([0; 32]),
            transfer: None,
            round: RoundId(1),
            phase,
            kind,
        };
        let check = |key: &ContributionKey, payload: &Payload| {
            validation::check(&task, key, &payload.bytes, &|_| None)
        };
        let first = summary(3, 0).unwrap();
        let (profiles, summaries) = (
            key(Kind::Profile, Phase::Profile),
            key(Kind::Summary, Phase::Summarise),
        );
        let profile = profile();
        assert_eq!(check(&profiles, &profile), Ok(320));
        assert_eq!(check(&summaries, &first), Ok(320));
        assert_ne!(first.blob, summary(3, 1).unwrap().blob);
        assert_ne!(first.blob, summary(4, 0).unwrap().blob);
        assert!((4_000..6_000).contains(&first.bytes.len()));
    }
}
