//! A small fleet of the real binaries.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::ids::BlobHash;
use common::task::StudentSpec;
use coordinator::admin::Client;
use coordinator::status::{Progress as Step, Status};
use lab::data::{Dataset, Partition, partition};
use lab::demo::{Environment, Fleet, program};
use lab::plan::{TaskOptions, task_file};
use lab::progress::Progress;
use serde_json::Value;

use crate::disk::Disk;
use crate::gateway::Gateway;
use crate::relay::{Conditions, Relay};

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
    /// The bad network between devices and coordinator, where one was asked for.
    pub relay: Option<Relay>,
    /// The gateway between devices and coordinator, where one was asked for.
    pub gateway: Option<Gateway>,
    /// The small disks that were asked for, in their order.
    pub disks: Vec<Disk>,
    _folder: tempfile::TempDir,
}

/// What a fleet is started with.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The data set.
    pub dataset: &'static str,
    /// Devices.
    pub agents: usize,
    /// How the rows are spread.
    pub partition: Partition,
    /// Parts the rows are cut into, of which each device gets one; as many as
    /// devices if there would be fewer.
    pub parts: usize,
    /// Share of the devices without whose answers no phase ends early.
    pub quorum: f64,
    /// Seconds a phase stays open after its quorum.
    pub grace_s: f64,
    /// Seconds a gathering phase may take.
    pub deadline_s: u32,
    /// Points of the transfer set, points of each device, bits of a number and
    /// virtual rows of a device's moments: they make contributions large.
    pub budget: [u32; 4],
    /// What devices send beside their points.
    pub contribute: &'static str,
    /// Whether the coordinator plans points, bits and rank instead.
    pub auto_budget: bool,
    /// Most rounds that refine the student of a round.
    pub refinement_steps: u32,
    /// Units of the student's hidden layer: they make releases large.
    pub hidden: u32,
    /// The coordinator's configuration.
    pub configuration: Option<String>,
    /// A relay before the coordinator: between devices and it, or gateway and it.
    pub conditions: Option<Conditions>,
    /// Where devices may find other coordinators, beside the one that runs; several
    /// with commas.
    pub standby: Option<String>,
    /// Whether devices are led through a gateway once they have joined.
    pub gateway: bool,
    /// Where the programs run.
    pub environment: Environment,
    /// Small disks of this many MiB, by the folder of the fleet that is on them.
    pub disks: Vec<(&'static str, u32)>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            dataset: "digits",
            agents: 3,
            partition: Partition::Iid,
            parts: 0,
            quorum: 1.0,
            grace_s: 30.0,
            deadline_s: 60,
            budget: [90, 15, 8, 40],
            contribute: "both",
            auto_budget: false,
            refinement_steps: 0,
            hidden: 32,
            configuration: None,
            conditions: None,
            standby: None,
            gateway: false,
            environment: Environment::default(),
            disks: Vec::new(),
        }
    }
}

/// A fleet of three agents with digits, all connected.
pub fn three_agents() -> Running {
    agents(3, 30.0, None)
}

/// A fleet of agents with digits, all connected, whose coordinator waits so
/// many seconds for latecomers and has this configuration.
pub fn agents(count: usize, grace_s: f64, configuration: Option<&str>) -> Running {
    start(Terms {
        agents: count,
        grace_s,
        configuration: configuration.map(str::to_owned),
        ..Terms::default()
    })
}

/// A fleet of agents on these terms, all connected.
pub fn start(mut terms: Terms) -> Running {
    let gateway_at = terms.gateway.then(Gateway::free_address);
    if let Some(address) = gateway_at {
        // They join at the coordinator itself.
        let led = format!("ALAMBIC_COORDINATOR={address}");
        terms.environment.agents.extend(["env".to_owned(), led]);
    }
    let asked = terms.clone();
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(true);
    let data = Dataset::open(terms.dataset).unwrap();
    let (classes, parts) = (data.classes.len(), terms.parts.max(terms.agents));
    let parts = partition(&data.train, classes, terms.partition, parts, 1).unwrap();
    let parts = &parts[..terms.agents];
    let home = folder.path().join("fleet");
    let mount = |(place, mib): &(&str, u32)| Disk::mount(&home.join(place), *mib);
    let disks = terms.disks.iter().map(mount).collect();
    let mut fleet = Fleet::start_on(Some(home), terms.environment, &mut progress).unwrap();
    if let Some(text) = terms.configuration {
        let file = fleet.folder().join("coordinator").join("coordinator.toml");
        std::fs::write(file, text).unwrap();
        fleet.crash_coordinator().unwrap();
    }
    let mut client = fleet.client().unwrap();
    let relay = terms.conditions.map(|conditions| {
        let coordinator = client.status().unwrap().address;
        let relay = Relay::start(coordinator, conditions, 1);
        fleet.reach_at(relay.address().to_string());
        relay
    });
    let mut coordinator = match &relay {
        Some(relay) => relay.address(),
        None => client.status().unwrap().address,
    }
    .to_string();
    if let Some(standby) = terms.standby {
        coordinator = format!("{coordinator},{standby}");
        fleet.reach_at(coordinator.clone());
    }
    let gateway = gateway_at.map(|address| {
        let folder = fleet.folder().join("gateway");
        Gateway::start(&mut client, folder, address, coordinator)
    });
    let token = client.create_token(60_000, terms.agents as u32).unwrap();
    let file = task_text(&asked, &data);
    let task = client.create_task(&file).unwrap().name;
    fleet
        .add_agents(&data, parts, &token, &mut progress)
        .unwrap();
    fleet
        .wait_connected(&mut client, terms.agents, &mut progress)
        .unwrap();
    Running {
        token,
        fleet,
        client,
        data,
        task,
        relay,
        gateway,
        disks,
        _folder: folder,
    }
}

/// The file of the fleet's task.
pub fn task_text(terms: &Terms, data: &Dataset) -> String {
    let [points, points_per_device, bits, rank_max] = terms.budget;
    let task_options = TaskOptions {
        features: None,
        student: StudentSpec::Mlp {
            hidden: vec![terms.hidden],
        },
        points,
        points_per_device,
        auto_budget: terms.auto_budget,
        bits: bits as u8,
        contribute: terms.contribute.to_owned(),
        consensus: common::task::ConsensusRule::Weighted,
        uplink_bytes_max: 10_000_000,
        rank_max,
        novelty: false,
        landmarks: None,
        steps: 800,
        refinement_steps: terms.refinement_steps,
        seed: 1,
        deadline_s: terms.deadline_s,
        grace_s: terms.grace_s,
    };
    let quorum = format!("quorum = {:?}", terms.quorum);
    task_file(data, &task_options).replace("quorum = 1.0", &quorum)
}

/// Waits until this many rounds of the coordinator's only task have ended, as
/// it tells.
pub fn wait_until_ended(fleet: &Fleet, rounds: usize) {
    let ended = |status: &Status| {
        status
            .tasks
            .first()
            .is_some_and(|task| task.history.len() >= rounds)
    };
    wait_until(fleet, ended, "the round did not end");
}

/// Waits until the coordinator's status is as wanted. It is looked at once the
/// watch has begun and then whenever something has happened.
pub fn wait_until(fleet: &Fleet, wanted: impl Fn(&Status) -> bool, otherwise: &str) {
    let begun = Instant::now();
    let mut watcher = fleet.client().unwrap();
    watcher.set_patience(LONGEST).unwrap();
    watcher.watch().unwrap();
    let mut client = fleet.client().unwrap();
    while !wanted(&client.status().unwrap()) {
        assert!(begun.elapsed() < LONGEST, "{otherwise}");
        // Most steps change nothing that is waited for.
        while !matches!(
            watcher.next_progress().expect(otherwise),
            Step::Ended { .. } | Step::PhaseOpened { .. } | Step::Missed { .. }
        ) {}
    }
}

/// Looks again and again, with pauses, until something that tells of no change
/// by itself (a file, a process, a counter) is as wanted.
///
/// # Panics
/// With what `otherwise` says, if it is not in a minute.
pub fn look_until(mut wanted: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", otherwise());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// What is waited for must have happened by then.
const LONGEST: Duration = Duration::from_secs(180);

/// What each agent was told is held, the coordinator still has, byte for byte.
/// Returns how many contributions that are.
pub fn acknowledged_is_held(running: &mut Running, agents: usize) -> usize {
    let mut held = 0;
    for index in 0..agents {
        let (code, out, err) = agent(running, index, &["sent", "list", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        let entries: Vec<Value> = serde_json::from_str(&out).unwrap();
        for entry in entries
            .iter()
            .filter(|entry| entry["outcome"] == "accepted")
        {
            let name: BlobHash = serde_json::from_value(entry["blob"].clone()).unwrap();
            let bytes = running.client.blob(name);
            let bytes = bytes.unwrap_or_else(|error| panic!("{entry} is lost: {error}"));
            assert_eq!(BlobHash::of(&bytes), name);
            held += 1;
        }
    }
    held
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
