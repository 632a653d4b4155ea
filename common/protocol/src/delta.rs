//! What changes from one release to the next, for a device that holds the
//! earlier one.
//!
//! Weights stand at a release's end, so the two are laid end to end: each byte
//! less the one in its place, which is mostly near zero, and deflate. Anyone who
//! applies a delta checks the result against the name of the blob it asked
//! for; nothing here is trusted.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// Why a delta could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// The bytes are malformed.
    #[error("not a delta: {0}")]
    Malformed(&'static str),
    /// It makes more than is allowed.
    #[error("the delta makes {got} bytes, at most {max} are taken")]
    TooLong {
        /// What it declares.
        got: u64,
        /// What is taken.
        max: u64,
    },
}

/// The bytes that lead from `base` to `new`: `"ALD1" | length | deflate`.
pub fn encode(base: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(new.len() as u64).to_le_bytes());
    let apart: Vec<u8> = new
        .iter()
        .enumerate()
        .map(|(at, byte)| byte.wrapping_sub(below(base, new.len(), at)))
        .collect();
    let mut deflate = DeflateEncoder::new(out, Compression::best());
    // Writing to memory does not fail.
    let _ = deflate.write_all(&apart);
    deflate.finish().unwrap_or_default()
}

/// What `delta` makes of `base`. Memory: at most `max` bytes.
///
/// # Errors
/// [`DeltaError`] for bytes that are no delta, or one that makes more than
/// `max`.
pub fn apply(base: &[u8], delta: &[u8], max: u64) -> Result<Vec<u8>, DeltaError> {
    let rest = delta.strip_prefix(MAGIC);
    let rest = rest.ok_or(DeltaError::Malformed("it does not begin with ALD1"))?;
    let (length, deflated) = rest
        .split_first_chunk::<8>()
        .ok_or(DeltaError::Malformed("it ends inside its length"))?;
    let length = u64::from_le_bytes(*length);
    if length > max {
        return Err(DeltaError::TooLong { got: length, max });
    }
    let mut new = Vec::new();
    // One more, to see whether it goes on.
    let mut reader = DeflateDecoder::new(deflated).take(length + 1);
    reader
        .read_to_end(&mut new)
        .map_err(|_| DeltaError::Malformed("it does not inflate"))?;
    if new.len() as u64 != length {
        return Err(DeltaError::Malformed(
            "it makes another length than it says",
        ));
    }
    let total = new.len();
    for (at, byte) in new.iter_mut().enumerate() {
        *byte = byte.wrapping_add(below(base, total, at));
    }
    Ok(new)
}

/// The byte of `base` that lies under byte `at` of `length`, ends together.
fn below(base: &[u8], length: usize, at: usize) -> u8 {
    let under = (base.len() + at).checked_sub(length);
    under.and_then(|at| base.get(at)).copied().unwrap_or(0)
}

const MAGIC: &[u8; 4] = b"ALD1";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delta_leads_from_one_to_the_other(
            base in prop::collection::vec(any::<u8>(), 0..300),
            new in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let delta = encode(&base, &new);
            prop_assert_eq!(apply(&base, &delta, 300).unwrap(), new);
        }

        #[test]
        fn any_bytes_are_applied_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = apply(b"base", &bytes, 1_000);
            let _ = apply(b"base", &[MAGIC.as_slice(), &bytes].concat(), 1_000);
        }
    }

    #[test]
    fn a_shifted_copy_has_a_tiny_delta() {
        let weights: Vec<u8> = (0..50_000u32).map(|at| ((at * at) >> 7) as u8).collect();
        let base = [b"version 1.9".as_slice(), &weights].concat();
        let new = [b"version 1.10".as_slice(), &weights].concat();
        let delta = encode(&base, &new);
        assert!(delta.len() < 200, "{}", delta.len());
        assert_eq!(apply(&base, &delta, 60_000).unwrap(), new);
    }

    #[test]
    fn a_delta_is_refused_before_it_inflates_too_far() {
        let delta = encode(b"", &vec![0; 100_000]);
        let refused = apply(b"", &delta, 99_999).unwrap_err();
        assert!(matches!(refused, DeltaError::TooLong { .. }));
        // A liar declares little and inflates to much.
        let mut liar = delta;
        liar[4..12].copy_from_slice(&10u64.to_le_bytes());
        assert!(apply(b"", &liar, 99_999).is_err());
    }
}
