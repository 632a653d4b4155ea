//! Files that root made in the state directory of a service, whose own user
//! has to read them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

/// Gives what belongs to root below a folder to the user and group that the
/// folder itself belongs to. Does nothing where that is root, or where nothing
/// is root's. Symbolic links are not followed, and a file with a second name
/// is left alone: the service's user could have made it a name for another's.
/// Returns how many files and folders changed hands.
///
/// # Errors
/// What the system says of the first that cannot be read or given.
pub fn hand_over(folder: &Path) -> io::Result<usize> {
    let owner = fs::symlink_metadata(folder)?;
    match owner.uid() {
        ROOT => Ok(0),
        user => hand_over_to(user, owner.gid(), folder),
    }
}

fn hand_over_to(user: u32, group: u32, folder: &Path) -> io::Result<usize> {
    let mut given = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let facts = entry.metadata()?; // of a link itself, not of what it names
        let is_alone = facts.is_dir() || facts.nlink() == 1;
        if facts.uid() == ROOT && is_alone {
            lchown(entry.path(), Some(user), Some(group))?;
            given += 1;
        }
        if facts.is_dir() {
            given += hand_over_to(user, group, &entry.path())?;
        }
    }
    Ok(given)
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_root_made_is_the_services_and_what_others_own_stays_theirs() {
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
}
