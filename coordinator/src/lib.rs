//! The Alambic coordinator: round engine, aggregation, student, releases,
//! store and operator interfaces.

pub mod aggregate;
pub mod compute;
pub mod intake;
pub mod round;
pub mod store;
pub mod student;
