//! One round of a fleet in one process: the engines, codec and computations of
//! the product, with an in-memory transport and a simulated clock. With a path,
//! writes the released student there for the example `load_a_student`.
//!
//! ```sh
//! cargo run --release -p lab --example simulated_round student.bin
//! ```

use std::error::Error;

use common::task::RawTask;
use edge_agent::work::Privacy;
use lab::data::{Dataset, Partition, partition};
use lab::simulation::Simulation;

const DEVICES: usize = 10;
const SEED: u64 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    common::math::blas::pin_to_one_thread();
    let data = Dataset::open("digits")?;
    let task = RawTask::parse(include_str!("../configs/task-digits.toml"))?;

    // Non-IID: each class is divided among the devices by a draw from Dir(0.5).
    let how = Partition::Dirichlet(0.5);
    let rows = partition(&data.train, data.classes.len(), how, DEVICES, SEED)?;
    let privacy = Privacy {
        rows_min: 20,
        cluster_size_min: 5,
    };
    let mut fleet = Simulation::new(task, data.train, rows, privacy, SEED)?;
    fleet.connect()?;
    let result = fleet.round()?;

    let predicted = result.release.predict(data.test.inputs.view())?;
    let right = { predicted.iter().zip(&data.test.labels) }
        .filter(|(class, label)| class == label)
        .count();
    let uplink = result.bytes.iter().map(|bytes| bytes.up.udp_bytes()).max();
    println!(
        "student {} of {DEVICES} devices: {:.1} % of the test set, {} bytes up at most",
        result.release.version(),
        100.0 * right as f64 / predicted.len() as f64,
        uplink.unwrap_or(0),
    );
    if let Some(path) = std::env::args_os().nth(1) {
        std::fs::write(&path, result.release.to_bytes())?;
    }
    Ok(())
}
