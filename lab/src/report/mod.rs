//! One self-contained page of what a run found: no script, nothing fetched.

mod detail;
mod influence;
mod page;

pub use detail::{Detail, DetailError, DeviceRow, PointPicture};
pub use influence::Influence;
pub use page::{Cell, SweepPage, render, render_sweep};
pub(crate) use page::{foot, head};
