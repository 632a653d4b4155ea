//! The device's session engine: no clock, no randomness, no socket, no disk,
//! no async.
//!
//! It keeps the link up, answers calls one piece of work at a time (so that
//! memory stays low), sends what is in the outbox until it is answered, and
//! installs released students. The driver runs its actions and reports back.

mod backoff;
mod engine;

pub use backoff::Backoff;
pub use engine::{Action, CallName, Engine, Input, Pending, Settled};

#[cfg(test)]
mod tests;
