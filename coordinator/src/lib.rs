//! The Alambic coordinator: round engine, aggregation, student, releases,
//! store and operator interfaces.

pub mod admin;
pub mod aggregate;
pub mod app;
pub mod backup;
pub mod cli;
pub mod compute;
pub mod config;
pub mod core;
pub mod identity;
pub mod journal;
pub mod limits;
mod metrics;
pub mod page;
pub mod registry;
pub mod rollout;
pub mod round;
pub mod server;
mod state_dir;
pub mod status;
pub mod store;
pub mod student;
pub mod validation;
