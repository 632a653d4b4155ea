//! Making a state directory out of a backup.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::ids::Time;
use serde::Serialize;

use super::STORE;
use super::error::BackupError;
use super::piece::Contents;
use super::read::{Checked, Sink, check, read};
use super::state_files::{StateFile, state_files};
use crate::journal::replay;
use crate::store::{Epoch, Head, Record, Refill, SledStore, Store};

/// A state directory that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The directory.
    #[serde(serialize_with = "common::path_text::path")]
    pub state: PathBuf,
    /// When the backup was made.
    pub made: Time,
    /// The hash of the backup's manifest.
    pub manifest: String,
    /// Number that the log's next record takes.
    pub next: u64,
    /// Hash of the log's last record.
    pub hash: String,
    /// The store's epoch, above the backup's.
    pub epoch: u32,
    /// How many blobs there are.
    pub blobs: u64,
}

/// Makes a state directory out of a backup, which is read and checked as a
/// whole first. The store gets a new epoch; the keys are written last, so what
/// a cut leaves behind does not start. `seen` is told the bytes read so far,
/// of twice the archive.
///
/// # Errors
/// [`BackupError::NotEmpty`], and whatever is wrong with the archive; nothing
/// is written then. Those of the disk.
pub fn restore(
    from: &Path,
    state: &Path,
    seen: &mut dyn FnMut(u64),
) -> Result<Restored, BackupError> {
    check_empty(state)?;
    let length = fs::metadata(from).map_or(0, |facts| facts.len());
    check(from, seen)?;
    make_folder(state)?;
    let mut filling = Filling {
        folder: state.join(STORE),
        refill: None,
    };
    let (checked, files) = read(from, &mut filling, &mut |read| seen(length + read))?;
    let (head, epoch) = filling.finish(&checked)?;
    for file in &files {
        write(state, file)?;
    }
    sync(state)?;
    Ok(Restored {
        state: state.to_owned(),
        made: checked.made,
        manifest: checked.manifest,
        next: head.next.0,
        hash: head.hash.to_string(),
        epoch: epoch.0,
        blobs: checked.store.blobs,
    })
}

/// Reads a restored state directory as a coordinator would, and everything in
/// it: the chain of the log, the state it folds to, every blob, the keys.
///
/// # Errors
/// The first thing that does not fit.
pub fn verify(restored: &Restored) -> Result<(), BackupError> {
    let store = SledStore::open(restored.state.join(STORE))?;
    let found = store.verify()?.next.0;
    if found != restored.next {
        let expected = restored.next;
        return Err(BackupError::Differs { expected, found });
    }
    for blob in store.blobs()? {
        store.blob(blob)?;
    }
    for document in store.documents()? {
        store.document(&document)?;
    }
    replay(&store)?;
    state_files(&restored.state, None).map(|_| ())
}

/// Writes what is read into a new store.
struct Filling {
    folder: PathBuf,
    refill: Option<Refill>,
}

impl Filling {
    fn refill(&mut self) -> Result<&mut Refill, BackupError> {
        self.refill.as_mut().ok_or_else(|| unbegun(&self.folder))
    }

    fn finish(self, checked: &Checked) -> Result<(Head, Epoch), BackupError> {
        let refill = self.refill.ok_or_else(|| unbegun(&self.folder))?;
        Ok(refill.finish(checked.store.epoch())?)
    }
}

/// The reader begins a sink before all else.
fn unbegun(folder: &Path) -> BackupError {
    BackupError::io("fill", folder, io::Error::other("it was not begun"))
}

impl Sink for Filling {
    fn begin(&mut self, _: &Contents, first: Head) -> Result<(), BackupError> {
        self.refill = Some(Refill::begin(&self.folder, first)?);
        Ok(())
    }

    fn records(&mut self, records: Vec<Record>) -> Result<(), BackupError> {
        let refill = self.refill()?;
        for record in records {
            refill.push(record)?;
        }
        Ok(())
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.refill()?.put_blob(bytes)?;
        Ok(())
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        Ok(self.refill()?.put_document(name, bytes)?)
    }
}

fn check_empty(state: &Path) -> Result<(), BackupError> {
    let mut entries = match fs::read_dir(state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BackupError::io("list", state, source)),
    };
    match entries.next() {
        None => Ok(()),
        Some(Err(source)) => Err(BackupError::io("list", state, source)),
        Some(Ok(entry)) => Err(BackupError::NotEmpty {
            path: state.to_owned(),
            found: entry.file_name().to_string_lossy().into_owned(),
        }),
    }
}

/// For its owner only, also if it was there.
fn make_folder(state: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    let closed = made.and_then(|()| fs::set_permissions(state, fs::Permissions::from_mode(0o700)));
    closed.map_err(|source| BackupError::io("make", state, source))
}

fn write(state: &Path, file: &StateFile) -> Result<(), BackupError> {
    let path = state.join(&file.name);
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create_new(true)
        .mode(file.mode)
        .open(&path);
    let written = opened.and_then(|mut out| {
        out.write_all(&file.bytes)?;
        out.sync_all()
    });
    written.map_err(|source| BackupError::io("write", &path, source))
}

fn sync(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| BackupError::io("sync", folder, source))
}
