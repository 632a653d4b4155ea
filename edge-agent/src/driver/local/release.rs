//! Whether a release is to be believed, and whether it is any good here.

use bincode::{Decode, Encode};
use common::human;
use common::ids::{TaskHash, Time, Version};
use common::model::{Release, ReleaseError as ContentError};
use common::trust::keys::VerifyingKey;
use common::trust::release::{ReleaseError as SignatureError, SignedRelease};
use common::wire::messages::Announcement;
use ndarray::ArrayView2;

/// Why a release is not installed, whatever it can do.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseRefusal {
    /// No key that may has signed it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// What was signed does not hold together.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It serves another task than was announced.
    #[error("it serves task {got}, announced was {announced}")]
    OtherTask {
        /// The task announced.
        announced: TaskHash,
        /// The task inside.
        got: TaskHash,
    },
    /// Its version is another than was announced.
    #[error("it holds version {got}, announced was {announced}")]
    OtherVersion {
        /// The version announced.
        announced: Version,
        /// The version inside.
        got: Version,
    },
    /// A newer version was seen before: versions never go down.
    #[error("its version {got} is below {floor}, which was seen before")]
    Lower {
        /// The highest version seen.
        floor: Version,
        /// The version inside.
        got: Version,
    },
    /// Nobody has said for long that it is the newest.
    #[error(
        "the coordinator's newest statement of freshness is over: what it offers may be of long \
         ago, or this device's clock is ahead"
    )]
    Stale,
    /// Its time is over.
    #[error(
        "it expired on {}, {} ago by this device's clock: one of the two clocks is wrong, or it \
         is of long ago",
        human::date(*.expires), human::span(*.ago_ms)
    )]
    Expired {
        /// When.
        expires: Time,
        /// How long ago.
        ago_ms: u64,
    },
}

/// What a device holds against a release before it runs it.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// What the coordinator announced.
    pub announced: &'a Announcement,
    /// The keys that may sign releases.
    pub signers: &'a [VerifyingKey],
    /// Until when the coordinator's newest word is fresh.
    pub fresh_until: Option<Time>,
    /// The highest version of this task seen before.
    pub floor: Option<Version>,
    /// The device's time, not below what it knows to have passed.
    pub now: Time,
}

/// A release from its signed bytes, if it meets the conditions. Its weights
/// are finite and fit its task.
///
/// # Errors
/// The first condition it does not meet.
pub fn open(bytes: &[u8], conditions: &Conditions<'_>) -> Result<Release, ReleaseRefusal> {
    let signed = SignedRelease::from_bytes(bytes)?;
    let payload = signed.verify(conditions.signers)?;
    let release = Release::from_bytes(payload)?;
    let (task, version) = (release.task().hash(), release.version());
    if task != conditions.announced.task {
        return Err(ReleaseRefusal::OtherTask {
            announced: conditions.announced.task,
            got: task,
        });
    }
    if version != conditions.announced.version {
        return Err(ReleaseRefusal::OtherVersion {
            announced: conditions.announced.version,
            got: version,
        });
    }
    if let Some(floor) = conditions.floor
        && version < floor
    {
        return Err(ReleaseRefusal::Lower {
            floor,
            got: version,
        });
    }
    if conditions
        .fresh_until
        .is_none_or(|end| end <= conditions.now)
    {
        return Err(ReleaseRefusal::Stale);
    }
    let expires = release.as_raw().expires;
    if expires <= conditions.now {
        return Err(ReleaseRefusal::Expired {
            expires,
            ago_ms: conditions.now.since_ms(expires),
        });
    }
    Ok(release)
}

/// Labelled rows that no teacher on this device has learnt from.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// Raw inputs, shape (rows, values of one input).
    pub inputs: ArrayView2<'a, f32>,
    /// The class of each row.
    pub labels: &'a [u16],
}

/// How a student did on the held-out rows, beside the one at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Comparison {
    /// Rows.
    pub rows: u64,
    /// Rows the new student gets right.
    pub correct: u64,
    /// Rows the one at hand gets right, if there is one.
    pub previous: Option<u64>,
    /// Rows that only the one at hand gets right.
    pub lost: u64,
    /// Rows that only the new one gets right.
    pub won: u64,
    /// Classes of the task.
    pub classes: u64,
}

impl Comparison {
    /// Tries both students on the same rows.
    ///
    /// # Errors
    /// If the rows do not have the task's shape.
    pub fn of(
        new: &Release,
        previous: Option<&Release>,
        held_out: HeldOut<'_>,
    ) -> Result<Self, ContentError> {
        let right = |release: &Release| -> Result<Vec<bool>, ContentError> {
            let predicted = release.predict(held_out.inputs)?;
            let pairs = predicted.iter().zip(held_out.labels);
            Ok(pairs.map(|(one, other)| one == other).collect())
        };
        let classes = new.task().classes();
        let count = |right: &[bool]| right.iter().filter(|right| **right).count() as u64;
        let new = right(new)?;
        let mut comparison = Self {
            rows: held_out.labels.len() as u64,
            correct: count(&new),
            classes: classes as u64,
            ..Self::default()
        };
        if let Some(previous) = previous {
            let old = right(previous)?;
            comparison.previous = Some(count(&old));
            for (new, old) in new.iter().zip(&old) {
                comparison.lost += u64::from(*old && !new);
                comparison.won += u64::from(*new && !old);
            }
        }
        Ok(comparison)
    }

    /// Whether the new student is worse beyond what chance does: it loses
    /// more rows than it wins by over two standard deviations of their
    /// difference (McNemar 1947: lost − won has variance lost + won if both
    /// are equally good). The first student has none before it, but has to be
    /// right on more rows than who guesses the class is, where there are
    /// `FLOOR_ROWS_MIN` rows to tell: one that liars spoilt is not.
    pub fn is_worse(&self) -> bool {
        if self.previous.is_none() {
            let guessed = self.correct.saturating_mul(self.classes) <= self.rows;
            return guessed && self.classes > 1 && self.rows >= FLOOR_ROWS_MIN;
        }
        let deviation = ((self.lost + self.won) as f64).sqrt();
        self.lost as f64 - self.won as f64 > 2.0 * deviation
    }
}

/// Fewest held-out rows on which a first student is held against a guess.
const FLOOR_ROWS_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_student_has_to_beat_a_guess() {
        let first = |rows, correct| Comparison {
            rows,
            correct,
            classes: 6,
            ..Comparison::default()
        };
        assert!(first(60, 10).is_worse());
        assert!(!first(60, 11).is_worse());
        assert!(!first(19, 0).is_worse());
    }

    #[test]
    fn only_a_loss_beyond_chance_counts_as_worse() {
        let comparison = |lost, won| Comparison {
            rows: 100,
            correct: 0,
            previous: Some(0),
            lost,
            won,
            classes: 2,
        };
        assert!(!comparison(0, 0).is_worse());
        assert!(!comparison(3, 0).is_worse());
        assert!(comparison(5, 0).is_worse());
        assert!(!comparison(20, 15).is_worse());
        assert!(comparison(40, 10).is_worse());
        assert!(!comparison(0, 40).is_worse());
    }
}
