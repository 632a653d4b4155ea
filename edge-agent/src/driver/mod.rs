//! What runs the session engine: the network, the disk and the clock.
//!
//! [`agent::Agent`] is the loop. It hands each action of the engine to a task
//! of its own and each result back as an input, so that the engine alone
//! decides. [`link`] speaks to the coordinator, [`backend`] is everything
//! the device does for itself, [`status`] tells others how it goes.

pub mod agent;
pub mod backend;
pub mod link;
pub mod local;
pub mod status;

pub use agent::{Agent, AgentError, AgentSettings};
pub use backend::{Backend, BackendError, Built};
pub use link::{Link, LinkError};

#[cfg(test)]
mod tests;
