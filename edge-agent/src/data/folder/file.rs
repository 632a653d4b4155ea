//! One data file, read whole or in blocks.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use common::ids::BlobHash;

use super::super::source::is_packed;
use super::super::text::TEXT_BYTES_MAX;
use super::super::{Dataset, Ending, FileRows, Format, Note, Schema, columnar, database, numpy};
use super::FileError;
use super::listing::{Stamp, write_ahead};

/// A file as it was read last.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) hash: BlobHash,
    pub(super) content: Result<FileRows, FileError>,
}

impl Known {
    /// Rows that it holds in memory.
    pub(super) fn rows(&self) -> usize {
        let content = self.content.as_ref();
        content.map_or(0, |content| content.data.rows())
    }
}

impl FileRows {
    /// Whether a last line waits for its end.
    fn waits(&self) -> bool {
        let waits = |note: &Note| matches!(note, Note::Unfinished { .. });
        self.notes.iter().any(waits)
    }
}

/// Reads a file, unless it still is what is known of it.
pub(super) fn read(
    folder: &Path,
    name: &Path,
    stamp: Stamp,
    schema: &Schema,
    known: Option<&Known>,
) -> Option<Known> {
    let path = &folder.join(name);
    let refused = |error| Known {
        stamp,
        hash: BlobHash::of(path.as_os_str().as_encoded_bytes()),
        content: Err(error),
    };
    let file = match open(path, bytes_max_of(name, schema)) {
        Ok(file) => {
            let ending = match stamp.rests {
                true => Ending::Closed,
                false => Ending::Open,
            };
            let mut source = Hashed {
                source: io::BufReader::new(file),
                hasher: blake3::Hasher::new(),
            };
            let whole = match Format::meant(name, schema.mapping()) {
                _ if is_packed(name) => None,
                Some(Format::Database) => Some(database::read(path, schema)),
                Some(Format::Parquet) => match fs::File::open(path) {
                    Ok(file) => Some(columnar::read(file, schema)),
                    Err(_) => None,
                },
                Some(Format::Npz) => fs::File::open(path)
                    .ok()
                    .map(|file| numpy::read_npz(&file, schema)),
                Some(Format::Npy) => fs::File::open(path)
                    .ok()
                    .map(|file| numpy::read_npy(&file, schema)),
                _ => None,
            };
            let content = match whole {
                None => Dataset::read_from(name, &mut source, stamp.bytes, schema, ending),
                // Read where it lies; its bytes only tell whether it changes.
                Some(content) => {
                    let read = io::copy(&mut source, &mut io::sink());
                    let log = fs::File::open(write_ahead(path)).ok();
                    let log = log.map(|log| source.hasher.update_reader(log).map(|_| ()));
                    drop((read, log));
                    content
                }
            };
            let hash = BlobHash(*source.hasher.finalize().as_bytes());
            let waits = |known: &Known| known.content.as_ref().is_ok_and(FileRows::waits);
            let same = |known: &Known| {
                known.hash == hash
                    && known.content.is_ok() == content.is_ok()
                    && !(stamp.rests && waits(known))
            };
            if known.is_some_and(same) {
                return None;
            }
            Known {
                stamp,
                hash,
                content: content.map_err(FileError::from),
            }
        }
        Err(error) => refused(error),
    };
    let same = known.is_some_and(|known| known.hash == file.hash && known.content == file.content);
    (!same).then_some(file)
}

/// Most bytes that are read of a file of this name.
fn bytes_max_of(name: &Path, schema: &Schema) -> u64 {
    match Format::meant(name, schema.mapping()) {
        Some(Format::Csv | Format::Database | Format::Parquet) => TEXT_BYTES_MAX,
        Some(Format::Npz | Format::Npy) if !is_packed(name) => TEXT_BYTES_MAX,
        _ => FILE_BYTES_MAX,
    }
}

fn unreadable(error: io::Error) -> FileError {
    FileError::Unreadable {
        reason: error.to_string(),
    }
}

fn open(path: &Path, bytes_max: u64) -> Result<fs::File, FileError> {
    // A pipe would be waited for.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => {
            return Err(FileError::NoFile {
                is_folder: metadata.is_dir(),
            });
        }
        Err(_) if fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink()) => {
            return Err(FileError::DanglingLink);
        }
        Err(error) => return Err(unreadable(error)),
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    match bytes > bytes_max {
        true => Err(FileError::Bytes { bytes, bytes_max }),
        false => Ok(file),
    }
}

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = open(path, FILE_BYTES_MAX)?;
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows is noticed.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 {
        bytes if bytes > FILE_BYTES_MAX => Err(FileError::Bytes {
            bytes,
            bytes_max: FILE_BYTES_MAX,
        }),
        _ => Ok(bytes),
    }
}

/// What a file begins with, if it can be read.
pub(super) fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let file = open(path, u64::MAX).ok()?;
    let mut bytes = Vec::new();
    file.take(FIRST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// More than any kind of file is known by.
const FIRST_BYTES: u64 = 512;

/// What is read, and the hash of it.
struct Hashed<R> {
    source: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// Longest file that is read whole, and the most that a packed one may hold.
pub(in super::super) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
