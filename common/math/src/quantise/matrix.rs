//! Uniform quantisation of a matrix.

use crate::shape::check_count;
use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};

use super::bits::{check_padding, pack, packed_length, unpack};
use super::{QuantiseError, check_bits, check_finite, check_scales};

/// Which values share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Layout {
    /// All of them: the fewest bytes, for columns of one size.
    Tensor,
    /// Each row its own.
    Row,
    /// Each column its own: for features of different sizes.
    Column,
}

/// Where the levels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Scheme {
    /// Evenly around zero, up to the largest magnitude; zero stays exactly
    /// zero. For values of both signs.
    Symmetric,
    /// Evenly from the smallest value to the largest, at four bytes more a
    /// scale. Up to twice as fine where values are one-sided or have an
    /// offset, such as pixels or ReLU features.
    Affine,
}

/// A quantised matrix as a peer may send it. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawQuantisedMatrix {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Bits a value.
    pub bits: u8,
    /// Which values share a scale.
    pub layout: Layout,
    /// Where the levels lie.
    pub scheme: Scheme,
    /// The distance between two levels: one, or one a row or column.
    pub scales: Vec<f32>,
    /// The lowest level, as many as scales; none if symmetric.
    pub offsets: Vec<f32>,
    /// The codes, row by row, lowest bits first.
    pub packed: Vec<u8>,
}

/// A matrix at 2 to 16 bits a value. Decodes to finite values only, no
/// further than half a scale (and the rounding of `f32`) from what was
/// encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedMatrix(RawQuantisedMatrix);

impl QuantisedMatrix {
    /// Quantises `values` (rows, columns). Costs a few operations a value.
    ///
    /// # Errors
    /// If `bits` lies outside 2 to 16, a value is not finite, or a side is
    /// longer than a `u32`.
    pub fn encode(
        values: ArrayView2<'_, f32>,
        bits: u8,
        layout: Layout,
        scheme: Scheme,
    ) -> Result<Self, QuantiseError> {
        check_bits(bits)?;
        let (rows, columns) = values.dim();
        let length = packed_length(rows, columns, bits)?;
        let too_large = QuantiseError::TooLarge { rows, columns };
        let (Ok(rows), Ok(columns)) = (u32::try_from(rows), u32::try_from(columns)) else {
            return Err(too_large);
        };
        for (index, &value) in values.iter().enumerate() {
            check_finite("value", &[value]).map_err(|_| QuantiseError::NonFinite {
                what: "value",
                index,
                value,
            })?;
        }
        let ranges = ranges(values, layout);
        let level_max = code_max(bits, scheme);
        let (scales, offsets) = match scheme {
            Scheme::Symmetric => {
                let span = |range: &Range| 2.0 * range.low.abs().max(range.high.abs());
                (
                    ranges.iter().map(|r| scale(span(r), level_max)).collect(),
                    vec![],
                )
            }
            Scheme::Affine => (
                ranges
                    .iter()
                    .map(|r| scale(r.high - r.low, level_max))
                    .collect(),
                ranges.iter().map(|r| r.low as f32).collect(),
            ),
        };
        let mut raw = RawQuantisedMatrix {
            rows,
            columns,
            bits,
            layout,
            scheme,
            scales,
            offsets,
            packed: Vec::new(),
        };
        let codes = values.indexed_iter().map(|((row, column), &value)| {
            let (scale, lowest) = raw.levels(row, column);
            if scale > 0.0 {
                let level = ((f64::from(value) - lowest) / scale).round();
                level.clamp(0.0, f64::from(level_max)) as u32
            } else {
                0
            }
        });
        let packed = pack(codes, bits, length);
        raw.packed = packed;
        Ok(Self(raw))
    }

    /// The values, shape (rows, columns).
    pub fn decode(&self) -> Array2<f32> {
        let shape = (self.rows(), self.columns());
        let mut values = Array2::zeros(shape);
        // Whole bytes, as weights travel, need no unpacking.
        match self.0.bits {
            8 => self.fill(&mut values, self.0.packed.iter().copied().map(u32::from)),
            bits => self.fill(&mut values, unpack(&self.0.packed, bits)),
        }
        values
    }

    fn fill(&self, values: &mut Array2<f32>, mut codes: impl Iterator<Item = u32>) {
        let level = |(scale, lowest): (f64, f64), code: u32| {
            let exact = lowest + scale * f64::from(code);
            exact.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
        };
        for (row, mut values) in values.rows_mut().into_iter().enumerate() {
            if self.0.layout == Layout::Column {
                for ((column, value), code) in values.iter_mut().enumerate().zip(&mut codes) {
                    *value = level(self.0.levels(row, column), code);
                }
            } else if !values.is_empty() {
                let levels = self.0.levels(row, 0);
                for (value, code) in values.iter_mut().zip(&mut codes) {
                    *value = level(levels, code);
                }
            }
        }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.0.rows as usize
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.0.columns as usize
    }

    /// Bits a value.
    pub fn bits(&self) -> u8 {
        self.0.bits
    }

    /// The distance between two levels: one, or one a row or column.
    pub fn scales(&self) -> &[f32] {
        &self.0.scales
    }

    /// The form that travels.
    pub fn as_raw(&self) -> &RawQuantisedMatrix {
        &self.0
    }

    /// The form that travels.
    pub fn into_raw(self) -> RawQuantisedMatrix {
        self.0
    }
}

impl TryFrom<RawQuantisedMatrix> for QuantisedMatrix {
    type Error = QuantiseError;

    /// Accepts exactly what [`QuantisedMatrix::encode`] can have written, but
    /// for the choice of scales. Reads every code once.
    fn try_from(raw: RawQuantisedMatrix) -> Result<Self, QuantiseError> {
        check_bits(raw.bits)?;
        let (rows, columns) = (raw.rows as usize, raw.columns as usize);
        check_count(
            "packed bytes",
            packed_length(rows, columns, raw.bits)?,
            raw.packed.len(),
        )?;
        let scales = match raw.layout {
            Layout::Tensor => 1,
            Layout::Row => rows,
            Layout::Column => columns,
        };
        let offsets = match raw.scheme {
            Scheme::Symmetric => 0,
            Scheme::Affine => scales,
        };
        check_count("scales", scales, raw.scales.len())?;
        check_count("offsets", offsets, raw.offsets.len())?;
        check_scales(&raw.scales)?;
        check_finite("offset", &raw.offsets)?;
        check_padding(&raw.packed, rows * columns, raw.bits)?;
        let max = code_max(raw.bits, raw.scheme);
        let above = match raw.bits {
            8 => {
                let mut codes = raw.packed.iter().copied().map(u32::from).enumerate();
                codes.find(|&(_, code)| code > max)
            }
            bits => {
                let codes = unpack(&raw.packed, bits).take(rows * columns);
                codes.enumerate().find(|&(_, code)| code > max)
            }
        };
        if let Some((index, code)) = above {
            return Err(QuantiseError::Code { index, code, max });
        }
        Ok(Self(raw))
    }
}

impl RawQuantisedMatrix {
    /// The scale at one place, and the value of code 0 there.
    fn levels(&self, row: usize, column: usize) -> (f64, f64) {
        let index = match self.layout {
            Layout::Tensor => 0,
            Layout::Row => row,
            Layout::Column => column,
        };
        let scale = f64::from(self.scales[index]);
        match self.scheme {
            Scheme::Symmetric => {
                let zero = f64::from(code_max(self.bits, self.scheme) / 2);
                (scale, -zero * scale)
            }
            Scheme::Affine => (scale, f64::from(self.offsets[index])),
        }
    }
}

/// The smallest and the largest value that share a scale.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

fn ranges(values: ArrayView2<'_, f32>, layout: Layout) -> Vec<Range> {
    fn range<'a>(values: impl Iterator<Item = &'a f32>) -> Range {
        let empty = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = values.fold(empty, |(low, high), &value| {
            (low.min(f64::from(value)), high.max(f64::from(value)))
        });
        if low <= high {
            Range { low, high }
        } else {
            Range {
                low: 0.0,
                high: 0.0,
            }
        }
    }
    match layout {
        Layout::Tensor => vec![range(values.iter())],
        Layout::Row => values
            .rows()
            .into_iter()
            .map(|row| range(row.into_iter()))
            .collect(),
        Layout::Column => values
            .columns()
            .into_iter()
            .map(|column| range(column.into_iter()))
            .collect(),
    }
}

/// The largest code: an odd number of levels around zero, all of them
/// otherwise.
fn code_max(bits: u8, scheme: Scheme) -> u32 {
    match scheme {
        Scheme::Symmetric => (1 << bits) - 2,
        Scheme::Affine => (1 << bits) - 1,
    }
}

/// The distance between levels that covers `span`. Never so small that `f32`
/// loses it.
fn scale(span: f64, level_max: u32) -> f32 {
    if span > 0.0 {
        ((span / f64::from(level_max)) as f32).max(f32::MIN_POSITIVE)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
