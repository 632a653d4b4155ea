//! The laboratory: demo, simulation, baselines. The only crate that sees both
//! the device's and the coordinator's side.

pub mod attack;
pub mod backbone;
pub mod baseline;
pub mod data;
pub mod demo;
pub mod distill;
pub mod federated;
pub mod folders;
pub mod labelling;
pub mod load;
pub mod metrics;
pub mod outcome;
pub mod overhead;
pub mod plan;
pub mod points;
pub mod privacy;
pub mod progress;
pub mod projection;
pub mod reached;
pub mod report;
pub mod simulate;
pub mod simulation;
pub mod stage;
pub mod survive;
pub mod sweep;
