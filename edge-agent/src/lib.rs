//! The Alambic agent.

pub mod data;
pub mod session;
