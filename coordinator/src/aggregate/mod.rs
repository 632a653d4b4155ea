//! From what devices sent to one teacher: normaliser, transfer set,
//! consensus, moments. Pure.

mod basis;
mod consensus;
mod moments;
mod normaliser;
mod relevance;
mod teacher;
mod transfer;
mod worth;

pub use basis::Basis;
pub use consensus::consensus;
pub use moments::MomentSum;
pub use normaliser::learn_normaliser;
pub use teacher::{Evidence, SolveError, solve_points, solve_teacher};
pub use transfer::{GatherError, gather_transfer_set};
pub use worth::{LeaveOneOut, Worth, WorthError};
