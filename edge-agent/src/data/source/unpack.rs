//! Compressed files: gzip and zstd, unpacked within a bound.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
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
        Some(Packing::Gzip) => within(Members::new(bytes), bytes_max),
        Some(Packing::Zstd) => {
            let source = Some(BufReader::new(bytes));
            within(
                Frames {
                    source,
                    frame: None,
                },
                bytes_max,
            )
        }
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
        Some(Packing::Gzip) => Box::new(Members::new(source)),
        Some(Packing::Zstd) => Box::new(Frames {
            source: Some(BufReader::new(source)),
            frame: None,
        }),
    }
}

/// Members of gzip, one after the other, as `gzip` itself reads them: noughts behind
/// the last, as tapes, block devices and power cuts leave them, are nothing.
struct Members<R: Read> {
    /// Between two members.
    source: Option<BufReader<R>>,
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Members<R> {
    fn new(source: R) -> Self {
        Self {
            source: None,
            member: Some(GzDecoder::new(BufReader::new(source))),
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(member) = &mut self.member {
                let read = member.read(into)?;
                if read > 0 {
                    return Ok(read);
                }
                self.source = self.member.take().map(GzDecoder::into_inner);
            }
            let Some(source) = &mut self.source else {
                return Ok(0);
            };
            let filled = source.fill_buf()?;
            let noughts = filled.iter().take_while(|byte| **byte == 0).count();
            match (filled.len(), noughts) {
                (0, _) => return Ok(0),
                (_, 0) => self.member = self.source.take().map(GzDecoder::new),
                _ => source.consume(noughts),
            }
        }
    }
}

/// Frames of zstd, one after the other, as `zstd` itself reads them; those to be
/// skipped, as programs with several threads write them, are.
struct Frames<R: Read> {
    /// Between two frames.
    source: Option<BufReader<R>>,
    frame: Option<Frame<R>>,
}

/// A frame, whose first bytes were looked at.
type Frame<R> = StreamingDecoder<Chain<Cursor<[u8; 4]>, BufReader<R>>, FrameDecoder>;

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(into).map_err(plain)?;
                if read > 0 {
                    return Ok(read);
                }
                let source = self.frame.take().map(StreamingDecoder::into_inner);
                self.source = source.map(|source| source.into_inner().1);
            }
            let Some(mut source) = self.source.take() else {
                return Ok(0);
            };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let mut start = [0; 4];
            source.read_exact(&mut start)?;
            if u32::from_le_bytes(start) & !0xf == SKIPPED {
                let mut length = [0; 4];
                source.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                let skipped = io::copy(&mut (&mut source).take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.source = Some(source);
                continue;
            }
            let frame = StreamingDecoder::new(Cursor::new(start).chain(source));
            self.frame = Some(frame.map_err(io::Error::other).map_err(plain)?);
        }
    }
}

/// What the decoder says, in words for people.
fn plain(error: io::Error) -> io::Error {
    let said = error.to_string();
    match said.contains("UnexpectedEof") || said.contains("fill whole buffer") {
        true => io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short"),
        false => io::Error::other(format!("it is damaged: {error}")),
    }
}

/// One byte more than allowed is read, so that more is noticed.
fn within(reader: impl Read, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = reader.take(bytes_max + 1).read_to_end(&mut unpacked);
    read.map_err(|error| error.to_string())?;
    Ok(unpacked)
}

/// First four bytes of a frame to be skipped, but for the last four bits (RFC 8878,
/// section 3.1.2).
const SKIPPED: u32 = 0x184d_2a50;

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
    fn noughts_behind_the_last_member_are_nothing() {
        let two = [gzip(b"a,b\n"), vec![0; 3], gzip(b"1,2\n"), vec![0; 70_000]].concat();
        let name = Path::new("a.csv.gz");
        assert_eq!(&unpacked(name, &two, 100).unwrap()[..], b"a,b\n1,2\n");
        let mut source = &two[..];
        let mut read = String::new();
        unpacking(name, &mut source)
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!(read, "a,b\n1,2\n");
        let other = [gzip(b"a,b\n"), b"\0more".to_vec()].concat();
        assert!(unpacked(name, &other, 100).is_err(), "lost without a word");
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

    #[test]
    fn frames_to_be_skipped_are_skipped() {
        let skipped = b"\x5e\x2a\x4d\x18\x03\0\0\0abc";
        let packed = [skipped, &zstd(b"a,b\n")[..], skipped, &zstd(b"1,2\n")].concat();
        let name = Path::new("a.zst");
        assert_eq!(unpacked(name, &packed, 100).unwrap(), &b"a,b\n1,2\n"[..]);
        let cut = unpacked(name, &packed[..packed.len() - 3], 100).unwrap_err();
        assert!(cut.to_string().contains("cut short"), "{cut}");
        assert!(unpacked(name, &skipped[..9], 100).is_err());
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
