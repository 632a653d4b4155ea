//! What a store finds after a crash, built as the exact image left behind.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::ids::{BlobHash, DeviceId};
use coordinator::store::{
    AppendFault, Chunk, EVENT_BYTES_MAX, Epoch, Head, MemoryStore, PartialKey, Position, SledStore,
    Store, StoreError, StoreOptions,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// The files as a kill would leave them at this moment.
fn image(from: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(from, folder.path());
    folder
}

fn event(number: u64) -> Vec<u8> {
    format!("event number {number}").into_bytes()
}

/// A folder with a log of this many acknowledged records.
fn written(records: u64) -> (TempDir, Head) {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    for number in 0..records {
        store.append(epoch, None, &[event(number)]).unwrap();
    }
    let head = store.head().unwrap();
    (folder, head)
}

fn open_error(folder: &Path) -> StoreError {
    match SledStore::open(folder) {
        Ok(store) => panic!("opened with {:?}", store.head()),
        Err(error) => error,
    }
}

fn contents(store: &dyn Store) -> Vec<Vec<u8>> {
    store.verify().unwrap();
    let mut at = store.first().unwrap();
    let mut contents = Vec::new();
    loop {
        let records = store.read(at, 64).unwrap();
        if records.is_empty() {
            return contents;
        }
        at = at.after(records.len());
        contents.extend(records.into_iter().map(|record| record.bytes));
    }
}

/// Goes on after a loss as the error says, and shows that it works.
fn accept_loss(folder: &Path, left: u64) {
    fs::write(folder.join("accept-loss"), "").unwrap();
    let store = SledStore::open(folder).unwrap();
    assert_eq!(store.head().unwrap().next, Position(left));
    assert!(!folder.join("accept-loss").exists());
    let epoch = store.open_epoch().unwrap();
    assert!(epoch > Epoch(2), "a lost epoch was used again: {epoch}");
    store.append(epoch, None, &[event(left)]).unwrap();
    drop(store);
    let store = SledStore::open(folder).unwrap();
    let expected: Vec<_> = (0..=left).map(event).collect();
    assert_eq!(contents(&store), expected);
}

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

/// Whatever happens to the database's file, the store opens with all that
/// was acknowledged, or says what is wrong. It never opens with less.
#[test]
fn a_torn_or_damaged_database_is_never_papered_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    let mut expected = Vec::new();
    for number in 0..60 {
        let mut event = event(number);
        event.resize(20_000, number as u8);
        store.append(epoch, None, &[event.clone()]).unwrap();
        expected.push(event);
    }
    let killed = image(folder.path());
    drop(store);
    let (mut opened, mut refused) = (0, 0);
    for base in [killed.path(), folder.path()] {
        let length = fs::metadata(base.join("log/db")).unwrap().len();
        for step in 0..24 {
            let at = length * step / 24 + 37 * step;
            for damage in [truncate as fn(&Path, u64), zero, flip] {
                let case = image(base);
                damage(&case.path().join("log/db"), at);
                match SledStore::open(case.path()) {
                    Ok(store) => match store.verify() {
                        Ok(_) => {
                            assert_eq!(contents(&store), expected);
                            opened += 1;
                        }
                        Err(error) => {
                            assert_named(&error);
                            refused += 1;
                        }
                    },
                    Err(error) => {
                        assert_named(&error);
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{opened} opened whole, {refused} refused by name");
    assert!(refused > 0);
}

/// A kill in the middle of an append leaves a part of it in the file. That
/// is no damage: the store opens with all that was acknowledged before.
#[test]
fn a_torn_append_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    let (mut kept, mut dropped) = (0, 0);
    for number in 0..16u64 {
        let before = image(folder.path());
        let batch: Vec<_> = (0..3)
            .map(|part| vec![part; 1_000 * number as usize + 7])
            .collect();
        store.append(epoch, None, &batch).unwrap();
        let old = fs::read(before.path().join("log/db")).unwrap();
        let new = fs::read(folder.path().join("log/db")).unwrap();
        let changed: Vec<usize> = (0..new.len())
            .filter(|at| old.get(*at) != new.get(*at))
            .collect();
        for part in 0..4 {
            let case = image(before.path());
            let cut = changed[changed.len() * part / 4] as u64;
            let file = fs::File::options()
                .write(true)
                .open(case.path().join("log/db"))
                .unwrap();
            file.set_len(old.len().max(cut as usize) as u64).unwrap();
            for at in changed.iter().filter(|at| (**at as u64) < cut) {
                file.write_all_at(&new[*at..=*at], *at as u64).unwrap();
            }
            let store = SledStore::open(case.path()).unwrap();
            let next = store.verify().unwrap().next.0;
            assert!(
                next == 3 * number || next == 3 * number + 3,
                "half a batch: {next}"
            );
            if next == 3 * number {
                dropped += 1
            } else {
                kept += 1
            }
            let epoch = store.open_epoch().unwrap();
            store
                .append(epoch, Some(Position(next)), &[event(number)])
                .unwrap();
            drop(store);
            let store = SledStore::open(case.path()).unwrap();
            assert_eq!(store.verify().unwrap().next.0, next + 1);
        }
    }
    println!("{dropped} torn batches dropped, {kept} kept");
    assert!(dropped > 0);
}

fn truncate(path: &Path, at: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(at)
        .unwrap();
}

fn zero(path: &Path, at: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let count = 4_096.min(length - at) as usize;
    file.write_all_at(&vec![0; count], at).unwrap();
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn assert_named(error: &StoreError) {
    assert!(
        matches!(
            error,
            StoreError::TailLost { .. }
                | StoreError::Corrupted { .. }
                | StoreError::Engine { .. }
                | StoreError::Mark { .. }
                | StoreError::Io { .. }
        ),
        "{error:?}"
    );
}

#[test]
fn a_damaged_blob_is_named_and_repaired_by_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let hash = store.put_blob(b"precious").unwrap();
    let name = hash.to_string();
    let path = folder.path().join("blobs").join(&name[..2]).join(&name);
    for damaged in [&b"precioux"[..], b"prec", b""] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(
            store.blob(hash),
            Err(StoreError::BlobDamaged { hash: h, actual })
                if h == hash && actual == BlobHash::of(damaged)
        ));
        assert_eq!(store.put_blob(b"precious").unwrap(), hash);
        assert_eq!(store.blob(hash).unwrap().unwrap(), b"precious");
    }
    let memory = MemoryStore::new();
    memory.put_blob(b"precious").unwrap();
    assert!(memory.damage_blob(hash));
    assert!(matches!(
        memory.blob(hash),
        Err(StoreError::BlobDamaged { .. })
    ));
}

#[test]
fn a_damaged_document_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    store.put_document(epoch, "snapshot", b"state").unwrap();
    let path = folder.path().join("documents/snapshot");
    let whole = fs::read(&path).unwrap();
    for length in [0, 10, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(
            store.document("snapshot"),
            Err(StoreError::DocumentDamaged { name, path: p }) if name == "snapshot" && p == path
        ));
    }
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let (folder, head) = written(2);
    let left = folder.path().join("tmp/0");
    fs::write(&left, "half a blob").unwrap();
    let stranger = folder.path().join("blobs/notes.txt");
    fs::write(&stranger, "mine").unwrap();
    fs::write(folder.path().join("partial/notes.txt"), "mine").unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    assert!(!left.exists());
    assert!(stranger.exists());
    assert_eq!(store.blobs().unwrap(), []);
    assert_eq!(store.partials().unwrap(), []);
    assert_eq!(store.head().unwrap(), head);
}

#[test]
fn an_upload_goes_on_where_a_crash_cut_it() {
    let bytes = vec![42; 50_000];
    let key = PartialKey {
        device: DeviceId([1; 16]),
        hash: BlobHash::of(&bytes),
    };
    let chunk = |offset: usize, end: usize| Chunk {
        declared_bytes: 50_000,
        offset: offset as u64,
        bytes: &bytes[offset..end],
    };
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    store.append_partial(key, chunk(0, 16_384)).unwrap();
    store.append_partial(key, chunk(16_384, 32_768)).unwrap();
    let killed = image(folder.path());
    // The kill came in the middle of a write.
    let file = killed
        .path()
        .join(format!("partial/{}-{}", key.device, key.hash));
    truncate(&file, 20_000);
    let store = SledStore::open(killed.path()).unwrap();
    assert_eq!(store.partial_bytes(key).unwrap(), 20_000);
    store.append_partial(key, chunk(20_000, 50_000)).unwrap();
    store.finish_partial(key).unwrap();
    assert!(!file.exists());
    drop(store);
    let store = SledStore::open(killed.path()).unwrap();
    assert_eq!(store.blob(key.hash).unwrap().unwrap(), bytes);
    assert_eq!(store.partials().unwrap(), []);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let outer = tempfile::tempdir().unwrap();
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("store");
    let error = open_error(&inside);
    assert!(
        matches!(&error, StoreError::NotWritable { path, .. } if *path == inside),
        "{error:?}"
    );

    let locked = outer.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        eprintln!("SKIPPED: permissions do not bind this user (root?)");
        return;
    }
    let inside = locked.join("store");
    assert!(matches!(open_error(&inside), StoreError::NotWritable { path, .. } if path == inside));
}

/// A file system of its own, if this user may make one.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        if run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "none"],
            folder.path(),
        ) {
            return Some(Self { folder });
        }
        eprintln!("SKIPPED: this user may not mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        // Refused while a file is open for writing, which the threads of a
        // database that was let go of may have for a moment.
        let begun = Instant::now();
        while !run("mount", &["-o", &options], self.folder.path()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{options}");
        }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l"], self.folder.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_read_only_disk_is_named() {
    let Some(disk) = Disk::new(16) else { return };
    drop(SledStore::open(disk.store()).unwrap());
    disk.remount("ro");
    assert!(matches!(
        open_error(&disk.store()),
        StoreError::NotWritable { path, .. } if path == disk.store()
    ));
}

#[test]
fn a_full_disk_is_refused_before_it_is_reached() {
    let Some(disk) = Disk::new(16) else { return };
    let options = StoreOptions {
        reserve_bytes: 4 << 20,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(disk.store(), options).unwrap();
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
    assert!(matches!(&error, StoreError::DiskFull { path } if *path == disk.store()));
    assert_eq!(store.blobs().unwrap().len(), blobs as usize);
    // What names the blobs still fits.
    store.append(epoch, None, &[event(0)]).unwrap();
    let filler = disk.folder.path().join("filler");
    fs::write(&filler, vec![1; 5 << 20]).unwrap();
    assert!(matches!(
        store.append(epoch, None, &[event(1)]),
        Err(StoreError::DiskFull { .. })
    ));
    drop(store);
    let store = SledStore::open_with(disk.store(), options).unwrap();
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
    let Some(disk) = Disk::new(12) else { return };
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(disk.store(), options).unwrap();
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
    disk.remount("size=64m");
    let store = SledStore::open_with(disk.store(), options).unwrap();
    let found = contents(&store);
    assert_eq!(found[..acknowledged.len()], acknowledged);
    assert!(found.len() <= acknowledged.len() + 1);
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(0)]).unwrap();
}

/// The folder of a store that was opened twice and trimmed, as a kill leaves
/// it, so that its database has a snapshot and goes beyond it.
fn with_snapshot() -> TempDir {
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
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("log")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_snapshot = |path: &PathBuf| path.to_string_lossy().contains("/snap.");
    let mut found: Vec<_> = paths.filter(is_snapshot).collect();
    found.sort();
    found
}

fn set_aside(folder: &Path) -> usize {
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

#[test]
fn a_disk_full_while_opening_costs_nothing() {
    let Some(disk) = Disk::new(12) else { return };
    let before = with_snapshot();
    assert!(run(
        "cp",
        &["-a", &before.path().to_string_lossy()],
        &disk.store()
    ));
    let filler = disk.folder.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
    drop(file);
    let files = snapshots(&disk.store());
    for _ in 0..3 {
        let error = open_error(&disk.store());
        assert!(matches!(&error, StoreError::DiskFull { path } if *path == disk.store()));
        assert_eq!(snapshots(&disk.store()), files);
    }
    // What an earlier version left behind when it met the full disk.
    let left = format!("{}.generating", files[0].to_string_lossy());
    fs::write(&left, b"").unwrap();
    fs::remove_file(filler).unwrap();
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(disk.store(), options).unwrap();
    assert_eq!(contents(&store).len(), 21);
    assert_eq!(set_aside(&disk.store()), 1);
    assert!(!Path::new(&left).exists());
}

fn bytes_under(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => bytes_under(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}

#[test]
fn a_log_that_is_trimmed_stops_growing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    let mut sizes = Vec::new();
    for round in 0..30u64 {
        for _ in 0..8 {
            store
                .append(epoch, None, &vec![vec![round as u8; 200]; 250])
                .unwrap();
        }
        let next = store.head().unwrap().next.0;
        store.trim(epoch, Position(next - 1_000)).unwrap();
        sizes.push(bytes_under(folder.path()));
    }
    let early = sizes[..15].iter().max().unwrap();
    let late = sizes[15..].iter().max().unwrap();
    println!("at most {early} bytes in 15 rounds, {late} in 15 more");
    assert!(late * 10 < early * 15, "{sizes:?}");
    assert_eq!(store.verify().unwrap().next, Position(60_000));
}

#[test]
fn nothing_follows_a_failed_append() {
    for (fault, kept) in [(AppendFault::BeforeFlush, 1), (AppendFault::AfterFlush, 3)] {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        store.append(epoch, None, &[event(0)]).unwrap();
        store.fail_next_append(fault);
        assert!(store.append(epoch, None, &[event(1), event(2)]).is_err());
        assert!(matches!(
            store.append(epoch, None, &[event(3)]),
            Err(StoreError::Stopped { .. })
        ));
        store.lose_unflushed();
        assert_eq!(contents(&store).len(), kept);
        let epoch = store.open_epoch().unwrap();
        store.append(epoch, None, &[event(4)]).unwrap();
    }
}

#[test]
fn a_lying_disk_loses_what_was_acknowledged() {
    let store = MemoryStore::new();
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &[event(0)]).unwrap();
    let kept = store.put_blob(b"kept").unwrap();
    store.set_lying(true);
    store.append(epoch, None, &[event(1)]).unwrap();
    let lost = store.put_blob(b"lost").unwrap();
    store.put_document(epoch, "snapshot", b"lost").unwrap();
    assert_eq!(contents(&store).len(), 2);
    store.lose_unflushed();
    assert_eq!(contents(&store), [event(0)]);
    assert_eq!(store.blobs().unwrap(), [kept]);
    assert_eq!(store.blob(lost).unwrap(), None);
    assert_eq!(store.document("snapshot").unwrap(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Document(u8),
    Blob(u8),
    Trim(prop::sample::Index),
    Epoch,
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0usize..9_000, 1..5).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Document),
        1 => any::<u8>().prop_map(Step::Blob),
        1 => any::<prop::sample::Index>().prop_map(Step::Trim),
        1 => Just(Step::Epoch),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
    ]
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    events: Vec<Vec<u8>>,
    first: usize,
    document: Option<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
    epoch: Epoch,
}

impl Acknowledged {
    fn apply(&mut self, step: &Step, store: &dyn Store) {
        match step {
            Step::Append(lengths) => {
                let fill = self.events.len() as u8;
                let batch: Vec<_> = lengths.iter().map(|length| vec![fill; *length]).collect();
                let next = Position(self.events.len() as u64);
                store.append(self.epoch, Some(next), &batch).unwrap();
                self.events.extend(batch);
            }
            Step::Document(byte) => {
                store
                    .put_document(self.epoch, "snapshot", &[*byte; 99])
                    .unwrap();
                self.document = Some(vec![*byte; 99]);
            }
            Step::Blob(byte) => {
                store.put_blob(&[*byte; 99]).unwrap();
                self.blobs.push(vec![*byte; 99]);
            }
            Step::Trim(index) => {
                let first = index.index(self.events.len() + 1);
                store.trim(self.epoch, Position(first as u64)).unwrap();
                self.first = self.first.max(first);
            }
            Step::Epoch | Step::Restart | Step::Crash => {
                let epoch = store.open_epoch().unwrap();
                assert!(epoch > self.epoch);
                self.epoch = epoch;
            }
        }
    }

    fn check(&self, store: &dyn Store) {
        assert_eq!(store.first().unwrap(), Position(self.first as u64));
        assert_eq!(contents(store), self.events[self.first..]);
        assert_eq!(store.document("snapshot").unwrap(), self.document);
        for blob in &self.blobs {
            assert_eq!(store.blob(BlobHash::of(blob)).unwrap().as_ref(), Some(blob));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_loses_what_sled_acknowledged(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut folder = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(folder.path()).unwrap();
        let mut model = Acknowledged::default();
        model.apply(&Step::Epoch, &store);
        for step in &steps {
            match step {
                Step::Crash => {
                    let killed = image(folder.path());
                    drop(store);
                    folder = killed;
                    store = SledStore::open(folder.path()).unwrap();
                    model.check(&store);
                }
                Step::Restart => {
                    drop(store);
                    store = SledStore::open(folder.path()).unwrap();
                    model.check(&store);
                }
                _ => {}
            }
            model.apply(step, &store);
        }
        model.check(&store);
    }

    #[test]
    fn no_crash_loses_what_memory_acknowledged(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let store = MemoryStore::new();
        let mut model = Acknowledged::default();
        model.apply(&Step::Epoch, &store);
        for step in &steps {
            match step {
                Step::Crash => store.lose_unflushed(),
                Step::Restart => store.restart(),
                _ => {}
            }
            model.apply(step, &store);
            model.check(&store);
        }
    }
}
