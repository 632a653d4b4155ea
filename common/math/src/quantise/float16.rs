//! Half precision under one scale.

use crate::shape::check_count;
use bincode::{Decode, Encode};
use half::f16;

use super::{QuantiseError, check_finite, check_scales};

/// Scaled half-precision values as a peer may send them. Nothing is known
/// about them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawScaledF16 {
    /// What each value is multiplied by.
    pub scale: f32,
    /// IEEE 754 binary16, little endian.
    pub bytes: Vec<u8>,
}

/// Values at 11 significant bits each, divided by the largest magnitude, so
/// that none overflows. Values below 6e-5 of the largest lose bits, and
/// those below 3e-8 of it become zero.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaledF16(RawScaledF16);

impl ScaledF16 {
    /// Packs finite values, two bytes each.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn encode(values: &[f32]) -> Result<Self, QuantiseError> {
        check_finite("value", values)?;
        let scale = values
            .iter()
            .fold(0.0f32, |max, value| max.max(value.abs()));
        let inverse = if scale > 0.0 {
            1.0 / f64::from(scale)
        } else {
            0.0
        };
        let bytes = values
            .iter()
            .flat_map(|&value| f16::from_f64(f64::from(value) * inverse).to_le_bytes())
            .collect();
        Ok(Self(RawScaledF16 { scale, bytes }))
    }

    /// The values.
    pub fn decode(&self) -> Vec<f32> {
        let value = |half: f16| self.0.scale * half.to_f32();
        halves(&self.0.bytes).map(value).collect()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.bytes.len() / 2
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.bytes.is_empty()
    }

    /// The largest magnitude.
    pub fn scale(&self) -> f32 {
        self.0.scale
    }

    /// The form that travels.
    pub fn as_raw(&self) -> &RawScaledF16 {
        &self.0
    }

    /// The form that travels.
    pub fn into_raw(self) -> RawScaledF16 {
        self.0
    }
}

impl TryFrom<RawScaledF16> for ScaledF16 {
    type Error = QuantiseError;

    /// Refuses half a value, a scale that is negative or not finite, and
    /// values beyond the scale, infinities and NaN among them.
    fn try_from(raw: RawScaledF16) -> Result<Self, QuantiseError> {
        let even = raw.bytes.len().next_multiple_of(2);
        check_count("bytes", even, raw.bytes.len())?;
        check_scales(&[raw.scale])?;
        let within = |half: f16| half.to_f32().abs() <= 1.0;
        if let Some(index) = halves(&raw.bytes).position(|half| !within(half)) {
            return Err(QuantiseError::Code {
                index,
                code: u32::from(u16::from_le_bytes([
                    raw.bytes[2 * index],
                    raw.bytes[2 * index + 1],
                ])),
                max: u32::from(f16::ONE.to_bits()),
            });
        }
        Ok(Self(raw))
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = f16> {
    bytes
        .chunks_exact(2)
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_keep_eleven_bits_of_the_largest(
            values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 0..40),
        ) {
            let packed = ScaledF16::encode(&values).unwrap();
            prop_assert_eq!(packed.len(), values.len());
            let scale = f64::from(packed.scale());
            for (&x, &y) in values.iter().zip(&packed.decode()) {
                let (x, y) = (f64::from(x), f64::from(y));
                let bound = x.abs() / 2048.0 * 1.001 + scale * 3e-8 + f64::from(f32::MIN_POSITIVE);
                prop_assert!((x - y).abs() <= bound, "{x} became {y}");
            }
            prop_assert_eq!(ScaledF16::try_from(packed.as_raw().clone()), Ok(packed));
        }

        #[test]
        fn whatever_is_accepted_decodes_to_finite_values(
            scale: f32,
            bytes in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            if let Ok(packed) = ScaledF16::try_from(RawScaledF16 { scale, bytes }) {
                prop_assert!(packed.decode().iter().all(|value| value.is_finite()));
            }
        }
    }

    #[test]
    fn hostile_parts_are_refused_by_name() {
        use QuantiseError as E;
        let refusal = |scale, bytes: &[u8]| {
            let bytes = bytes.to_vec();
            ScaledF16::try_from(RawScaledF16 { scale, bytes }).unwrap_err()
        };
        assert!(matches!(
            refusal(1.0, &[0, 0, 0]),
            E::Shape(shape) if shape.expected == [4] && shape.got == [3]
        ));
        assert!(matches!(refusal(-1.0, &[]), E::Scale { .. }));
        assert!(matches!(refusal(f32::NAN, &[]), E::Scale { .. }));
        // Infinity, NaN and 2.
        for bytes in [[0x00, 0x7c], [0x00, 0x7e], [0x00, 0x40]] {
            assert!(matches!(refusal(1.0, &bytes), E::Code { index: 0, .. }));
        }
        assert!(matches!(
            ScaledF16::encode(&[f32::NAN]),
            Err(E::NonFinite { .. })
        ));
    }
}
