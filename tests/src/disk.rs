//! A small disk of our own, to be filled and made read-only: a tmpfs. Needs
//! root; a test that has none says so and is skipped.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A disk of this many MiB at a folder, which is made if it is missing.
    ///
    /// # Panics
    /// If it cannot be mounted: ask [`is_allowed`] first.
    pub fn mount(path: &Path, mib: u32) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m,mode=0700");
        assert!(mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], path));
        Self {
            path: path.to_owned(),
        }
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let block = vec![0; 1 << 16];
        while filler.write_all(&block).is_ok() {}
        // What is left is less than a block.
        while filler.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Lets nobody write any more, as a disk with errors does, or anyone again.
    /// Refused by the system while a file is open for writing.
    pub fn set_read_only(&self, read_only: bool) -> bool {
        let how = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        mount(&["-o", how], &self.path)
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// If what is there does not fit.
    pub fn resize(&self, mib: u32) {
        assert!(mount(&["-o", &format!("remount,size={mib}m")], &self.path));
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still holds a file there does not keep the folder.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Whether disks can be mounted here. If not, says that the test is skipped.
pub fn is_allowed() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let allowed = mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder.path());
    if allowed {
        let _ = Command::new("umount").arg(folder.path()).status();
    } else {
        eprintln!("SKIPPED: mounting a small disk (tmpfs) needs root");
    }
    allowed
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}
