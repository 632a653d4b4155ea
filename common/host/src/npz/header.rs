//! The header of an NPY file: a Python dictionary of three keys.

use std::io::Read;

use super::NpzError;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Element type, e.g. `<f4`.
    pub(super) descr: String,
    /// Lengths of the axes.
    pub(super) shape: Vec<usize>,
    /// Whether the first axis runs fastest.
    pub(super) columns_first: bool,
}

impl Header {
    /// Reads magic, version and dictionary; also says how many bytes these
    /// took.
    pub(super) fn read(stream: &mut impl Read) -> Result<(Self, u64), NpzError> {
        let mut start = [0; 8];
        stream.read_exact(&mut start).map_err(NpzError::read)?;
        if start[..6] != MAGIC {
            return Err(NpzError::Magic);
        }
        let (length, length_bytes) = match start[6] {
            1 => {
                let mut raw = [0; 2];
                stream.read_exact(&mut raw).map_err(NpzError::read)?;
                (usize::from(u16::from_le_bytes(raw)), 2)
            }
            2 | 3 => {
                let mut raw = [0; 4];
                stream.read_exact(&mut raw).map_err(NpzError::read)?;
                let length = u32::from_le_bytes(raw);
                (usize::try_from(length).unwrap_or(usize::MAX), 4)
            }
            version => return Err(NpzError::FormatVersion { version }),
        };
        if length > HEADER_BYTES_MAX {
            return Err(NpzError::HeaderBytes { length });
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).map_err(NpzError::read)?;
        let text = String::from_utf8(text).map_err(|_| NpzError::header("not UTF-8"))?;
        let header = Self::parse(&text)?;
        Ok((header, 8 + length_bytes + length as u64))
    }

    fn parse(text: &str) -> Result<Self, NpzError> {
        let mut rest = Cursor(text.trim());
        let (mut descr, mut order, mut shape) = (None, None, None);
        rest.expect('{')?;
        while !rest.skip('}') {
            let key = rest.string()?;
            rest.expect(':')?;
            let repeated = match key {
                // A list of named fields stands where a type's name should.
                "descr" if rest.peeks('[') => return Err(NpzError::Structured),
                "descr" => descr.replace(rest.string()?).is_some(),
                "fortran_order" => order.replace(rest.boolean()?).is_some(),
                "shape" => shape.replace(rest.tuple()?).is_some(),
                _ => return Err(NpzError::header("an unknown key")),
            };
            if repeated {
                return Err(NpzError::header("a key given twice"));
            }
            if !rest.skip(',') {
                rest.expect('}')?;
                break;
            }
        }
        if !rest.0.trim().is_empty() {
            return Err(NpzError::header("text after the dictionary"));
        }
        let missing = || NpzError::header("not all of descr, fortran_order and shape");
        let header = Self {
            descr: descr.ok_or_else(missing)?.to_owned(),
            shape: shape.ok_or_else(missing)?,
            columns_first: order.ok_or_else(missing)?,
        };
        header.data_bytes()?;
        Ok(header)
    }

    /// The element type without the order of its bytes, e.g. `f4`.
    pub(super) fn kind(&self) -> &str {
        let order = ['<', '>', '|'];
        self.descr.strip_prefix(order).unwrap_or(&self.descr)
    }

    /// Whether the highest byte of an element comes first.
    pub(super) fn big_endian(&self) -> bool {
        self.descr.starts_with('>')
    }

    /// Bytes of one element. Errors: an element type that is not read.
    pub(super) fn element_bytes(&self) -> Result<usize, NpzError> {
        let width = |prefix| {
            let digits = self.kind().strip_prefix(prefix)?;
            let width = digits.parse::<usize>().ok()?;
            (1..=TEXT_CHARACTERS_MAX).contains(&width).then_some(width)
        };
        Ok(match (self.descr.as_bytes().first(), self.kind()) {
            (Some(b'|'), "O") => return Err(NpzError::Objects),
            (Some(b'|'), "u1" | "i1" | "b1") => 1,
            (Some(b'<' | b'>'), "u2" | "i2" | "f2") => 2,
            (Some(b'<' | b'>'), "u4" | "i4" | "f4") => 4,
            (Some(b'<' | b'>'), "u8" | "i8" | "f8") => 8,
            (order, _) => {
                let characters = width("U").filter(|_| order != Some(&b'|'));
                let bytes = width("S").filter(|_| order == Some(&b'|'));
                let found = characters.map(|characters| 4 * characters).or(bytes);
                found.ok_or_else(|| NpzError::ElementType {
                    descr: self.descr.clone(),
                })?
            }
        })
    }

    /// Bytes of all elements. Errors: more than [`ARRAY_BYTES_MAX`].
    pub(super) fn data_bytes(&self) -> Result<u64, NpzError> {
        let width = self.element_bytes()?;
        super::elements(&self.shape)
            .and_then(|count| count.checked_mul(width))
            .map(|bytes| bytes as u64)
            .filter(|&bytes| bytes <= ARRAY_BYTES_MAX)
            .ok_or_else(|| NpzError::ArrayBytes {
                shape: self.shape.clone(),
            })
    }
}

/// The start of an NPY file, up to its data, which begins at a multiple of 64.
pub(super) fn encode(descr: &str, shape: &[usize]) -> Vec<u8> {
    let mut axes = shape
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if shape.len() == 1 {
        axes.push(',');
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(
        ' ',
        unpadded.next_multiple_of(64) - unpadded,
    ));
    text.push('\n');
    // At most AXES_MAX numbers of 20 digits: far below 65,536.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// What is left of the dictionary's text.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, character: char) -> bool {
        let trimmed = self.0.trim_start();
        let rest = trimmed.strip_prefix(character);
        self.0 = rest.unwrap_or(trimmed);
        rest.is_some()
    }

    fn peeks(&self, character: char) -> bool {
        self.0.trim_start().starts_with(character)
    }

    fn expect(&mut self, character: char) -> Result<(), NpzError> {
        if self.skip(character) {
            Ok(())
        } else {
            Err(NpzError::header("not a dictionary"))
        }
    }

    fn string(&mut self) -> Result<&'a str, NpzError> {
        let quote = if self.skip('\'') {
            '\''
        } else {
            self.expect('"')?;
            '"'
        };
        let (string, rest) = self
            .0
            .split_once(quote)
            .ok_or_else(|| NpzError::header("an open string"))?;
        self.0 = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, NpzError> {
        let trimmed = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = trimmed.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(NpzError::header(
            "fortran_order that is neither True nor False",
        ))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, NpzError> {
        let bad = || NpzError::header("a shape that is not a tuple of numbers");
        self.expect('(')?;
        let mut shape = Vec::new();
        while !self.skip(')') {
            let trimmed = self.0.trim_start();
            let end = trimmed
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(bad)?;
            shape.push(trimmed[..end].parse().map_err(|_| bad())?);
            // Python 2 wrote long numbers as 10L.
            self.0 = trimmed[end..].strip_prefix('L').unwrap_or(&trimmed[end..]);
            if shape.len() > AXES_MAX {
                return Err(bad());
            }
            if !self.skip(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Longest dictionary; NumPy writes about 118 bytes.
const HEADER_BYTES_MAX: usize = 4096;
/// Most axes of an array.
const AXES_MAX: usize = 8;
/// Longest string element, in characters.
pub(super) const TEXT_CHARACTERS_MAX: usize = 256;
/// Largest array, in bytes of its elements.
const ARRAY_BYTES_MAX: u64 = 1 << 30;
