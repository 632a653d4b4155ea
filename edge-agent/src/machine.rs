//! Which machine this is, so that a copied state directory is noticed.

use std::fs;
use std::path::Path;

use crate::state::{StateDir, StateError};

/// Where systemd and D-Bus keep a machine's id: made anew at the first boot of
/// an image that was prepared as it should be (machine-id(5)).
pub const MACHINE_ID: &str = "/etc/machine-id";

/// Notes on which machine the device is, in its state directory: a hash, for
/// the id itself is not to be shown around. Does nothing where there is no id.
///
/// # Errors
/// [`StateError::Io`].
pub fn note(state: &StateDir, id_file: &Path) -> Result<(), StateError> {
    match hash(id_file) {
        Some(hash) if state.read(MACHINE)?.as_deref() != Some(hash.as_bytes()) => {
            state.write(MACHINE, hash.as_bytes())
        }
        _ => Ok(()),
    }
}

/// Whether the state directory was filled on another machine than this. Not,
/// where either has no id.
///
/// # Errors
/// [`StateError::Io`].
pub fn is_another(state: &StateDir, id_file: &Path) -> Result<bool, StateError> {
    let noted = state.read(MACHINE)?;
    Ok(match (noted, hash(id_file)) {
        (Some(noted), Some(hash)) => noted != hash.as_bytes(),
        _ => false,
    })
}

/// `None` where there is no id, or only the mark that one is to be made.
fn hash(id_file: &Path) -> Option<String> {
    let text = fs::read_to_string(id_file).ok()?;
    let id = text.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = || blake3::derive_key("alambic machine id v1", id.as_bytes());
    is_id.then(|| hex::encode(hash()))
}

const MACHINE: &str = "machine";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_directory_on_another_machine_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(&folder.path().join("state")).unwrap();
        let id = folder.path().join("machine-id");
        assert!(!is_another(&state, &id).unwrap(), "no id");
        fs::write(&id, format!("{:032x}\n", 7)).unwrap();
        assert!(!is_another(&state, &id).unwrap(), "never noted");
        note(&state, &id).unwrap();
        assert!(!is_another(&state, &id).unwrap());
        fs::write(&id, format!("{:032x}\n", 8)).unwrap();
        assert!(is_another(&state, &id).unwrap());
        for none in ["", "uninitialized\n", "xyz"] {
            fs::write(&id, none).unwrap();
            assert!(!is_another(&state, &id).unwrap(), "{none}");
        }
        let kept = state.read(MACHINE).unwrap().unwrap();
        assert_eq!(kept.len(), 64);
    }
}
