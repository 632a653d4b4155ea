//! Blocks: how a device's features are spread, in means of a few rows each.
//!
//! Each feature's values are put in order and cut into blocks of equally many
//! rows; what is told of a block is its mean. So nothing is told of fewer rows
//! than a distilled point may stand for, and the blocks of all devices together
//! say where the quantiles of the whole fleet are.

use bincode::{Decode, Encode};
use half::bf16;
use math::shape::{ShapeError, check_count};
use ndarray::{Array2, ArrayView2};

/// Blocks as a peer may send them. Nothing is known about them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawBlocks {
    /// Blocks of each feature.
    pub count: u8,
    /// The mean of each feature's middle block.
    pub middle: Vec<f32>,
    /// How far each block's mean lies from that, feature by feature, lowest
    /// first: bfloat16, little endian.
    pub steps: Vec<u8>,
}

/// Block means that fit their task.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    /// Shape (features, blocks), each row rising.
    pub means: Array2<f32>,
}

/// Why blocks were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlocksError {
    /// Lists of the wrong length.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// No blocks, too many, or blocks of too few rows.
    #[error(
        "{rows} rows in {count} blocks, where each has at least {rows_min} and {BLOCKS_MAX} are the most"
    )]
    Count {
        /// Rows of the device.
        rows: u64,
        /// Blocks of each feature.
        count: u8,
        /// Fewest rows of a block.
        rows_min: u32,
    },
    /// A mean that is not finite, or too large for a fleet's scale.
    #[error("block {block} of feature {feature} is {value}")]
    Value {
        /// The feature.
        feature: usize,
        /// The block.
        block: usize,
        /// What stands there.
        value: f32,
    },
    /// Means that are not in order.
    #[error("block {block} of feature {feature} lies below the one before")]
    Order {
        /// The feature.
        feature: usize,
        /// The block.
        block: usize,
    },
}

impl RawBlocks {
    /// Of features (rows × features), in as many blocks as there can be of at
    /// least `rows_min` rows, [`BLOCKS_MAX`] at most. Cost rows·log(rows) a
    /// feature.
    pub fn of(features: ArrayView2<'_, f32>, rows_min: u32) -> Self {
        let rows = features.nrows();
        let count = (rows / rows_min.max(1) as usize).clamp(1, BLOCKS_MAX);
        let mut raw = Self {
            count: count as u8,
            middle: Vec::with_capacity(features.ncols()),
            steps: Vec::with_capacity(features.ncols() * count * 2),
        };
        for column in features.columns() {
            let mut values = column.to_vec();
            values.sort_by(f32::total_cmp);
            let mean = |block: usize| {
                let values = &values[rows * block / count..rows * (block + 1) / count];
                let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
                sum / values.len().max(1) as f64
            };
            let middle = mean(count / 2) as f32;
            raw.middle.push(middle);
            for block in 0..count {
                let step = bf16::from_f64(mean(block) - f64::from(middle));
                raw.steps.extend(step.to_le_bytes());
            }
        }
        raw
    }
}

impl Blocks {
    /// Checks raw blocks of a device of `rows` rows against a task of `features`
    /// features, whose blocks have at least `rows_min` rows.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(
        raw: RawBlocks,
        features: usize,
        rows: u64,
        rows_min: u32,
    ) -> Result<Self, BlocksError> {
        let count = usize::from(raw.count);
        let enough = count <= 1 || rows / u64::from(raw.count) >= u64::from(rows_min);
        if !(1..=BLOCKS_MAX).contains(&count) || !enough {
            return Err(BlocksError::Count {
                rows,
                count: raw.count,
                rows_min,
            });
        }
        check_count("middles", features, raw.middle.len())?;
        check_count("bytes of steps", 2 * features * count, raw.steps.len())?;
        let step = |feature: usize, block: usize| {
            let at = 2 * (feature * count + block);
            bf16::from_le_bytes([raw.steps[at], raw.steps[at + 1]]).to_f32()
        };
        let means = Array2::from_shape_fn((features, count), |(feature, block)| {
            raw.middle[feature] + step(feature, block)
        });
        for ((feature, block), &value) in means.indexed_iter() {
            if !value.is_finite() || value.abs() > MEAN_MAX {
                return Err(BlocksError::Value {
                    feature,
                    block,
                    value,
                });
            }
            if block > 0 && value < means[[feature, block - 1]] {
                return Err(BlocksError::Order { feature, block });
            }
        }
        Ok(Self { means })
    }
}

/// Most blocks of a feature. Sixteen gained at most 0.7 points on twelve tables.
pub const BLOCKS_MAX: usize = 8;
/// Largest mean of a block.
const MEAN_MAX: f32 = 1e30;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn a_block_is_the_mean_of_at_least_so_many_rows() {
        let features = Array2::from_shape_fn((23, 1), |(row, _)| ((row * 7) % 23) as f32);
        let raw = RawBlocks::of(features.view(), 5);
        assert_eq!(raw.count, 4);
        let blocks = Blocks::check(raw, 1, 23, 5).unwrap();
        assert_eq!(blocks.means, array![[2.0, 7.5, 13.5, 19.5]]);
        let few = RawBlocks::of(features.slice(ndarray::s![..4, ..]), 5);
        assert_eq!(few.count, 1);
        Blocks::check(few, 1, 4, 5).unwrap();
    }

    #[test]
    fn blocks_that_are_none_are_refused() {
        let features = Array2::from_shape_fn((80, 2), |(row, column)| (row * (column + 1)) as f32);
        let good = RawBlocks::of(features.view(), 5);
        Blocks::check(good.clone(), 2, 80, 5).unwrap();
        let refusal = |change: &dyn Fn(&mut RawBlocks)| {
            let mut bad = good.clone();
            change(&mut bad);
            Blocks::check(bad, 2, 80, 5).unwrap_err()
        };
        assert!(matches!(
            refusal(&|bad| bad.count = 0),
            BlocksError::Count { count: 0, .. }
        ));
        assert!(matches!(
            refusal(&|bad| bad.count = 200),
            BlocksError::Count { count: 200, .. }
        ));
        assert!(matches!(
            refusal(&|bad| bad.middle.push(0.0)),
            BlocksError::Shape(shape) if shape == ShapeError::count("middles", 2, 3)
        ));
        assert!(matches!(
            refusal(&|bad| bad.steps.truncate(7)),
            BlocksError::Shape(shape) if shape.what == "bytes of steps" && shape.got == [7]
        ));
        for value in [f32::NAN, f32::INFINITY, 1e35] {
            assert!(matches!(
                refusal(&|bad| bad.middle[1] = value),
                BlocksError::Value { feature: 1, .. }
            ));
        }
        let high = bf16::from_f32(1e4).to_le_bytes();
        assert!(matches!(
            refusal(&|bad| bad.steps[..2].copy_from_slice(&high)),
            BlocksError::Order {
                feature: 0,
                block: 1
            }
        ));
        let few = Blocks::check(good, 2, 30, 5);
        assert!(matches!(few, Err(BlocksError::Count { rows: 30, .. })));
    }

    proptest! {
        #[test]
        fn honest_blocks_are_taken_and_lie_where_the_values_do(
            values in proptest::collection::vec(-1e20f32..1e20, 1..80),
            power in 0i32..30,
        ) {
            let unit = 10f32.powi(-power);
            let rows = values.len();
            let features = Array2::from_shape_fn((rows, 1), |(row, _)| values[row] * unit);
            let raw = RawBlocks::of(features.view(), 5);
            let blocks = Blocks::check(raw, 1, rows as u64, 5).unwrap();
            let low = features.iter().copied().fold(f32::INFINITY, f32::min);
            let high = features.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let slack = 0.01 * (high - low) + 1e-5 * high.abs().max(low.abs());
            for &mean in &blocks.means {
                prop_assert!(mean >= low - slack && mean <= high + slack);
            }
        }
    }
}
