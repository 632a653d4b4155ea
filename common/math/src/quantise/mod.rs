//! Fewer bits for numbers that travel.
//!
//! - [`QuantisedMatrix`]: any finite matrix, 2 to 16 bits a value.
//! - [`QuantisedSimplex`]: rows of probabilities, 2 to 16 bits a value, that
//!   are probabilities again after decoding.
//! - [`ScaledF16`]: half precision under one scale, for values of one size.
//!
//! Each has a raw form, which may hold anything a peer sends, and a checked
//! form, made by `encode` or by `try_from` of the raw one.

mod bits;
mod float16;
mod matrix;
mod simplex;

use crate::shape::ShapeError;
pub use float16::{RawScaledF16, ScaledF16};
pub use matrix::{Layout, QuantisedMatrix, RawQuantisedMatrix, Scheme};
pub use simplex::{QuantisedSimplex, RawQuantisedSimplex, SUM_TOLERANCE};

/// Why values could not be encoded, or a raw form is not a valid one.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum QuantiseError {
    /// Bits a value outside 2 to 16.
    #[error("{0} bits a value, allowed are 2 to 16")]
    Bits(u8),
    /// A shape whose packed length would not fit in memory.
    #[error("a shape of [{rows}, {columns}] is too large")]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// Packed values, scales or offsets of the wrong number.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A scale that is negative or not finite.
    #[error("scale {index} is {value}, it must be finite and not negative")]
    Scale {
        /// Which scale.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// An offset or a value that is not finite.
    #[error("{what} {index} is not finite: {value}")]
    NonFinite {
        /// What it is.
        what: &'static str,
        /// Its place, row by row.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A packed value that no encoder writes.
    #[error("value {index} has the code {code}, the largest is {max}")]
    Code {
        /// Its place, row by row.
        index: usize,
        /// What was packed.
        code: u32,
        /// The largest code.
        max: u32,
    },
    /// Bits after the last value that are not zero.
    #[error("the last byte is padded with bits that are not zero")]
    Padding,
    /// A row that is not a distribution.
    #[error("row {row} is not a distribution: {reason}")]
    NotADistribution {
        /// The row.
        row: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Refuses a width outside 2 to 16 bits.
fn check_bits(bits: u8) -> Result<(), QuantiseError> {
    if (2..=16).contains(&bits) {
        Ok(())
    } else {
        Err(QuantiseError::Bits(bits))
    }
}

fn check_finite(what: &'static str, values: &[f32]) -> Result<(), QuantiseError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(QuantiseError::NonFinite {
            what,
            index,
            value: values[index],
        }),
    }
}

fn check_scales(scales: &[f32]) -> Result<(), QuantiseError> {
    let bad = |value: &f32| !(value.is_finite() && *value >= 0.0);
    match scales.iter().position(bad) {
        None => Ok(()),
        Some(index) => Err(QuantiseError::Scale {
            index,
            value: scales[index],
        }),
    }
}
