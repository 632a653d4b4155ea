//! The Alambic agent.

pub mod anew;
pub mod backbone;
pub mod cache;
pub mod cli;
pub mod config;
pub mod data;
pub mod driver;
pub mod enrol;
pub mod identity;
pub mod ledger;
pub mod machine;
pub mod metrics;
pub mod mqtt;
pub mod outbox;
pub mod policy;
pub mod predictions;
pub mod renewal;
pub mod route;
pub mod session;
pub mod slots;
pub mod state;
pub mod teacher;
pub mod trust;
pub mod work;

#[cfg(test)]
mod fleet;
