#![allow(clippy::unwrap_used)]
use super::*;
use common::round::{Kind, Phase};
use proptest::prelude::*;

fn key(task: u8, round: u64, kind: Kind) -> ContributionKey {
    ContributionKey {
        task: TaskHash([task; 32]),
        transfer: None,
        round: RoundId(round),
        phase: Phase::Contribute,
        kind,
    }
}

fn pending(key: ContributionKey, payload: &[u8]) -> Pending {
    Pending {
        key,
        blob: BlobHash::of(payload),
        bytes: payload.len() as u64,
    }
}

fn put(outbox: &mut Outbox, round: u64, kind: Kind, payload: &[u8]) -> Pending {
    let pending = pending(key(1, round, kind), payload);
    assert_eq!(outbox.put(&pending, 25, payload).unwrap(), []);
    pending
}

#[test]
fn what_was_put_waits_across_a_restart_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    let moments = put(&mut outbox, 2, Kind::Moments, b"moments");
    let labels = put(&mut outbox, 1, Kind::Labels, b"labels");
    let newer = put(&mut outbox, 2, Kind::Moments, b"newer moments");
    let gone = put(&mut outbox, 1, Kind::Report, b"report");
    outbox.remove(&gone.key).unwrap();
    outbox.remove(&gone.key).unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    assert_eq!(outbox.list(), [labels, newer]);
    assert_eq!(outbox.payload(&moments.key).unwrap(), b"newer moments");
    assert_eq!(outbox.rows(&labels.key), Some(25));
    assert_eq!(outbox.bytes(), 19);
    let last = put(&mut outbox, 3, Kind::Labels, b"last");
    assert_eq!(outbox.list(), [labels, newer, last]);
    let missing = outbox.payload(&gone.key).unwrap_err();
    assert!(matches!(missing, OutboxError::Missing(key) if key == gone.key));
}

#[test]
fn an_interrupted_put_leaves_the_old_entry_or_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    let old = put(&mut outbox, 1, Kind::Labels, b"old");
    let path = folder.path().join(name(&old.key));
    let before = fs::read(&path).unwrap();
    let new = put(&mut outbox, 1, Kind::Labels, b"new one");
    let after = fs::read(&path).unwrap();
    for length in 0..=after.len() {
        let image = tempfile::tempdir().unwrap();
        let unfinished = format!("{}{}", name(&old.key), disk::UNFINISHED);
        fs::write(image.path().join(name(&old.key)), &before).unwrap();
        fs::write(image.path().join(&unfinished), &after[..length]).unwrap();
        let outbox = Outbox::open(image.path()).unwrap();
        assert_eq!(outbox.list(), [old]);
        assert!(!image.path().join(&unfinished).exists());
        assert!(!image.path().join(CORRUPT).exists());
    }
    assert_eq!(Outbox::open(folder.path()).unwrap().list(), [new]);
}

#[test]
fn damaged_and_foreign_files_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    let sound = put(&mut outbox, 1, Kind::Labels, b"labels");
    let damaged = put(&mut outbox, 1, Kind::Moments, b"moments");
    let path = folder.path().join(name(&damaged.key));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = outbox.payload(&damaged.key).unwrap_err();
    assert!(matches!(error, OutboxError::Damaged { path: at, .. } if at == path));
    fs::copy(
        folder.path().join(name(&sound.key)),
        folder.path().join("renamed.entry"),
    )
    .unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    for _ in 0..2 {
        assert_eq!(Outbox::open(folder.path()).unwrap().list(), [sound]);
    }
    assert_eq!(disk::names(&folder.path().join(CORRUPT)).unwrap().len(), 4);
    assert_eq!(disk::names(folder.path()).unwrap().len(), 2);
}

#[test]
fn bytes_that_are_not_as_announced_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    let announced = pending(key(1, 1, Kind::Labels), b"one");
    let error = outbox.put(&announced, 20, b"two").unwrap_err();
    assert!(matches!(error, OutboxError::Mismatch { .. }), "{error}");
    assert_eq!(outbox.list(), []);
}

#[test]
fn a_full_outbox_drops_only_past_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    let past = put(&mut outbox, 1, Kind::Labels, b"past");
    let task = |task| pending(key(task, 5, Kind::Labels), b"x");
    let others = u8::try_from(OUTBOX_ENTRIES_MAX - 1).unwrap();
    for other in 2..2 + others {
        assert_eq!(outbox.put(&task(other), 20, b"x").unwrap(), []);
    }
    let newest = pending(key(1, 2, Kind::Labels), b"newest");
    assert_eq!(outbox.put(&newest, 20, b"newest").unwrap(), [past]);
    let before = outbox.list();
    let error = outbox.put(&task(200), 20, b"x").unwrap_err();
    assert!(
        matches!(
            error,
            OutboxError::Full {
                entries: OUTBOX_ENTRIES_MAX,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(outbox.list(), before);
    assert_eq!(Outbox::open(folder.path()).unwrap().list(), before);
}

proptest! {
    #[test]
    fn a_file_reads_back_as_it_was_written(
        payload: Vec<u8>, sequence: u64, rows: u64, round: u64, transfer: Option<[u8; 32]>,
    ) {
        let key = ContributionKey { transfer: transfer.map(BlobHash), ..key(3, round, Kind::Moments) };
        let Pending { blob, bytes, .. } = pending(key, &payload);
        let packed = pack(&Header { sequence, key, blob, bytes, rows }, &payload);
        let (header, found) = unpack(&packed).unwrap();
        prop_assert_eq!(found, &payload[..]);
        prop_assert_eq!((header.sequence, header.rows, header.key), (sequence, rows, key));
    }

    #[test]
    fn no_bytes_make_reading_panic(body: Vec<u8>) {
        let _ = unpack(&disk::seal(&body));
    }
}
