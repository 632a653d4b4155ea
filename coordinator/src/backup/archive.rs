//! Writing a backup: whole under its name, or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::ids::Time;
use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};

use super::error::BackupError;
use super::piece::{Contents, PieceName};
use super::state_files::StateFile;
use super::{FORMAT, HEAD, MANIFEST};

/// What a backup says of itself, in its first entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArchiveHead {
    pub(super) format: u32,
    /// The version of the program that made it.
    pub(super) program: String,
    pub(super) made: Time,
    pub(super) store: Contents,
}

/// A backup that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The file.
    #[serde(serialize_with = "common::path_text::path")]
    pub out: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The hash of its manifest, which stands for everything in it.
    pub manifest: String,
    /// How many records of the log are in it.
    pub records: u64,
    /// How many blobs are in it.
    pub blobs: u64,
}

/// A backup that is being written, readable by its owner only. It is beside
/// its place until it is whole, and goes if it is dropped before.
pub struct Archive {
    tar: Option<Builder<BufWriter<File>>>,
    out: PathBuf,
    unfinished: PathBuf,
    manifest: String,
    contents: Contents,
    made: Time,
}

impl Archive {
    /// Begins a backup that will be the file `out`.
    ///
    /// # Errors
    /// [`BackupError::Exists`], and those of the disk.
    pub fn create(out: &Path, contents: &Contents, made: Time) -> Result<Self, BackupError> {
        if fs::symlink_metadata(out).is_ok() {
            let path = out.to_owned();
            return Err(BackupError::Exists { path });
        }
        let mut unfinished = out.as_os_str().to_owned();
        unfinished.push(".part");
        let unfinished = PathBuf::from(unfinished);
        // Left behind by an attempt that was cut off, if it is there at all.
        let _ = fs::remove_file(&unfinished);
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(|source| BackupError::io("create", out, source))?;
        let mut archive = Self {
            tar: Some(Builder::new(BufWriter::new(file))),
            out: out.to_owned(),
            unfinished,
            manifest: String::new(),
            contents: contents.clone(),
            made,
        };
        let head = ArchiveHead {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made,
            store: contents.clone(),
        };
        let head = serde_json::to_vec(&head);
        let head = head.map_err(|error| BackupError::io("write", out, error.into()))?;
        archive.entry(HEAD, 0o600, &head)?;
        Ok(archive)
    }

    /// Adds a file of the state directory.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn state_file(&mut self, file: &StateFile) -> Result<(), BackupError> {
        let name = PieceName::State(file.name.clone()).to_string();
        self.entry(&name, file.mode, &file.bytes)
    }

    /// Adds a piece of the store.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn piece(&mut self, name: &PieceName, bytes: &[u8]) -> Result<(), BackupError> {
        self.entry(&name.to_string(), 0o600, bytes)
    }

    /// Adds the manifest and gives the file its name; durable when it
    /// returns.
    ///
    /// # Errors
    /// Those of the disk; there is no file then.
    pub fn finish(mut self) -> Result<Written, BackupError> {
        let manifest = std::mem::take(&mut self.manifest);
        self.entry(MANIFEST, 0o600, manifest.as_bytes())?;
        let closed = self.close();
        let bytes = closed.map_err(|source| BackupError::io("write", &self.out, source))?;
        let named = fs::rename(&self.unfinished, &self.out);
        named.map_err(|source| BackupError::io("create", &self.out, source))?;
        let folder = self
            .out
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|it| it.sync_all());
        synced.map_err(|source| BackupError::io("sync the folder of", &self.out, source))?;
        Ok(Written {
            out: self.out.clone(),
            bytes,
            manifest: blake3::hash(manifest.as_bytes()).to_string(),
            records: self.contents.records(),
            blobs: self.contents.blobs,
        })
    }

    fn close(&mut self) -> io::Result<u64> {
        let gone = || io::Error::other("it is closed already");
        let buffer = self.tar.take().ok_or_else(gone)?.into_inner()?;
        let file = buffer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), BackupError> {
        let hash = blake3::hash(bytes);
        self.manifest.push_str(&manifest_line(name, hash));
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(mode);
        header.set_mtime(self.made.0 / 1000);
        header.set_size(bytes.len() as u64);
        let written = match &mut self.tar {
            Some(tar) => tar.append_data(&mut header, name, bytes),
            None => Ok(()),
        };
        written.map_err(|source| BackupError::io("write", &self.out, source))
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Has its name already if it was finished.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// One line of the manifest, as `b3sum` writes it.
pub(super) fn manifest_line(name: &str, hash: blake3::Hash) -> String {
    format!("{hash}  {name}\n")
}
