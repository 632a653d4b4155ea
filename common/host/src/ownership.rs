//! Files that root made in the state directory of a service, whose own user
//! has to read them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};

/// Gives what belongs to root below a folder to the user and group that the
/// folder itself belongs to. Does nothing where that is root, or where nothing
/// is root's. Symbolic links are not followed, and a file with a second name
/// is left alone: the service's user could have made it a name for another's.
/// Returns how many files and folders changed hands.
///
/// Every file is opened relative to its folder's handle without following
/// links, and judged and given by that handle: what the service's user puts in
/// its place meanwhile is not what is given.
///
/// # Errors
/// What the system says of the first that cannot be read or given.
pub fn hand_over(folder: &Path) -> io::Result<usize> {
    let folder = OwnedFd::from(File::open(folder)?);
    let owner = File::from(folder.try_clone()?).metadata()?;
    match owner.uid() {
        ROOT => Ok(0),
        user => {
            let owner = (Uid::from_raw(user), Gid::from_raw(owner.gid()));
            hand_over_to(owner, &folder, DEPTH_MAX)
        }
    }
}

fn hand_over_to(owner: (Uid, Gid), folder: &OwnedFd, depth: usize) -> io::Result<usize> {
    let mut given = 0;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(folder, name, handle, Mode::empty()) {
            Ok(opened) => opened,
            // A running service puts away what it no longer needs.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let facts = fstat(&opened)?;
        let is_folder = FileType::from_raw_mode(facts.st_mode) == FileType::Directory;
        if facts.st_uid == ROOT && (is_folder || facts.st_nlink == 1) {
            let (user, group) = owner;
            let itself = AtFlags::EMPTY_PATH;
            chownat(opened.as_fd(), c"", Some(user), Some(group), itself)?;
            given += 1;
        }
        if is_folder && depth > 0 {
            let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let inner = openat(&opened, c".", readable, Mode::empty())?;
            given += hand_over_to(owner, &inner, depth - 1)?;
        }
    }
    Ok(given)
}

/// A file for this process alone, in place of whatever has its name, a link
/// too: what the name points to is neither written nor read. Readable and
/// writable for its owner only.
///
/// # Errors
/// What the system says; also if somebody makes the name anew meanwhile.
pub fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    // Exclusive creation never follows a link.
    options.create_new(true).write(true).mode(0o600).open(path)
}

/// For [`std::os::unix::fs::OpenOptionsExt::custom_flags`]: a file that is
/// opened to be written is not opened through a link that has its name.
pub const NO_LINK: i32 = OFlags::NOFOLLOW.bits() as i32;

/// Deeper folders than any state directory has.
const DEPTH_MAX: usize = 16;
const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::lchown;

    #[test]
    fn only_files_that_root_made_change_owner() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        fs::create_dir_all(state.join("store/blobs")).unwrap();
        assert_eq!(hand_over(&state).unwrap(), 0, "its own user's already");
        for name in ["key.pem", "store/blobs/one", "others", "two-names"] {
            fs::write(state.join(name), name).unwrap();
        }
        let outside = home.path().join("outside");
        fs::write(&outside, "outside").unwrap();
        std::os::unix::fs::symlink(&outside, state.join("link")).unwrap();
        fs::hard_link(state.join("two-names"), home.path().join("second")).unwrap();
        if lchown(state.join("others"), Some(4_002), Some(4_002)).is_err() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        lchown(&state, Some(4_001), Some(4_001)).unwrap();
        // Two folders, two files and the link itself.
        assert_eq!(hand_over(&state).unwrap(), 5);
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for name in ["key.pem", "store", "store/blobs", "store/blobs/one"] {
            assert_eq!(owner(&state.join(name)), 4_001, "{name}");
        }
        assert_eq!(owner(&state.join("others")), 4_002);
        assert_eq!(owner(&state.join("two-names")), ROOT);
        assert_eq!(owner(&outside), ROOT, "links are not followed");
        assert_eq!(hand_over(&state).unwrap(), 0);
    }

    #[test]
    fn a_private_file_replaces_a_link_and_not_what_it_names() {
        let home = tempfile::tempdir().unwrap();
        let (outside, name) = (home.path().join("outside"), home.path().join("key.new"));
        fs::write(&outside, "of another").unwrap();
        std::os::unix::fs::symlink(&outside, &name).unwrap();
        io::Write::write_all(&mut create_private(&name).unwrap(), b"key").unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"of another");
        assert_eq!(fs::read(&name).unwrap(), b"key");
        let facts = fs::symlink_metadata(&name).unwrap();
        assert!(facts.is_file() && facts.mode() & 0o777 == 0o600);
        // Left by a cut.
        fs::write(&name, "a longer half").unwrap();
        io::Write::write_all(&mut create_private(&name).unwrap(), b"new").unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"new");
    }
}
