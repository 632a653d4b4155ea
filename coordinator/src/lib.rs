//! The Alambic coordinator.

pub mod round;
pub mod store;
