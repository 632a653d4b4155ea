//! SIGKILL for an agent at random moments while it fetches, verifies, tries
//! and switches to a student: there is always one in use, whole and signed,
//! and never an older one than before.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use common::ids::Version;
use coordinator::admin::{Request, Response};
use edge_agent::driver::local::{open_all, verified};
use edge_agent::state::StateDir;
use edge_agent::trust::Trust;
use rand::Rng;
use tests::rig::{Running, agents};

#[test]
fn kills_during_an_install_leave_a_valid_student() {
    torture(40, 1);
}

/// `cargo test --release -p tests --test install -- --ignored --nocapture`
#[test]
#[ignore = "the long form: 1,000 kills, some minutes"]
fn a_thousand_kills_leave_a_valid_student() {
    torture(1_000, 2);
}

fn torture(kills: u32, seed: u64) {
    let mut running = agents(1, 1.0, None);
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let begun = Instant::now();
    let mut last = loop {
        assert!(begun.elapsed().as_secs() < 60, "the first is not installed");
        match in_use(&running) {
            Some(version) => break version,
            None => std::thread::yield_now(),
        }
    };
    running.fleet.kill_agent(0).unwrap();
    let mut random = common::math::random::rng(seed, "install");
    let mut switched = 0;
    for _ in 0..kills {
        release_again(&mut running);
        running.fleet.start_agent(0).unwrap();
        let moment = Duration::from_micros(random.random_range(0..300_000));
        let begun = Instant::now();
        while begun.elapsed() < moment {
            std::thread::yield_now();
        }
        running.fleet.kill_agent(0).unwrap();
        let now = in_use(&running).expect("a student is in use");
        assert!(now >= last, "{now} after {last}");
        switched += u32::from(now > last);
        last = now;
    }
    println!("{kills} kills: a valid student after each; {switched} came after the switch");
    assert!(switched > 0, "no kill came after a switch");
    assert!(switched < kills, "no kill came before a switch");
    // And it works after all.
    running.fleet.start_agent(0).unwrap();
    let newest = newest(&mut running);
    let begun = Instant::now();
    while in_use(&running) != Some(newest) {
        assert!(
            begun.elapsed().as_secs() < 60,
            "the newest is not installed"
        );
        std::thread::yield_now();
    }
}

/// The student in use, verified as the device does.
fn in_use(running: &Running) -> Option<Version> {
    let state = StateDir::at(&running.fleet.agent_home(0).join("state"));
    let slots = open_all(&state).unwrap().into_values().next()?;
    let (version, bytes) = slots.current().unwrap()?;
    let signers = Trust::known_signers_in(&state).unwrap();
    let release = verified(&bytes, &signers).unwrap();
    assert_eq!(release.version(), version);
    Some(version)
}

fn newest(running: &mut Running) -> Version {
    let status = running.client.status().unwrap();
    status.tasks[0].releases.last().unwrap().version
}

/// The newest student under the next version.
fn release_again(running: &mut Running) {
    let request = Request::ReRelease {
        task: None,
        version: Some(newest(running)),
    };
    let response = running.client.ask(&request).unwrap();
    assert!(
        matches!(response, Response::ReReleased { .. }),
        "{response:?}"
    );
}
