//! Frames: the unit that travels on a control stream.
//!
//! A frame is `u32 length | u32 checksum | payload`, both numbers in
//! little-endian order. The length counts the payload only; the checksum is
//! the first four bytes of the payload's BLAKE3 hash. QUIC already protects
//! bytes in flight: the checksum catches a fault in the two programs around
//! it, and makes the same framing safe to keep in a file.
//!
//! Nothing here reads or writes: [`FrameReader`] is fed bytes and gives
//! payloads back.

use crate::limits::FRAME_BYTES_MAX;

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 8;

/// Why bytes are not a frame. The peer is to blame for each of these, except
/// for [`FrameError::TooLong`] when it comes from [`encode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`FRAME_BYTES_MAX`].
    #[error("frame of {length} bytes is longer than the {max} allowed")]
    TooLong {
        /// The declared length.
        length: usize,
        /// What is allowed.
        max: usize,
    },
    /// The payload is not what its sender hashed.
    #[error("frame of {length} bytes has checksum {got:08x}, expected {expected:08x}")]
    Checksum {
        /// The declared length.
        length: usize,
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the payload that came.
        got: u32,
    },
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame: {got} of {expected} bytes came")]
    Truncated {
        /// Bytes the frame, or its header, should have had.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
}

/// The frame that carries `payload`: header and payload in one buffer.
///
/// # Errors
/// [`FrameError::TooLong`] above [`FRAME_BYTES_MAX`].
pub fn encode(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = checked_length(payload.len())?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Assembles frames from bytes as they come, in pieces of any size.
///
/// Memory follows the bytes that came, never the length that was declared.
#[derive(Debug, Default)]
pub struct FrameReader {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    payload: Vec<u8>,
}

impl FrameReader {
    /// A reader at the border between two frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes complete the header, or else the payload. Anyone who
    /// reads no more than this from a stream never reads past the frame.
    pub fn wanted(&self) -> usize {
        if self.header_filled < HEADER_BYTES {
            HEADER_BYTES - self.header_filled
        } else {
            self.length() - self.payload.len()
        }
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_inside_frame(&self) -> bool {
        self.header_filled > 0
    }

    /// Takes at most [`wanted`](Self::wanted) bytes from the front of
    /// `bytes`. Returns how many were taken, and the payload once a frame is
    /// complete.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the header is known, and
    /// [`FrameError::Checksum`] with the last byte. The stream cannot be
    /// read further after either.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<u8>>), FrameError> {
        let taken = bytes.len().min(self.wanted());
        let bytes = &bytes[..taken];
        if self.header_filled < HEADER_BYTES {
            self.header[self.header_filled..self.header_filled + taken].copy_from_slice(bytes);
            self.header_filled += taken;
            if self.header_filled == HEADER_BYTES {
                checked_length(self.length())?;
            }
        } else {
            self.grow_for(taken);
            self.payload.extend_from_slice(bytes);
        }
        let complete = self.header_filled == HEADER_BYTES && self.wanted() == 0;
        Ok((taken, complete.then(|| self.take()).transpose()?))
    }

    /// Tells the reader that no more bytes come.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] inside a frame.
    pub fn end(&self) -> Result<(), FrameError> {
        let (expected, got) = match self.header_filled {
            0 => return Ok(()),
            HEADER_BYTES => (self.length(), self.payload.len()),
            filled => (HEADER_BYTES, filled),
        };
        Err(FrameError::Truncated { expected, got })
    }

    fn length(&self) -> usize {
        let [a, b, c, d, ..] = self.header;
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    /// Doubles the room, but never beyond the declared length.
    fn grow_for(&mut self, more: usize) {
        let filled = self.payload.len();
        if self.payload.capacity() - filled < more {
            let room = (2 * filled).max(filled + more).min(self.length());
            self.payload.reserve_exact(room - filled);
        }
    }

    fn take(&mut self) -> Result<Vec<u8>, FrameError> {
        let [.., a, b, c, d] = self.header;
        let expected = u32::from_le_bytes([a, b, c, d]);
        let payload = std::mem::take(&mut self.payload);
        self.header_filled = 0;
        let got = checksum(&payload);
        if got == expected {
            Ok(payload)
        } else {
            Err(FrameError::Checksum {
                length: payload.len(),
                expected,
                got,
            })
        }
    }
}

fn checked_length(length: usize) -> Result<u32, FrameError> {
    u32::try_from(length)
        .ok()
        .filter(|_| length <= FRAME_BYTES_MAX)
        .ok_or(FrameError::TooLong {
            length,
            max: FRAME_BYTES_MAX,
        })
}

fn checksum(payload: &[u8]) -> u32 {
    let hash = blake3::hash(payload);
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn read_all(reader: &mut FrameReader, mut bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        while !bytes.is_empty() {
            let (taken, payload) = reader.push(&bytes[..step.min(bytes.len())]).unwrap();
            bytes = &bytes[taken..];
            payloads.extend(payload);
        }
        payloads
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
            step in 1usize..40,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|p| encode(p).unwrap()).collect();
            let mut reader = FrameReader::new();
            prop_assert_eq!(read_all(&mut reader, &stream, step), payloads);
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn reader_never_holds_more_than_was_declared_or_came(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut reader = FrameReader::new();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let Ok((taken, _)) = reader.push(rest) else { break };
                prop_assert!(reader.payload.capacity() <= FRAME_BYTES_MAX);
                prop_assert!(reader.payload.capacity() <= 2 * bytes.len());
                rest = &rest[taken..];
            }
        }

        #[test]
        fn a_flipped_bit_never_gives_the_payload_back(
            payload in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut frame = encode(&payload).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            let mut reader = FrameReader::new();
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                match reader.push(rest) {
                    Ok((taken, got)) => {
                        prop_assert_ne!(got, Some(payload.clone()));
                        rest = &rest[taken..];
                    }
                    Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_header() {
        let mut header = [0u8; HEADER_BYTES];
        header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut reader = FrameReader::new();
        assert_eq!(
            reader.push(&header),
            Err(FrameError::TooLong {
                length: u32::MAX as usize,
                max: FRAME_BYTES_MAX
            })
        );
        assert_eq!(reader.payload.capacity(), 0);
    }

    #[test]
    fn the_longest_frame_is_taken_and_one_byte_more_is_not() {
        let longest = vec![7u8; FRAME_BYTES_MAX];
        let mut reader = FrameReader::new();
        let payloads = read_all(&mut reader, &encode(&longest).unwrap(), 10_000);
        assert_eq!(payloads, [longest]);
        assert_eq!(
            encode(&vec![0; FRAME_BYTES_MAX + 1]),
            Err(FrameError::TooLong {
                length: FRAME_BYTES_MAX + 1,
                max: FRAME_BYTES_MAX
            })
        );
    }

    #[test]
    fn a_truncated_frame_says_how_much_is_missing() {
        let frame = encode(b"twelve bytes").unwrap();
        let mut reader = FrameReader::new();
        read_all(&mut reader, &frame[..3], 3);
        assert_eq!(
            reader.end(),
            Err(FrameError::Truncated {
                expected: 8,
                got: 3
            })
        );
        read_all(&mut reader, &frame[3..frame.len() - 2], 8);
        assert_eq!(
            reader.end(),
            Err(FrameError::Truncated {
                expected: 12,
                got: 10
            })
        );
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut frame = encode(b"payload").unwrap();
        frame[HEADER_BYTES] ^= 1;
        let mut reader = FrameReader::new();
        reader.push(&frame[..HEADER_BYTES]).unwrap();
        assert!(matches!(
            reader.push(&frame[HEADER_BYTES..]),
            Err(FrameError::Checksum { length: 7, .. })
        ));
    }
}
