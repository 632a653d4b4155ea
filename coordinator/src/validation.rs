//! Checks of what devices send: bytes in, the rows they describe out, or the
//! reason for a refusal. Pure.

use common::blocks::BlocksError;
use common::features::Normaliser;
use common::ids::BlobHash;
use common::labels::{FrameError, Labels, LabelsError, RawLabels, unframed};
use common::math::quantise::QuantiseError;
use common::moments::{Moments, MomentsError, MomentsFrame, RawMoments};
use common::profile::{Profile, ProfileError, RawProfile};
use common::report::{RawReport, Report, ReportError};
use common::round::{ContributionKey, Kind, Reason};
use common::scales::{Scales, ScalesError};
use common::summary::{Points, PointsError, PointsFrame, RawPoints};
use common::task::Task;
use common::transfer::{TransferError, TransferSet};
use common::wire::codec::decode_blob;

/// Reads a stored blob.
pub type ReadBlob<'a> = &'a dyn Fn(BlobHash) -> Option<Vec<u8>>;

/// Checks a contribution's bytes against its task and transfer set. Returns
/// the rows it describes.
///
/// # Errors
/// The reason to refuse it.
pub fn check(
    task: &Task,
    key: &ContributionKey,
    bytes: &[u8],
    read: ReadBlob<'_>,
) -> Result<u64, Reason> {
    match key.kind {
        Kind::Profile => profile(task, bytes).map(|profile| profile.rows()),
        Kind::Summary => summary(task, bytes).map(|points| points.rows()),
        Kind::Labels => {
            let points = transfer_of(task, key, read)?.points.len();
            labels(task, bytes, points, read).map(|labels| labels.rows)
        }
        Kind::Moments => {
            let support = transfer_of(task, key, read)?.support();
            moments(task, bytes, support).map(|moments| moments.rows)
        }
        Kind::Report => report(task, bytes).map(|report| report.as_raw().rows),
    }
}

/// A profile for this task.
///
/// # Errors
/// The reason to refuse it.
pub fn profile(task: &Task, bytes: &[u8]) -> Result<Profile, Reason> {
    let parts = RawProfile::parts(task, bytes).map_err(|_| Reason::Malformed)?;
    let (raw, blocks, targets) = parts;
    let learnt = task.learns_normaliser();
    let checked = Profile::check(raw, task.features(), task.classes(), learnt);
    let checked = checked.and_then(|profile| match targets {
        Some(targets) => profile.with_targets(targets, task.outputs()),
        None => Ok(profile),
    });
    let profile = checked.map_err(|error| match error {
        ProfileError::Shape { .. } => Reason::WrongShape,
        // An honest sum that overflows is infinite, never NaN.
        ProfileError::Value { value, .. } if value == f32::INFINITY => Reason::BeyondScale,
        ProfileError::Value { value, .. } if value < 0.0 && value.is_finite() => {
            Reason::OutOfBounds
        }
        ProfileError::Value { .. } => Reason::NotFinite,
        ProfileError::TooLarge { .. } => Reason::BeyondScale,
        ProfileError::Rows { .. } => Reason::OutOfBounds,
    })?;
    let Some(blocks) = blocks else {
        return Ok(profile);
    };
    let rows_min = task.definition().budget.cluster_size_min;
    let checked = profile.with_blocks(blocks, rows_min);
    checked.map_err(|error| match error {
        BlocksError::Shape { .. } => Reason::WrongShape,
        BlocksError::Value { value, .. } if value.is_nan() => Reason::NotFinite,
        BlocksError::Value { .. } => Reason::BeyondScale,
        _ => Reason::OutOfBounds,
    })
}

/// Points for this task.
///
/// # Errors
/// The reason to refuse them.
pub fn summary(task: &Task, bytes: &[u8]) -> Result<Points, Reason> {
    let budget = &task.definition().budget;
    let frame = PointsFrame {
        features: task.features(),
        classes: task.classes(),
        // Each class present gets at least one point.
        points_max: budget.points_per_device as usize + task.classes(),
        cluster_size_min: budget.cluster_size_min,
        numbers: task.target().numbers().len(),
    };
    let (raw, targets) = RawPoints::parts(task, bytes).map_err(|_| Reason::Malformed)?;
    let checked = match targets {
        Some(targets) => Points::check_with_targets(raw, targets, frame),
        None => Points::check(raw, frame),
    };
    let checked = checked.and_then(|points| {
        points.check_place()?;
        Ok(points)
    });
    checked.map_err(|error| match error {
        PointsError::Quantise(inner) => quantise_reason(&inner),
        PointsError::Shape { .. } => Reason::WrongShape,
        _ => Reason::OutOfBounds,
    })
}

/// Labels on a transfer set of this many points, whole or on a key frame that
/// `read` finds.
///
/// # Errors
/// The reason to refuse them.
pub fn labels(
    task: &Task,
    bytes: &[u8],
    points: usize,
    read: ReadBlob<'_>,
) -> Result<Labels, Reason> {
    let bytes = unframed(bytes, read).map_err(|error| match error {
        FrameError::UnknownBase(_) => Reason::UnknownBase,
        _ => Reason::Malformed,
    })?;
    let raw: RawLabels = decode(&bytes)?;
    Labels::check(raw, points, task.classes()).map_err(|error| match error {
        LabelsError::Quantise(inner) => quantise_reason(&inner),
        LabelsError::Shape { .. } => Reason::WrongShape,
        LabelsError::Rows { .. } => Reason::OutOfBounds,
    })
}

/// Moments on this many points and landmarks.
///
/// # Errors
/// The reason to refuse them.
pub fn moments(task: &Task, bytes: &[u8], support: usize) -> Result<Moments, Reason> {
    let raw: RawMoments = decode(bytes)?;
    let frame = MomentsFrame::for_task(task, support);
    Moments::check(raw, frame).map_err(|error| match error {
        MomentsError::Quantise(inner) => quantise_reason(&inner),
        MomentsError::Shape { .. } => Reason::WrongShape,
        MomentsError::TooLarge { got, .. } if !got.is_finite() => Reason::NotFinite,
        _ => Reason::OutOfBounds,
    })
}

/// A verdict on a release.
///
/// # Errors
/// The reason to refuse it.
pub fn report(task: &Task, bytes: &[u8]) -> Result<Report, Reason> {
    let raw: RawReport = decode(bytes)?;
    let checked = Report::check(raw, task.target().numbers().len());
    checked.map_err(|error| match error {
        ReportError::Shape(_) => Reason::WrongShape,
        _ => Reason::OutOfBounds,
    })
}

/// A transfer set of this task.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn transfer_set(task: &Task, bytes: &[u8]) -> Result<TransferSet, Reason> {
    TransferSet::read(task, bytes).map_err(|error| match error {
        TransferError::Decode(_) => Reason::Malformed,
        _ => Reason::WrongShape,
    })
}

/// A normaliser of this task.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn normaliser(task: &Task, bytes: &[u8]) -> Result<Normaliser, Reason> {
    scales(task, bytes).map(|scales| scales.normaliser)
}

/// The scales of a task's features and numbers.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn scales(task: &Task, bytes: &[u8]) -> Result<Scales, Reason> {
    Scales::read(task, bytes).map_err(|error| match error {
        ScalesError::Decode(_) => Reason::Malformed,
        _ => Reason::WrongShape,
    })
}

fn transfer_of(
    task: &Task,
    key: &ContributionKey,
    read: ReadBlob<'_>,
) -> Result<TransferSet, Reason> {
    let bytes = key.transfer.and_then(read).ok_or(Reason::StaleSupport)?;
    transfer_set(task, &bytes)
}

fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, Reason> {
    decode_blob(bytes).map_err(|_| Reason::Malformed)
}

fn quantise_reason(error: &QuantiseError) -> Reason {
    match error {
        QuantiseError::NonFinite { .. } | QuantiseError::Scale { .. } => Reason::NotFinite,
        _ => Reason::Malformed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::labels::framed;
    use common::task::RawTask;
    use common::wire::codec::encode;
    use ndarray::Array2;

    fn whole(rows: u64) -> Vec<u8> {
        let labels = Labels {
            rows,
            class_counts: vec![10, 10],
            probabilities: Array2::from_shape_fn((300, 2), |(point, class)| {
                let share = (point % 17) as f32 / 17.0;
                if class == 0 { share } else { 1.0 - share }
            }),
            nearness: vec![0.5; 300],
        };
        encode(&labels.to_raw(8).unwrap())
    }

    #[test]
    fn labels_on_a_key_frame_are_what_they_would_be_whole_and_without_it_are_asked_for_so() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]";
        let task = RawTask::parse(task).unwrap();
        let (base, newer) = (whole(40), whole(41));
        let delta = framed(&newer, Some(&base));
        assert!(delta.len() < newer.len() / 2);
        let held = |name: BlobHash| (name == BlobHash::of(&base)).then(|| base.clone());
        let read = labels(&task, &delta, 300, &held).unwrap();
        assert_eq!(read, labels(&task, &newer, 300, &|_| None).unwrap());
        let lost = labels(&task, &delta, 300, &|_| None).unwrap_err();
        assert_eq!(lost, Reason::UnknownBase);
        assert!(lost.is_innocent());
        assert_eq!(
            labels(&task, &delta[..9], 300, &held).unwrap_err(),
            Reason::Malformed
        );
        assert_eq!(
            labels(&task, &delta, 299, &held).unwrap_err(),
            Reason::WrongShape
        );
    }

    #[test]
    fn a_fill_value_in_an_honest_device_is_no_lie() {
        use common::profile::RawFeatureMoments;
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [normaliser]\ncurves = false";
        let task = RawTask::parse(task).unwrap();
        let reason = |rows: &Array2<f32>| {
            let moments = RawFeatureMoments::of(rows.view());
            let raw = RawProfile {
                rows: rows.nrows() as u64,
                class_counts: vec![10, 10],
                moments,
            };
            profile(&task, &encode(&raw)).map(|profile| profile.rows())
        };
        let mut rows = Array2::from_elem((40, 2), 1.5f32);
        assert_eq!(reason(&rows), Ok(40));
        for fill in [9.969_21e36, -1e20, f32::MAX] {
            rows[[7, 1]] = fill;
            assert_eq!(reason(&rows), Err(Reason::BeyondScale), "{fill}");
        }
        assert!(Reason::BeyondScale.is_innocent());
        rows[[7, 1]] = f32::NAN;
        assert_eq!(reason(&rows), Err(Reason::NotFinite));
    }
}
