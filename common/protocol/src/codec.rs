//! The one place where values become bytes and bytes become values.
//!
//! Decoding is bounded by a limit on what the bytes may claim, and refuses
//! bytes left over: two different byte strings never mean the same value.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::read::Reader;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError as Invalid, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};

use serde::Serialize;

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

/// An optional part at the end of a value. Absent, it takes no bytes, so values
/// without it are encoded as before the part was introduced. It must be the last
/// part of a value that is decoded by itself, and its encoding must not be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Trailing<T>(pub Option<T>);

impl<T> Trailing<T> {
    /// Whether the part is absent.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> Default for Trailing<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Encode> Encode for Trailing<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match &self.0 {
            Some(value) => value.encode(encoder),
            None => Ok(()),
        }
    }
}

impl<Context, T: Decode<Context>> Decode<Context> for Trailing<T> {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, Invalid> {
        Ok(Self(match decoder.reader().peek_read(1) {
            Some(_) => Some(T::decode(decoder)?),
            None => None,
        }))
    }
}

impl<'de, Context, T: Decode<Context>> BorrowDecode<'de, Context> for Trailing<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, Invalid> {
        Self::decode(decoder)
    }
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
    fn an_absent_trailing_part_takes_no_bytes() {
        let without = encode(&(7u32, Trailing::<u32>(None)));
        assert_eq!(without, encode(&7u32));
        let read = decode::<(u32, Trailing<u32>)>(&without).unwrap();
        assert_eq!(read, (7, Trailing(None)));
        let with = (7u32, Trailing(Some(70_000u32)));
        let bytes = encode(&with);
        assert_eq!(decode::<(u32, Trailing<u32>)>(&bytes).unwrap(), with);
        assert!(decode::<(u32, Trailing<u32>)>(&bytes[..bytes.len() - 1]).is_err());
        assert!(matches!(
            decode::<u32>(&bytes),
            Err(DecodeError::Trailing(_))
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
