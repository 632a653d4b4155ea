//! From what devices sent to one teacher: normaliser, transfer set,
//! consensus, moments. Pure.

mod basis;
mod cap;
mod claimed_noise;
mod consensus;
mod feature_weights;
mod gradients;
mod influence;
mod judge;
mod leverage;
mod marks;
mod mislabelled;
mod moments;
mod normaliser;
mod odd;
mod pooled;
mod profile_outliers;
mod projection;
mod robust;
mod samples;
mod stages;
mod teacher;
mod transfer;
mod trimmed;

pub use basis::Basis;
pub use cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};
pub use claimed_noise::take_back_false_noise;
pub use consensus::consensus;
pub use gradients::{Joined, join_gradients};
pub use influence::{Influence, InfluenceError, LeftOut, leave_one_out};
pub use judge::{Directions, Judge, Verdict};
pub use leverage::Leverage;
pub use marks::{Marked, marked_samples};
pub use mislabelled::Mislabelled;
pub use moments::{MomentSum, weighed};
pub use normaliser::{LearntNormaliser, learn_normaliser};
pub(crate) use odd::odd_data;
pub use pooled::{Compared, Found, Pooled, pooled};
pub use samples::contradicting_samples;
pub use stages::{StageChoice, choose_stage};
pub use teacher::{Evidence, SolveError, solve_points, solve_teacher};
pub use transfer::{GatherError, gather_transfer_set};
pub use trimmed::{Contradiction, Evidence as DeviceEvidence};
