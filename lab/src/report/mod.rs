//! One self-contained page of what a run found: no script, nothing fetched.

mod chart;
mod detail;
mod page;
mod picture;
mod worth;

pub use chart::{ChartError, Line, Plot};
pub use detail::{Detail, DetailError, DeviceRow, PointPicture};
pub use page::{Cell, SweepPage, render, render_sweep};
pub(crate) use page::{escape, foot, head};
pub use worth::Worth;
