//! Uploads that are not yet whole, as plain files named by device and hash.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::ids::BlobHash;

use super::blob_files::list;
use super::error::{Result, StoreError};
use super::files;
use super::partial::{Chunk, PartialError, PartialKey, PartialLimits, PartialTable};

/// Where uploads go when they are whole.
pub(super) trait Blobs {
    /// Makes a file a blob, durable when it returns; the file is gone then. The
    /// caller has checked that its bytes have this hash.
    fn adopt(&self, file: &Path, hash: BlobHash) -> Result<()>;

    /// Whether a blob is kept; if so, it is durable afterwards.
    fn settle(&self, hash: BlobHash) -> Result<bool>;
}

/// The folder of uploads and what is known of them.
#[derive(Debug)]
pub(super) struct PartialFiles {
    folder: PathBuf,
    table: Mutex<PartialTable>,
}

impl PartialFiles {
    /// Opens the folder and takes up the uploads that a crash left there.
    pub(super) fn open(folder: PathBuf, limits: PartialLimits) -> Result<Self> {
        files::create_folder(&folder)?;
        let mut table = PartialTable::new(limits);
        for path in list(&folder)? {
            if let Some(key) = parse(&path) {
                let metadata = fs::metadata(&path);
                let metadata = metadata.map_err(|source| StoreError::io("read", &path, source))?;
                table.set(key, metadata.len());
            }
        }
        Ok(Self {
            folder,
            table: Mutex::new(table),
        })
    }

    pub(super) fn bytes(&self, key: PartialKey) -> u64 {
        self.table().bytes(key)
    }

    pub(super) fn list(&self) -> Vec<(PartialKey, u64)> {
        self.table().list()
    }

    /// Adds a chunk. The table stays locked for the write, which goes no
    /// further than the page cache.
    pub(super) fn append(&self, key: PartialKey, chunk: &Chunk<'_>) -> Result<u64> {
        let mut table = self.table();
        for left in table.check(key, chunk)? {
            files::remove(&self.path(left))?;
            table.remove(left);
        }
        let path = self.path(key);
        let file = files::private().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| match file.write_all(chunk.bytes) {
            Ok(()) => Ok(()),
            // A piece of a chunk must not be counted as one: the file goes
            // back to the length that the table knows.
            Err(error) => file.set_len(chunk.offset).and(Err(error)),
        });
        written.map_err(|source| StoreError::io("write", &path, source))?;
        let bytes = chunk.offset + chunk.bytes.len() as u64;
        table.set(key, bytes);
        Ok(bytes)
    }

    /// Makes an upload a blob. Others are not held up meanwhile.
    pub(super) fn finish(&self, key: PartialKey, blobs: &impl Blobs) -> Result<()> {
        if let Err(error) = self.table().begin_finish(key) {
            let again = matches!(error, PartialError::Unknown { .. }) && blobs.settle(key.hash)?;
            return if again { Ok(()) } else { Err(error.into()) };
        }
        let path = self.path(key);
        let outcome = Self::check(&path, key.hash).and_then(|()| blobs.adopt(&path, key.hash));
        match &outcome {
            Ok(()) => {
                self.table().remove(key);
            }
            Err(StoreError::Partial(_)) => {
                let removed = files::remove(&path);
                self.table().remove(key);
                removed?;
            }
            // The blob has its name, but the name may not be durable; asked
            // again, the upload is found to be a blob.
            Err(_) if !path.exists() => {
                self.table().remove(key);
            }
            Err(_) => self.table().abandon_finish(key),
        }
        outcome
    }

    pub(super) fn drop_upload(&self, key: PartialKey) -> Result<bool> {
        let mut table = self.table();
        table.check_idle(key)?;
        files::remove(&self.path(key))?;
        Ok(table.remove(key))
    }

    /// Hashes the file as it is on disk.
    fn check(path: &Path, declared: BlobHash) -> Result<()> {
        let hash = |mut file: File| -> io::Result<BlobHash> {
            let mut hasher = blake3::Hasher::new();
            let mut buffer = vec![0; HASH_BUFFER_BYTES];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => hasher.update(&buffer[..read]),
                };
            }
            Ok(BlobHash(*hasher.finalize().as_bytes()))
        };
        let actual = File::open(path)
            .and_then(hash)
            .map_err(|source| StoreError::io("read", path, source))?;
        if actual == declared {
            Ok(())
        } else {
            Err(PartialError::HashMismatch { declared, actual }.into())
        }
    }

    fn table(&self) -> MutexGuard<'_, PartialTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: PartialKey) -> PathBuf {
        self.folder.join(format!("{}-{}", key.device, key.hash))
    }
}

fn parse(path: &Path) -> Option<PartialKey> {
    let (device, hash) = path.file_name()?.to_str()?.split_once('-')?;
    Some(PartialKey {
        device: device.parse().ok()?,
        hash: hash.parse().ok()?,
    })
}

const HASH_BUFFER_BYTES: usize = 64 * 1024;
