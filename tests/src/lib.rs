//! What the end-to-end tests share.

pub mod fuzz;
pub mod redteam;
pub mod rig;
