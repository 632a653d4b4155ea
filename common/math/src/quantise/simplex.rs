//! Quantisation of probability rows.

use crate::shape::{ShapeError, check_count};
use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView1, ArrayView2};

use super::bits::{check_padding, pack, packed_length, unpack};
use super::{QuantiseError, check_bits};

/// Quantised distributions as a peer may send them. Nothing is known about
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RawQuantisedSimplex {
    /// Distributions.
    pub rows: u32,
    /// Classes of each.
    pub classes: u32,
    /// Bits a probability.
    pub bits: u8,
    /// The shares of all classes but the last, row by row, lowest bits first.
    pub packed: Vec<u8>,
}

/// Distributions whose probabilities are whole shares of 2^bits − 1, which
/// sum to it exactly. The share of the last class follows from the others
/// and is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantisedSimplex(RawQuantisedSimplex);

impl QuantisedSimplex {
    /// Quantises rows (rows, classes) that are not negative and sum to 1
    /// within [`SUM_TOLERANCE`]; what remains of the rounding goes to the
    /// largest fractions (Hamilton's method). Each probability moves by less
    /// than 1/(2^bits − 1).
    ///
    /// # Errors
    /// If `bits` lies outside 2 to 16, a row is not a distribution, there is
    /// no class, or a side is longer than a `u32`.
    pub fn encode(rows: ArrayView2<'_, f32>, bits: u8) -> Result<Self, QuantiseError> {
        check_bits(bits)?;
        let (count, classes) = rows.dim();
        let too_large = QuantiseError::TooLarge {
            rows: count,
            columns: classes,
        };
        let (Ok(raw_rows), Ok(raw_classes)) = (u32::try_from(count), u32::try_from(classes)) else {
            return Err(too_large);
        };
        let length = packed_length(count, sent_classes(classes)?, bits)?;
        let mut shares = Vec::with_capacity(count * (classes - 1));
        for (index, row) in rows.rows().into_iter().enumerate() {
            let all = apportion(row, (1 << bits) - 1)
                .map_err(|reason| QuantiseError::NotADistribution { row: index, reason })?;
            shares.extend_from_slice(&all[..classes - 1]);
        }
        Ok(Self(RawQuantisedSimplex {
            rows: raw_rows,
            classes: raw_classes,
            bits,
            packed: pack(shares.into_iter(), bits, length),
        }))
    }

    /// The distributions, shape (rows, classes): none negative, each row
    /// summing to 1 within the rounding of `f32`.
    pub fn decode(&self) -> Array2<f32> {
        let total = (1u32 << self.0.bits) - 1;
        let unit = 1.0 / f64::from(total);
        let mut rows = Array2::zeros((self.rows(), self.classes()));
        let last = self.classes() - 1;
        let mut shares = unpack(&self.0.packed, self.0.bits);
        for mut row in rows.rows_mut() {
            let mut left = total;
            for (value, share) in row.iter_mut().take(last).zip(&mut shares) {
                *value = (f64::from(share) * unit) as f32;
                left -= share;
            }
            row[last] = (f64::from(left) * unit) as f32;
        }
        rows
    }

    /// Distributions.
    pub fn rows(&self) -> usize {
        self.0.rows as usize
    }

    /// Classes of each.
    pub fn classes(&self) -> usize {
        self.0.classes as usize
    }

    /// Bits a probability.
    pub fn bits(&self) -> u8 {
        self.0.bits
    }

    /// The form that travels.
    pub fn as_raw(&self) -> &RawQuantisedSimplex {
        &self.0
    }

    /// The form that travels.
    pub fn into_raw(self) -> RawQuantisedSimplex {
        self.0
    }
}

impl TryFrom<RawQuantisedSimplex> for QuantisedSimplex {
    type Error = QuantiseError;

    /// Refuses a wrong length, and rows whose shares exceed the whole.
    fn try_from(raw: RawQuantisedSimplex) -> Result<Self, QuantiseError> {
        check_bits(raw.bits)?;
        let rows = raw.rows as usize;
        let sent = sent_classes(raw.classes as usize)?;
        check_count(
            "packed bytes",
            packed_length(rows, sent, raw.bits)?,
            raw.packed.len(),
        )?;
        check_padding(&raw.packed, rows * sent, raw.bits)?;
        if sent > 0 {
            let total = (1u64 << raw.bits) - 1;
            let mut shares = unpack(&raw.packed, raw.bits);
            for row in 0..rows {
                let sum: u64 = shares.by_ref().take(sent).map(u64::from).sum();
                if sum > total {
                    let reason = "its shares exceed the whole";
                    return Err(QuantiseError::NotADistribution { row, reason });
                }
            }
        }
        Ok(Self(raw))
    }
}

/// How far from 1 the sum of a row may be that is to be encoded.
pub const SUM_TOLERANCE: f64 = 1e-3;

/// Classes whose share is sent: all but the last. A single class would need
/// no bytes at all and could declare any number of rows, so two are the
/// fewest.
fn sent_classes(classes: usize) -> Result<usize, QuantiseError> {
    if classes >= 2 {
        Ok(classes - 1)
    } else {
        Err(ShapeError::count("classes (at least)", 2, classes).into())
    }
}

/// Whole shares of `total` in proportion to `row`: rounded down, then one
/// more for the largest fractions, the earlier of two that tie.
fn apportion(row: ArrayView1<'_, f32>, total: u32) -> Result<Vec<u32>, &'static str> {
    if row.iter().any(|p| !(p.is_finite() && *p >= 0.0)) {
        return Err("a probability is negative or not finite");
    }
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err("its probabilities do not sum to 1");
    }
    let exact: Vec<f64> = row
        .iter()
        .map(|&p| f64::from(p) / sum * f64::from(total))
        .collect();
    let mut shares: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let given: u32 = shares.iter().sum();
    let mut by_fraction: Vec<usize> = (0..exact.len()).collect();
    by_fraction.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    for &class in by_fraction
        .iter()
        .take(total.saturating_sub(given) as usize)
    {
        shares[class] += 1;
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn distributions() -> impl Strategy<Value = Array2<f32>> {
        (0..5usize, 2..9usize).prop_flat_map(|(rows, classes)| {
            prop::collection::vec(-20.0..5.0f32, rows * classes).prop_map(move |logits| {
                let mut rows = Array2::from_shape_vec((rows, classes), logits).unwrap();
                rows.mapv_inplace(f32::exp);
                for mut row in rows.rows_mut() {
                    let sum = row.sum();
                    row /= sum;
                }
                rows
            })
        })
    }

    fn check_rows(rows: &Array2<f32>) -> Result<(), TestCaseError> {
        for row in rows.rows() {
            prop_assert!(row.iter().all(|&p| (0.0..=1.0).contains(&p)));
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn decoded_rows_are_distributions_near_the_encoded(
            rows in distributions(),
            bits in 2..=16u8,
        ) {
            let encoded = QuantisedSimplex::encode(rows.view(), bits).unwrap();
            let sent = rows.nrows() * (rows.ncols() - 1) * usize::from(bits);
            prop_assert_eq!(encoded.as_raw().packed.len(), sent.div_ceil(8));
            let decoded = encoded.decode();
            check_rows(&decoded)?;
            let share = 1.0 / ((1u32 << bits) - 1) as f32;
            for (x, y) in rows.iter().zip(&decoded) {
                prop_assert!((x - y).abs() < share + 1e-6);
            }
            let again = QuantisedSimplex::encode(decoded.view(), bits).unwrap();
            prop_assert_eq!(&again, &encoded);
            let parsed = QuantisedSimplex::try_from(encoded.as_raw().clone()).unwrap();
            prop_assert_eq!(parsed, encoded);
        }

        #[test]
        fn whatever_is_accepted_decodes_to_distributions(
            rows in 0..6u32,
            classes in 0..6u32,
            bits in 0..20u8,
            packed in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let raw = RawQuantisedSimplex { rows, classes, bits, packed };
            if let Ok(simplex) = QuantisedSimplex::try_from(raw) {
                check_rows(&simplex.decode())?;
            }
        }
    }

    #[test]
    fn a_certain_label_survives_two_bits() {
        let rows = array![[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let encoded = QuantisedSimplex::encode(rows.view(), 2).unwrap();
        assert_eq!(encoded.decode(), rows);
    }

    #[test]
    fn rows_that_are_no_distributions_are_not_encoded() {
        for row in [[0.5, 0.6], [1.5, -0.5], [f32::NAN, 1.0], [0.0, 0.0]] {
            let rows = array![[0.5, 0.5], row];
            assert!(matches!(
                QuantisedSimplex::encode(rows.view(), 8),
                Err(QuantiseError::NotADistribution { row: 1, .. })
            ));
        }
    }

    #[test]
    fn hostile_parts_are_refused_by_name() {
        let refusal = |rows, classes, bits, packed: &[u8]| {
            let packed = packed.to_vec();
            let raw = RawQuantisedSimplex {
                rows,
                classes,
                bits,
                packed,
            };
            QuantisedSimplex::try_from(raw).unwrap_err()
        };
        use QuantiseError as E;
        // 15 and 1 shares of 15 for the first two of three classes.
        assert!(matches!(
            refusal(1, 3, 4, &[0x1f]),
            E::NotADistribution { row: 0, .. }
        ));
        assert!(matches!(
            refusal(1, 3, 4, &[]),
            E::Shape(shape) if shape.expected == [1] && shape.got == [0]
        ));
        assert_eq!(refusal(1, 2, 4, &[0x10]), E::Padding);
        assert_eq!(refusal(1, 3, 1, &[0]), E::Bits(1));
        assert!(matches!(
            refusal(u32::MAX, 1, 4, &[]),
            E::Shape(shape) if shape.expected == [2] && shape.got == [1]
        ));
        assert!(matches!(
            refusal(u32::MAX, u32::MAX, 16, &[]),
            E::TooLarge { .. }
        ));
    }
}
