//! Pictures of data and charts, as HTML elements: images and heat maps are PNG
//! in a data address, everything else is SVG.
//!
//! No element has a `style` attribute, so a page may forbid them. Classes
//! (`point`, `trace c0`, `above`, `below`, `plot`, `legend`) and the colours of
//! text and mesh (`#010101` and `#020202`) are for the page's style sheet.

mod chart;
mod heat;
mod look;
mod picture;
mod text;

pub use chart::{Axis, Chart, ChartError, Form, Point, Scale, Series, Size, TimeUnit, colour};
pub use heat::HeatMaps;
pub use look::Look;
pub use text::escape;
