//! Files that the embedded database left half-written, found before it is
//! opened. It refuses to open beside them though it needs none of them: they
//! are put aside, not deleted.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Result, StoreError};
use super::files;

/// Moves what a full disk, a kill or a power cut left half-written in the
/// database's folder `log` to the folder `aside`, and says what was moved.
/// Call it under the store's lock, before the database is opened.
///
/// Its data file is not among them: a torn end of it is cut by the database
/// itself, and anything lost is noticed by the high-water mark. Those are:
///
/// | file | written | without it |
/// |---|---|---|
/// | `snap.N.generating` | while opening, then renamed to `snap.N` | the snapshot before it is used |
/// | `snap.N`, bytes that do not match its checksum | by the rename, if the disk kept the name and not the bytes | all is read from the data file |
/// | `conf`, the same | at the first opening, never synced | written anew, always the same |
///
/// # Errors
/// Those of the disk.
pub(super) fn put_aside(log: &Path, aside: &Path) -> Result<Vec<PathBuf>> {
    let listing = |source| StoreError::io("list", log, source);
    let mut moved = Vec::new();
    for entry in fs::read_dir(log).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let is_file = entry.file_type().map_err(listing)?.is_file();
        if is_file && is_leftover(&entry.path(), &entry.file_name())? {
            moved.push(put(&entry.path(), &entry.file_name(), aside)?);
        }
    }
    if !moved.is_empty() {
        files::sync_folder(log)?;
    }
    Ok(moved)
}

/// The bytes that an opening may write: a snapshot, which is about as long
/// as the one before, and a page or two.
pub(super) fn opening_bytes(log: &Path) -> Result<u64> {
    let listing = |source| StoreError::io("list", log, source);
    let mut longest = 0;
    for entry in fs::read_dir(log).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        if as_bytes(&entry.file_name()).starts_with(SNAPSHOT_PREFIX) {
            longest = longest.max(entry.metadata().map_or(0, |facts| facts.len()));
        }
    }
    Ok(2 * longest + OPENING_BYTES)
}

fn is_leftover(path: &Path, name: &OsStr) -> Result<bool> {
    let name = as_bytes(name);
    if let Some(number) = name.strip_prefix(SNAPSHOT_PREFIX) {
        let is_named = number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit);
        return Ok(!is_named || !is_whole(&files::read(path)?.unwrap_or_default(), SNAPSHOT_END));
    }
    Ok(name == b"conf" && !is_whole(&files::read(path)?.unwrap_or_default(), CONF_END))
}

/// Whether a file ends in the checksum of what it holds, which lies `end`
/// bytes before its own end.
fn is_whole(bytes: &[u8], end: usize) -> bool {
    let Some(content) = bytes.len().checked_sub(end).filter(|length| *length > 0) else {
        return false;
    };
    let told = bytes
        .last_chunk::<4>()
        .map(|told| u32::from_le_bytes(*told));
    told == Some(crc32fast::hash(&bytes[..content]))
}

fn put(path: &Path, name: &OsStr, aside: &Path) -> Result<PathBuf> {
    files::create_folder(aside)?;
    let mut number = 0u64;
    let to = loop {
        let mut numbered = name.to_owned();
        numbered.push(format!(".{number}"));
        let to = aside.join(numbered);
        match fs::symlink_metadata(&to) {
            Ok(_) => number += 1,
            Err(_) => break to,
        }
    };
    files::rename(path, &to)?;
    tracing::warn!(
        file = %path.display(), now = %to.display(),
        "a half-written file of the log's database was put aside; nothing in it is needed"
    );
    Ok(to)
}

fn as_bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}

const SNAPSHOT_PREFIX: &[u8] = b"snap.";
/// A snapshot ends in its length, 8 bytes, and its checksum, 4.
const SNAPSHOT_END: usize = 12;
/// The settings end in their checksum.
const CONF_END: usize = 4;
/// Room for pages that an opening writes.
const OPENING_BYTES: u64 = 1 << 20;
