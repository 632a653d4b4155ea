//! The coordinator's engine: rounds, rollouts and members as state machines.
//!
//! Nothing here does I/O or knows the time by itself. What happened is told
//! as events, what to do next is asked for, and what operators are shown
//! ([`status`]) is computed from the same state. [`round`] drives [`rollout`];
//! [`registry`] stands alone.

pub mod registry;
pub mod rollout;
pub mod round;
pub mod status;
