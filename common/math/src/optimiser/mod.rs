//! First-order optimisers over flat parameters.

mod adam;
mod ema;
mod schedule;

pub use adam::{Adam, AdamParams, AdamSettings};
pub use ema::Ema;
pub use schedule::Schedule;

/// Why an optimiser's settings were refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[error("{key} is {value}, allowed is {allowed}")]
pub struct OptimiserError {
    /// The setting.
    pub key: &'static str,
    /// What it was set to.
    pub value: f64,
    /// What it may be.
    pub allowed: &'static str,
}

/// Refuses a setting unless `holds`.
fn require(
    holds: bool,
    key: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<(), OptimiserError> {
    if holds {
        Ok(())
    } else {
        Err(OptimiserError {
            key,
            value,
            allowed,
        })
    }
}
