//! Who may open a store, and the mark that says where its log ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coordinator::store::{EVENT_BYTES_MAX, Epoch, Position, SledStore, Store, StoreError};

use crate::files::*;

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(&error, StoreError::Locked { path, .. } if path == folder.path()));
    let pid = std::process::id();
    assert!(
        error.to_string().contains(&format!("(pid {pid})")),
        "{error}"
    );
    drop(store);
    for _ in 0..20 {
        SledStore::open(folder.path()).unwrap();
    }
}

#[test]
fn nobody_else_may_look_into_the_store() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("state/store");
    let store = SledStore::open(&folder).unwrap();
    let epoch = store.open_epoch().unwrap();
    let hash = store.put_blob(b"blob").unwrap().to_string();
    store.put_document(epoch, "snapshot", b"x").unwrap();
    let mode = |path: &str| {
        let metadata = fs::metadata(folder.join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    let blob_folder = format!("blobs/{}", &hash[..2]);
    for path in [
        "",
        "log",
        "blobs",
        &blob_folder,
        "partial",
        "documents",
        "tmp",
    ] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    for path in [
        "high-water-mark",
        &format!("{blob_folder}/{hash}"),
        "documents/snapshot",
    ] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
}

#[test]
fn the_longest_events_never_leave_the_file_that_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    for number in 0..40 {
        let batch = vec![vec![number; EVENT_BYTES_MAX]; 8];
        store.append(epoch, None, &batch).unwrap();
    }
    store.trim(epoch, Position(200)).unwrap();
    drop(store);
    let unsynced = fs::read_dir(folder.path().join("log/blobs")).unwrap();
    assert_eq!(unsynced.count(), 0);
}

#[test]
fn a_log_whose_files_are_gone_is_a_lost_tail() {
    let (folder, _) = written(7);
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(
        &error,
        StoreError::TailLost { expected: Position(7), found: Position(0), path }
            if path == folder.path()
    ));
    let text = error.to_string();
    assert!(
        text.contains("restore a backup") && text.contains("accept-loss"),
        "{text}"
    );
    accept_loss_after_reuse(folder.path());
}

/// Without the log only the mark knows the epoch.
fn accept_loss_after_reuse(folder: &Path) {
    fs::write(folder.join("accept-loss"), "").unwrap();
    let store = SledStore::open(folder).unwrap();
    assert_eq!(contents(&store), Vec::<Vec<u8>>::new());
    assert_eq!(store.open_epoch().unwrap(), Epoch(3));
}

#[test]
fn an_older_copy_of_the_log_is_a_lost_tail() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(0), event(1)]).unwrap();
    let old = image(folder.path());
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(2)]).unwrap();
    drop(store);
    fs::copy(
        folder.path().join("high-water-mark"),
        old.path().join("high-water-mark"),
    )
    .unwrap();
    assert!(matches!(
        open_error(old.path()),
        StoreError::TailLost {
            expected: Position(3),
            found: Position(2),
            ..
        }
    ));
    accept_loss(old.path(), 2);
}

#[test]
fn a_mark_behind_the_log_is_moved_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(0)]).unwrap();
    let mark = folder.path().join("high-water-mark");
    let old = fs::read(&mark).unwrap();
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(1), event(2)]).unwrap();
    let new = fs::read(&mark).unwrap();
    drop(store);
    fs::write(&mark, old).unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    assert_eq!(contents(&store), [event(0), event(1), event(2)]);
    assert_eq!(fs::read(&mark).unwrap(), new);
    assert!(store.open_epoch().unwrap() > epoch);
}

#[test]
fn a_missing_or_damaged_mark_is_not_taken_for_a_new_store() {
    for cut in [None, Some(0), Some(1), Some(60)] {
        let (folder, _) = written(3);
        let mark = folder.path().join("high-water-mark");
        let whole = fs::read(&mark).unwrap();
        match cut {
            None => fs::remove_file(&mark).unwrap(),
            Some(length) => fs::write(&mark, &whole[..length]).unwrap(),
        }
        let error = open_error(folder.path());
        assert!(matches!(&error, StoreError::Mark { path, .. } if *path == mark));
        assert!(error.to_string().contains("accept-loss"));
        fs::write(folder.path().join("accept-loss"), "").unwrap();
        assert_eq!(contents(&SledStore::open(folder.path()).unwrap()).len(), 3);
    }
}

#[test]
fn a_mark_of_another_log_does_not_match() {
    let (folder, _) = written(3);
    let other = tempfile::tempdir().unwrap();
    let store = SledStore::open(other.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    store
        .append(epoch, None, &[event(9), event(9), event(9)])
        .unwrap();
    fs::copy(
        other.path().join("high-water-mark"),
        folder.path().join("high-water-mark"),
    )
    .unwrap();
    assert!(matches!(
        open_error(folder.path()),
        StoreError::Corrupted {
            position: Position(2),
            ..
        }
    ));
}
