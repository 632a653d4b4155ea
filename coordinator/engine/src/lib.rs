//! The coordinator's engine: rounds, rollouts and members as state machines.
//!
//! Nothing here does I/O or knows the time by itself. What happened is told
//! as commands, and what to do next is asked for. [`core`] holds the [`registry`]
//! and for each task an engine of its [`round`]s, which drives its [`rollout`]s;
//! it turns commands into log entries ([`entry`]) and effects, and the same
//! state into what operators are shown ([`status`]).

pub mod core;
pub mod entry;
pub mod registry;
pub mod rollout;
pub mod round;
pub mod status;
