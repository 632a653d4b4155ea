//! What both sides of Alambic speak: types, mathematics, wire and trust.
//!
//! This crate runs no process and touches no disk, but for [`ownership`] and
//! [`settings`], which looks into a configuration's file. Its modules build on
//! one another in one direction: [`ids`], [`limits`] → [`math`] → [`features`],
//! [`task`] → checked data ([`profile`],
//! [`blocks`], [`summary`], [`transfer`],
//! [`labels`], [`moments`], [`model`]) → [`wire`] and [`trust`] →
//! [`transport`].

pub mod blocks;
pub mod delta;
pub mod features;
pub mod health;
pub mod http;
pub mod ids;
pub mod labels;
pub mod landmarks;
pub mod limits;
pub mod math;
pub mod model;
pub mod moments;
pub mod npz;
pub mod ownership;
pub mod pipe;
pub mod profile;
pub mod pulse;
pub mod relevance;
pub mod report;
pub mod round;
pub mod service;
pub mod settings;
pub mod signals;
pub mod summary;
pub mod task;
pub mod teacher;
pub mod transfer;
pub mod transport;
pub mod trial;
pub mod trust;
pub mod weights;
pub mod wire;
