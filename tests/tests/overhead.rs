//! A simulation counts the bytes that a network carries: a fleet of real
//! processes and the simulation of the same task and rows, side by side.
#![allow(clippy::unwrap_used)]

use common::ids::DeviceId;
use edge_agent::work::Privacy;
use lab::data::{Dataset, Partition, partition};
use lab::demo::Fleet;
use lab::overhead::Wire;
use lab::plan::{TaskOptions, spread, task, task_file};
use lab::progress::Progress;
use lab::simulation::{DeviceBytes, Simulation};

/// How far a simulation's bytes may be from a network's, for the median
/// device. Not for each: on a busy machine QUIC now and then takes a packet for
/// lost and sends it again, 1,200 bytes that no simulation counts. And some 150
/// bytes of acknowledgements more or fewer, as the machine is fast or slow, are
/// 3 % of what a small device sends.
const TOLERANCE: f64 = 0.05;
const AGENTS: usize = 4;

fn task_options(contribute: &str, points: u32, rank_max: u32) -> TaskOptions {
    TaskOptions {
        features: Some("raw".to_owned()),
        student: common::task::StudentSpec::Mlp { hidden: vec![32] },
        points,
        points_per_device: spread(points, AGENTS, 1),
        auto_budget: false,
        bits: 8,
        contribute: contribute.to_owned(),
        consensus: common::task::ConsensusRule::Weighted,
        uplink_bytes_max: 100_000,
        rank_max,
        novelty: false,
        landmarks: None,
        steps: 200,
        refinement_steps: 0,
        seed: 3,
        deadline_s: 60,
        grace_s: 30.0,
    }
}

/// Name and UDP bytes up and down of each device of a fleet of processes.
fn measured(data: &Dataset, parts: &[Vec<usize>], task_options: &TaskOptions) -> Vec<Measured> {
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(true);
    let mut fleet = Fleet::start(Some(folder.path().join("fleet")), &mut progress).unwrap();
    let mut client = fleet.client().unwrap();
    let token = client.create_token(60_000, AGENTS as u32).unwrap();
    let task = client
        .create_task(&task_file(data, task_options))
        .unwrap()
        .name;
    fleet
        .add_agents(data, parts, &token, &mut progress)
        .unwrap();
    fleet
        .wait_connected(&mut client, AGENTS, &mut progress)
        .unwrap();
    client.run_round(Some(&task), |_| {}).unwrap();
    let mut devices = client.status().unwrap().devices;
    fleet.stop();
    devices.sort_by(|one, other| one.label.cmp(&other.label));
    devices
        .iter()
        .map(|device| (device.device, device.uplink_bytes, device.downlink_bytes))
        .collect()
}

/// The simulation of the same fleet: same rows, task and names of devices.
fn simulated(
    data: &Dataset,
    parts: &[Vec<usize>],
    task_options: &TaskOptions,
    ids: Vec<DeviceId>,
) -> Vec<DeviceBytes> {
    let privacy = Privacy {
        rows_min: 20,
        cluster_size_min: 5,
        rows_per_direction: 15,
    };
    let task = task(data, task_options).unwrap();
    let mut simulation =
        Simulation::with_ids(task, data.train.clone(), parts.to_vec(), ids, privacy).unwrap();
    simulation.connect().unwrap();
    simulation.round().unwrap().bytes
}

#[test]
fn simulated_bytes_match_a_real_fleet() {
    let data = Dataset::open("digits").unwrap();
    let parts = partition(&data.train, 10, Partition::Dirichlet(0.5), AGENTS, 3).unwrap();
    for task_options in [
        task_options("both", 300, 200),
        task_options("moments", 200, 100),
    ] {
        // A machine that is busy with other work acknowledges at other times.
        let said: Vec<String> = (0..3)
            .map_while(|_| misses(&data, &parts, &task_options))
            .collect();
        assert!(said.len() < 3, "three fleets in a row: {said:#?}");
    }
}

/// In which direction a real fleet and its simulation differ by more than the
/// tolerance, if they do.
fn misses(data: &Dataset, parts: &[Vec<usize>], task_options: &TaskOptions) -> Option<String> {
    let real = measured(data, parts, task_options);
    let ids = real.iter().map(|one| one.0).collect();
    let counted = simulated(data, parts, task_options, ids);
    assert_eq!(real.len(), counted.len());
    let up: Vec<(u64, u64)> = pairs(&real, &counted, |one| one.1, |one| one.up);
    let down: Vec<(u64, u64)> = pairs(&real, &counted, |one| one.2, |one| one.down);
    [("up", up), ("down", down)]
        .into_iter()
        .find_map(|(direction, pairs)| {
            let off = median_off(&pairs);
            let said = || format!("{direction}: off by {off:.4}, {pairs:?}");
            (off.abs() > TOLERANCE).then(said)
        })
}

/// How far the simulation is off for the median device (measured, counted).
fn median_off(pairs: &[(u64, u64)]) -> f64 {
    let mut off: Vec<f64> = pairs
        .iter()
        .map(|&(real, counted)| counted as f64 / real as f64 - 1.0)
        .collect();
    off.sort_by(f64::total_cmp);
    let middle = off.len() / 2;
    0.5 * (off[(off.len() - 1) / 2] + off[middle])
}

type Measured = (DeviceId, u64, u64);

fn pairs(
    real: &[Measured],
    counted: &[DeviceBytes],
    measured: impl Fn(&Measured) -> u64,
    wire: impl Fn(&DeviceBytes) -> Wire,
) -> Vec<(u64, u64)> {
    let both = real.iter().zip(counted);
    both.map(|(real, counted)| (measured(real), wire(counted).udp_bytes()))
        .collect()
}
