//! Checks of what devices send: bytes in, the rows they describe out, or the
//! reason for a refusal. Pure.

pub use common::contribution::ReadBlob;
use common::contribution::{CheckContext, Contribution, Support, transfer_reason};
use common::features::Normaliser;
use common::gradient::Gradient;
use common::labels::Labels;
use common::moments::Moments;
use common::profile::Profile;
use common::report::Report;
use common::round::{ContributionKey, Reason};
use common::scales::{Scales, ScalesError};
use common::summary::Points;
use common::task::Task;
use common::transfer::TransferSet;

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
    let context = CheckContext {
        task,
        transfer: key.transfer,
        support: None,
        read,
    };
    key.kind.check(bytes, &context)
}

/// A profile for this task.
///
/// # Errors
/// The reason to refuse it.
pub fn profile(task: &Task, bytes: &[u8]) -> Result<Profile, Reason> {
    Profile::read(bytes, &CheckContext::of(task))
}

/// Points for this task.
///
/// # Errors
/// The reason to refuse them.
pub fn summary(task: &Task, bytes: &[u8]) -> Result<Points, Reason> {
    Points::read(bytes, &CheckContext::of(task))
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
    let support = Support {
        points,
        all: points,
    };
    let context = CheckContext {
        support: Some(support),
        read,
        ..CheckContext::of(task)
    };
    Labels::read(bytes, &context)
}

/// Moments on this many points and landmarks.
///
/// # Errors
/// The reason to refuse them.
pub fn moments(task: &Task, bytes: &[u8], support: usize) -> Result<Moments, Reason> {
    let support = Support {
        points: support,
        all: support,
    };
    let context = CheckContext {
        support: Some(support),
        ..CheckContext::of(task)
    };
    Moments::read(bytes, &context)
}

/// A verdict on a release.
///
/// # Errors
/// The reason to refuse it.
pub fn report(task: &Task, bytes: &[u8]) -> Result<Report, Reason> {
    Report::read(bytes, &CheckContext::of(task))
}

/// What a student's last layer has wrong.
///
/// # Errors
/// The reason to refuse it.
pub fn gradient(task: &Task, bytes: &[u8]) -> Result<Gradient, Reason> {
    Gradient::read(bytes, &CheckContext::of(task))
}

/// A transfer set of this task.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn transfer_set(task: &Task, bytes: &[u8]) -> Result<TransferSet, Reason> {
    TransferSet::read(task, bytes).map_err(|error| transfer_reason(&error))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::BlobHash;
    use common::labels::framed;
    use common::profile::RawProfile;
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
    fn labels_on_a_key_frame_equal_whole_labels() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
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
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"\n\
                    [normaliser]\nquantiles = false";
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
