//! When a fleet makes a projection together, and what is said of it.

use serde_json::{Value, json};

use edge_agent::work::Privacy;

use super::{SimulateError, SimulateOptions};
use crate::data::Dataset;
use crate::progress::Progress;
use crate::projection::{Projection, Setting};

/// The projection that is asked for and the data in it; none where nobody asks,
/// or where inputs have few values already.
pub(super) fn made(
    data: &Dataset,
    options: &SimulateOptions,
    (parts, privacy): (&[Vec<usize>], Privacy),
    seed: u64,
    progress: &mut Progress,
) -> Result<Option<(Projection, Dataset)>, SimulateError> {
    if !options.project || data.train.inputs.ncols() <= FEW {
        return Ok(None);
    }
    progress.stage(&format!(
        "seed {seed}: {} devices make a projection of {} features",
        parts.len(),
        data.train.inputs.ncols()
    ));
    let setting = Setting {
        parts,
        privacy,
        uplink_bytes: options.uplink_bytes_max,
        seed,
    };
    let projection = Projection::learn(data, setting)?;
    let data = projection.apply(data);
    Ok(Some((projection, data)))
}

/// What is left to send of the bytes that a device may send.
pub(super) fn left(projection: &Projection, uplink_bytes_max: u64) -> u64 {
    let spent = projection.sent.iter().map(|sent| sent.iter().sum::<u64>());
    let spent = spent.max().unwrap_or(0) as f64 * FRAMING;
    uplink_bytes_max.saturating_sub(spent as u64).max(1)
}

/// What was made, and why so.
pub(super) fn choice(projection: &Projection) -> Value {
    let (before, after) = projection.widths();
    json!({
        "value": after,
        "reason": format!(
            "{before} features in {} discriminant directions and {} principal components, of \
             products with {} blocks of {:?} directions at {} bits",
            projection.discriminants,
            after - projection.discriminants,
            projection.blocks.len(),
            projection.blocks,
            projection.bits,
        ),
    })
}

/// Inputs of no more values are not projected.
const FEW: usize = 64;
/// Packets and acknowledgements of what was sent.
const FRAMING: f64 = 1.05;
