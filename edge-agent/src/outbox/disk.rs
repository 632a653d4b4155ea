//! Files that hold what they held before, or what they should hold now, and
//! never anything between.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use common::ids::BlobHash;
use common::ownership::create_private;

/// A file or folder cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {source}", path.display())]
pub struct DiskError {
    /// Which one.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }

    /// What a person can do about it.
    pub fn advice(&self) -> String {
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("free some space on the disk that holds {folder}")
            }
            _ => format!(
                "make {folder} readable and writable for the user that runs the agent, \
                 and check its disk"
            ),
        }
    }
}

/// The folder at `path` exists; made for its owner only if it was missing.
pub(crate) fn create_folder(path: &Path) -> Result<(), DiskError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(DiskError::at(path))
}

/// What ends the name of a file that is being written.
pub(crate) const UNFINISHED: &str = ".new";

/// The file `name` in `folder` holds `bytes`; durable when this returns. An
/// interruption leaves the earlier content, and perhaps an unfinished file.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let path = folder.join(name);
    let temporary = folder.join(format!("{name}{UNFINISHED}"));
    let written = || -> io::Result<()> {
        let mut file = create_private(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(DiskError::at(&path))
}

/// The file `name` is gone from `folder`; durable when this returns.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<(), DiskError> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(folder).and_then(|folder| folder.sync_all()),
    }
    .map_err(DiskError::at(&path))
}

/// A file's content; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError::at(path)(source)),
    }
}

/// The names in a folder, in order.
pub(crate) fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, DiskError> {
    let listed = || -> io::Result<Vec<_>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    };
    let mut names = listed().map_err(DiskError::at(folder))?;
    names.sort();
    Ok(names)
}

/// `body` behind a line that holds its BLAKE3 hash.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}\n", BlobHash::of(body)).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What was sealed; none if any byte of it has changed since.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (line, body) = bytes.split_at_checked(65)?;
    let expected = format!("{}\n", BlobHash::of(body));
    (line == expected.as_bytes()).then_some(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_shows_every_change(body: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let mut sealed = seal(&body);
            prop_assert_eq!(unseal(&sealed), Some(&body[..]));
            let at = at.index(sealed.len());
            prop_assert_eq!(unseal(&sealed[..at]), None);
            sealed[at] ^= flip;
            prop_assert_eq!(unseal(&sealed), None);
        }
    }

    #[test]
    fn a_failure_names_the_path_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = replace(&file, "x", b"y").unwrap_err();
        assert!(error.to_string().contains("file/x"), "{error}");
        assert!(error.advice().contains("writable"), "{}", error.advice());
    }
}
