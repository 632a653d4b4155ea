//! A fleet whose coordinator is killed in mid-round while another stands by on
//! the same database: the round goes on with all that was acknowledged.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Instant;

use coordinator::admin::Client;
use coordinator::status::{OutcomeStatus, Progress as Step, Status};
use lab::demo::Environment;
use rustix::process::Signal;
use tests::database::Cluster;
use tests::rig::{self, Terms, acknowledged_is_held, look_until};
use tests::standby::{Coordinator, free_address};

const AGENTS: usize = 3;

#[test]
fn a_standby_takes_over_in_mid_round() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let listen = free_address();
    let environment = vec![
        "ALAMBIC_STORE_KIND=postgres".to_owned(),
        format!("ALAMBIC_STORE_URL={}", cluster.url()),
        "ALAMBIC_STORE_LEASE=3s".to_owned(),
    ];
    let with_env = [vec!["env".to_owned()], environment.clone()].concat();
    let mut running = rig::start(Terms {
        agents: AGENTS,
        standby: Some(listen.clone()),
        environment: Environment {
            coordinator: with_env,
            ..Environment::default()
        },
        configuration: Some("[retention]\nblob_rounds = 100\n".to_owned()),
        ..Terms::default()
    });
    let home = running.fleet.folder().to_owned();
    let (keys, state) = (home.join("coordinator"), home.join("standby"));
    let mut standby = Coordinator::start(&state, &keys, &listen, &environment);
    look_until(|| standby.told().contains("standby: "), || standby.told());
    assert!(standby.client().is_none(), "it serves nobody");

    // The leader is killed in the middle of a round.
    let mut watcher = running.fleet.client().unwrap();
    watcher.start_round(Some(&running.task), true).unwrap();
    while !matches!(watcher.next_progress().unwrap(), Step::Accepted { .. }) {}
    running.fleet.kill_coordinator().unwrap();
    let begun = Instant::now();
    look_until(|| standby.client().is_some(), || standby.told());
    let taken_over = begun.elapsed();
    running.client = standby.client().unwrap();
    let connected = |status: &Status| status.devices.iter().filter(|it| it.connected).count();
    let mut client = standby.client().unwrap();
    look_until(
        || connected(&client.status().unwrap()) == AGENTS,
        || "the devices do not come back".to_owned(),
    );
    let all_back = begun.elapsed();
    let ended = |client: &mut Client| {
        let status = client.status().unwrap();
        let task = &status.tasks[0];
        task.round
            .is_none()
            .then(|| task.history.last().cloned())
            .flatten()
    };
    look_until(
        || ended(&mut client).is_some(),
        || "the round does not end".to_owned(),
    );
    let last = ended(&mut client).unwrap();
    assert!(
        matches!(last.outcome, OutcomeStatus::Completed { .. }),
        "{last:?}"
    );
    let held = acknowledged_is_held(&mut running, AGENTS);
    assert!(held >= AGENTS, "{held}");
    println!(
        "from the kill: {} ms to a leader that serves, {} ms until all devices were back; {held} held",
        taken_over.as_millis(),
        all_back.as_millis()
    );

    // The new leader is paused for longer than its lease; the first one leads.
    standby.signal(Signal::STOP);
    running.fleet.start_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    standby.signal(Signal::CONT);
    assert_eq!(standby.wait(), Some(1), "{}", standby.told());
    let mut client = running.fleet.client().unwrap();
    look_until(
        || connected(&client.status().unwrap()) == AGENTS,
        || "the devices do not come back".to_owned(),
    );
    running
        .client
        .start_round(Some(&running.task), false)
        .unwrap();
    let rounds = last.round.0 + 1;
    look_until(
        || ended(&mut client).is_some_and(|it| it.round.0 >= rounds),
        || "the round does not end".to_owned(),
    );
    assert!(acknowledged_is_held(&mut running, AGENTS) > held);
    let (code, out, err) = rig::operator(&running, &["audit", "verify"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_device_that_knows_a_standby_reaches_the_leader() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let environment = vec![
        "ALAMBIC_STORE_KIND=postgres".to_owned(),
        format!("ALAMBIC_STORE_URL={}", cluster.url()),
        "ALAMBIC_STORE_LEASE=3s".to_owned(),
    ];
    let mut running = rig::start(Terms {
        agents: 1,
        environment: Environment {
            coordinator: [vec!["env".to_owned()], environment.clone()].concat(),
            ..Environment::default()
        },
        ..Terms::default()
    });
    let home = running.fleet.folder().to_owned();
    let (listen, keys) = (free_address(), home.join("coordinator"));
    let mut standby = Coordinator::start(&home.join("standby"), &keys, &listen, &environment);
    look_until(|| standby.told().contains("standby: "), || standby.told());
    let leader = running.client.status().unwrap().address.to_string();
    let told = standby.doctor();
    assert!(
        told.contains(&format!("devices reach it at {leader}")),
        "{told}"
    );

    // A device that has joined knows no other address any more.
    running.fleet.stop_agent(0).unwrap();
    let configuration = format!("[coordinator]\naddress = {listen:?}\n");
    let state = running.fleet.agent_home(0).join("state");
    std::fs::write(state.join("agent.toml"), configuration).unwrap();
    let is_here = |client: &mut Client| {
        let devices = client.status().unwrap().devices;
        devices.iter().any(|device| device.connected)
    };
    look_until(
        || !is_here(&mut running.client),
        || "it has not gone".to_owned(),
    );
    running.fleet.start_agent(0).unwrap();
    look_until(
        || is_here(&mut running.client),
        || "the standby does not send it to the leader".to_owned(),
    );
    // And one that joins knew none before.
    let token = running.client.create_token(60_000, 1).unwrap();
    let joined = Command::new(lab::demo::program("alambic-agent").unwrap())
        .args(["enrol", "--coordinator", &listen, "--state"])
        .arg(home.join("late"))
        .env("ALAMBIC_TOKEN", token)
        .output()
        .unwrap();
    assert!(joined.status.success(), "{joined:?}");
    assert_eq!(running.client.status().unwrap().devices.len(), 2);

    // The address that it was given is not forgotten: that one leads now. The first
    // stands by, and reminds the device, which was with it, that it is gone.
    running.fleet.kill_coordinator().unwrap();
    look_until(|| standby.client().is_some(), || standby.told());
    let _first = Coordinator::on(&keys, &leader, &environment);
    let mut client = standby.client().unwrap();
    look_until(
        || is_here(&mut client),
        || "it does not come back".to_owned(),
    );
    standby.end();
}
