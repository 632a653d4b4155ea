//! Kill torture on real processes: SIGKILL for the coordinator and for agents
//! at random moments of running rounds. Afterwards, whatever a device was told
//! is held must be held, and nothing may have been counted twice.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use coordinator::status::{OutcomeStatus, Progress as Step, Status};
use lab::progress::Progress;
use rand::Rng;
use tests::rig::{Running, acknowledged_is_held, agents, wait_until};

const AGENTS: usize = 3;
/// What was acknowledged is looked for afterwards, however long ago it was.
const KEEPING: &str = "[retention]\nblob_rounds = 100\n";

#[test]
fn kills_at_random_moments_lose_nothing() {
    torture(8, 1);
}

/// `cargo test --release -p tests --test kill -- --ignored --nocapture`
#[test]
#[ignore = "the long form: 200 kills, two minutes"]
fn two_hundred_kills_lose_nothing() {
    torture(200, 2);
}

fn torture(kills: usize, seed: u64) {
    let mut running = agents(AGENTS, 30.0, Some(KEEPING));
    let mut random = common::math::random::rng(seed, "kill");
    let (mut ready, mut back) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        let steps = random.random_range(0..16);
        follow(&mut running, steps);
        if random.random_bool(0.5) {
            let begun = Instant::now();
            running.fleet.crash_coordinator().unwrap();
            ready.push(begun.elapsed().as_millis());
            running.client = running.fleet.client().unwrap();
        } else {
            let index = random.random_range(0..AGENTS);
            running.fleet.crash_agent(index).unwrap();
        }
        if random.random_bool(0.25) {
            let begun = Instant::now();
            all_back(&mut running);
            back.push(begun.elapsed().as_millis());
        }
    }
    all_back(&mut running);
    finish_round(&mut running);
    running
        .client
        .start_round(Some(&running.task), false)
        .unwrap();
    finish_round(&mut running);

    let status = running.client.status().unwrap();
    let task = &status.tasks[0];
    let last = task.history.last().unwrap();
    assert!(
        matches!(last.outcome, OutcomeStatus::Completed { .. }),
        "the fleet works after all: {last:?}"
    );
    for ended in &task.history {
        for (kind, &count) in &ended.accepted {
            assert!(
                count as usize <= AGENTS,
                "{kind} of round {} was counted {count} times",
                ended.round
            );
        }
    }
    let held = acknowledged_is_held(&mut running, AGENTS);
    assert!(held >= AGENTS * 4, "{held}");
    ready.sort_unstable();
    back.sort_unstable();
    println!(
        "{kills} kills, {} rounds ended, {held} acknowledged contributions held; \
         ms from kill to serving: {}; until all agents were back: {}",
        task.history.len(),
        spread(&ready),
        spread(&back),
    );
}

/// Begins a round and follows it for this many steps. Where one runs still, the
/// moment is now, soon after the kill before.
fn follow(running: &mut Running, steps: u32) {
    let mut watcher = running.fleet.client().unwrap();
    if watcher.start_round(Some(&running.task), true).is_err() {
        return;
    }
    for _ in 0..steps {
        match watcher.next_progress().unwrap() {
            Step::Ended { .. } => return,
            _ => continue,
        }
    }
}

fn all_back(running: &mut Running) {
    let mut progress = Progress::new(true);
    let fleet = &mut running.fleet;
    fleet
        .wait_connected(&mut running.client, AGENTS, &mut progress)
        .unwrap();
}

/// Follows the round that runs, if one does, to its end.
fn finish_round(running: &mut Running) {
    let idle = |status: &Status| status.tasks[0].round.is_none();
    wait_until(&running.fleet, idle, "the round does not end");
}

/// Median, 95th percentile and longest of sorted times.
fn spread(sorted: &[u128]) -> String {
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    format!("p50 {}, p95 {}, longest {}", at(50), at(95), at(100))
}
