#![allow(clippy::unwrap_used)]

mod absences;
mod admission;
mod bench;
mod comparison;
mod gathering;
mod recovery;
mod refinement;
mod rollouts;
mod rounds;
mod schedules;
mod standing;
