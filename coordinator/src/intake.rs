//! Checks of what devices send: bytes in, the rows they describe out, or the
//! reason for a refusal. Pure.

use common::features::Normaliser;
use common::ids::BlobHash;
use common::labels::{Labels, LabelsError, RawLabels};
use common::math::kernel::Ntk;
use common::math::quantise::QuantiseError;
use common::moments::{Moments, MomentsError, MomentsFrame, RawMoments};
use common::profile::{Profile, ProfileError, RawProfile};
use common::report::{RawReport, Report};
use common::round::{ContributionKey, Kind, Reason};
use common::summary::{Points, PointsError, PointsFrame, RawPoints};
use common::task::Task;
use common::transfer::{RawTransferSet, TransferSet};
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
            labels(task, bytes, transfer_points(task, key, read)?).map(|labels| labels.rows)
        }
        Kind::Moments => {
            moments(task, bytes, transfer_points(task, key, read)?).map(|moments| moments.rows)
        }
        Kind::Report => report(bytes).map(|report| report.as_raw().rows),
    }
}

/// A profile for this task.
///
/// # Errors
/// The reason to refuse it.
pub fn profile(task: &Task, bytes: &[u8]) -> Result<Profile, Reason> {
    let raw: RawProfile = decode(bytes)?;
    let checked = Profile::check(
        raw,
        task.features(),
        task.classes(),
        task.learns_normaliser(),
    );
    checked.map_err(|error| match error {
        ProfileError::Shape { .. } => Reason::WrongShape,
        ProfileError::Value { .. } => Reason::NotFinite,
        ProfileError::Rows { .. } | ProfileError::TooLarge { .. } => Reason::OutOfBounds,
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
    };
    let raw: RawPoints = decode(bytes)?;
    let checked = Points::check(raw, frame).and_then(|points| {
        points.check_place()?;
        Ok(points)
    });
    checked.map_err(|error| match error {
        PointsError::Quantise(inner) => quantise_reason(&inner),
        PointsError::Shape { .. } => Reason::WrongShape,
        _ => Reason::OutOfBounds,
    })
}

/// Labels on a transfer set of so many points.
///
/// # Errors
/// The reason to refuse them.
pub fn labels(task: &Task, bytes: &[u8], points: usize) -> Result<Labels, Reason> {
    let raw: RawLabels = decode(bytes)?;
    Labels::check(raw, points, task.classes()).map_err(|error| match error {
        LabelsError::Quantise(inner) => quantise_reason(&inner),
        LabelsError::Shape { .. } => Reason::WrongShape,
        LabelsError::Rows { .. } => Reason::OutOfBounds,
    })
}

/// Moments on a transfer set of so many points.
///
/// # Errors
/// The reason to refuse them.
pub fn moments(task: &Task, bytes: &[u8], points: usize) -> Result<Moments, Reason> {
    let raw: RawMoments = decode(bytes)?;
    let ntk = Ntk::new(task.definition().teacher.depth);
    let frame = MomentsFrame::of(&ntk, points, task.features(), task.classes());
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
pub fn report(bytes: &[u8]) -> Result<Report, Reason> {
    let raw: RawReport = decode(bytes)?;
    Report::check(raw).map_err(|_| Reason::OutOfBounds)
}

/// A transfer set of this task.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn transfer_set(task: &Task, bytes: &[u8]) -> Result<TransferSet, Reason> {
    let raw: RawTransferSet = decode(bytes)?;
    let frame = PointsFrame {
        features: task.features(),
        classes: task.classes(),
        points_max: task.definition().budget.points_max as usize,
        cluster_size_min: 1,
    };
    TransferSet::check(raw, frame).map_err(|_| Reason::WrongShape)
}

/// A normaliser of this task.
///
/// # Errors
/// [`Reason::Malformed`] or [`Reason::WrongShape`].
pub fn normaliser(task: &Task, bytes: &[u8]) -> Result<Normaliser, Reason> {
    let normaliser: Normaliser = decode(bytes)?;
    normaliser
        .check(task.features())
        .map_err(|_| Reason::WrongShape)?;
    Ok(normaliser)
}

fn transfer_points(
    task: &Task,
    key: &ContributionKey,
    read: ReadBlob<'_>,
) -> Result<usize, Reason> {
    let bytes = key.transfer.and_then(read).ok_or(Reason::StaleSupport)?;
    Ok(transfer_set(task, &bytes)?.points.len())
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
