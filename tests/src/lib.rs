//! What the end-to-end tests share.

pub mod ages;
pub mod cable;
pub mod disk;
pub mod fuzz;
pub mod golden;
pub mod kept;
pub mod redteam;
pub mod relay;
pub mod rig;
