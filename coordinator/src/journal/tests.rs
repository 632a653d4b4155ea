#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, RoundId, Time, Version};
use common::round::{Kind, Phase};
use common::task::{RawTask, Task};
use proptest::prelude::*;

use super::snapshot::{encode, name};
use super::*;
use crate::journal::{LogEntry, replay};
use crate::registry::RegistryEvent;
use crate::round::{AbsenceReason, Event, Missed, Outcome, Product, TaskEvent};
use crate::store::{AppendFault, Epoch, MemoryStore, Position, Store, StoreError};

fn device(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

/// A store, its writer, and a task whose rounds are written without an
/// engine.
struct Case {
    store: MemoryStore,
    epoch: Epoch,
    task: Task,
    pins: Arc<Pins>,
    retention: Retention,
}

impl Case {
    fn new() -> Self {
        // All of it is in the task's hash, which snapshots hold.
        let text = "name = \"t\"\ncontribute = \"both\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"\n\
            [budget]\npoints_per_device = 20\npoints_max = 300\n[distillation]\nlearning_rate = 0.002\n";
        let store = MemoryStore::new();
        let case = Self {
            epoch: store.open_epoch().unwrap(),
            task: RawTask::parse(text).unwrap(),
            pins: Pins::new(),
            retention: Retention {
                rounds: Some(3),
                blob_rounds: 1,
            },
            store,
        };
        let spec = case.store.put_blob(case.task.bytes()).unwrap();
        case.events([Event::TaskCreated { spec, at: Time(0) }]);
        let revoked = RegistryEvent::Revoked {
            device: device(200),
            reason: "lost".into(),
            at: Time(0),
        };
        let entry = LogEntry::Registry(revoked).to_bytes();
        case.store.append(case.epoch, None, &[entry]).unwrap();
        case
    }

    fn events(&self, events: impl IntoIterator<Item = Event>) {
        let entry = |event| {
            let task = self.task.hash();
            LogEntry::Task(TaskEvent { task, event }).to_bytes()
        };
        let entries: Vec<_> = events.into_iter().map(entry).collect();
        self.store.append(self.epoch, None, &entries).unwrap();
    }

    fn blob(&self, text: &str) -> BlobHash {
        self.store.put_blob(text.as_bytes()).unwrap()
    }

    /// A round of two devices that give moments, with a teacher, a student
    /// and a release.
    fn round(&self, number: u64) {
        let at = Time(1_000 * number);
        let moments = |of: u8| Event::Accepted {
            device: device(of),
            kind: Kind::Moments,
            round: RoundId(number),
            blob: self.blob(&format!("moments {of} {number}")),
            transfer: None,
            rows: 10,
            at,
        };
        let made = |product| Event::Produced { product, at };
        let version = Version { epoch: 1, number };
        self.events([
            Event::RoundOpened {
                round: RoundId(number),
                at,
            },
            Event::PhaseOpened {
                phase: Phase::Contribute,
                at,
                participants: vec![device(1), device(2)],
            },
            moments(1),
            moments(2),
            Event::Missed(Missed {
                named: vec![(device(3), AbsenceReason::NotAsked)],
                counts: vec![(AbsenceReason::NotAsked, 1)],
            }),
            Event::PhaseClosed { at },
            made(Product::Teacher(self.blob(&format!("teacher {number}")))),
            made(Product::Student(self.blob(&format!("student {number}")))),
            Event::Released {
                version,
                blob: self.blob(&format!("release {number}")),
                bytes: 9,
                lineage: vec![device(1), device(2)],
                at,
            },
            Event::RoundEnded {
                outcome: Outcome::Completed { version },
                at,
            },
        ]);
    }

    fn keep(&self) -> Result<Done, CompactionError> {
        Compaction::begin(self.epoch, self.retention).run_all(&self.store, &self.pins)
    }

    fn has(&self, text: &str) -> bool {
        let hash = BlobHash::of(text.as_bytes());
        self.store.has_blob(hash).unwrap()
    }

    /// The fold of everything, kept apart from the store.
    fn whole(&self, archive: &mut Fold) -> Fold {
        archive.finish(&self.store).unwrap();
        archive.clone()
    }

    fn fold(&self) -> Fold {
        let mut fold = newest(&self.store).unwrap().fold;
        fold.finish(&self.store).unwrap();
        fold
    }

    fn snapshots(&self) -> Vec<String> {
        self.store.documents().unwrap()
    }
}

const RECORDS_EACH: u64 = 10;

#[test]
fn a_snapshot_and_the_rest_fold_to_what_the_whole_log_did() {
    let (case, mut archive) = (Case::new(), Fold::default());
    for number in 1..=20 {
        case.round(number);
        let whole = case.whole(&mut archive);
        if number % 3 == 0 {
            case.keep().unwrap();
        }
        assert_eq!(case.fold(), whole);
    }
    let replayed = replay(&case.store).unwrap();
    assert_eq!(replayed.next, case.store.head().unwrap().next);
    assert_eq!(replayed.tasks[0].1.last_round, RoundId(20));
    assert!(replayed.registry.revoked().contains_key(&device(200)));
    assert!(replayed.snapshot.is_some() && replayed.refused.is_empty());
    assert!(case.store.first().unwrap() > Position(0));
    assert_eq!(case.store.verify().unwrap(), case.store.head().unwrap());
}

#[test]
fn the_log_reaches_back_to_the_older_of_two_snapshots() {
    let case = Case::new();
    let mut before: Option<Position> = None;
    for number in 1..=40 {
        case.round(number);
        let done = case.keep().unwrap();
        assert!(done.written);
        assert!(case.snapshots().len() <= 2);
        let first = case.store.first().unwrap();
        assert!(before.is_none_or(|older| first <= older));
        before = done.snapshot;
    }
    let rounds = case.store.head().unwrap().next.0 - case.store.first().unwrap().0;
    assert_eq!(rounds, 3 * RECORDS_EACH);
}

#[test]
fn compaction_with_nothing_new_writes_nothing() {
    let case = Case::new();
    case.round(1);
    assert!(case.keep().unwrap().written);
    let again = case.keep().unwrap();
    assert!(!again.written);
    assert_eq!((again.records, again.blobs), (0, 0));
}

#[test]
fn all_records_stay_if_that_was_asked_for() {
    let mut case = Case::new();
    case.retention.rounds = None;
    for number in 1..=10 {
        case.round(number);
        case.keep().unwrap();
    }
    assert_eq!(case.store.first().unwrap(), Position(0));
    assert!(!case.has("moments 1 1"));
}

#[test]
fn a_damaged_snapshot_is_named_and_the_older_one_taken() {
    let (case, mut archive) = (Case::new(), Fold::default());
    for number in 1..=10 {
        case.round(number);
        case.whole(&mut archive);
        case.keep().unwrap();
    }
    let whole = case.whole(&mut archive);
    let [older, newer] = &case.snapshots()[..] else {
        panic!("two are kept");
    };
    assert!(case.store.damage_document(newer));
    let replayed = replay(&case.store).unwrap();
    assert_eq!(replayed.refused[0].name, *newer);
    assert!(replayed.refused[0].reason.contains("damaged"));
    assert_eq!(case.fold(), whole);
    case.round(11);
    case.keep().unwrap();
    assert!(!case.snapshots().contains(newer), "it made way");
    assert!(case.snapshots().contains(older));
}

#[test]
fn what_is_kept_beside_the_newest_is_good() {
    let case = Case::new();
    for number in 1..=6 {
        case.round(number);
        case.keep().unwrap();
    }
    let older = case.snapshots()[0].clone();
    case.store.damage_document(&case.snapshots()[1]);
    case.round(7);
    // The cut comes after the new one is written, before the bad one goes.
    let mut compaction = Compaction::begin(case.epoch, case.retention);
    while case.snapshots().len() < 3 {
        compaction.step(&case.store, &case.pins).unwrap();
    }
    case.keep().unwrap();
    let newest = name(case.store.head().unwrap().next);
    assert_eq!(case.snapshots(), [older, newest]);
}

#[test]
fn without_any_good_snapshot_a_shortened_log_does_not_open() {
    let case = Case::new();
    for number in 1..=10 {
        case.round(number);
        case.keep().unwrap();
    }
    for name in case.snapshots() {
        case.store.damage_document(&name);
    }
    let error = replay(&case.store).unwrap_err();
    assert!(matches!(&error, ReplayError::SnapshotLost { first, .. } if first.0 > 0));
    let said = error.to_string();
    for name in case.snapshots() {
        assert!(said.contains(&name), "{said}");
        case.store.remove_document(case.epoch, &name).unwrap();
    }
    assert!(said.contains("restore a backup"));
    let error = replay(&case.store).unwrap_err();
    assert!(error.to_string().contains("there is none"));
    assert!(case.keep().is_err());
}

#[test]
fn a_whole_log_needs_no_snapshot_and_survives_bad_ones() {
    let (case, mut archive) = (Case::new(), Fold::default());
    case.round(1);
    let whole = case.whole(&mut archive);
    case.keep().unwrap();
    for name in case.snapshots() {
        case.store.damage_document(&name);
    }
    assert_eq!(case.fold(), whole);
    assert_eq!(replay(&case.store).unwrap().snapshot, None);
}

#[test]
fn a_snapshot_of_a_later_version_is_refused() {
    let case = Case::new();
    case.round(1);
    case.keep().unwrap();
    case.round(2);
    let mut bytes = encode(&case.fold());
    let version = "alambic-snapshot".len();
    bytes[version] = SNAPSHOT_VERSION as u8 + 1;
    let document = name(case.store.head().unwrap().next);
    case.store
        .put_document(case.epoch, &document, &bytes)
        .unwrap();
    assert!(matches!(
        replay(&case.store),
        Err(ReplayError::SnapshotNewer { name, version: 2, known: 1 }) if name == document
    ));
}

#[test]
fn a_snapshot_of_another_log_is_none() {
    let (one, other) = (Case::new(), Case::new());
    one.round(1);
    other.round(2);
    let foreign = encode(&other.fold());
    let document = name(one.store.head().unwrap().next);
    one.store
        .put_document(one.epoch, &document, &foreign)
        .unwrap();
    let replayed = replay(&one.store).unwrap();
    assert!(replayed.refused[0].reason.contains("another log"));
    assert_eq!(replayed.tasks[0].1.last_round, RoundId(1));
    // One that knows more than the log has is no better.
    other.round(3);
    let ahead = name(other.store.head().unwrap().next);
    let bytes = encode(&other.fold());
    one.store.put_document(one.epoch, &ahead, &bytes).unwrap();
    assert_eq!(replay(&one.store).unwrap().refused.len(), 2);
}

#[test]
fn what_an_older_program_left_opens_without_a_snapshot() {
    let (case, mut archive) = (Case::new(), Fold::default());
    for number in 1..=5 {
        case.round(number);
    }
    assert_eq!(case.fold(), case.whole(&mut archive));
    assert_eq!(replay(&case.store).unwrap().snapshot, None);
}

#[test]
fn a_writer_that_was_fenced_out_deletes_nothing() {
    let case = Case::new();
    for number in 1..=9 {
        case.round(number);
    }
    let mut compaction = Compaction::begin(case.epoch, case.retention);
    case.store.open_epoch().unwrap();
    let (head, blobs) = (case.store.head().unwrap(), case.store.blobs().unwrap());
    let error = loop {
        match compaction.step(&case.store, &case.pins) {
            Ok(Step::More) => {}
            Ok(Step::Done(done)) => panic!("{done:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        CompactionError::Replay(ReplayError::Store(StoreError::Fenced { .. }))
    ));
    assert_eq!(case.store.blobs().unwrap(), blobs);
    assert_eq!(case.store.head().unwrap(), head);
    assert_eq!(case.snapshots(), Vec::<String>::new());
}

#[test]
fn a_full_disk_is_given_back_what_nothing_needs() {
    let case = Case::new();
    for number in 1..=9 {
        case.round(number);
    }
    case.store.set_full(true);
    let done = case.keep().unwrap();
    assert!(done.is_full && !done.written && done.records == 0);
    assert!(done.blobs > 0);
    assert_eq!(case.store.first().unwrap(), Position(0));
}

#[test]
fn unreferenced_blobs_are_deleted() {
    let case = Case::new();
    for number in 1..=80 {
        case.round(number);
    }
    let orphan = case.blob("its event never came");
    let done = case.keep().unwrap();
    assert!(done.blobs > 0);
    assert!(!case.store.has_blob(orphan).unwrap());
    for gone in ["moments 1 79", "teacher 79", "student 79", "release 16"] {
        assert!(!case.has(gone), "{gone} is there");
    }
    for kept in [
        "moments 1 80",
        "moments 2 80",
        "teacher 80",
        "student 80",
        "release 17",
        "release 80",
    ] {
        assert!(case.has(kept), "{kept} is gone");
    }
    assert!(
        case.store
            .has_blob(BlobHash::of(case.task.bytes()))
            .unwrap()
    );
}

#[test]
fn what_is_on_its_way_into_the_log_stays() {
    let case = Case::new();
    case.round(1);
    let pin = case.pins.pin(BlobHash::of(b"on its way"));
    let blob = case.blob("on its way");
    case.keep().unwrap();
    assert!(case.store.has_blob(blob).unwrap());
    drop(pin);
    case.keep().unwrap();
    assert!(!case.store.has_blob(blob).unwrap());
}

/// A crash after any step, with loss of what was not durable.
#[test]
fn after_a_crash_between_any_two_steps_all_is_there() {
    for crash_after in 0.. {
        let (case, mut archive) = (Case::new(), Fold::default());
        for number in 1..=12 {
            case.round(number);
            case.whole(&mut archive);
            if number == 4 || number == 8 {
                case.keep().unwrap();
            }
        }
        let whole = case.whole(&mut archive);
        let mut compaction = Compaction::begin(case.epoch, case.retention);
        let mut over = false;
        for _ in 0..crash_after {
            over = matches!(
                compaction.step(&case.store, &case.pins).unwrap(),
                Step::Done(_)
            );
        }
        case.store.lose_unflushed();
        assert_eq!(case.fold(), whole, "after step {crash_after}");
        let needed = needed(&case.store, &mut case.fold(), case.fold().floor(1)).unwrap();
        for blob in needed {
            assert!(
                case.store.has_blob(blob).unwrap(),
                "after step {crash_after}"
            );
        }
        // The next one ends what this one began.
        let pins = Pins::new();
        let done = Compaction::begin(case.epoch, case.retention).run_all(&case.store, &pins);
        assert!(done.is_ok());
        assert_eq!(case.fold(), whole);
        if over {
            assert!(crash_after > 5, "{crash_after} steps are too few");
            return;
        }
    }
}

#[test]
fn a_store_of_which_nobody_knows_the_end_forgets_nothing() {
    let case = Case::new();
    case.round(1);
    let blob = case.blob("named by the last event");
    let event = Event::Accepted {
        device: device(1),
        kind: Kind::Report,
        round: RoundId(1),
        blob,
        transfer: None,
        rows: 1,
        at: Time(9),
    };
    let entry = LogEntry::Task(TaskEvent {
        task: case.task.hash(),
        event,
    });
    case.store.fail_next_append(AppendFault::AfterFlush);
    let failed = case.store.append(case.epoch, None, &[entry.to_bytes()]);
    assert!(failed.is_err());
    let stopped = |error: StoreError| matches!(error, StoreError::Stopped { .. });
    assert!(case.store.remove_blob(case.epoch, blob).is_err_and(stopped));
    assert!(
        case.store
            .remove_document(case.epoch, "x")
            .is_err_and(stopped)
    );
}

#[test]
fn a_forgotten_devices_blobs_go_whatever_names_them() {
    let mut case = Case::new();
    case.retention.blob_rounds = 3;
    for number in 1..=3 {
        case.round(number);
    }
    case.keep().unwrap();
    assert!(case.has("moments 1 1") && case.has("teacher 3"));
    case.events([Event::Forgotten {
        device: device(1),
        at: Time(9_000),
    }]);
    let sweep = Compaction::sweep(case.epoch, case.retention);
    let done = sweep.run_all(&case.store, &case.pins).unwrap();
    assert!(done.blobs > 0 && !done.written);
    for number in 1..=3 {
        assert!(!case.has(&format!("moments 1 {number}")));
        assert!(case.has(&format!("moments 2 {number}")));
        assert!(!case.has(&format!("teacher {number}")), "it was in it");
        assert!(!case.has(&format!("student {number}")));
        assert!(case.has(&format!("release {number}")), "devices hold it");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(tasks_of(&bytes).is_none());
        let mut begun = b"alambic-snapshot".to_vec();
        begun.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        begun.extend_from_slice(&bytes);
        // Whatever it is taken for, nothing breaks.
        let _ = tasks_of(&begun);
    }
}

/// The format is what released versions wrote: a change of it needs a new
/// number, and a reader for the old one.
#[test]
fn the_snapshot_format_is_the_committed_one() {
    let case = Case::new();
    for number in 1..=2 {
        case.round(number);
    }
    let bytes = encode(&case.fold());
    let committed = include_bytes!("tests/snapshot-1.bin");
    assert!(
        bytes == committed,
        "what a snapshot holds has changed: give it a new SNAPSHOT_VERSION and read the old one"
    );
}

/// Before the first release nothing has to be read for ever.
#[test]
#[ignore = "writes what the test above holds the format to"]
fn write_the_snapshot() {
    let case = Case::new();
    for number in 1..=2 {
        case.round(number);
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/journal/tests/snapshot-1.bin"
    );
    std::fs::write(path, encode(&case.fold())).unwrap();
}

#[test]
fn the_key_frame_that_standing_labels_are_a_delta_of_stays() {
    let case = Case::new();
    let whole: Vec<u8> = (1..=200).collect();
    let mut changed = whole.clone();
    changed[100] = 0;
    let delta = common::labels::framed(&changed, Some(&whole));
    assert!(delta.len() < changed.len());
    let labels = |bytes: &[u8], number| Event::Accepted {
        device: device(3),
        kind: Kind::Labels,
        round: RoundId(number),
        blob: case.store.put_blob(bytes).unwrap(),
        transfer: None,
        rows: 10,
        at: Time(1_000 * number),
    };
    for (number, bytes) in [(1, &whole), (2, &delta)] {
        let at = Time(1_000 * number);
        let round = RoundId(number);
        case.events([
            Event::RoundOpened { round, at },
            Event::PhaseOpened {
                phase: Phase::Contribute,
                at,
                participants: vec![device(3)],
            },
            labels(bytes, number),
            Event::PhaseClosed { at },
            Event::RoundEnded {
                outcome: Outcome::Cancelled,
                at,
            },
        ]);
    }
    for number in 3..=9 {
        case.round(number);
        case.keep().unwrap();
    }
    let held = |bytes: &[u8]| case.store.has_blob(BlobHash::of(bytes)).unwrap();
    assert!(held(&delta) && held(&whole));
    assert!(!case.has("moments 1 3"), "others were let go");
}
