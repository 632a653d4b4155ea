//! Files that are whole or not there: temporary, fsync, rename, fsync of the
//! folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use common::ownership::NO_LINK;

use super::error::{Result, StoreError};

/// Creates a folder, and those above it, that only its owner may enter, and
/// makes its name durable. An existing folder is closed to others too.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    let failed = |source| StoreError::NotWritable {
        path: path.to_owned(),
        source,
    };
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::io("sync", path, source))
}

/// Makes everything on the disk that holds this folder durable: one wait
/// instead of one for each of many files.
pub(super) fn sync_disk(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|source| StoreError::io("sync", path, source))
}

/// Refuses to write where less than `reserve_bytes` are free. A database
/// that meets a full disk in the middle of a write may not come back; one
/// that is stopped before that does.
pub(super) fn check_free(path: &Path, reserve_bytes: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|source| StoreError::io("look at", path, source.into()))?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < reserve_bytes {
        return Err(StoreError::DiskFull {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// The whole file, or `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::io("read", path, source)),
    }
}

/// Removes a file and makes that durable; whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            if let Some(folder) = path.parent() {
                sync_folder(folder)?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StoreError::io("remove", path, source)),
    }
}

/// Gives a file its final name, durably. Its bytes must be durable already.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| StoreError::io("rename", from, source))?;
    match to.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Bytes of the disk that a folder takes with all that is in it, and how many
/// files those are. What goes away meanwhile is not counted.
pub(super) fn usage(folder: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StoreError::io("list", &folder, source)),
        };
        for entry in entries {
            let entry = entry.map_err(|source| StoreError::io("list", &folder, source))?;
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            bytes += facts.blocks() * BLOCK_BYTES;
            if facts.is_dir() {
                open.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    Ok((bytes, files))
}

/// What the system counts a file's room in (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Options for a file that only its owner may read, and that is not opened
/// through a link.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(NO_LINK);
    options
}

/// The folder where files are written before they get their names. What is
/// found in it when the store opens was left behind by a crash.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
    count: AtomicU64,
}

impl Scratch {
    /// Opens the folder and removes what was left behind in it.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        create_folder(&folder)?;
        let listing = |source| StoreError::io("list", &folder, source);
        for entry in fs::read_dir(&folder).map_err(listing)? {
            let path = entry.map_err(listing)?.path();
            fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source))?;
        }
        Ok(Self {
            folder,
            count: AtomicU64::new(0),
        })
    }

    /// Puts these pieces, one after another, into the file `to`, in place of
    /// an earlier one. Durable when it returns; after an error `to` is what
    /// it was before, or already the new file.
    pub(super) fn place(&self, pieces: &[&[u8]], to: &Path) -> Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        let written = Self::write(&path, pieces)
            .map_err(|source| StoreError::io("write", to, source))
            .and_then(|()| rename(&path, to));
        if written.is_err() {
            // The file may be gone already; what stays is removed at the
            // next start, so a failure here loses nothing.
            let _ = fs::remove_file(&path);
        }
        written
    }

    fn write(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
        let mut file = private().write(true).create_new(true).open(path)?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.sync_all()
    }
}
