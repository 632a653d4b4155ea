//! The Alambic coordinator.

pub mod store;
