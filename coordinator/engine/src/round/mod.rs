//! The round engine: no clock, no randomness, no socket, no disk, no async.
//!
//! [`Engine::handle`] takes one input at a given time, [`Engine::poll_action`]
//! hands out what the driver must do, in order, and [`Engine::poll_timeout`]
//! says when it wants to be woken. The driver must make every
//! [`Action::Append`] durable before it runs any action behind it. If it
//! cannot, it throws the engine and its queued actions away and builds a new
//! one from the log.

mod absence;
mod admission;
mod archive;
mod budget;
mod comparison;
mod engine;
mod event;
mod exclusion;
mod open_phase;
mod phases;
mod policy;
mod refinement;
mod rollouts;
mod standing;
mod state;
mod tally;

pub use absence::{ABSENCES_MAX, AbsenceReason, Absences, Absent, Missed};
pub use admission::STRIKES_MAX;
pub use budget::{BudgetReasons, PlannedBudget};
pub use comparison::Comparison;
pub use engine::{Action, Engine, Input, Job, JobKind, JobOutput, StartRefused, Ticket};
pub use event::{Event, Outcome, Product, TaskEvent};
pub use exclusion::{Exclusion, ExclusionReason};
pub use open_phase::{OpenPhase, Span, Standing};
pub use policy::{RoundPolicy, StandingPolicy};
pub use rollouts::ReRelease;
pub use standing::Gathered;
pub use state::{Ended, Release, Round, State, TransferRef};

#[cfg(test)]
mod tests;
