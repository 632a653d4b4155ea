//! The database's own snapshots, cut at any byte.

use std::fs;
use std::path::{Path, PathBuf};

use coordinator::store::{Position, SledStore, Store, StoreError};
use tempfile::TempDir;

use crate::files::{contents, event, image, written};

/// The folder of a store that was opened twice and trimmed, as a kill leaves
/// it, so that its database has a snapshot and goes beyond it.
pub(crate) fn with_snapshot() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    for number in 0..40 {
        let mut event = event(number);
        event.resize(30_000, number as u8);
        store.append(epoch, None, &[event]).unwrap();
    }
    store.trim(epoch, Position(20)).unwrap();
    drop(store);
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(40)]).unwrap();
    image(folder.path())
}

/// The database's snapshots, the oldest first.
pub(crate) fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("log")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_snapshot = |path: &PathBuf| path.to_string_lossy().contains("/snap.");
    let mut found: Vec<_> = paths.filter(is_snapshot).collect();
    found.sort();
    found
}

pub(crate) fn set_aside(folder: &Path) -> usize {
    fs::read_dir(folder.join("aside")).map_or(0, Iterator::count)
}

/// Opens with everything acknowledged, goes on, and opens again.
fn assert_goes_on(folder: &Path, case: &str) {
    for times in 0..2 {
        let store = SledStore::open(folder).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = contents(&store);
        assert_eq!(found.len(), 21 + times, "{case}");
        assert_eq!(found[20], event(40), "{case}");
        let epoch = store.open_epoch().unwrap();
        store.append(epoch, None, &[event(9)]).unwrap();
    }
}

#[test]
fn a_snapshot_cut_at_any_byte_is_set_aside() {
    let before = with_snapshot();
    let after = image(before.path());
    drop(SledStore::open(after.path()).unwrap());
    let [old, new] = [&before, &after].map(|folder| snapshots(folder.path()).pop().unwrap());
    assert_ne!(
        old.file_name(),
        new.file_name(),
        "no new snapshot was written"
    );
    let whole = fs::read(&new).unwrap();
    let name = new.file_name().unwrap().to_string_lossy().into_owned();
    let cuts = (0..20)
        .chain((20..whole.len()).step_by(37))
        .chain([whole.len() - 1]);
    for cut in cuts {
        for ending in [".generating", ""] {
            for keeps_old in [true, false] {
                let case = image(before.path());
                let half = case.path().join("log").join(format!("{name}{ending}"));
                fs::write(&half, &whole[..cut]).unwrap();
                if !keeps_old {
                    fs::remove_file(&snapshots(case.path())[0]).unwrap();
                }
                let case_name = format!("{cut} bytes of {name}{ending}, older kept: {keeps_old}");
                assert_goes_on(case.path(), &case_name);
                assert_eq!(set_aside(case.path()), 1, "{case_name}");
            }
        }
    }
    // Whole and synced, but the power went before it got its name.
    let case = image(before.path());
    fs::write(case.path().join(format!("log/{name}.generating")), &whole).unwrap();
    assert_goes_on(case.path(), "not renamed");
    assert_eq!(set_aside(case.path()), 1);
    // Renamed, and the power went before the older one was removed.
    let case = image(after.path());
    fs::copy(&old, case.path().join("log").join(old.file_name().unwrap())).unwrap();
    assert_goes_on(case.path(), "both");
    assert_eq!(set_aside(case.path()), 0);
    // The name is durable, the bytes are not.
    let case = image(after.path());
    fs::write(&snapshots(case.path())[0], vec![0; whole.len()]).unwrap();
    assert_goes_on(case.path(), "zeros");
    assert_eq!(set_aside(case.path()), 1);
}

#[test]
fn settings_cut_at_any_byte_are_set_aside() {
    let before = with_snapshot();
    let whole = fs::read(before.path().join("log/conf")).unwrap();
    for cut in 0..=whole.len() {
        for fill in [0, whole.len() - cut] {
            let case = image(before.path());
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + fill, 0);
            let is_whole = bytes == whole;
            fs::write(case.path().join("log/conf"), bytes).unwrap();
            assert_goes_on(case.path(), &format!("{cut} bytes and {fill} zeros"));
            assert_eq!(set_aside(case.path()), usize::from(!is_whole));
            assert_eq!(fs::read(case.path().join("log/conf")).unwrap(), whole);
        }
    }
}

#[test]
fn a_first_opening_cut_anywhere_is_a_new_store() {
    let (folder, _) = written(0);
    let data = fs::read(folder.path().join("log/db")).unwrap();
    for part in 0..=16 {
        let case = tempfile::tempdir().unwrap();
        fs::create_dir(case.path().join("log")).unwrap();
        let cut = data.len() * part / 16;
        fs::write(case.path().join("log/db"), &data[..cut]).unwrap();
        // Before the mark and the epoch were written nothing is acknowledged.
        match SledStore::open(case.path()) {
            Ok(store) => assert_eq!(contents(&store), Vec::<Vec<u8>>::new()),
            Err(error) => assert!(matches!(error, StoreError::Mark { .. }), "{cut}: {error}"),
        }
    }
}
