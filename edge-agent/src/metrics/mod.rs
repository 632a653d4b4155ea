//! How the device does, for a Prometheus on the device or one that reaches it
//! through a tunnel: HTTP on a loopback address, off unless configured.
//!
//! ```text
//! curl http://127.0.0.1:4481/metrics
//! ```
//!
//! Each scrape reads the state directory and `/proc`; between scrapes nothing
//! is kept. What the agent tells of its link is as of its last change: a
//! connection, an answer, a loss. No row, label or key of the device is told.

mod readings;
mod server;
mod text;

pub use readings::{Readings, Usage};
pub use server::serve;
pub use text::render;

#[cfg(test)]
mod tests;
