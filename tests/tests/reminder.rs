//! An idle fleet comes back to a coordinator that was killed because it is
//! reminded, not because its keep-alive finds out.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use lab::progress::Progress;
use tests::rig::three_agents;

/// Without reminders each kill would cost the most of three waits of up to
/// this, 15 s on average, and so all of them 75 s.
const KEEP_ALIVE_S: u64 = 20;
const KILLS: u32 = 5;

#[test]
fn an_idle_fleet_returns_before_keep_alives() {
    let mut running = three_agents();
    let mut progress = Progress::new(true);
    let begun = Instant::now();
    let mut back = Vec::new();
    for _ in 0..KILLS {
        running.fleet.crash_coordinator().unwrap();
        let ready = Instant::now();
        running.client = running.fleet.client().unwrap();
        running
            .fleet
            .wait_connected(&mut running.client, 3, &mut progress)
            .unwrap();
        back.push(ready.elapsed().as_millis());
    }
    println!("ms until all idle agents were back: {back:?}");
    assert!(begun.elapsed().as_secs() < 2 * KEEP_ALIVE_S, "{back:?}");
}
