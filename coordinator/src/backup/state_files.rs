//! What beside the store makes a coordinator: keys, certificates, the
//! trust root, the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::BackupError;
use super::piece::is_plain;
use super::{STATE_FILE_BYTES_MAX, STATE_FILES_MAX};
use crate::identity::self_check;
use crate::state_dir::FILE_NAME;

/// A file of a state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// Its name in the directory.
    pub name: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files of a state directory, sorted, and the names of those that stay
/// behind because they are too long or have no plain name. The configuration
/// in use goes in under its usual name, wherever it is. The keys are proven to
/// belong together: an exchange of keys meanwhile is waited out.
///
/// # Errors
/// [`BackupError::Keys`], and those of the disk.
pub fn state_files(
    state: &Path,
    config: Option<&Path>,
) -> Result<(Vec<StateFile>, Vec<String>), BackupError> {
    let mut before = read(state, config)?;
    for _ in 0..READS_MAX {
        let again = read(state, config)?;
        if again == before {
            break;
        }
        before = again;
    }
    prove_files(&before.0, state)?;
    Ok(before)
}

/// Whether these files prove what a coordinator has to.
pub(super) fn prove_files(files: &[StateFile], path: &Path) -> Result<(), BackupError> {
    let text = |name: &str| {
        let file = files.iter().find(|file| file.name == name)?;
        String::from_utf8(file.bytes.clone()).ok()
    };
    self_check(&text).map_err(|source| {
        let path = path.to_owned();
        BackupError::Keys { path, source }
    })
}

fn read(state: &Path, config: Option<&Path>) -> Result<(Vec<StateFile>, Vec<String>), BackupError> {
    let failed = |source| BackupError::io("list", state, source);
    let (mut files, mut left) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(state).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_file = fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A replacement that was cut off, or not finished yet.
        let unfinished = name.ends_with(".new");
        if !is_file || unfinished || (name == FILE_NAME && config.is_some()) {
            continue;
        }
        match take(&path, &name)? {
            Some(file) if files.len() < STATE_FILES_MAX => files.push(file),
            _ => left.push(name.into_owned()),
        }
    }
    if let Some(config) = config {
        files.extend(take(config, FILE_NAME)?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    left.sort_unstable();
    Ok((files, left))
}

fn take(path: &Path, name: &str) -> Result<Option<StateFile>, BackupError> {
    let failed = |source| BackupError::io("read", path, source);
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        // Renamed since it was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    if !is_plain(name) || facts.len() > STATE_FILE_BYTES_MAX {
        return Ok(None);
    }
    Ok(Some(StateFile {
        name: name.to_owned(),
        mode: facts.permissions().mode() & MODE,
        bytes: fs::read(path).map_err(failed)?,
    }))
}

/// Bits of a file's mode that a restore gives back.
pub(super) const MODE: u32 = 0o644;
/// How often the files are read again because they changed meanwhile.
const READS_MAX: usize = 3;
