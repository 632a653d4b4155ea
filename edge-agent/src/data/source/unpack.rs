//! Compressed files: gzip and zstd, unpacked within a bound.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::super::schema::ParseError;

/// The name of what is in a file, without the ending of a compressor.
pub(in super::super) fn inner_name(name: &Path) -> PathBuf {
    match Packing::of(name) {
        Some(_) => name.with_extension(""),
        None => name.to_owned(),
    }
}

/// Whether a name ends as a compressor's does.
pub(in super::super) fn is_packed(name: &Path) -> bool {
    Packing::of(name).is_some()
}

/// What is in a file, of at most so many bytes.
///
/// # Errors
/// [`ParseError::Packed`] if it is damaged or cut short, and
/// [`ParseError::Unpacked`] if it is longer.
pub(in super::super) fn unpacked<'a>(
    name: &Path,
    bytes: &'a [u8],
    bytes_max: u64,
) -> Result<Cow<'a, [u8]>, ParseError> {
    let read = match Packing::of(name) {
        None => return Ok(Cow::Borrowed(bytes)),
        Some(Packing::Gzip) => within(flate2::read::MultiGzDecoder::new(bytes), bytes_max),
        Some(Packing::Zstd) => zstd(bytes, bytes_max),
    };
    let read = read.map_err(|reason| ParseError::Packed { reason })?;
    match read.len() as u64 {
        length if length > bytes_max => Err(ParseError::Unpacked { bytes_max }),
        _ => Ok(Cow::Owned(read)),
    }
}

/// What is in a file, bit by bit.
pub(in super::super) fn unpacking<'a>(name: &Path, source: &'a mut dyn Read) -> Box<dyn Read + 'a> {
    match Packing::of(name) {
        None => Box::new(source),
        Some(Packing::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Some(Packing::Zstd) => Box::new(Frames {
            source: Some(BufReader::new(source)),
            frame: None,
        }),
    }
}

/// Frames of zstd, one after the other, as `zstd` itself reads them.
struct Frames<R: Read> {
    /// Between two frames.
    source: Option<BufReader<R>>,
    frame: Option<StreamingDecoder<BufReader<R>, FrameDecoder>>,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(into)?;
                if read > 0 {
                    return Ok(read);
                }
                self.source = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut source) = self.source.take() else {
                return Ok(0);
            };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = StreamingDecoder::new(source);
            self.frame = Some(frame.map_err(io::Error::other)?);
        }
    }
}

/// All frames, one after the other, as `zstd` itself reads them.
fn zstd(mut bytes: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    while !bytes.is_empty() && unpacked.len() as u64 <= bytes_max {
        let left = (bytes_max + 1).saturating_sub(unpacked.len() as u64);
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut bytes);
        let frame = frame.map_err(|error| error.to_string())?;
        let mut frame = frame.take(left);
        frame
            .read_to_end(&mut unpacked)
            .map_err(|error| error.to_string())?;
    }
    Ok(unpacked)
}

/// One byte more than allowed is read, so that more is noticed.
fn within(reader: impl Read, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = reader.take(bytes_max + 1).read_to_end(&mut unpacked);
    read.map_err(|error| error.to_string())?;
    Ok(unpacked)
}

#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    fn of(name: &Path) -> Option<Self> {
        match name.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(bytes, level)
    }

    #[test]
    fn both_kinds_are_unpacked_also_in_several_pieces() {
        let text = "a,b\n1,2\n".repeat(5_000).into_bytes();
        let twice = [text.clone(), text.clone()].concat();
        for (name, packed) in [("a.csv.gz", gzip(&text)), ("a.csv.ZST", zstd(&text))] {
            let name = Path::new(name);
            assert_eq!(inner_name(name), Path::new("a.csv"));
            assert_eq!(unpacked(name, &packed, 1 << 20).unwrap(), text);
            let joined = [packed.clone(), packed.clone()].concat();
            assert_eq!(unpacked(name, &joined, 1 << 20).unwrap(), twice);
            let mut read = Vec::new();
            let mut source = &joined[..];
            unpacking(name, &mut source).read_to_end(&mut read).unwrap();
            assert_eq!(read, twice);
            let mut source = &packed[..packed.len() - 9];
            assert!(unpacking(name, &mut source).read_to_end(&mut read).is_err());
            let large = unpacked(name, &packed, 39_999);
            assert_eq!(large, Err(ParseError::Unpacked { bytes_max: 39_999 }));
            let cut = unpacked(name, &packed[..packed.len() - 9], 1 << 20);
            assert!(matches!(cut, Err(ParseError::Packed { .. })), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_within_the_bound(
            bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..200, flip in 1u8..,
        ) {
            let mut damaged = [gzip(&bytes), zstd(&bytes)];
            for (packed, name) in damaged.iter_mut().zip(["a.gz", "a.zst"]) {
                let place = at % packed.len();
                packed[place] ^= flip;
                for bytes in [&bytes, &*packed] {
                    if let Ok(read) = unpacked(Path::new(name), bytes, 1_000) {
                        prop_assert!(read.len() <= 1_000);
                    }
                }
            }
        }
    }
}
