//! Small named documents, each a plain file that starts with the hash of the
//! rest.

use std::path::PathBuf;

use super::blob_files::list;
use super::check_document;
use super::error::{Result, StoreError};
use super::files::{self, Scratch};

/// The folder of documents.
#[derive(Debug)]
pub(super) struct DocumentFiles {
    folder: PathBuf,
}

impl DocumentFiles {
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        files::create_folder(&folder)?;
        Ok(Self { folder })
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8], scratch: &Scratch) -> Result<()> {
        let hash = blake3::hash(bytes);
        scratch.place(&[hash.as_bytes(), bytes], &self.folder.join(name))
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool> {
        files::remove(&self.folder.join(name))
    }

    /// All names, sorted. Files with other names are not ours.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let names = list(&self.folder)?.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            check_document(&name, 0).ok().map(|()| name)
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        let Some(mut bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let whole = match bytes.split_at_checked(blake3::OUT_LEN) {
            Some((hash, rest)) => blake3::hash(rest).as_bytes() == hash,
            None => false,
        };
        if !whole {
            return Err(StoreError::DocumentDamaged {
                name: name.to_owned(),
                path,
            });
        }
        bytes.drain(..blake3::OUT_LEN);
        Ok(Some(bytes))
    }
}
