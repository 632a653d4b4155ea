//! Liars that claim more rows than they hold, or noise that they did not add.

use std::fmt;
use std::str::FromStr;

use common::blocks::RawBlocks;
use common::labels::RawLabels;
use common::limits::ROWS_MAX;
use common::math::quantise::{QuantisedMatrix, RawQuantisedMatrix, ScaledF16};
use common::moments::RawMoments;
use common::profile::RawProfile;
use common::round::Kind;
use common::summary::RawPoints;
use common::task::Task;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::{Built, Entry};
use ndarray::ArrayView1;

use crate::data::Part;
use crate::simulation::{Heard, Lie};

/// What a liar says of its rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim {
    /// There are this many.
    Rows(u64),
    /// There are this many times as many as there are.
    Times(f64),
    /// Points lie where they say with this certainty alone, as under
    /// differential privacy; the spreads are changed and nothing else.
    Noise(f64),
}

/// A text that claims nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no claim: write a number of rows, like 9000000, a factor, like x5, or a certainty \
     of points, like noise0.3"
)]
pub struct ClaimError(String);

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ClaimError(text.to_owned());
        if let Some(certainty) = text.strip_prefix("noise") {
            return match certainty.parse::<f64>() {
                Ok(certainty) if certainty > 0.0 && certainty < 1.0 => Ok(Self::Noise(certainty)),
                _ => Err(unknown()),
            };
        }
        match text.strip_prefix('x') {
            Some(factor) => match factor.parse::<f64>() {
                Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::Times(factor)),
                _ => Err(unknown()),
            },
            None => match text.parse() {
                Ok(rows) if rows > 0 => Ok(Self::Rows(rows)),
                _ => Err(unknown()),
            },
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::Times(factor) => write!(f, "x{factor}"),
            Self::Noise(certainty) => write!(f, "noise{certainty}"),
        }
    }
}

impl Claim {
    fn factor(self, rows: u64) -> f64 {
        match self {
            Self::Rows(claimed) => claimed as f64 / rows.max(1) as f64,
            Self::Times(factor) => factor,
            Self::Noise(_) => 1.0,
        }
    }
}

/// A lie, and a claim on top of it: whatever the device sends is what it
/// would be if each of its rows occurred as often as is claimed.
pub(super) struct Claiming {
    lie: Box<dyn Lie>,
    claim: Claim,
}

impl Claiming {
    pub(super) fn of(lie: Box<dyn Lie>, claim: Claim) -> Self {
        Self { lie, claim }
    }
}

impl Lie for Claiming {
    fn holds(&self, device: usize, rows: Part) -> Part {
        self.lie.holds(device, rows)
    }

    fn sends(&self, heard: &Heard<'_>, answer: Built) -> Built {
        let mut answer = self.lie.sends(heard, answer);
        for entry in &mut answer.entries {
            if let Claim::Noise(certainty) = self.claim {
                if let Some(bytes) = vague(entry, certainty) {
                    entry.bytes = bytes;
                }
                continue;
            }
            let factor = self.claim.factor(entry.rows);
            if let Some(bytes) = inflated(heard.task, entry, factor) {
                entry.bytes = bytes;
                entry.rows = times(entry.rows, factor);
            }
        }
        answer
    }
}

/// Points whose spreads are those of rows that noise moved as far as leaves
/// them this certainty; none for other kinds, and for what does not decode.
fn vague(entry: &Entry, certainty: f64) -> Option<Vec<u8>> {
    if entry.kind != Kind::Summary {
        return None;
    }
    let mut raw: RawPoints = decode_blob(&entry.bytes).ok()?;
    let inputs = QuantisedMatrix::try_from(raw.inputs.clone()).ok()?.decode();
    let features = inputs.ncols() as f64;
    let spread = |row: ArrayView1<'_, f32>| {
        let square: f64 = row.iter().map(|&one| f64::from(one).powi(2)).sum();
        (features - certainty * square).max(0.0).sqrt() as f32
    };
    let spreads: Vec<f32> = inputs.outer_iter().map(spread).collect();
    raw.spreads = ScaledF16::encode(&spreads).ok()?.into_raw();
    Some(encode(&raw))
}

/// A contribution as if every row occurred `factor` times; none for kinds that
/// are not inflated, and for what does not decode.
fn inflated(task: &Task, entry: &Entry, factor: f64) -> Option<Vec<u8>> {
    let (_, inflate) = INFLATED.iter().find(|(kind, _)| *kind == entry.kind)?;
    inflate(task, &entry.bytes, factor)
}

/// Bytes of a contribution to this task as if every row occurred so often.
type Inflate = fn(&Task, &[u8], f64) -> Option<Vec<u8>>;

/// What says how many rows there are, and may overstate it.
const INFLATED: [(Kind, Inflate); 4] = [
    (Kind::Profile, |task, bytes, factor| {
        if task.learns_quantiles() {
            let (mut raw, blocks): (RawProfile, RawBlocks) = decode_blob(bytes).ok()?;
            inflate_profile(&mut raw, factor);
            return Some(encode(&(raw, blocks)));
        }
        let mut raw: RawProfile = decode_blob(bytes).ok()?;
        inflate_profile(&mut raw, factor);
        Some(encode(&raw))
    }),
    (Kind::Summary, |_, bytes, factor| {
        let mut raw: RawPoints = decode_blob(bytes).ok()?;
        for count in &mut raw.counts {
            let most = f64::from(u32::MAX);
            *count = (f64::from(*count) * factor).round().clamp(1.0, most) as u32;
        }
        Some(encode(&raw))
    }),
    (Kind::Labels, |_, bytes, factor| {
        let mut raw: RawLabels = decode_blob(bytes).ok()?;
        raw.rows = times(raw.rows, factor);
        inflate_counts(&mut raw.class_counts, raw.rows, factor);
        Some(encode(&raw))
    }),
    (Kind::Moments, |_, bytes, factor| {
        let mut raw: RawMoments = decode_blob(bytes).ok()?;
        raw.rows = times(raw.rows, factor);
        inflate_moments(&mut raw, factor);
        Some(encode(&raw))
    }),
];

/// Multiplies G, B and the norm of the targets.
pub(super) fn inflate_moments(raw: &mut RawMoments, factor: f64) {
    raw.target_square = (f64::from(raw.target_square) * factor) as f32;
    for matrix in [&mut raw.carried, &mut raw.targets, &mut raw.factor] {
        multiply(matrix, factor.sqrt());
    }
    raw.remainder = (f64::from(raw.remainder) * factor) as f32;
}

fn multiply(matrix: &mut RawQuantisedMatrix, factor: f64) {
    for value in matrix.scales.iter_mut().chain(&mut matrix.offsets) {
        *value = (f64::from(*value) * factor) as f32;
    }
}

fn inflate_profile(raw: &mut RawProfile, factor: f64) {
    raw.rows = times(raw.rows, factor);
    inflate_counts(&mut raw.class_counts, raw.rows, factor);
}

/// Multiplies counts; together they stay within `rows`.
fn inflate_counts(counts: &mut [u64], rows: u64, factor: f64) {
    let mut left = rows;
    for count in counts {
        *count = ((*count as f64 * factor) as u64).min(left);
        left -= *count;
    }
}

fn times(rows: u64, factor: f64) -> u64 {
    ((rows as f64 * factor).round() as u64).clamp(1, ROWS_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn claims_are_rows_or_factors() {
        assert_eq!("9000000".parse(), Ok(Claim::Rows(9_000_000)));
        assert_eq!("x5".parse(), Ok(Claim::Times(5.0)));
        assert_eq!("noise0.3".parse(), Ok(Claim::Noise(0.3)));
        for text in [
            "", "0", "noise", "noise0", "noise1", "noise-1", "x0", "x-1", "xinf", "five", "-3",
        ] {
            let refused = Err(ClaimError(text.to_owned()));
            assert_eq!(text.parse::<Claim>(), refused);
        }
    }

    #[test]
    fn counts_never_exceed_the_rows_claimed() {
        let mut counts = [3, 3, 4];
        inflate_counts(&mut counts, 25, 2.55);
        assert_eq!(counts, [7, 7, 10]);
        inflate_counts(&mut counts, 20, 1.0);
        assert_eq!(counts, [7, 7, 6]);
    }
}
