//! Exported students beside the releases they came from, run by the programs
//! they are for.
#![allow(clippy::unwrap_used)]

mod c;
mod python;
mod students;
