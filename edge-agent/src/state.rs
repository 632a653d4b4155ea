//! The agent's state directory: who may use it, and how files in it change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use common::ownership::{NO_LINK, create_private};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder cannot be made, read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another agent works with this directory.
    #[error("another agent uses the state directory {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

impl StateError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Io { .. } => "make the directory writable for the user that runs the agent, \
                 or choose another with --state"
                .to_owned(),
            Self::Locked { .. } => "stop the other agent (`systemctl stop alambic-agent`), or \
                 give this one a directory of its own with --state"
                .to_owned(),
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// A state directory that exists, readable by its owner only.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// The right to change a state directory; released when dropped, and by the
/// system if the agent is killed.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl Drop for StateLock {
    /// Let go of by name: a program that another thread is just starting has
    /// a copy of the handle, which would keep the lock for a moment longer.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl StateDir {
    /// The directory at `path`, made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// [`StateError::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<Self, StateError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(path)
            .map_err(|source| StateError::io(path, source))?;
        Ok(Self::at(path))
    }

    /// The directory at `path`, which may not exist.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes the lock that lets one agent at a time change the directory.
    ///
    /// # Errors
    /// [`StateError::Locked`] if another agent holds it.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.file("lock");
        let file = open_lock(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StateLock { file }),
            Err(Errno::WOULDBLOCK) => Err(StateError::Locked {
                path: self.path.clone(),
            }),
            Err(error) => Err(StateError::io(&path, error.into())),
        }
    }

    /// Waits for the lock that lets one process at a time do heavy work on
    /// the directory. Anyone who holds it lives only as long as an agent that
    /// holds the other, so the wait is short.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock_work(&self) -> Result<StateLock, StateError> {
        let path = self.file("work.lock");
        let file = open_lock(&path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(StateLock { file }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(StateError::io(&path, error.into())),
            }
        }
    }

    /// Whether an agent holds the lock now.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.file("lock")) else {
            return false;
        };
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    /// The file `name` holds `bytes`, whole or not at all, and is on the disk
    /// when this returns. Only the owner may read it.
    ///
    /// # Errors
    /// [`StateError::Io`]; the earlier content stays.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(name, bytes, true)
    }

    /// The same, but content from before a power cut may come back: for
    /// files that only inform.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write_lightly(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(name, bytes, false)
    }

    /// The content of the file `name`; none if there is no such file.
    ///
    /// # Errors
    /// [`StateError::Io`] if it exists and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::io(&path, source)),
        }
    }

    /// Removes the file `name`, if it exists.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::io(&path, error))
            }
            _ => Ok(()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8], durable: bool) -> Result<(), StateError> {
        let path = self.file(name);
        let temporary = self.file(&format!("{name}.new"));
        let written = || -> io::Result<()> {
            let mut file = create_private(&temporary)?;
            file.write_all(bytes)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)?;
            if durable {
                File::open(&self.path)?.sync_all()?;
            }
            Ok(())
        };
        written().map_err(|source| StateError::io(&path, source))
    }
}

fn open_lock(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.custom_flags(NO_LINK);
    let opened = options.open(path);
    opened.map_err(|source| StateError::io(path, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn two_agents_cannot_share_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        assert!(!state.is_locked());
        let lock = state.lock().unwrap();
        assert!(state.is_locked());
        assert!(matches!(state.lock(), Err(StateError::Locked { .. })));
        drop(lock);
        assert!(!state.is_locked());
        state.lock().unwrap();
    }

    #[test]
    fn files_are_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(&folder.path().join("a/b")).unwrap();
        assert_eq!(state.read("x").unwrap(), None);
        state.write("x", b"one").unwrap();
        state.write("x", b"two").unwrap();
        assert_eq!(state.read("x").unwrap().unwrap(), b"two");
        let mode = fs::metadata(state.file("x")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        state.remove("x").unwrap();
        state.remove("x").unwrap();
        assert_eq!(state.read("x").unwrap(), None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = StateDir::create(&file.join("state")).unwrap_err();
        assert!(error.to_string().contains("file/state"), "{error}");
    }
}
