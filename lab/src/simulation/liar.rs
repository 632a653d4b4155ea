//! Devices that lie: what a fleet's consensus is tried against.

use std::collections::BTreeSet;

use common::ids::BlobHash;
use common::labels::RawLabels;
use common::math::quantise::QuantisedSimplex;
use common::math::random::rng;
use common::round::Kind;
use common::task::Task;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::Built;
use ndarray::Array2;
use rand::seq::index::sample;

use super::Simulation;
use crate::data::Part;

/// This share of the devices, rounded.
pub(crate) fn drawn(devices: usize, share: f64, seed: u64) -> BTreeSet<usize> {
    let many = (share.clamp(0.0, 1.0) * devices as f64).round() as usize;
    let mut random = rng(seed, "liars");
    sample(&mut random, devices, many.min(devices))
        .into_iter()
        .collect()
}

/// What a lying device does. Its engine, its work and its policy are those of
/// an honest one: a lie changes what it holds, or what it sends.
pub trait Lie {
    /// What the device holds in place of its rows.
    fn holds(&self, _device: usize, rows: Part) -> Part {
        rows
    }

    /// What it sends in place of its answer to a call.
    fn sends(&self, _heard: &Heard<'_>, answer: Built) -> Built {
        answer
    }
}

/// What a device that is called knows.
#[derive(Clone, Copy)]
pub struct Heard<'a> {
    /// The task.
    pub task: &'a Task,
    /// The device's number.
    pub device: usize,
    /// The round, from 1.
    pub round: u64,
    /// The transfer set that the answer stands on, if it stands on any.
    pub transfer: Option<BlobHash>,
    pub(super) simulation: &'a Simulation,
}

impl Heard<'_> {
    /// What the coordinator has published under this name.
    pub fn blob(&self, name: BlobHash) -> Option<Vec<u8>> {
        self.simulation.blob(name)
    }
}

/// Which devices lie, from which round on, and how.
pub(super) struct Liars {
    devices: BTreeSet<usize>,
    from_round: u64,
    lie: Box<dyn Lie>,
}

impl Default for Liars {
    fn default() -> Self {
        Self::of(BTreeSet::new(), 1, Box::new(TwistedLabels))
    }
}

impl Liars {
    pub(super) fn of(devices: BTreeSet<usize>, from_round: u64, lie: Box<dyn Lie>) -> Self {
        Self {
            devices,
            from_round,
            lie,
        }
    }

    pub(super) fn holds(&self, device: usize, round: u64, rows: Part) -> Part {
        match self.lies(device, round) {
            true => self.lie.holds(device, rows),
            false => rows,
        }
    }

    pub(super) fn sends(&self, device: usize, heard: &Heard<'_>, answer: Built) -> Built {
        match self.lies(device, heard.round) {
            true => self.lie.sends(heard, answer),
            false => answer,
        }
    }

    fn lies(&self, device: usize, round: u64) -> bool {
        round >= self.from_round && self.devices.contains(&device)
    }
}

/// The same answer, but the labels are sure of the class after the one that
/// the device believes in, at every point as if it lay among its rows, and for
/// as many rows as pass. All liars say the same, which is worse than noise. Of
/// numbers the largest are said to be the smallest.
pub(super) struct TwistedLabels;

impl Lie for TwistedLabels {
    fn holds(&self, _device: usize, mut rows: Part) -> Part {
        if let Some(numbers) = &mut rows.numbers {
            for mut column in numbers.columns_mut() {
                let least = column.iter().copied().fold(f32::INFINITY, f32::min);
                let most = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                column.mapv_inplace(|value| least + most - value);
            }
        }
        rows
    }

    fn sends(&self, _heard: &Heard<'_>, mut answer: Built) -> Built {
        for entry in &mut answer.entries {
            if entry.kind == Kind::Labels
                && let Some(bytes) = twisted_labels(&entry.bytes)
            {
                entry.bytes = bytes;
            }
        }
        answer
    }
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
