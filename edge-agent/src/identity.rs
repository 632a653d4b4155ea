//! Who this device is: its key, and the fleet it belongs to.

use common::ids::{DeviceId, Time};
use common::transport::ClientIdentity;
use common::trust::certificate::{CertificateError, CertificateFacts, certificates_from_pem};
use common::trust::clock::Clock;
use common::trust::device_key::{DeviceKey, DeviceKeyError};
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError};

/// Why the device's identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The device has not joined a fleet.
    #[error("this device is not enrolled (no membership in {state})")]
    NotEnrolled {
        /// The state directory.
        state: String,
    },
    /// A file does not hold what it should.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The file's path.
        file: String,
        /// What is wrong with it; never any part of a key.
        reason: String,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gave no key.
    #[error(transparent)]
    Key(#[from] DeviceKeyError),
}

impl IdentityError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NotEnrolled { .. } => "get a token from the operator (`alambic-coordinator \
                 token create`), then `alambic-agent enrol --coordinator HOST:PORT --token T`"
                .to_owned(),
            Self::Damaged { file, .. } => {
                format!(
                    "restore {file} from a backup, or join anew with `alambic-agent enrol --again`"
                )
            }
            Self::State(error) => error.advice(),
            Self::Key(_) => "try again".to_owned(),
        }
    }
}

/// What a device was given when it joined: one file, so that it has joined
/// completely or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Where the coordinator is, `host:port`.
    pub coordinator: String,
    /// The device's name.
    pub device: DeviceId,
    /// The device's name for people; may be empty.
    pub label: String,
    /// The device's certificate, PEM.
    pub certificate: String,
    /// The authorities it believes, PEM.
    pub authority: String,
}

impl Membership {
    /// The membership in a state directory, or none.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] if the file is not one.
    pub fn load(state: &StateDir) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = state.read(MEMBERSHIP)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed
            .map(Some)
            .map_err(|error| damaged(state, MEMBERSHIP, &error))
    }

    /// Keeps it; durable when this returns.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn store(&self, state: &StateDir) -> Result<(), StateError> {
        let text =
            serde_json::to_vec_pretty(self).expect("strings and hashes have no unwritable form");
        state.write(MEMBERSHIP, &text)
    }
}

/// A device that has joined.
#[derive(Debug)]
pub struct Identity {
    /// What it was given.
    pub membership: Membership,
    /// What its certificate says.
    pub certificate: CertificateFacts,
    client: ClientIdentity,
}

impl Identity {
    /// Loads key and membership and checks that they belong together.
    ///
    /// # Errors
    /// [`IdentityError::NotEnrolled`] before the device has joined,
    /// [`IdentityError::Damaged`] for a file that is not what it should be.
    pub fn load(state: &StateDir) -> Result<Self, IdentityError> {
        let missing = || IdentityError::NotEnrolled {
            state: state.path().display().to_string(),
        };
        let membership = Membership::load(state)?.ok_or_else(missing)?;
        let key = load_key(state)?.ok_or_else(missing)?;
        let wrong = |error: &dyn std::fmt::Display| damaged(state, MEMBERSHIP, error);
        let pem = |text: &str| -> Result<_, CertificateError> { certificates_from_pem(text) };
        let certificate = pem(&membership.certificate).map_err(|error| wrong(&error))?;
        let certificate = certificate.into_iter().next();
        let certificate = certificate.ok_or_else(|| wrong(&CertificateError::Missing))?;
        let credentials = key.certified(certificate).map_err(|error| wrong(&error))?;
        let facts = credentials.facts().map_err(|error| wrong(&error))?;
        let authorities = pem(&membership.authority).map_err(|error| wrong(&error))?;
        Ok(Self {
            membership,
            certificate: facts,
            client: ClientIdentity::Enrolled {
                credentials,
                authorities,
            },
        })
    }

    /// What the device proves itself with.
    pub fn client(&self) -> &ClientIdentity {
        &self.client
    }
}

/// The device's key, or none if it was never made.
///
/// # Errors
/// [`IdentityError::Damaged`] if the file holds no key.
pub fn load_key(state: &StateDir) -> Result<Option<DeviceKey>, IdentityError> {
    let Some(bytes) = state.read(DEVICE_KEY)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| damaged(state, DEVICE_KEY, &"not text"))?;
    let key = DeviceKey::from_pem(&text).map_err(|error| damaged(state, DEVICE_KEY, &error))?;
    Ok(Some(key))
}

/// The device's key, made and kept (mode 0600) if there is none yet. It is
/// durable before it is used, so that a device whose answer was lost asks
/// again as the same device.
///
/// # Errors
/// [`IdentityError::Damaged`], [`IdentityError::State`] or
/// [`IdentityError::Key`].
pub fn load_or_make_key(state: &StateDir) -> Result<DeviceKey, IdentityError> {
    if let Some(key) = load_key(state)? {
        return Ok(key);
    }
    let key = DeviceKey::generate()?;
    state.write(DEVICE_KEY, key.to_pem().as_bytes())?;
    Ok(key)
}

/// The latest date somebody trusted has signed: the device's clock is at
/// least there, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFloor(pub Time);

impl TimeFloor {
    /// The floor kept in a state directory; 1970 if there is none.
    pub fn load(state: &StateDir) -> Self {
        let bytes = state.read(TIME_FLOOR).ok().flatten().unwrap_or_default();
        Self(Time(Self::parse(&bytes).unwrap_or(0)))
    }

    /// Milliseconds and a part of their hash: a digit that the disk changed
    /// could hold the clock in another century, and one that it tore off
    /// would let it go back there.
    fn parse(bytes: &[u8]) -> Option<u64> {
        let (number, sum) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        let is_whole = sum == Self::sum(number);
        is_whole.then(|| number.parse().ok()).flatten()
    }

    fn sum(number: &str) -> String {
        blake3::hash(number.as_bytes()).to_hex()[..8].to_owned()
    }

    /// Raises the floor to `seen`; it never goes down.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn raise(state: &StateDir, seen: Time) -> Result<(), StateError> {
        let kept = state.read(TIME_FLOOR)?;
        let floor = kept.as_deref().map(Self::parse);
        if floor == Some(None) {
            tracing::warn!(
                "{} is damaged; it begins anew with what is signed since",
                state.file(TIME_FLOOR).display()
            );
        }
        if seen.0 > floor.flatten().unwrap_or(0) {
            let number = seen.0.to_string();
            let text = format!("{number} {}", Self::sum(&number));
            state.write(TIME_FLOOR, text.as_bytes())?;
        }
        Ok(())
    }

    /// The system's clock, never below the floor kept in this directory,
    /// whenever that rises.
    pub fn living_clock(state: &StateDir) -> Clock {
        let (system, state) = (Clock::system(), state.clone());
        Clock::new(move || system.now().max(Self::load(&state).0))
    }

    /// What the system's clock shows; 0 if that is below the floor, and so
    /// known to be wrong.
    pub fn shown(self) -> Time {
        let shown = Clock::system().now();
        if shown < self.0 { Time(0) } else { shown }
    }

    /// The system's clock, never below this floor.
    pub fn clock(self) -> Clock {
        let system = Clock::system();
        Clock::new(move || system.now().max(self.0))
    }
}

fn damaged(state: &StateDir, name: &str, error: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Damaged {
        file: state.file(name).display().to_string(),
        reason: error.to_string(),
    }
}

const DEVICE_KEY: &str = "device.key";
const MEMBERSHIP: &str = "membership.json";
const TIME_FLOOR: &str = "time_floor";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_key_is_made_once_and_is_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        let first = load_or_make_key(&state).unwrap().device();
        assert_eq!(load_or_make_key(&state).unwrap().device(), first);
        let metadata = std::fs::metadata(state.file(DEVICE_KEY)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_device_that_never_joined_is_told_how() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        load_or_make_key(&state).unwrap();
        let error = Identity::load(&state).unwrap_err();
        assert!(matches!(error, IdentityError::NotEnrolled { .. }));
        assert!(error.advice().contains("enrol"));
    }

    #[test]
    fn damage_is_named_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        state.write(DEVICE_KEY, b"no key").unwrap();
        let error = load_or_make_key(&state).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert_eq!(state.read(DEVICE_KEY).unwrap().unwrap(), b"no key");
        state.write(MEMBERSHIP, b"{}").unwrap();
        let error = Identity::load(&state).unwrap_err();
        assert!(error.to_string().contains(MEMBERSHIP), "{error}");
    }

    #[test]
    fn a_damaged_time_floor_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        TimeFloor::raise(&state, Time(1_000)).unwrap();
        let kept = state.read(TIME_FLOOR).unwrap().unwrap();
        state.write(TIME_FLOOR, &kept[..3]).unwrap();
        assert_eq!(TimeFloor::load(&state), TimeFloor(Time(0)), "torn");
        let mut changed = kept.clone();
        changed[0] ^= 8;
        state.write(TIME_FLOOR, &changed).unwrap();
        assert_eq!(TimeFloor::load(&state), TimeFloor(Time(0)));
        TimeFloor::raise(&state, Time(1_000)).unwrap();
        assert_eq!(state.read(TIME_FLOOR).unwrap().unwrap(), kept);
    }

    #[test]
    fn the_time_floor_never_goes_down() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        TimeFloor::raise(&state, Time(50)).unwrap();
        TimeFloor::raise(&state, Time(20)).unwrap();
        assert_eq!(TimeFloor::load(&state), TimeFloor(Time(50)));
        let floor = TimeFloor(Time(u64::MAX - 1));
        assert_eq!(floor.clock().now(), floor.0);
    }
}
