//! A whole round on a trivial task with real processes: what the machinery
//! costs when the mathematics costs nothing. 21 agents with some 48 rows of one class each, 10
//! points, one training step; from the round's start to its last report.
//! Needs the programs: `cargo build --release --bins`.
#![allow(clippy::unwrap_used)]

use lab::data::{Dataset, Part, Partition, partition};
use lab::demo::Fleet;
use lab::plan::{TaskOptions, task_file};
use lab::progress::Progress;
use ndarray::Array2;

/// Enough that the rows left after holding some out are still `rows_min`.
const ROWS_EACH: usize = 48;
const ROUNDS: usize = 5;

fn main() {
    let tiny = std::env::var_os("ALAMBIC_BENCH_TINY").is_some();
    let agents = if tiny { 3 } else { 21 };
    let data = trivial(agents * ROWS_EACH);
    let parts = partition(&data.train, 2, Partition::Shards(1), agents, 0).unwrap();
    let task_options = TaskOptions {
        features: Some("raw".to_owned()),
        student: common::task::StudentSpec::Mlp { hidden: vec![4] },
        points: 10,
        points_per_device: 1,
        auto_budget: false,
        bits: 8,
        contribute: "both".to_owned(),
        consensus: common::task::ConsensusRule::Weighted,
        uplink_bytes_max: 100_000,
        rank_max: 0,
        novelty: false,
        landmarks: None,
        steps: 1,
        refinement_steps: 0,
        seed: 0,
        deadline_s: 60,
        grace_s: 5.0,
    };
    let mut progress = Progress::new(true);
    let mut fleet = Fleet::start(None, &mut progress).unwrap();
    let mut client = fleet.client().unwrap();
    let token = client.create_token(600_000, agents as u32).unwrap();
    let task = client
        .create_task(&task_file(&data, &task_options))
        .unwrap()
        .name;
    fleet
        .add_agents(&data, &parts, &token, &mut progress)
        .unwrap();
    fleet
        .wait_connected(&mut client, agents, &mut progress)
        .unwrap();
    let idle = fleet.memory();
    let mut walls = Vec::new();
    for _ in 0..if tiny { 1 } else { ROUNDS } {
        client.run_round(Some(&task), |_| {}).unwrap();
        let status = client.status().unwrap();
        walls.push(status.tasks[0].history.last().unwrap().wall_ms);
    }
    let accepted = client.status().unwrap().tasks[0].history[0]
        .accepted
        .clone();
    println!(
        "agents {agents}, first round {} ms, all rounds {walls:?} ms",
        walls[0]
    );
    println!("contributions taken in the first round (the checksum): {accepted:?}");
    println!(
        "resident before the first round: {idle:?}; after: {:?}",
        fleet.memory()
    );
    fleet.stop();
}

/// Two classes on either side of a plane.
fn trivial(rows: usize) -> Dataset {
    let part = |rows: usize| Part {
        inputs: Array2::from_shape_fn((rows, 4), |(row, value)| {
            let side = if row % 2 == 0 { 1.0 } else { -1.0 };
            // Rows differ from one another, since copies count once.
            side + (row * (7 + value) * 13 % 997) as f32 / 2_000.0
        }),
        labels: (0..rows).map(|row| (row % 2) as u16).collect(),
        numbers: None,
        users: None,
        groups: None,
    };
    Dataset {
        name: "trivial".to_owned(),
        shape: vec![4],
        classes: vec!["left".to_owned(), "right".to_owned()],
        numbers: Vec::new(),
        range: None,
        offset: None,
        sound_rate: None,
        train: part(rows).into(),
        test: part(20),
    }
}
