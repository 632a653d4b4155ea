//! The one place where values become bytes and bytes become values.
//!
//! Decoding is bounded by a limit on what the bytes may claim, and refuses
//! bytes left over: two different byte strings never mean the same value.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::limits::{BLOB_BYTES_MAX, FRAME_BYTES_MAX};

/// Why bytes were not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are longer than their kind may be.
    #[error("{got} bytes, but at most {max} are allowed")]
    TooLong {
        /// Length given.
        got: usize,
        /// Length allowed.
        max: usize,
    },
    /// The bytes are not a value of this type.
    #[error("not a valid value: {0}")]
    Invalid(#[from] bincode::error::DecodeError),
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// Bytes of a value that travels in one frame.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, configuration::<FRAME_BYTES_MAX>())
        .expect("values in memory hold no unencodable parts and Vec grows as needed")
}

/// A control message out of one frame.
///
/// # Errors
/// Too long, not a value of this type, or followed by more bytes.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within::<T, FRAME_BYTES_MAX>(bytes)
}

/// A blob's value.
///
/// # Errors
/// Too long, not a value of this type, or followed by more bytes.
pub fn decode_blob<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within::<T, { BLOB_BYTES_MAX as usize }>(bytes)
}

/// A value at the start of a blob, and the bytes that follow it.
///
/// # Errors
/// Too long, or not a value of this type.
pub fn decode_blob_start<T: Decode<()>>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    start_within::<T, { BLOB_BYTES_MAX as usize }>(bytes)
}

fn decode_within<T: Decode<()>, const MAX: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = start_within::<T, MAX>(bytes)?;
    match rest.len() {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

fn start_within<T: Decode<()>, const MAX: usize>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    if bytes.len() > MAX {
        return Err(DecodeError::TooLong {
            got: bytes.len(),
            max: MAX,
        });
    }
    let (value, read) = bincode::decode_from_slice(bytes, configuration::<MAX>())?;
    Ok((value, &bytes[read..]))
}

/// Encoding ignores the limit; decoding counts claimed lengths against it.
fn configuration<const MAX: usize>() -> Configuration<LittleEndian, Varint, Limit<MAX>> {
    bincode::config::standard().with_limit::<MAX>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert!(matches!(
            decode::<u32>(&bytes),
            Err(DecodeError::Trailing(1))
        ));
    }

    #[test]
    fn a_huge_declared_length_is_refused_without_allocation() {
        let mut bytes = encode(&u64::MAX);
        bytes.extend_from_slice(&[1, 2, 3]);
        assert!(matches!(
            decode::<Vec<u8>>(&bytes),
            Err(DecodeError::Invalid(_))
        ));
    }

    #[test]
    fn truncated_bytes_are_refused() {
        let bytes = encode(&vec![1u32, 2, 3]);
        assert!(decode::<Vec<u32>>(&bytes[..bytes.len() - 1]).is_err());
    }
}
