//! Devices that lie: what a fleet's consensus is tried against.

use std::collections::BTreeSet;

use common::labels::RawLabels;
use common::math::quantise::QuantisedSimplex;
use common::math::random::rng;
use common::round::Kind;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::Built;
use ndarray::Array2;
use rand::seq::index::sample;

/// This share of the devices, rounded.
pub(super) fn drawn(devices: usize, share: f64, seed: u64) -> BTreeSet<usize> {
    let many = (share.clamp(0.0, 1.0) * devices as f64).round() as usize;
    let mut random = rng(seed, "liars");
    sample(&mut random, devices, many.min(devices))
        .into_iter()
        .collect()
}

/// The same answer, but the labels are sure of the class after the one that
/// the device believes in, at every point as if it lay among its rows, and for
/// as many rows as pass. All liars say the same, which is worse than noise.
pub(super) fn twisted(mut built: Built) -> Built {
    for entry in &mut built.entries {
        if entry.kind == Kind::Labels
            && let Some(bytes) = twisted_labels(&entry.bytes)
        {
            entry.bytes = bytes;
        }
    }
    built
}

fn twisted_labels(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut raw: RawLabels = decode_blob(bytes).ok()?;
    let bits = raw.probabilities.bits;
    let said = QuantisedSimplex::try_from(raw.probabilities).ok()?.decode();
    let (points, classes) = said.dim();
    let mut lie = Array2::zeros((points, classes));
    for (row, mut lie) in said.rows().into_iter().zip(lie.rows_mut()) {
        let believed = (0..classes).fold(
            0,
            |best, class| {
                if row[class] > row[best] { class } else { best }
            },
        );
        lie[(believed + 1) % classes] = 1.0;
    }
    raw.probabilities = QuantisedSimplex::encode(lie.view(), bits).ok()?.into_raw();
    raw.nearness.fill(u8::MAX);
    raw.rows = 1_000_000 * classes as u64;
    raw.class_counts.fill(1_000_000);
    Some(encode(&raw))
}
