//! Whether a release is to be believed, and whether it is any good here.

use common::human;
use common::ids::{TaskHash, Time, Version};
use common::model::{Release, ReleaseError as ContentError};
use common::trust::keys::VerifyingKey;
use common::trust::release::{ReleaseError as SignatureError, SignedRelease};
use common::wire::messages::Announcement;

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
