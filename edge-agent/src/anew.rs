//! Joining again with a new key: the coordinator was set up anew, the device
//! was revoked and repaired, or its state was copied from another machine.

use std::fs::{self, File};
use std::path::PathBuf;

use common::ids::DeviceId;
use common::transport::enrolment::EnrolmentError;

use crate::enrol::{EnrolError, Joining, enrol};
use crate::identity::Membership;
use crate::state::{StateDir, StateError};

/// Joins with a new key, beside the membership at hand. Only once the device
/// has joined, that and all that belongs to it is put aside, into the folder
/// `before-N` of the state directory; so whatever goes wrong, and whenever the
/// power is cut, the device is in the one fleet or in the other.
///
/// # Errors
/// [`EnrolError`]; the device is as before.
pub async fn enrol_again(
    state: &StateDir,
    joining: &Joining,
    waiting: impl FnOnce(DeviceId),
) -> Result<Membership, EnrolError> {
    finish(state)?;
    let _lock = state.lock()?;
    let next = StateDir::create(&state.file(NEXT))?;
    enrol(&next, joining, waiting).await?;
    change(state, &next)?;
    Membership::load(state)?.ok_or(EnrolmentError::NoAnswer.into())
}

/// Finishes what a power cut interrupted after the device had joined again.
///
/// # Errors
/// [`EnrolError::State`], also while another agent uses the directory.
pub fn finish(state: &StateDir) -> Result<(), EnrolError> {
    let next = StateDir::at(&state.file(NEXT));
    if Membership::load(&next)?.is_some() {
        let _lock = state.lock()?;
        change(state, &next)?;
    }
    Ok(())
}

/// Puts everything aside but what was made for the next fleet, and that in its
/// place, the membership last each time: while the previous one is there, not
/// all was put aside; while the next one is not, not all is in place.
fn change(state: &StateDir, next: &StateDir) -> Result<(), StateError> {
    if state.file(MEMBERSHIP).exists() {
        let before = StateDir::create(&free_name(state))?;
        move_all(state, &before)?;
    }
    move_all(next, state)?;
    fs::remove_dir_all(next.path()).map_err(|source| StateError::io(next.path(), source))
}

fn move_all(from: &StateDir, to: &StateDir) -> Result<(), StateError> {
    let mut names = names(from)?;
    names.retain(|name| !STAYING.contains(&name.as_str()) && !name.starts_with(BEFORE));
    names.sort_by_key(|name| name == MEMBERSHIP);
    for name in names {
        if name == MEMBERSHIP {
            sync(to)?;
        }
        let path = from.file(&name);
        fs::rename(&path, to.file(&name)).map_err(|source| StateError::io(&path, source))?;
    }
    sync(to)?;
    sync(from)
}

fn free_name(state: &StateDir) -> PathBuf {
    let mut number = 1u32;
    loop {
        let path = state.file(&format!("{BEFORE}{number}"));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

fn names(folder: &StateDir) -> Result<Vec<String>, StateError> {
    let failed = |source| StateError::io(folder.path(), source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).map_err(failed)? {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    Ok(names)
}

fn sync(folder: &StateDir) -> Result<(), StateError> {
    let synced = File::open(folder.path()).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StateError::io(folder.path(), source))
}

const NEXT: &str = "next";
const BEFORE: &str = "before-";
const MEMBERSHIP: &str = "membership.json";
/// Names that are not moved.
const STAYING: [&str; 3] = [NEXT, "lock", "work.lock"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn filled(folder: &std::path::Path) -> (StateDir, StateDir) {
        let state = StateDir::create(folder).unwrap();
        fs::create_dir(state.file("outbox")).unwrap();
        for name in ["device.key", MEMBERSHIP, "time_floor", "outbox/one", "lock"] {
            fs::write(state.file(name), "old").unwrap();
        }
        let next = StateDir::create(&state.file(NEXT)).unwrap();
        for name in ["device.key", MEMBERSHIP, "lock"] {
            fs::write(next.file(name), "new").unwrap();
        }
        (state, next)
    }

    fn read(state: &StateDir, name: &str) -> String {
        fs::read_to_string(state.file(name)).unwrap_or_default()
    }

    fn assert_changed(state: &StateDir) {
        for (name, text) in [("device.key", "new"), (MEMBERSHIP, "new"), ("lock", "old")] {
            assert_eq!(read(state, name), text, "{name}");
        }
        for name in ["outbox", "time_floor", NEXT] {
            assert!(!state.file(name).exists(), "{name}");
        }
        let kept = ["device.key", MEMBERSHIP, "time_floor", "outbox/one"];
        for name in kept {
            let found = (1..9).map(|number| read(state, &format!("{BEFORE}{number}/{name}")));
            assert!(
                found.into_iter().any(|text| text == "old"),
                "{name} is lost"
            );
        }
    }

    #[test]
    fn all_of_before_is_put_aside_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (state, next) = filled(folder.path());
        change(&state, &next).unwrap();
        assert_changed(&state);
    }

    #[test]
    fn a_change_cut_after_any_step_is_finished() {
        // As left after this many of the moves: those aside, then those in place.
        let aside = ["device.key", "time_floor", "outbox", MEMBERSHIP];
        for cut in 0..=aside.len() + 1 {
            let folder = tempfile::tempdir().unwrap();
            let (state, next) = filled(folder.path());
            let before = StateDir::create(&state.file("before-1")).unwrap();
            for name in aside.iter().take(cut) {
                fs::rename(state.file(name), before.file(name)).unwrap();
            }
            if cut > aside.len() {
                fs::rename(next.file("device.key"), state.file("device.key")).unwrap();
            }
            change(&state, &next).unwrap();
            assert_changed(&state);
        }
    }
}
