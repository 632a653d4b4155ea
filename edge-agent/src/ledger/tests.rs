#![allow(clippy::unwrap_used)]
use super::*;
use common::ids::{RoundId, TaskHash};
use common::round::{Kind, Phase, Reason};
use std::fs;

fn entry(time: u64, payload: &[u8], outcome: Outcome) -> Entry {
    Entry {
        time: Time(time),
        task: TaskHash([3; 32]),
        round: RoundId(2),
        phase: Phase::Contribute,
        kind: Kind::Moments,
        rows: 40,
        bytes: payload.len() as u64,
        blob: BlobHash::of(payload),
        outcome,
    }
}

const LATE: Outcome = Outcome::Refused {
    reason: Reason::PhaseClosed,
};

#[test]
fn what_left_is_listed_and_counted_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let entries = [
        entry(DAY_MS - 1, b"yesterday", Outcome::Accepted),
        entry(DAY_MS, b"one", LATE),
        entry(DAY_MS + 5, b"three", Outcome::Accepted),
    ];
    let mut ledger = Ledger::open(folder.path()).unwrap();
    for (entry, payload) in entries.iter().zip([&b"yesterday"[..], b"one", b"three"]) {
        ledger.append(entry, payload).unwrap();
    }
    for ledger in [ledger, Ledger::open(folder.path()).unwrap()] {
        assert_eq!(ledger.entries().unwrap(), entries);
        assert_eq!(ledger.sent_today(Time(0)), 9);
        assert_eq!(ledger.sent_today(Time(2 * DAY_MS - 1)), 8);
        assert_eq!(ledger.sent_today(Time(2 * DAY_MS)), 0);
        assert_eq!(ledger.payload(entries[1].blob).unwrap().unwrap(), b"one");
        assert_eq!(ledger.payload(BlobHash::of(b"never")).unwrap(), None);
    }
    assert_eq!(entries_in(folder.path()).unwrap(), entries);
    let shown = payload_in(folder.path(), entries[2].blob).unwrap();
    assert_eq!(shown.unwrap(), b"three");
}

#[test]
fn a_torn_last_line_costs_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let first = entry(1, b"first", Outcome::Accepted);
    let second = entry(2, b"second", LATE);
    let mut ledger = Ledger::open(folder.path()).unwrap();
    ledger.append(&first, b"first").unwrap();
    let whole = fs::read(&ledger.path).unwrap().len();
    ledger.append(&second, b"second").unwrap();
    let bytes = fs::read(&ledger.path).unwrap();
    for length in (whole..bytes.len())
        .rev()
        .step_by(9)
        .chain([whole, whole + 1])
    {
        let image = tempfile::tempdir().unwrap();
        let path = image.path().join("ledger.jsonl");
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(entries_in(image.path()).unwrap(), [first]);
        let mut ledger = Ledger::open(image.path()).unwrap();
        assert_eq!(ledger.entries().unwrap(), [first]);
        assert_eq!(ledger.sent_today(Time(0)), 5);
        ledger.append(&second, b"second").unwrap();
        assert_eq!(ledger.entries().unwrap(), [first, second]);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_line_that_cannot_be_read_is_skipped_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    fs::write(&path, b"\0\0\0\n").unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let one = entry(1, b"one", Outcome::Accepted);
    ledger.append(&one, b"one").unwrap();
    assert_eq!(ledger.entries().unwrap(), [one]);
    assert!(fs::read(&path).unwrap().starts_with(b"\0\0\0\n"));
}

#[test]
fn bytes_that_are_not_what_the_entry_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let one = entry(1, b"one", Outcome::Accepted);
    let error = ledger.append(&one, b"two").unwrap_err();
    assert!(matches!(error, LedgerError::Damaged(_)), "{error}");
    assert_eq!(ledger.entries().unwrap(), []);
    ledger.append(&one, b"one").unwrap();
    let path = folder.path().join("payloads").join(one.blob.to_string());
    fs::write(&path, b"two").unwrap();
    let error = ledger.payload(one.blob).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged(at) if at == path));
}

#[test]
fn the_newest_bytes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let third = usize::try_from(LEDGER_PAYLOAD_BYTES_MAX / 3).unwrap();
    let payload = |byte| vec![byte; third];
    let entries: Vec<Entry> = (0..5)
        .map(|byte| entry(1, &payload(byte), Outcome::Accepted))
        .collect();
    for byte in [0, 1, 2, 0] {
        let one = &entries[usize::from(byte)];
        ledger.append(one, &payload(byte)).unwrap();
    }
    let mut ledger = Ledger::open(folder.path()).unwrap();
    for byte in [3, 4] {
        let one = &entries[usize::from(byte)];
        ledger.append(one, &payload(byte)).unwrap();
    }
    let kept: Vec<bool> = entries
        .iter()
        .map(|entry| ledger.payload(entry.blob).unwrap().is_some())
        .collect();
    assert_eq!(kept, [true, false, false, true, true]);
    assert_eq!(ledger.entries().unwrap().len(), 6);
}

#[test]
fn label_deltas_start_from_the_newest_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let task = TaskHash([3; 32]);
    let base = |ledger: &Ledger| ledger.label_base(task).unwrap();
    let labels = |payload: &[u8], outcome| Entry {
        kind: Kind::Labels,
        ..entry(1, payload, outcome)
    };
    assert_eq!(base(&ledger), None);
    // Whole labels begin with their rows, which are not none.
    let mut whole = vec![7u8; 400];
    ledger
        .append(&labels(&whole, Outcome::Accepted), &whole)
        .unwrap();
    assert_eq!(base(&ledger), Some(whole.clone()));
    let first = whole.clone();
    whole[20] = 8;
    let delta = common::labels::framed(&whole, Some(&first));
    assert!(delta.len() < whole.len());
    ledger
        .append(&labels(&delta, Outcome::Accepted), &delta)
        .unwrap();
    ledger.append(&labels(b"late", LATE), b"late").unwrap();
    ledger
        .append(&entry(1, b"moments", Outcome::Accepted), b"moments")
        .unwrap();
    assert_eq!(base(&ledger), Some(first), "a delta is never stood on");
    let lost = Outcome::Refused {
        reason: Reason::UnknownBase,
    };
    ledger.append(&labels(b"delta", lost), b"delta").unwrap();
    assert_eq!(base(&ledger), None);
    ledger
        .append(&labels(&whole, Outcome::Accepted), &whole)
        .unwrap();
    assert_eq!(base(&Ledger::open(folder.path()).unwrap()), Some(whole));
}
