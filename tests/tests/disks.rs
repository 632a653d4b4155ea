//! Real programs on disks that are full, read-only or that lie.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use common::round::Kind;
use coordinator::status::{OutcomeStatus, Progress as Step};
use lab::demo::DemoError;
use tests::disk;
use tests::rig::{Running, Terms, acknowledged_is_held, look_until, start, wait_until_ended};

/// Two agents, and the coordinator's state or an agent's on a small disk.
fn on_small_disk(place: &'static str, mib: u32) -> Option<Running> {
    disk::is_allowed().then(|| {
        start(Terms {
            agents: 2,
            grace_s: 1.0,
            disks: vec![(place, mib)],
            ..Terms::default()
        })
    })
}

fn round(running: &mut Running) -> OutcomeStatus {
    let task = running.task.clone();
    let ended = running.client.run_round(Some(&task), |_| {}).unwrap();
    match ended {
        Step::Ended { outcome, .. } => outcome,
        other => panic!("{other:?} is not an end"),
    }
}

fn completes(running: &mut Running) {
    let outcome = round(running);
    assert!(
        matches!(outcome, OutcomeStatus::Completed { .. }),
        "{outcome:?}"
    );
}

/// Begins a round and returns once the first contribution of this kind was
/// accepted.
fn round_up_to(running: &Running, wanted: Kind) {
    let mut watcher = running.fleet.client().unwrap();
    watcher.set_patience(LONGEST).unwrap();
    watcher.start_round(Some(&running.task), true).unwrap();
    loop {
        let step = watcher.next_progress().unwrap();
        if matches!(step, Step::Accepted { kind, .. } if kind == wanted) {
            return;
        }
    }
}

/// Waits until the coordinator says of its store that it can be written, or
/// that it cannot.
fn wait_for_storage(running: &mut Running, ok: bool) {
    look_until(
        || running.client.status().unwrap().storage_ok == ok,
        || format!("storage_ok stays {}", !ok),
    );
}

fn log(running: &Running) -> String {
    std::fs::read_to_string(running.fleet.coordinator_log()).unwrap()
}

fn agent_log(running: &Running, index: usize) -> String {
    std::fs::read_to_string(running.fleet.agent_home(index).join("agent.log")).unwrap()
}

#[test]
fn a_coordinator_resumes_once_its_disk_has_room() {
    let Some(mut running) = on_small_disk("coordinator", 64) else {
        return;
    };
    completes(&mut running);
    // Labels are in, moments are on their way.
    round_up_to(&running, Kind::Labels);
    running.disks[0].fill();
    // Said before anything had to be written.
    wait_for_storage(&mut running, false);
    // A contribution that does not fit is not acknowledged and comes again.
    look_until(|| log(&running).contains("is full"), || log(&running));
    // Nor is what would have to be remembered.
    assert!(running.client.create_token(60_000, 1).is_err());
    wait_for_storage(&mut running, false);
    running.disks[0].make_room();
    wait_for_storage(&mut running, true);
    wait_until_ended(&running.fleet, 2);
    let status = running.client.status().unwrap();
    let ended = &status.tasks[0].history[1];
    assert!(
        matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        "{ended:?}"
    );
    assert_eq!(ended.accepted.get(&Kind::Moments), Some(&2));
    completes(&mut running);
    assert!(acknowledged_is_held(&mut running, 2) >= 8);
}

#[test]
fn a_full_disk_delays_the_start() {
    let Some(mut running) = on_small_disk("coordinator", 64) else {
        return;
    };
    completes(&mut running);
    running.disks[0].fill();
    running.fleet.kill_coordinator().unwrap();
    let said = refusal(&mut running);
    assert!(said.contains("is full; free some space"), "{said}");
    running.disks[0].make_room();
    running.fleet.start_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    completes(&mut running);
    assert!(acknowledged_is_held(&mut running, 2) >= 8);
}

#[test]
fn a_coordinator_on_a_read_only_disk_loses_nothing() {
    let Some(mut running) = on_small_disk("coordinator", 64) else {
        return;
    };
    completes(&mut running);
    running.fleet.kill_coordinator().unwrap();
    assert!(running.disks[0].set_read_only(true));
    let said = refusal(&mut running);
    assert!(
        said.contains("Read-only file system") && said.contains("check"),
        "{said}"
    );
    assert!(running.disks[0].set_read_only(false));
    running.fleet.start_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    completes(&mut running);
    assert!(acknowledged_is_held(&mut running, 2) >= 8);
}

/// What the coordinator says when it does not start.
fn refusal(running: &mut Running) -> String {
    match running.fleet.start_coordinator() {
        Err(DemoError::Fleet(error)) => error.to_string(),
        other => panic!("it starts: {other:?}"),
    }
}

#[test]
fn a_full_agent_disk_delays_nobody() {
    let Some(mut running) = on_small_disk("agents/00/state", 8) else {
        return;
    };
    completes(&mut running);
    running.disks[0].fill();
    // The other device's answers are enough; this one says what is wrong.
    let begun = Instant::now();
    let outcome = round(&mut running);
    println!(
        "a round with one full device: {outcome:?} after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let text = agent_log(&running, 0);
    assert!(text.contains("free some"), "{text}");
    running.disks[0].make_room();
    let begun = Instant::now();
    loop {
        completes(&mut running);
        let status = running.client.status().unwrap();
        let ended = status.tasks[0].history.last().unwrap();
        if ended.accepted.get(&Kind::Moments) == Some(&2) {
            break;
        }
        assert!(begun.elapsed() < LONGEST, "the device does not come back");
    }
    assert!(acknowledged_is_held(&mut running, 2) >= 8);
}

#[test]
fn an_agent_resumes_after_a_read_only_disk() {
    let Some(mut running) = on_small_disk("agents/00/state", 8) else {
        return;
    };
    completes(&mut running);
    running.fleet.kill_agent(0).unwrap();
    assert!(running.disks[0].set_read_only(true));
    running.fleet.start_agent(0).unwrap();
    let said = || agent_log(&running, 0);
    look_until(|| said().contains("Read-only file system"), said);
    assert!(running.disks[0].set_read_only(false));
    running.fleet.crash_agent(0).unwrap();
    completes(&mut running);
}

const LONGEST: Duration = Duration::from_secs(60);
