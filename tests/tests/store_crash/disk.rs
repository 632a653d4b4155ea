//! Disks that are full or cannot be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use coordinator::store::{Position, SledStore, Store, StoreError, StoreOptions};
use tempfile::TempDir;
use tests::disk::{self, Disk};

use crate::files::{contents, event, open_error};
use crate::snapshot::{set_aside, snapshots, with_snapshot};

/// A disk that is let go of before its folder.
fn disk(mib: u32) -> Option<(Disk, TempDir)> {
    disk::is_allowed().then(|| {
        let folder = tempfile::tempdir().unwrap();
        (Disk::mount(folder.path(), mib), folder)
    })
}

fn store_on((_, folder): &(Disk, TempDir)) -> PathBuf {
    folder.path().join("store")
}

#[test]
fn a_read_only_disk_is_named() {
    let Some(disk) = disk(16) else { return };
    let place = store_on(&disk);
    drop(SledStore::open(&place).unwrap());
    // Refused while the threads of the store that was let go of have a file open.
    let begun = Instant::now();
    while !disk.0.set_read_only(true) {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert!(matches!(
        open_error(&place),
        StoreError::NotWritable { path, .. } if path == place
    ));
}

#[test]
fn a_full_disk_is_refused_before_it_is_reached() {
    let Some(disk) = disk(16) else { return };
    let place = store_on(&disk);
    let options = StoreOptions {
        reserve_bytes: 4 << 20,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(&place, options).unwrap();
    let epoch = store.open_epoch().unwrap();
    let mut blobs = 0u32;
    let error = loop {
        let mut bytes = vec![0; 200_000];
        bytes[..4].copy_from_slice(&blobs.to_le_bytes());
        match store.put_blob(&bytes) {
            Ok(_) => blobs += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StoreError::DiskFull { path } if *path == place));
    assert_eq!(store.blobs().unwrap().len(), blobs as usize);
    // What names the blobs still fits.
    store.append(epoch, None, &[event(0)]).unwrap();
    let filler = disk.1.path().join("filler");
    fs::write(&filler, vec![1; 5 << 20]).unwrap();
    assert!(matches!(
        store.append(epoch, None, &[event(1)]),
        Err(StoreError::DiskFull { .. })
    ));
    drop(store);
    let store = SledStore::open_with(&place, options).unwrap();
    assert_eq!(contents(&store), [event(0)]);
    assert!(matches!(
        store.open_epoch(),
        Err(StoreError::DiskFull { .. })
    ));
    // The same store goes on once there is room.
    fs::remove_file(filler).unwrap();
    store.append(epoch, Some(Position(1)), &[event(1)]).unwrap();
    assert_eq!(contents(&store), [event(0), event(1)]);
}

#[test]
fn a_disk_that_fills_loses_nothing_acknowledged() {
    let Some(disk) = disk(12) else { return };
    let place = store_on(&disk);
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(&place, options).unwrap();
    let epoch = store.open_epoch().unwrap();
    let mut acknowledged = Vec::new();
    let error = loop {
        let number = acknowledged.len() as u64;
        let mut event = event(number);
        event.resize(30_000, number as u8);
        match store.append(epoch, None, &[event.clone()]) {
            Ok(_) => acknowledged.push(event),
            Err(error) => break error,
        }
    };
    println!("after {} events: {error}", acknowledged.len());
    assert!(matches!(
        store.append(epoch, None, &[event(0)]),
        Err(StoreError::Stopped { .. })
    ));
    assert_eq!(
        store.head().unwrap().next,
        Position(acknowledged.len() as u64)
    );
    drop(store);
    disk.0.resize(64);
    let store = SledStore::open_with(&place, options).unwrap();
    let found = contents(&store);
    assert_eq!(found[..acknowledged.len()], acknowledged);
    assert!(found.len() <= acknowledged.len() + 1);
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(0)]).unwrap();
}

#[test]
fn a_disk_full_while_opening_costs_nothing() {
    let Some(disk) = disk(12) else { return };
    let place = store_on(&disk);
    let before = with_snapshot();
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(before.path()).arg(&place);
    assert!(copy.status().unwrap().success());
    disk.0.fill();
    let files = snapshots(&place);
    for _ in 0..3 {
        let error = open_error(&place);
        assert!(matches!(&error, StoreError::DiskFull { path } if *path == place));
        assert_eq!(snapshots(&place), files);
    }
    // What an earlier version left behind when it met the full disk.
    let left = format!("{}.generating", files[0].to_string_lossy());
    fs::write(&left, b"").unwrap();
    disk.0.make_room();
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(&place, options).unwrap();
    assert_eq!(contents(&store).len(), 21);
    assert_eq!(set_aside(&place), 1);
    assert!(!Path::new(&left).exists());
}
