//! What devices and the coordinator say to each other, in types that cannot
//! hold what must not be said.
//!
//! Nothing here does I/O. The modules build on one another in one direction:
//! [`ids`], [`limits`], [`codec`] → [`features`], [`task`] → what devices contribute
//! ([`profile`], [`blocks`], [`summary`], [`labels`], [`moments`],
//! [`report`], [`gradient`], [`stage_trial`]; [`contribution`] has what is common to all) and what the coordinator publishes
//! ([`scales`], [`transfer`],
//! [`landmarks`], [`feature_weights`], [`teacher`], [`model`], [`delta`]) →
//! [`wire`] and [`trust`].

pub mod blocks;
pub mod close;
pub mod codec;
pub mod contribution;
pub mod delta;
pub mod evaluation;
pub mod feature_weights;
pub mod features;
pub mod gradient;
pub mod host_port;
pub mod human;
pub mod ids;
pub mod labels;
pub mod landmarks;
pub mod limits;
pub mod model;
pub mod moments;
pub mod novelty;
pub mod profile;
pub mod report;
pub mod round;
pub mod scales;
pub mod sketch;
pub mod stage_trial;
pub mod summary;
pub mod task;
pub mod teacher;
pub mod traffic;
pub mod transfer;
pub mod trust;
pub mod weights;
pub mod wire;
pub mod withheld;
