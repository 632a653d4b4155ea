//! The Alambic agent.

pub mod data;
