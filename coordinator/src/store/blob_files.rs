//! Blobs as plain files, named by their hash, in 256 folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::ids::BlobHash;

use super::check_blob;
use super::error::{Result, StoreError};
use super::files::{self, Scratch, sync_folder};
use super::partial_files::Blobs;

/// The folder of blobs.
#[derive(Debug)]
pub(super) struct BlobFiles {
    folder: PathBuf,
}

impl BlobFiles {
    /// Opens the folder. The names in it are made durable, since a crash may
    /// have come between a blob's rename and its promise.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        files::create_folder(&folder)?;
        let blobs = Self { folder };
        for folder in blobs.folders()? {
            sync_folder(&folder)?;
        }
        sync_folder(&blobs.folder)?;
        Ok(blobs)
    }

    pub(super) fn put(&self, bytes: &[u8], scratch: &Scratch) -> Result<BlobHash> {
        check_blob(bytes.len() as u64)?;
        let hash = BlobHash::of(bytes);
        let path = self.make_room(hash)?;
        if files::read(&path)?.is_some_and(|kept| kept == bytes) {
            // Another thread may have named it and not yet synced the name.
            self.sync(&path)?;
        } else {
            scratch.place(&[bytes], &path)?;
        }
        Ok(hash)
    }

    /// Writes a blob that is not there, for a caller who makes it durable
    /// together with many others.
    pub(super) fn put_unsynced(&self, bytes: &[u8]) -> Result<BlobHash> {
        check_blob(bytes.len() as u64)?;
        let hash = BlobHash::of(bytes);
        let path = self.make_room(hash)?;
        let opened = files::private().write(true).create_new(true).open(&path);
        let written = opened.and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| StoreError::io("write", &path, source))?;
        Ok(hash)
    }

    pub(super) fn read(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        let path = self.path(hash);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("read", &path, source)),
        };
        check_blob(length)?;
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let actual = BlobHash::of(&bytes);
        if actual != hash {
            return Err(StoreError::BlobDamaged { hash, actual });
        }
        Ok(Some(bytes))
    }

    pub(super) fn has(&self, hash: BlobHash) -> Result<bool> {
        let path = self.path(hash);
        fs::exists(&path).map_err(|source| StoreError::io("look at", &path, source))
    }

    pub(super) fn remove(&self, hash: BlobHash) -> Result<bool> {
        files::remove(&self.path(hash))
    }

    /// Removes several, with one wait for the disk for each folder.
    pub(super) fn remove_several(&self, hashes: &[BlobHash]) -> Result<usize> {
        let (mut removed, mut folders) = (0, BTreeSet::new());
        for hash in hashes {
            let path = self.path(*hash);
            match fs::remove_file(&path) {
                Ok(()) => {
                    removed += 1;
                    folders.extend(path.parent().map(Path::to_owned));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::io("remove", &path, source)),
            }
        }
        for folder in folders {
            sync_folder(&folder)?;
        }
        Ok(removed)
    }

    /// All names, sorted. Files with other names are not ours and left
    /// alone.
    pub(super) fn list(&self) -> Result<Vec<BlobHash>> {
        let mut hashes = Vec::new();
        for folder in self.folders()? {
            for path in list(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str());
                if let Some(hash) = name.and_then(|name| name.parse::<BlobHash>().ok())
                    && self.path(hash) == path
                {
                    hashes.push(hash);
                }
            }
        }
        hashes.sort_unstable();
        Ok(hashes)
    }

    fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = list(&self.folder)?;
        folders.retain(|path| path.is_dir());
        Ok(folders)
    }

    fn path(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// The path of a blob, in a folder that exists.
    fn make_room(&self, hash: BlobHash) -> Result<PathBuf> {
        let path = self.path(hash);
        if let Some(folder) = path.parent()
            && !folder.is_dir()
        {
            files::create_folder(folder)?;
        }
        Ok(path)
    }

    fn sync(&self, path: &Path) -> Result<()> {
        sync_folder(path.parent().unwrap_or(&self.folder))?;
        sync_folder(&self.folder)
    }
}

impl Blobs for BlobFiles {
    fn adopt(&self, file: &Path, hash: BlobHash) -> Result<()> {
        let synced = File::open(file).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::io("sync", file, source))?;
        let path = self.make_room(hash)?;
        files::rename(file, &path)
    }

    /// The name is durable afterwards.
    fn settle(&self, hash: BlobHash) -> Result<bool> {
        let kept = self.has(hash)?;
        if kept {
            self.sync(&self.path(hash))?;
        }
        Ok(kept)
    }
}

/// The paths in a folder, in no order.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| StoreError::io("list", folder, source);
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect()
}
