//! What the end-to-end tests share.

pub mod fuzz;
pub mod golden;
pub mod kept;
pub mod rig;
