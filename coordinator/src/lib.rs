//! The Alambic coordinator: round engine, aggregation, student, releases,
//! store and operator interfaces.

pub mod admin;
pub mod aggregate;
pub mod app;
pub mod backbone;
pub mod backup;
pub mod budget;
pub mod cli;
pub mod compute;
pub mod config;
mod config_layers;
pub mod gateway;
pub mod identity;
pub mod journal;
pub mod limits;
mod metrics;
pub mod page;
pub mod server;
mod state_dir;
pub mod store;
pub mod student;
pub mod validation;

pub use engine::{core, registry, rollout, round, status};
