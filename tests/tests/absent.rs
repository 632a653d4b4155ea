//! Devices that go away in mid-round, and one that stands still: the others'
//! round ends with a student all the same, by its quorum and not by its
//! deadline.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use common::round::Kind;
use coordinator::admin::Client;
use coordinator::status::{EndedStatus, OutcomeStatus, Progress as Step};
use lab::progress::Progress;
use rustix::process::{Pid, Signal, kill_process};
use tests::rig::{Running, Terms, start};

/// A fleet whose rounds need three of five answers, and whose deadline no test
/// can wait for.
fn fleet(agents: usize) -> Running {
    start(Terms {
        agents,
        quorum: 0.6,
        grace_s: 1.0,
        deadline_s: 3_000,
        ..Terms::default()
    })
}

/// Begins a round and returns its watcher once a first contribution is in.
fn begun(running: &Running) -> Client {
    let mut watcher = running.fleet.client().unwrap();
    watcher.set_patience(LONGEST).unwrap();
    watcher.start_round(Some(&running.task), true).unwrap();
    while !matches!(watcher.next_progress().unwrap(), Step::Accepted { .. }) {}
    watcher
}

/// Follows the round to its end, which must be a student.
fn completed(running: &mut Running, mut watcher: Client) -> EndedStatus {
    loop {
        if let Step::Ended { outcome, .. } = watcher.next_progress().unwrap() {
            assert!(
                matches!(outcome, OutcomeStatus::Completed { .. }),
                "{outcome:?}"
            );
            break;
        }
    }
    let status = running.client.status().unwrap();
    status.tasks[0].history.last().unwrap().clone()
}

#[test]
fn a_round_survives_two_departures_and_a_crash() {
    let mut running = fleet(5);
    let watcher = begun(&running);
    running.fleet.kill_agent(3).unwrap();
    running.fleet.kill_agent(4).unwrap();
    let ended = completed(&mut running, watcher);
    assert_eq!(ended.accepted.get(&Kind::Moments), Some(&3), "{ended:?}");
    let missed = |label: &str| ended.absent.iter().any(|one| one.device.label == label);
    assert!(missed("device-03") && missed("device-04"), "{ended:?}");
    running.fleet.crash_coordinator().unwrap();
    let status = running.fleet.client().unwrap().status().unwrap();
    let after = status.tasks[0].history.last().unwrap();
    assert_eq!(
        (&after.absent, &after.missed),
        (&ended.absent, &ended.missed)
    );
    println!("two of five gone: the round took {:?} ms", ended.phase_ms);
}

#[test]
fn stopped_devices_delay_nobody() {
    let mut running = fleet(3);
    let watcher = begun(&running);
    let slow = Pid::from_raw(running.fleet.agent_process(2) as i32).unwrap();
    kill_process(slow, Signal::STOP).unwrap();
    let ended = completed(&mut running, watcher);
    assert_eq!(ended.accepted.get(&Kind::Moments), Some(&2), "{ended:?}");
    println!(
        "one of three stands: the round took {:?} ms",
        ended.phase_ms
    );

    kill_process(slow, Signal::CONT).unwrap();
    let mut quiet = Progress::new(true);
    let (fleet, client) = (&mut running.fleet, &mut running.client);
    fleet.wait_connected(client, 3, &mut quiet).unwrap();
    // What it was asked for before it stood still may come late, and a phase
    // that the others have ended is not waited for: some round has all three.
    for _ in 0..5 {
        let watcher = begun(&running);
        let ended = completed(&mut running, watcher);
        if ended.accepted.get(&Kind::Moments) == Some(&3) {
            return;
        }
    }
    panic!("it never takes part again");
}

const LONGEST: Duration = Duration::from_secs(90);
