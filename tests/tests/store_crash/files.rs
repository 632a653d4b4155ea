//! The files of a store, and what a crash makes of them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use coordinator::store::{Epoch, Head, Position, SledStore, Store, StoreError};
use tempfile::TempDir;

/// The files as a kill would leave them at this moment.
pub(crate) fn image(from: &Path) -> TempDir {
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

pub(crate) fn event(number: u64) -> Vec<u8> {
    format!("event number {number}").into_bytes()
}

/// A folder with a log of this many acknowledged records.
pub(crate) fn written(records: u64) -> (TempDir, Head) {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let epoch = store.open_epoch().unwrap();
    for number in 0..records {
        store.append(epoch, None, &[event(number)]).unwrap();
    }
    let head = store.head().unwrap();
    (folder, head)
}

pub(crate) fn open_error(folder: &Path) -> StoreError {
    match SledStore::open(folder) {
        Ok(store) => panic!("opened with {:?}", store.head()),
        Err(error) => error,
    }
}

pub(crate) fn contents(store: &dyn Store) -> Vec<Vec<u8>> {
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
pub(crate) fn accept_loss(folder: &Path, left: u64) {
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

pub(crate) fn truncate(path: &Path, at: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(at)
        .unwrap();
}

pub(crate) fn zero(path: &Path, at: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let count = 4_096.min(length - at) as usize;
    file.write_all_at(&vec![0; count], at).unwrap();
}

pub(crate) fn flip(path: &Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}
