//! A fleet of real processes whose coordinator keeps its log in PostgreSQL:
//! coordinator and server are killed at random moments of running rounds, and
//! whatever a device was told is held is held. Then it moves to sled.
#![allow(clippy::unwrap_used)]

use coordinator::status::{OutcomeStatus, Status};
use lab::demo::Environment;
use lab::progress::Progress;
use rand::Rng;
use tests::database::Cluster;
use tests::rig::{self, Running, Terms, acknowledged_is_held, operator, wait_until};

const AGENTS: usize = 3;

#[test]
fn kills_lose_nothing_acknowledged() {
    torture(6, 1);
}

/// `cargo test --release -p tests --test database_fleet -- --ignored --nocapture`
#[test]
#[ignore = "the long form: 200 kills"]
fn two_hundred_kills_lose_nothing_acknowledged() {
    torture(200, 2);
}

fn torture(kills: usize, seed: u64) {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let url = cluster.url();
    let mut running = rig::start(Terms {
        agents: AGENTS,
        environment: Environment {
            coordinator: vec![
                "env".to_owned(),
                "ALAMBIC_STORE_KIND=postgres".to_owned(),
                format!("ALAMBIC_STORE_URL={url}"),
            ],
            ..Environment::default()
        },
        // What was acknowledged is looked for afterwards, however long ago.
        configuration: Some("[retention]\nblob_rounds = 100\n".to_owned()),
        ..Terms::default()
    });
    let mut random = common::math::random::rng(seed, "database kill");
    let (mut servers, mut coordinators) = (0, 0);
    for _ in 0..kills {
        follow(&mut running, random.random_range(0..16));
        if random.random_bool(0.5) {
            servers += 1;
            cluster.kill();
            cluster.resume();
        } else {
            coordinators += 1;
            running.fleet.crash_coordinator().unwrap();
            running.client = running.fleet.client().unwrap();
        }
    }
    all_back(&mut running);
    finish_round(&mut running);
    let task = running.task.clone();
    running.client.start_round(Some(&task), false).unwrap();
    finish_round(&mut running);
    let status = running.client.status().unwrap();
    let last = status.tasks[0].history.last().unwrap();
    assert!(
        matches!(last.outcome, OutcomeStatus::Completed { .. }),
        "{last:?}"
    );
    for ended in &status.tasks[0].history {
        for (kind, &count) in &ended.accepted {
            assert!(count as usize <= AGENTS, "{kind} was counted {count} times");
        }
    }
    let held = acknowledged_is_held(&mut running, AGENTS);
    assert!(held >= AGENTS * 4, "{held}");
    println!(
        "{servers} kills of the server, {coordinators} of the coordinator, {} rounds, \
         {held} acknowledged contributions held",
        status.tasks[0].history.len()
    );
    move_to_sled(running, &url);
}

/// All that the database holds goes into the state directory.
fn move_to_sled(mut running: Running, url: &str) {
    let before = running.client.status().unwrap();
    running.fleet.kill_coordinator().unwrap();
    let state = running.fleet.folder().join("coordinator");
    let there = running.fleet.folder().join("there.toml");
    let text = format!(
        "state = {:?}\n[store]\nkind = \"postgres\"\nurl = {url:?}\n",
        state.display().to_string()
    );
    std::fs::write(&there, text).unwrap();
    let (from, to) = (there.display().to_string(), state.display().to_string());
    let copy = ["store", "copy", "--from", &from, "--to", &to, "--json"];
    let (code, out, err) = operator(&running, &copy);
    assert_eq!(code, Some(0), "{err}");
    let copied: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(copied["copied"]["blobs"].as_u64().unwrap() > 0, "{out}");
    // What stays of the database is closed.
    let (code, _, err) = operator(&running, &copy);
    assert_ne!(code, Some(0));
    assert!(err.contains("store copy"), "{err}");
    let sled = state.join("store");
    let store = coordinator::store::SledStore::open(&sled).unwrap();
    let told = before.store.unwrap();
    assert!(coordinator::store::Store::verify(&store).unwrap().next.0 >= told.next);
}

/// Begins a round and follows it for this many steps, or follows on.
fn follow(running: &mut Running, steps: u32) {
    let mut watcher = running.fleet.client().unwrap();
    if watcher.start_round(Some(&running.task), true).is_err() {
        return;
    }
    for _ in 0..steps {
        match watcher.next_progress() {
            Ok(coordinator::status::Progress::Ended { .. }) | Err(_) => return,
            Ok(_) => continue,
        }
    }
}

fn all_back(running: &mut Running) {
    let mut progress = Progress::new(true);
    running
        .fleet
        .wait_connected(&mut running.client, AGENTS, &mut progress)
        .unwrap();
}

fn finish_round(running: &mut Running) {
    let idle = |status: &Status| status.tasks[0].round.is_none();
    wait_until(&running.fleet, idle, "the round does not end");
}
