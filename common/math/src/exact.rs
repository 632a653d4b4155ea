//! A sum that does not depend on order and can be undone exactly.

use crate::shape::{ShapeError, check_count};

/// A number could not be added exactly.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExactError {
    /// The arrays differ in length.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A value is NaN or infinite.
    #[error("value {index} is not finite")]
    NonFinite {
        /// Its place.
        index: usize,
    },
    /// A value is too large for the fixed point.
    #[error("value {index} is {value:e}, beyond the largest summable {VALUE_MAX:e}")]
    TooLarge {
        /// Its place.
        index: usize,
        /// The value.
        value: f64,
    },
    /// There were too many large values for the sum.
    #[error("the sum of value {index} overflows")]
    Overflow {
        /// Its place.
        index: usize,
    },
}

/// Sums arrays of `f64` in fixed point: every value is rounded once to a
/// multiple of 2⁻⁴⁰ and added as an integer.
///
/// So any order of the same arrays gives the same bits, and an array that was
/// added can be removed again without a trace. Values reach up to 2⁵⁰;
/// 2³⁶ such values fit. On error nothing has changed. Memory: 16 bytes a
/// value; lives in memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactSum {
    cells: Vec<i128>,
}

impl ExactSum {
    /// A sum of no arrays of `len` values.
    pub fn new(len: usize) -> Self {
        Self {
            cells: vec![0; len],
        }
    }

    /// Values in each array.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the arrays hold no values at all.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds an array.
    pub fn add(&mut self, values: &[f64]) -> Result<(), ExactError> {
        self.apply(values, i128::checked_add)
    }

    /// Takes an array out that was added before. One that never was added is
    /// subtracted all the same: the sum does not remember its parts.
    pub fn remove(&mut self, values: &[f64]) -> Result<(), ExactError> {
        self.apply(values, i128::checked_sub)
    }

    /// Adds all arrays of another sum.
    pub fn merge(&mut self, other: &Self) -> Result<(), ExactError> {
        self.check_len(other.len())?;
        for (index, (cell, add)) in self.cells.iter().zip(&other.cells).enumerate() {
            cell.checked_add(*add)
                .ok_or(ExactError::Overflow { index })?;
        }
        for (cell, add) in self.cells.iter_mut().zip(&other.cells) {
            *cell += add;
        }
        Ok(())
    }

    /// The sums, each rounded once to the nearest `f64`.
    pub fn to_f64(&self) -> Vec<f64> {
        self.cells.iter().map(|&cell| cell as f64 / SCALE).collect()
    }

    fn apply(
        &mut self,
        values: &[f64],
        op: fn(i128, i128) -> Option<i128>,
    ) -> Result<(), ExactError> {
        self.check_len(values.len())?;
        // First all checks, then all changes: an error leaves the sum alone.
        for (index, (&cell, &value)) in self.cells.iter().zip(values).enumerate() {
            if !value.is_finite() {
                return Err(ExactError::NonFinite { index });
            }
            if value.abs() > VALUE_MAX {
                return Err(ExactError::TooLarge { index, value });
            }
            op(cell, fixed(value)).ok_or(ExactError::Overflow { index })?;
        }
        for (cell, &value) in self.cells.iter_mut().zip(values) {
            *cell = op(*cell, fixed(value)).expect("the loop above has tried this very operation");
        }
        Ok(())
    }

    fn check_len(&self, got: usize) -> Result<(), ExactError> {
        Ok(check_count("values", self.len(), got)?)
    }
}

/// The nearest multiple of 2⁻⁴⁰, as that multiple. Scaling by a power of two
/// is exact, so this rounds once.
fn fixed(value: f64) -> i128 {
    (value * SCALE).round_ties_even() as i128
}

/// 2⁴⁰.
const SCALE: f64 = (1_u64 << 40) as f64;
/// 2⁵⁰: the largest value that may be added.
const VALUE_MAX: f64 = (1_u64 << 50) as f64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn arrays() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec(-1e9..1e9_f64, 5), 1..12)
    }

    fn sum(arrays: &[Vec<f64>]) -> ExactSum {
        let mut sum = ExactSum::new(5);
        for array in arrays {
            sum.add(array).unwrap();
        }
        sum
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bits((arrays, shuffled) in arrays().prop_flat_map(|a| (Just(a.clone()), Just(a).prop_shuffle()))) {
            prop_assert_eq!(sum(&arrays), sum(&shuffled));
        }

        #[test]
        fn a_removed_array_leaves_no_trace(arrays in arrays(), which in any::<prop::sample::Index>()) {
            let which = which.index(arrays.len());
            let mut all = sum(&arrays);
            all.remove(&arrays[which]).unwrap();
            let mut others = arrays.clone();
            others.remove(which);
            prop_assert_eq!(all, sum(&others));
        }

        #[test]
        fn merging_is_adding_all_parts(left in arrays(), right in arrays()) {
            let mut merged = sum(&left);
            merged.merge(&sum(&right)).unwrap();
            prop_assert_eq!(merged, sum(&[left, right].concat()));
        }

        #[test]
        fn the_sum_is_near_the_plain_one(arrays in arrays()) {
            for (i, value) in sum(&arrays).to_f64().into_iter().enumerate() {
                let plain: f64 = arrays.iter().map(|array| array[i]).sum();
                prop_assert!((value - plain).abs() <= 1e-5);
            }
        }
    }

    #[test]
    fn a_refused_array_changes_nothing() {
        let mut sum = sum(&[vec![1.0; 5]]);
        let before = sum.clone();
        assert_eq!(
            sum.add(&[1.0; 4]),
            Err(ExactError::Shape(ShapeError::count("values", 5, 4)))
        );
        assert_eq!(
            sum.add(&[1.0, 1.0, f64::NAN, 1.0, 1.0]),
            Err(ExactError::NonFinite { index: 2 })
        );
        assert_eq!(
            sum.add(&[1.0, 1e16, 1.0, 1.0, 1.0]),
            Err(ExactError::TooLarge {
                index: 1,
                value: 1e16
            })
        );
        assert_eq!(
            sum.remove(&[f64::INFINITY; 5]),
            Err(ExactError::NonFinite { index: 0 })
        );
        assert_eq!(sum, before);
    }

    #[test]
    fn an_overflowing_sum_is_refused_whole() {
        let mut sum = ExactSum {
            cells: vec![0, i128::MAX],
        };
        let before = sum.clone();
        assert_eq!(sum.add(&[1.0, 1.0]), Err(ExactError::Overflow { index: 1 }));
        assert_eq!(sum.merge(&before), Err(ExactError::Overflow { index: 1 }));
        assert_eq!(sum, before);
    }
}
