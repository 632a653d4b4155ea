//! One process at a time.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Result, StoreError};
use super::files;

/// Held while a store is open. The operating system lets go of it when the
/// process ends, however it ends; the file stays and means nothing.
#[derive(Debug)]
pub(super) struct StoreLock {
    file: File,
}

impl Drop for StoreLock {
    /// Let go of by name: a program that another thread is just starting has
    /// a copy of the handle, which would keep the lock for a moment longer.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl StoreLock {
    /// Takes the lock of the store in `folder`, or says who holds it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("lock");
        let mut options = files::private();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| StoreError::NotWritable {
                path: folder.to_owned(),
                source,
            })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked {
                    path: folder.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(errno) => return Err(StoreError::io("lock", &path, errno.into())),
        }
        // Who holds it is only told to people; a full disk must not keep the
        // store from opening.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if fs::exists(format!("/proc/{pid}")).unwrap_or(false) => format!(" (pid {pid})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_closed_store_opens_while_a_copy_of_its_handle_lives() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StoreLock::take(folder.path()).unwrap();
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        StoreLock::take(folder.path()).unwrap();
        drop(copy);
    }
}
