//! A store that does not grow with its age: disk, memory and the time of a
//! start after many rounds.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use coordinator::journal::Retention;
use coordinator::journal::replay;
use coordinator::status::{OutcomeStatus, Progress};
use coordinator::store::{SledStore, Store, Usage};
use tests::aging::Aging;
use tests::fixtures::{coordinator, serve};
use tests::rig::agents;

const RETENTION: Retention = Retention {
    rounds: Some(20),
    blob_rounds: 2,
};
/// As in the server.
const ROUNDS_BETWEEN_COMPACTIONS: u64 = 8;

/// Rounds, with an compaction now and then.
fn age(aging: &mut Aging, rounds: u64) {
    for _ in 0..rounds {
        aging.round();
        if aging.rounds().is_multiple_of(ROUNDS_BETWEEN_COMPACTIONS) {
            aging.keep();
        }
    }
}

/// In memory where the system has such a place: the disk is not what is
/// tested, and each round waits for it a hundred times.
fn folder() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn used(aging: &Aging) -> Usage {
    aging.store.usage().unwrap()
}

#[test]
fn disk_use_after_twice_the_rounds_is_what_it_was() {
    let folder = folder();
    let store = folder.path().join("store");
    let mut aging = Aging::begin(&store, 4, RETENTION);
    age(&mut aging, ROUNDS);
    let (half, records) = (used(&aging), aging.store.head().unwrap().next.0);
    // A restart in between, which goes by the snapshot.
    let mut aging = aging.restarted(&store);
    assert!(replay(&aging.store).unwrap().snapshot.is_some());
    age(&mut aging, ROUNDS);
    let whole = used(&aging);
    assert_eq!(aging.rounds(), 2 * ROUNDS);
    let (first, head) = (aging.store.first().unwrap().0, aging.store.head().unwrap());
    assert!(head.next.0 > 19 * records / 10, "so much was written");
    assert!(head.next.0 - first < 30 * head.next.0 / (2 * ROUNDS));
    assert!(whole.blobs <= half.blobs, "{half:?}, then {whole:?}");
    assert!(aging.blobs_written > 3 * whole.blobs, "{whole:?}");
    // The database goes on in whole segments.
    let bound = half.bytes() + half.bytes() / 10 + SEGMENT_BYTES;
    assert!(whole.bytes() <= bound, "{half:?}, then {whole:?}");
    assert_eq!(aging.store.verify().unwrap(), head);
}

/// More than the rounds whose reports are kept.
const ROUNDS: u64 = 100;
const SEGMENT_BYTES: u64 = 1 << 20;

/// The figures of docs/results.md:
/// `cargo test --release -p tests --test retention -- --ignored --nocapture`
#[test]
#[ignore = "10,000 rounds, some minutes"]
fn ten_thousand_rounds_do_not_grow_the_store() {
    let folder = folder();
    let home = folder.path();
    assert!(coordinator(home).arg("init").status().unwrap().success());
    let store = home.join("coordinator/store");
    let rounds = std::env::var("ALAMBIC_ROUNDS").map_or(10_000, |text| text.parse().unwrap());
    let mut aging = Aging::begin(&store, 10, Retention::default());
    let begun = Instant::now();
    let mut seen = Vec::new();
    println!("rounds   records   kept   blobs   log KB   all KB   resident KB");
    for part in 1..=10 {
        age(&mut aging, rounds / 10);
        let (used, resident) = (used(&aging), resident_kb(Path::new("/proc/self/status")));
        let (first, next) = (
            aging.store.first().unwrap().0,
            aging.store.head().unwrap().next.0,
        );
        println!(
            "{:>6} {:>9} {:>6} {:>7} {:>8} {:>8} {:>13}",
            part * (rounds / 10),
            next,
            next - first,
            used.blobs,
            used.log_bytes / 1024,
            used.bytes() / 1024,
            resident,
        );
        seen.push((used.bytes(), resident));
    }
    println!(
        "{} rounds in {:.0} s",
        aging.rounds(),
        begun.elapsed().as_secs_f64()
    );
    drop(aging);
    let (ready, replayed) = opened(&store);
    println!(
        "opened and folded in {ready:.3} s, from the snapshot at {:?} to {}",
        replayed.snapshot, replayed.next
    );
    assert_eq!(replayed.tasks[0].1.last_round.0, rounds);
    let begun = Instant::now();
    let (_server, mut client, _) = serve(home);
    println!(
        "the program answers {:.3} s after its start",
        begun.elapsed().as_secs_f64()
    );
    let status = client.status().unwrap();
    assert_eq!(status.tasks[0].history.last().unwrap().round.0, rounds);
    // What is written from the second tenth to the last would show many times
    // over. Memory moves by steps of the allocator, so halves are compared.
    let (early, late) = (seen[1].0, seen[9].0);
    assert!(late <= early + early / 10 + SEGMENT_BYTES, "{seen:?}");
    let mean = |part: &[(u64, u64)]| {
        part.iter().map(|(_, kb)| *kb as f64).sum::<f64>() / part.len() as f64
    };
    let (early, late) = (mean(&seen[1..5]), mean(&seen[5..]));
    assert!(late <= 1.1 * early, "{seen:?}");
}

/// The same log without a snapshot.
#[test]
#[ignore = "10,000 rounds, some minutes"]
fn ten_thousand_rounds_fold_without_compaction() {
    let folder = folder();
    let store = folder.path().join("store");
    let rounds = std::env::var("ALAMBIC_ROUNDS").map_or(10_000, |text| text.parse().unwrap());
    let mut aging = Aging::begin(&store, 10, Retention::default());
    for _ in 0..rounds {
        aging.round();
    }
    let used = used(&aging);
    drop(aging);
    let (ready, replayed) = opened(&store);
    println!(
        "without compaction: {} records, {} blobs, {} KB; opened and folded in {ready:.3} s",
        replayed.next,
        used.blobs,
        used.bytes() / 1024
    );
    assert_eq!(replayed.tasks[0].1.last_round.0, rounds);
}

/// The real programs and the real mathematics, as fast as they can.
#[test]
#[ignore = "300 rounds, two minutes"]
fn coordinator_memory_is_flat_over_300_rounds() {
    let mut running = agents(2, 0.0, Some(WITHOUT_PAUSE));
    let mut seen = Vec::new();
    for part in 1..=10 {
        for _ in 0..PART {
            let task = running.task.clone();
            let step = running.client.run_round(Some(&task), |_| {}).unwrap();
            let ended = matches!(
                step,
                Progress::Ended {
                    outcome: OutcomeStatus::Completed { .. },
                    ..
                }
            );
            assert!(ended, "{step:?}");
        }
        let process = format!("/proc/{}/status", running.fleet.coordinator_process());
        seen.push(resident_kb(Path::new(&process)));
        println!("{} rounds: {} KB", PART * part, seen[part - 1]);
    }
    assert!(seen[9] <= seen[3] + seen[3] / 10, "{seen:?}");
}

const PART: usize = 30;
/// Rounds follow each other faster than devices may ask by default.
const WITHOUT_PAUSE: &str = "[limits]\nrequests_per_device = 200\n";

fn opened(store: &Path) -> (f64, coordinator::journal::Replayed) {
    let begun = Instant::now();
    let store = SledStore::open(store).unwrap();
    let replayed = replay(&store).unwrap();
    (begun.elapsed().as_secs_f64(), replayed)
}

fn resident_kb(status: &Path) -> u64 {
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kb = line.unwrap().split_whitespace().nth(1).unwrap();
    kb.parse().unwrap()
}
