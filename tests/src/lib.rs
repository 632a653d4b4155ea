//! What the end-to-end tests share.

pub mod ages;
pub mod fuzz;
pub mod rig;
