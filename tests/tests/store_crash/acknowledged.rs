//! Whatever happens in whatever order, what was acknowledged is there.

use std::fs;
use std::path::Path;

use common::ids::BlobHash;
use coordinator::store::{AppendFault, Epoch, MemoryStore, Position, SledStore, Store, StoreError};
use proptest::prelude::*;

use crate::files::{contents, event, image};

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
