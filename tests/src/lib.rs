//! What the end-to-end tests share.

pub mod agent;
pub mod aging;
pub mod database;
pub mod disk;
pub mod fixtures;
pub mod fuzz;
pub mod gateway;
pub mod golden;
pub mod layers;
pub mod netns;
pub mod redteam;
pub mod relay;
pub mod rig;
pub mod standby;
