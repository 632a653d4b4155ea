//! Codes of a few bits each in a run of bytes: lowest bits first, no gaps,
//! zeros after the last one.

use super::QuantiseError;

/// Bytes that rows × columns codes of this width take.
pub(super) fn packed_length(rows: usize, columns: usize, bits: u8) -> Result<usize, QuantiseError> {
    rows.checked_mul(columns)
        .and_then(|values| values.checked_mul(usize::from(bits)))
        .map(|total| total.div_ceil(8))
        .ok_or(QuantiseError::TooLarge { rows, columns })
}

/// Packs codes below 2^bits.
pub(super) fn pack(codes: impl Iterator<Item = u32>, bits: u8, length: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity(length);
    let (mut held, mut held_bits) = (0u32, 0u8);
    for code in codes {
        held |= code << held_bits;
        held_bits += bits;
        while held_bits >= 8 {
            packed.push(held as u8);
            held >>= 8;
            held_bits -= 8;
        }
    }
    if held_bits > 0 {
        packed.push(held as u8);
    }
    packed
}

/// The codes of a packed run, without end: zeros follow the last byte.
pub(super) fn unpack(packed: &[u8], bits: u8) -> impl Iterator<Item = u32> {
    let mut bytes = packed.iter();
    let mask = (1u32 << bits) - 1;
    let (mut held, mut held_bits) = (0u32, 0u8);
    std::iter::repeat_with(move || {
        while held_bits < bits {
            held |= u32::from(bytes.next().copied().unwrap_or(0)) << held_bits;
            held_bits += 8;
        }
        let code = held & mask;
        held >>= bits;
        held_bits -= bits;
        code
    })
}

/// Refuses bits that are set after the last of `values` codes, so that equal
/// content has equal bytes.
pub(super) fn check_padding(packed: &[u8], values: usize, bits: u8) -> Result<(), QuantiseError> {
    let used = (values * usize::from(bits)) % 8;
    match packed.last() {
        Some(last) if used > 0 && last >> used != 0 => Err(QuantiseError::Padding),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_come_back_and_fill_exactly_the_packed_length(
            bits in 2..=16u8,
            codes in prop::collection::vec(any::<u32>(), 0..100),
        ) {
            let codes: Vec<u32> = codes.iter().map(|code| code & ((1 << bits) - 1)).collect();
            let length = packed_length(codes.len(), 1, bits).unwrap();
            let packed = pack(codes.iter().copied(), bits, length);
            prop_assert_eq!(packed.len(), length);
            prop_assert_eq!(check_padding(&packed, codes.len(), bits), Ok(()));
            let back: Vec<u32> = unpack(&packed, bits).take(codes.len()).collect();
            prop_assert_eq!(back, codes);
        }
    }
}
