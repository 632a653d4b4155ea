//! A small fleet of the real binaries.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use coordinator::admin::Client;
use lab::data::{Dataset, Partition, partition};
use lab::demo::{Fleet, program};
use lab::plan::{Wishes, task_file};
use lab::progress::Progress;

/// A fleet of real processes that lives as long as this.
pub struct Running {
    /// Its processes.
    pub fleet: Fleet,
    /// The coordinator's admin socket.
    pub client: Client,
    /// What the devices' rows are from.
    pub data: Dataset,
    /// The task's name.
    pub task: String,
    /// The token the devices joined by.
    pub token: String,
    _folder: tempfile::TempDir,
}

/// A fleet of three agents with digits, all connected.
pub fn three_agents() -> Running {
    agents(3, 30.0, None)
}

/// A fleet of agents with digits, all connected, whose coordinator waits so
/// many seconds for latecomers and has this configuration.
pub fn agents(count: usize, grace_s: f64, configuration: Option<&str>) -> Running {
    agents_at(count, grace_s, configuration, 1.0)
}

/// The same, whose task has this quorum.
pub fn agents_at(count: usize, grace_s: f64, configuration: Option<&str>, quorum: f64) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(true);
    let data = Dataset::open("digits").unwrap();
    let parts = partition(&data.train, 10, Partition::Iid, count, 1).unwrap();
    let wishes = Wishes {
        features: None,
        student: common::task::StudentSpec::Mlp { hidden: vec![32] },
        points: 90,
        points_per_device: 15,
        bits: 8,
        contribute: "both".to_owned(),
        uplink_bytes_max: 100_000,
        rank_max: 40,
        steps: 800,
        seed: 1,
        deadline_s: 60,
        grace_s,
    };
    let mut fleet = Fleet::start(Some(folder.path().join("fleet")), &mut progress).unwrap();
    if let Some(text) = configuration {
        let file = fleet.folder().join("coordinator").join("coordinator.toml");
        std::fs::write(file, text).unwrap();
        fleet.crash_coordinator().unwrap();
    }
    let mut client = fleet.client().unwrap();
    let token = client.create_token(60_000, count as u32).unwrap();
    let task = task_file(&data, &wishes).replace("quorum = 1.0", &format!("quorum = {quorum:?}"));
    let task = client.create_task(&task).unwrap().name;
    fleet
        .add_agents(&data, &parts, &token, &mut progress)
        .unwrap();
    fleet
        .wait_connected(&mut client, count, &mut progress)
        .unwrap();
    Running {
        token,
        fleet,
        client,
        data,
        task,
        _folder: folder,
    }
}

/// Runs a command of one agent's program on its state: exit code, standard
/// output, standard error.
pub fn agent(running: &Running, index: usize, arguments: &[&str]) -> (Option<i32>, String, String) {
    let state = running.fleet.agent_home(index).join("state");
    run("alambic-agent", &state, arguments)
}

/// The same of the coordinator's program.
pub fn operator(running: &Running, arguments: &[&str]) -> (Option<i32>, String, String) {
    let state = running.fleet.folder().join("coordinator");
    run("alambic-coordinator", &state, arguments)
}

fn run(name: &str, state: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program(name).unwrap())
        .arg("--state")
        .arg(state)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}
