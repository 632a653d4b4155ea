//! What every store promises, run on each implementation.
#![allow(clippy::unwrap_used)]

use common::ids::{BlobHash, DeviceId};
use coordinator::store::{
    BATCH_EVENTS_MAX, ChainHash, Chunk, EVENT_BYTES_MAX, Epoch, Head, MemoryStore, PartialError,
    PartialKey, PartialLimits, Position, PostgresOptions, PostgresStore, READ_BYTES_MAX, SledStore,
    Store, StoreError, StoreOptions,
};
use tempfile::TempDir;
use tests::database::{self, Cluster};

/// One set of tests for each implementation: `$open` makes an empty store
/// with the given limits, and whatever must live as long.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[test]
            fn $name() {
                super::$name(&coordinator::store::MemoryStore::with_limits(super::limits()));
            })*
        }
        mod in_sled {
            $(#[test]
            fn $name() {
                let (_folder, store) = super::sled();
                super::$name(&store);
            })*
        }
        /// On one server, which takes longer to make than all of them.
        #[test]
        fn in_postgres() {
            let Some(cluster) = Cluster::start("fsync = off") else {
                return;
            };
            $({
                println!("{}", stringify!($name));
                let (_folder, store) = postgres(&cluster);
                $name(&store);
            })*
        }
    };
}

contract![
    appended_records_come_back_in_order_and_chained,
    a_batch_over_a_limit_is_refused_whole,
    an_empty_batch_only_checks,
    the_longest_event_comes_back,
    a_writer_of_an_older_epoch_is_fenced_out_of_everything,
    a_writer_that_never_opened_an_epoch_is_refused,
    an_append_at_an_unexpected_position_changes_nothing,
    a_read_is_bounded_in_records_and_bytes,
    a_trimmed_log_keeps_its_chain,
    a_trim_past_the_head_is_refused,
    a_blob_comes_back_under_its_hash,
    keeping_a_blob_twice_is_no_error,
    a_removed_blob_is_gone,
    several_blobs_go_at_once,
    an_upload_in_chunks_becomes_a_blob,
    an_upload_with_another_hash_is_dropped,
    a_chunk_at_the_wrong_offset_changes_nothing,
    an_upload_cannot_outgrow_its_declaration_or_the_limits,
    one_device_cannot_touch_the_upload_of_another,
    an_empty_blob_can_be_uploaded,
    a_document_is_replaced_whole,
    a_removed_document_is_gone,
    a_document_name_cannot_leave_its_folder,
    many_threads_append_one_chain,
];

fn limits() -> PartialLimits {
    PartialLimits {
        count_max: 4,
        device_count_max: 2,
        bytes_max: 1_000,
    }
}

fn sled() -> (TempDir, SledStore) {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        partials: limits(),
        ..StoreOptions::default()
    };
    let store = SledStore::open_with(folder.path().join("store"), options).unwrap();
    (folder, store)
}

fn postgres(cluster: &Cluster) -> (TempDir, PostgresStore) {
    let folder = tempfile::tempdir().unwrap();
    let options = PostgresOptions {
        partials: limits(),
        ..PostgresOptions::new(
            database::settings(&cluster.url()),
            folder.path().join("postgres"),
        )
    };
    (folder, PostgresStore::open(options).unwrap())
}

fn events<const N: usize>(events: [&[u8]; N]) -> Vec<Vec<u8>> {
    events.map(<[u8]>::to_vec).to_vec()
}

fn key(device: u8, bytes: &[u8]) -> PartialKey {
    PartialKey {
        device: DeviceId([device; 16]),
        hash: BlobHash::of(bytes),
    }
}

fn chunk(declared_bytes: usize, offset: u64, bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        declared_bytes: declared_bytes as u64,
        offset,
        bytes,
    }
}

fn appended_records_come_back_in_order_and_chained(store: &dyn Store) {
    assert_eq!(store.head().unwrap().next, Position(0));
    assert_eq!(store.read(Position(0), 10).unwrap(), []);
    let epoch = store.open_epoch().unwrap();
    let next = store
        .append(epoch, Some(Position(0)), &events([b"a", b"", b"c"]))
        .unwrap();
    assert_eq!(next, Position(3));
    assert_eq!(
        store.append(epoch, None, &events([b"d"])).unwrap(),
        Position(4)
    );

    let records = store.read(Position(0), 10).unwrap();
    let bytes: Vec<&[u8]> = records.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!(bytes, [&b"a"[..], b"", b"c", b"d"]);
    let mut previous = ChainHash::START;
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.position, Position(index as u64));
        assert_eq!(record.epoch, epoch);
        assert_eq!(record.previous, previous);
        previous = record.hash();
    }
    let head = store.head().unwrap();
    assert_eq!((head.next, head.hash), (Position(4), previous));
    assert_eq!(store.verify().unwrap(), head);
    assert_eq!(store.read(Position(2), 1).unwrap(), records[2..3]);
    assert_eq!(store.read(Position(4), 10).unwrap(), []);
    assert_eq!(store.read(Position(u64::MAX), 10).unwrap(), []);
}

fn a_batch_over_a_limit_is_refused_whole(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    let head = store.head().unwrap();
    let long = vec![vec![1], vec![0; EVENT_BYTES_MAX + 1]];
    assert!(matches!(
        store.append(epoch, None, &long),
        Err(StoreError::EventTooLong { bytes, bytes_max: EVENT_BYTES_MAX })
            if bytes == EVENT_BYTES_MAX + 1
    ));
    let many = vec![vec![1]; BATCH_EVENTS_MAX + 1];
    assert!(matches!(
        store.append(epoch, None, &many),
        Err(StoreError::BatchTooLong { events, events_max: BATCH_EVENTS_MAX })
            if events == BATCH_EVENTS_MAX + 1
    ));
    assert_eq!(store.head().unwrap(), head);
    assert_eq!(
        store.append(epoch, None, &many[1..]).unwrap(),
        Position(BATCH_EVENTS_MAX as u64)
    );
    store.verify().unwrap();
}

fn an_empty_batch_only_checks(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &events([b"a"])).unwrap();
    assert_eq!(
        store.append(epoch, Some(Position(1)), &[]).unwrap(),
        Position(1)
    );
    assert!(matches!(
        store.append(epoch, Some(Position(0)), &[]),
        Err(StoreError::UnexpectedPosition { .. })
    ));
    assert_eq!(store.head().unwrap().next, Position(1));
}

fn the_longest_event_comes_back(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    let event: Vec<u8> = (0..EVENT_BYTES_MAX).map(|at| (at % 251) as u8).collect();
    store
        .append(epoch, None, &[event.clone(), vec![7], event.clone()])
        .unwrap();
    let records = store.read(Position(0), 9).unwrap();
    let lengths: Vec<usize> = records.iter().map(|record| record.bytes.len()).collect();
    assert_eq!(lengths, [EVENT_BYTES_MAX, 1, EVENT_BYTES_MAX]);
    assert_eq!(records[2].bytes, event);
}

fn a_writer_of_an_older_epoch_is_fenced_out_of_everything(store: &dyn Store) {
    let old = store.open_epoch().unwrap();
    store.append(old, None, &events([b"a"])).unwrap();
    store.put_document(old, "snapshot", b"old").unwrap();
    let blob = store.put_blob(b"blob").unwrap();
    let new = store.open_epoch().unwrap();
    assert!(new > old);
    let fenced = |error| {
        matches!(
            error,
            Err(StoreError::Fenced { held, newest }) if held == old && newest == new
        )
    };
    assert!(fenced(store.append(old, None, &events([b"b"])).map(|_| ())));
    assert!(fenced(store.append(old, None, &[]).map(|_| ())));
    assert!(fenced(store.put_document(old, "snapshot", b"late")));
    assert!(fenced(store.remove_blob(old, blob).map(|_| ())));
    assert!(fenced(store.remove_blobs(old, &[blob]).map(|_| ())));
    assert!(fenced(store.remove_document(old, "snapshot").map(|_| ())));
    assert!(fenced(store.trim(old, Position(1))));

    assert_eq!(store.head().unwrap().next, Position(1));
    assert_eq!(store.first().unwrap(), Position(0));
    assert_eq!(store.document("snapshot").unwrap().unwrap(), b"old");
    assert!(store.has_blob(blob).unwrap());
    store
        .append(new, Some(Position(1)), &events([b"b"]))
        .unwrap();
    assert_eq!(store.read(Position(1), 1).unwrap()[0].epoch, new);
}

fn a_writer_that_never_opened_an_epoch_is_refused(store: &dyn Store) {
    store.open_epoch().unwrap();
    for held in [Epoch(0), Epoch(2)] {
        assert!(matches!(
            store.append(held, None, &events([b"a"])),
            Err(StoreError::Fenced {
                newest: Epoch(1),
                ..
            })
        ));
    }
    assert_eq!(store.head().unwrap().next, Position(0));
}

fn an_append_at_an_unexpected_position_changes_nothing(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &events([b"a", b"b"])).unwrap();
    let head = store.head().unwrap();
    for expected in [Position(1), Position(3)] {
        assert!(matches!(
            store.append(epoch, Some(expected), &events([b"c"])),
            Err(StoreError::UnexpectedPosition { expected: e, next: Position(2) }) if e == expected
        ));
    }
    assert_eq!(store.head().unwrap(), head);
    assert_eq!(store.read(Position(2), 1).unwrap(), []);
}

fn a_read_is_bounded_in_records_and_bytes(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    let count = 2 * READ_BYTES_MAX / EVENT_BYTES_MAX;
    let batch = vec![vec![3; EVENT_BYTES_MAX]; count];
    store.append(epoch, None, &batch).unwrap();
    assert_eq!(store.read(Position(0), 3).unwrap().len(), 3);
    assert_eq!(store.read(Position(0), 0).unwrap(), []);
    let read = store.read(Position(0), usize::MAX).unwrap();
    let bytes: usize = read.iter().map(|record| record.bytes.len()).sum();
    assert_eq!(bytes, READ_BYTES_MAX);
    store.verify().unwrap();
}

fn a_trimmed_log_keeps_its_chain(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    store
        .append(epoch, None, &events([b"a", b"b", b"c", b"d"]))
        .unwrap();
    let kept = store.read(Position(2), 9).unwrap();
    let head = store.head().unwrap();
    assert_eq!(store.begin().unwrap(), Head::START);
    store.trim(epoch, Position(2)).unwrap();
    store.trim(epoch, Position(1)).unwrap();
    assert_eq!(store.first().unwrap(), Position(2));
    let begin = Head {
        next: Position(2),
        hash: kept[0].previous,
    };
    assert_eq!(store.begin().unwrap(), begin);
    assert_eq!(store.read(Position(2), 9).unwrap(), kept);
    assert!(matches!(
        store.read(Position(1), 9),
        Err(StoreError::Trimmed {
            from: Position(1),
            first: Position(2)
        })
    ));
    assert_eq!(store.verify().unwrap(), head);
    store.trim(epoch, Position(4)).unwrap();
    assert_eq!(store.verify().unwrap(), head);
    assert_eq!(
        store.append(epoch, None, &events([b"e"])).unwrap(),
        Position(5)
    );
    assert_eq!(store.read(Position(4), 9).unwrap()[0].previous, head.hash);
}

fn a_trim_past_the_head_is_refused(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    store.append(epoch, None, &events([b"a"])).unwrap();
    assert!(matches!(
        store.trim(epoch, Position(2)),
        Err(StoreError::TrimPastHead {
            first: Position(2),
            next: Position(1)
        })
    ));
    assert_eq!(store.read(Position(0), 9).unwrap().len(), 1);
}

fn a_blob_comes_back_under_its_hash(store: &dyn Store) {
    let bytes = vec![5; 100_000];
    let hash = store.put_blob(&bytes).unwrap();
    assert_eq!(hash, BlobHash::of(&bytes));
    assert_eq!(store.blob(hash).unwrap().unwrap(), bytes);
    assert!(store.has_blob(hash).unwrap());
    let other = BlobHash::of(b"never kept");
    assert_eq!(store.blob(other).unwrap(), None);
    assert!(!store.has_blob(other).unwrap());
}

fn keeping_a_blob_twice_is_no_error(store: &dyn Store) {
    let first = store.put_blob(b"same").unwrap();
    assert_eq!(store.put_blob(b"same").unwrap(), first);
    assert_eq!(store.blobs().unwrap(), [first]);
}

fn a_removed_blob_is_gone(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    let kept = store.put_blob(b"kept").unwrap();
    let gone = store.put_blob(b"gone").unwrap();
    let mut both = vec![kept, gone];
    both.sort();
    assert_eq!(store.blobs().unwrap(), both);
    assert!(store.remove_blob(epoch, gone).unwrap());
    assert!(!store.remove_blob(epoch, gone).unwrap());
    assert_eq!(store.blob(gone).unwrap(), None);
    assert_eq!(store.blobs().unwrap(), [kept]);
}

fn several_blobs_go_at_once(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    let put = |number: u8| store.put_blob(&[number; 5_000]).unwrap();
    let blobs: Vec<_> = (0..20).map(put).collect();
    assert_eq!(store.usage().unwrap().blobs, 20);
    assert!(store.usage().unwrap().blob_bytes >= 20 * 5_000);
    let other = BlobHash::of(b"never kept");
    let gone = [&blobs[..15], &[other]].concat();
    assert_eq!(store.remove_blobs(epoch, &gone).unwrap(), 15);
    assert_eq!(store.remove_blobs(epoch, &gone).unwrap(), 0);
    let mut left = blobs[15..].to_vec();
    left.sort();
    assert_eq!(store.blobs().unwrap(), left);
    assert_eq!(store.usage().unwrap().blobs, 5);
}

fn a_removed_document_is_gone(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    store.put_document(epoch, "kept", b"kept").unwrap();
    store.put_document(epoch, "gone", b"gone").unwrap();
    assert!(store.remove_document(epoch, "gone").unwrap());
    assert!(!store.remove_document(epoch, "gone").unwrap());
    assert_eq!(store.document("gone").unwrap(), None);
    assert_eq!(store.documents().unwrap(), ["kept"]);
    assert!(store.remove_document(epoch, "../lock").is_err());
}

fn an_upload_in_chunks_becomes_a_blob(store: &dyn Store) {
    let bytes = b"one two three";
    let key = key(1, bytes);
    assert_eq!(store.partial_bytes(key).unwrap(), 0);
    assert_eq!(
        store
            .append_partial(key, chunk(13, 0, &bytes[..4]))
            .unwrap(),
        4
    );
    assert_eq!(
        store
            .append_partial(key, chunk(13, 4, &bytes[4..]))
            .unwrap(),
        13
    );
    assert_eq!(store.partials().unwrap(), [(key, 13)]);
    assert!(!store.has_blob(key.hash).unwrap());
    store.finish_partial(key).unwrap();
    assert_eq!(store.blob(key.hash).unwrap().unwrap(), bytes);
    assert_eq!(store.partials().unwrap(), []);
    store.finish_partial(key).unwrap();
}

fn an_upload_with_another_hash_is_dropped(store: &dyn Store) {
    let declared = key(1, b"declared");
    store
        .append_partial(declared, chunk(8, 0, b"received"))
        .unwrap();
    assert!(matches!(
        store.finish_partial(declared),
        Err(StoreError::Partial(PartialError::HashMismatch { declared: d, actual }))
            if d == declared.hash && actual == BlobHash::of(b"received")
    ));
    assert_eq!(store.blobs().unwrap(), []);
    assert_eq!(store.partial_bytes(declared).unwrap(), 0);
    store
        .append_partial(declared, chunk(8, 0, b"declared"))
        .unwrap();
    store.finish_partial(declared).unwrap();
}

fn a_chunk_at_the_wrong_offset_changes_nothing(store: &dyn Store) {
    let key = key(1, b"abcdef");
    store.append_partial(key, chunk(6, 0, b"abc")).unwrap();
    for got in [0, 2, 4] {
        assert!(matches!(
            store.append_partial(key, chunk(6, got, b"d")),
            Err(StoreError::Partial(PartialError::Offset { expected: 3, got: g })) if g == got
        ));
    }
    assert_eq!(store.append_partial(key, chunk(6, 3, b"def")).unwrap(), 6);
    store.finish_partial(key).unwrap();
}

fn an_upload_cannot_outgrow_its_declaration_or_the_limits(store: &dyn Store) {
    let refused = |key, chunk| match store.append_partial(key, chunk) {
        Err(StoreError::Partial(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    };
    assert!(matches!(
        refused(key(1, b"a"), chunk(2, 0, b"abc")),
        PartialError::BeyondDeclared {
            declared: 2,
            bytes: 3
        }
    ));
    assert!(matches!(
        refused(key(1, b"a"), chunk(1 << 40, 0, b"a")),
        PartialError::TooLong { .. }
    ));
    assert!(matches!(
        refused(key(1, b"a"), chunk(2_000, 0, &[0; 1_001])),
        PartialError::TooManyBytes { bytes_max: 1_000 }
    ));
    assert_eq!(store.partials().unwrap(), []);
    store
        .append_partial(key(1, b"a"), chunk(9, 0, b"x"))
        .unwrap();
    store
        .append_partial(key(1, b"b"), chunk(9, 0, b"x"))
        .unwrap();
    // What a device gave up makes way for what it sends next.
    store
        .append_partial(key(1, b"c"), chunk(9, 0, b"x"))
        .unwrap();
    assert_eq!(store.partial_bytes(key(1, b"a")).unwrap(), 0);
    assert_eq!(store.partials().unwrap().len(), 2);
    assert!(!store.drop_partial(key(1, b"a")).unwrap());
    assert!(store.drop_partial(key(1, b"b")).unwrap());
}

fn one_device_cannot_touch_the_upload_of_another(store: &dyn Store) {
    let (honest, liar) = (key(1, b"content"), key(2, b"content"));
    store.append_partial(honest, chunk(7, 0, b"cont")).unwrap();
    store.append_partial(liar, chunk(7, 0, b"garbage")).unwrap();
    assert!(store.finish_partial(liar).is_err());
    assert_eq!(store.partial_bytes(honest).unwrap(), 4);
    store.append_partial(honest, chunk(7, 4, b"ent")).unwrap();
    store.finish_partial(honest).unwrap();
}

fn an_empty_blob_can_be_uploaded(store: &dyn Store) {
    let key = key(1, b"");
    assert!(matches!(
        store.finish_partial(key),
        Err(StoreError::Partial(PartialError::Unknown { .. }))
    ));
    store.append_partial(key, chunk(0, 0, b"")).unwrap();
    store.finish_partial(key).unwrap();
    assert_eq!(store.blob(key.hash).unwrap().unwrap(), b"");
}

fn a_document_is_replaced_whole(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    assert_eq!(store.document("snapshot").unwrap(), None);
    assert!(store.documents().unwrap().is_empty());
    store
        .put_document(epoch, "snapshot", b"a long first one")
        .unwrap();
    store.put_document(epoch, "snapshot", b"short").unwrap();
    store.put_document(epoch, "empty", b"").unwrap();
    assert_eq!(store.document("snapshot").unwrap().unwrap(), b"short");
    assert_eq!(store.document("empty").unwrap().unwrap(), b"");
    assert_eq!(store.documents().unwrap(), ["empty", "snapshot"]);
    assert_eq!(store.epoch().unwrap(), epoch);
}

fn a_document_name_cannot_leave_its_folder(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    for name in ["", "..", "a/b", "../mark", "A", "nul\0", &"x".repeat(65)] {
        assert!(matches!(
            store.put_document(epoch, name, b"x"),
            Err(StoreError::DocumentName { .. })
        ));
        assert!(matches!(
            store.document(name),
            Err(StoreError::DocumentName { .. })
        ));
    }
}

fn many_threads_append_one_chain(store: &dyn Store) {
    let epoch = store.open_epoch().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for event in 0..25u8 {
                    store.append(epoch, None, &[vec![thread, event]]).unwrap();
                    store.put_blob(&[event]).unwrap();
                }
            });
        }
    });
    assert_eq!(store.verify().unwrap().next, Position(100));
    assert_eq!(store.blobs().unwrap().len(), 25);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for record in store.read(Position(0), 100).unwrap() {
        seen.push(record.bytes);
    }
    for thread in 0..4u8 {
        let own = seen.iter().filter(|event| event[0] == thread);
        assert!(own.map(|event| event[1]).eq(0..25));
    }
}

#[test]
fn a_memory_store_is_a_store_behind_a_pointer() {
    let store: Box<dyn Store> = Box::new(MemoryStore::new());
    assert_eq!(store.open_epoch().unwrap(), Epoch(1));
}
