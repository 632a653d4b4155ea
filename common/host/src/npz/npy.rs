//! One array in NumPy's NPY format, read strictly and written in version 1.0.

use std::io::Read;

use half::f16;
use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use super::NpzError;
use super::header::{self, Header};

/// The elements of an [`Array`], in C order (the last axis runs fastest).
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `|u1`, and what `|b1` holds
    U8(Vec<u8>),
    /// `|i1`
    I8(Vec<i8>),
    /// `<u2`
    U16(Vec<u16>),
    /// `<i2`
    I16(Vec<i16>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<i8`, and what `<u4` and `<u8` hold
    I64(Vec<i64>),
    /// `<f4`, and what `<f2` holds
    F32(Vec<f32>),
    /// `<f8`, and `<u8` beyond what `<i8` holds
    F64(Vec<f64>),
    /// `<U…`, and what `|S…` holds in UTF-8; trailing NULs removed.
    Text(Vec<String>),
}

/// An array of any rank: its shape, and as many values as the shape says.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    values: Values,
    /// Whether its numbers are truth values.
    truths: bool,
}

/// Runs one expression for the vector inside, whatever its element type.
macro_rules! each {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::U8($vector) => $body,
            Values::I8($vector) => $body,
            Values::U16($vector) => $body,
            Values::I16($vector) => $body,
            Values::I32($vector) => $body,
            Values::I64($vector) => $body,
            Values::F32($vector) => $body,
            Values::F64($vector) => $body,
            Values::Text($vector) => $body,
        }
    };
}

/// The same with the vector that the expression makes of it.
macro_rules! each_kind {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::U8($vector) => Values::U8($body),
            Values::I8($vector) => Values::I8($body),
            Values::U16($vector) => Values::U16($body),
            Values::I16($vector) => Values::I16($body),
            Values::I32($vector) => Values::I32($body),
            Values::I64($vector) => Values::I64($body),
            Values::F32($vector) => Values::F32($body),
            Values::F64($vector) => Values::F64($body),
            Values::Text($vector) => Values::Text($body),
        }
    };
}

/// Converts every number of the vector inside; text is the caller's error.
macro_rules! numbers {
    ($values:expr, $value:ident => $body:expr, $kind:literal) => {
        match $values {
            Values::U8(v) => v.iter().map(|&$value| $body).collect(),
            Values::I8(v) => v.iter().map(|&$value| $body).collect(),
            Values::U16(v) => v.iter().map(|&$value| $body).collect(),
            Values::I16(v) => v.iter().map(|&$value| $body).collect(),
            Values::I32(v) => v.iter().map(|&$value| $body).collect(),
            Values::I64(v) => v.iter().map(|&$value| $body).collect(),
            Values::F32(v) => v.iter().map(|&$value| $body).collect(),
            Values::F64(v) => v.iter().map(|&$value| $body).collect(),
            Values::Text(_) => return Err(NpzError::NotNumbers { wanted: $kind }),
        }
    };
}

impl Array {
    /// An array of this shape. Errors: the product of the shape is not the
    /// number of values.
    pub fn new(shape: Vec<usize>, values: Values) -> Result<Self, NpzError> {
        let found = each!(&values, v => v.len());
        if super::elements(&shape) != Some(found) {
            return Err(NpzError::ValueCount { shape, found });
        }
        Ok(Self {
            shape,
            values,
            truths: false,
        })
    }

    /// Reads a whole NPY file. Errors: everything that is not exactly one
    /// array of a known element type.
    pub fn parse(bytes: &[u8]) -> Result<Self, NpzError> {
        Self::parse_within(bytes, u64::MAX)
    }

    /// The same of at most this many values. Errors: those of [`Self::parse`],
    /// and [`NpzError::Values`] before anything is unpacked.
    pub fn parse_within(bytes: &[u8], values_max: u64) -> Result<Self, NpzError> {
        Self::read(bytes, bytes.len() as u64, values_max)
    }

    /// Reads an array from a stream that claims to hold `bytes_total` bytes.
    /// The claim is compared with the header before anything is allocated,
    /// and memory then grows only as data arrives.
    pub(super) fn read(
        mut stream: impl Read,
        bytes_total: u64,
        values_max: u64,
    ) -> Result<Self, NpzError> {
        let (header, header_bytes) = Header::read(&mut stream)?;
        let expected = header.data_bytes()?;
        let values = expected / header.element_bytes()? as u64;
        // A long text counts as several numbers.
        if values.max(expected / size_of::<f64>() as u64) > values_max {
            return Err(NpzError::Values {
                shape: header.shape,
                max: values_max,
            });
        }
        let found = bytes_total.saturating_sub(header_bytes);
        if found != expected {
            return Err(NpzError::DataBytes { expected, found });
        }
        let array = Self::of_elements(header, &mut stream)?;
        match stream.read(&mut [0]).map_err(NpzError::read)? {
            0 => Ok(array),
            _ => Err(NpzError::TrailingBytes),
        }
    }

    /// The elements of a header's array, which are next in a stream.
    pub(super) fn of_elements(header: Header, stream: &mut impl Read) -> Result<Self, NpzError> {
        let values = read_values(&header, stream)?;
        let values = if header.columns_first {
            each_kind!(values, v => rows_first(&header.shape, v))
        } else {
            values
        };
        let truths = header.kind() == "b1";
        let array = Self::new(header.shape, values)?;
        Ok(Self { truths, ..array })
    }

    /// Whether its elements, which read as 0 and 1, were written as truth values.
    pub fn holds_truths(&self) -> bool {
        self.truths
    }

    /// The NPY file (version 1.0) of this array.
    ///
    /// Errors: a text longer than is read again.
    pub fn encode(&self) -> Result<Vec<u8>, NpzError> {
        let descr = self.descr()?;
        let mut bytes = header::encode(&descr, &self.shape);
        match &self.values {
            Values::U8(v) => bytes.extend_from_slice(v),
            Values::I8(v) => bytes.extend(v.iter().map(|x| x.to_le_bytes()[0])),
            Values::U16(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::I16(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::I32(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::I64(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::F32(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::F64(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Values::Text(v) => {
                let width = text_width(v)?;
                for text in v {
                    let codes = text.chars().map(u32::from).chain(std::iter::repeat(0));
                    codes
                        .take(width)
                        .for_each(|code| bytes.extend(code.to_le_bytes()));
                }
            }
        }
        Ok(bytes)
    }

    /// Lengths of the axes; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, in C order.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Length of the first axis: 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The array of these rows, in this order. Errors: a row that the first
    /// axis does not have.
    pub fn select(&self, rows: &[usize]) -> Result<Self, NpzError> {
        let width: usize = self.shape.iter().skip(1).product();
        let count = self.rows();
        if let Some(&row) = rows.iter().find(|&&row| row >= count) {
            return Err(NpzError::NoRow { row, rows: count });
        }
        macro_rules! pick {
            ($($kind:ident),*) => {
                match &self.values {
                    $(Values::$kind(v) => Values::$kind(
                        rows.iter().flat_map(|&r| v[r * width..(r + 1) * width].iter().cloned()).collect(),
                    ),)*
                }
            };
        }
        let values = pick!(U8, I8, U16, I16, I32, I64, F32, F64, Text);
        let mut shape = self.shape.clone();
        match shape.first_mut() {
            Some(first) => *first = rows.len(),
            None => shape.push(rows.len()),
        }
        Self::new(shape, values)
    }

    /// Every element as f32, rounded to nearest where f32 is too narrow.
    /// Errors: text.
    pub fn to_f32(&self) -> Result<Vec<f32>, NpzError> {
        Ok(numbers!(&self.values, x => x as f32, "numbers"))
    }

    /// The same; an array of f32 is not copied. Errors: text.
    pub fn into_f32(self) -> Result<Vec<f32>, NpzError> {
        match self.values {
            Values::F32(values) => Ok(values),
            _ => self.to_f32(),
        }
    }

    /// Every element as f64 (64-bit integers beyond 2⁵³ are rounded).
    /// Errors: text.
    pub fn to_f64(&self) -> Result<Vec<f64>, NpzError> {
        Ok(numbers!(&self.values, x => x as f64, "numbers"))
    }

    /// Every element as an integer. Errors: text, or a number that is not an integer.
    pub fn to_integers(&self) -> Result<Vec<i64>, NpzError> {
        let whole = |x: f64| x.fract() == 0.0 && x.abs() <= INTEGER_MAX;
        let bad = match &self.values {
            Values::F32(v) => v.iter().map(|&x| f64::from(x)).find(|&x| !whole(x)),
            Values::F64(v) => v.iter().copied().find(|&x| !whole(x)),
            _ => None,
        };
        match bad {
            Some(value) => Err(NpzError::NotInteger { value }),
            None => Ok(numbers!(&self.values, x => x as i64, "integers")),
        }
    }

    /// Every element as text. Errors: numbers.
    pub fn to_text(&self) -> Result<&[String], NpzError> {
        match &self.values {
            Values::Text(v) => Ok(v),
            _ => Err(NpzError::NotText),
        }
    }

    fn descr(&self) -> Result<String, NpzError> {
        let name = match &self.values {
            Values::U8(_) => "|u1",
            Values::I8(_) => "|i1",
            Values::U16(_) => "<u2",
            Values::I16(_) => "<i2",
            Values::I32(_) => "<i4",
            Values::I64(_) => "<i8",
            Values::F32(_) => "<f4",
            Values::F64(_) => "<f8",
            Values::Text(v) => return Ok(format!("<U{}", text_width(v)?)),
        };
        Ok(name.to_owned())
    }
}

/// Characters of the longest text, at least one. Errors: more than are read.
fn text_width(texts: &[String]) -> Result<usize, NpzError> {
    let longest = texts.iter().map(|text| text.chars().count()).max();
    match longest.unwrap_or(0).max(1) {
        found if found > header::TEXT_CHARACTERS_MAX => Err(NpzError::TextCharacters { found }),
        width => Ok(width),
    }
}

fn read_values(header: &Header, stream: &mut impl Read) -> Result<Values, NpzError> {
    let bytes = header.data_bytes()?;
    let big = header.big_endian();
    macro_rules! of_type {
        ($number:ty) => {{
            const BYTES: usize = size_of::<$number>();
            let mut values: Vec<$number> = Vec::new();
            read_elements(stream, bytes, BYTES, |chunk| {
                values.reserve(chunk.len() / BYTES);
                for element in chunk.chunks_exact(BYTES) {
                    let mut raw = [0; BYTES];
                    raw.copy_from_slice(element);
                    values.push(match big {
                        true => <$number>::from_be_bytes(raw),
                        false => <$number>::from_le_bytes(raw),
                    });
                }
                Ok(())
            })?;
            values
        }};
    }
    Ok(match header.kind() {
        "u1" | "b1" => Values::U8(of_type!(u8)),
        "i1" => Values::I8(of_type!(i8)),
        "u2" => Values::U16(of_type!(u16)),
        "i2" => Values::I16(of_type!(i16)),
        "i4" => Values::I32(of_type!(i32)),
        "i8" => Values::I64(of_type!(i64)),
        "u4" => Values::I64(of_type!(u32).into_iter().map(i64::from).collect()),
        "u8" => {
            let values = of_type!(u64);
            let signed = values.iter().map(|&value| i64::try_from(value));
            match signed.collect() {
                Ok(signed) => Values::I64(signed),
                Err(_) => Values::F64(values.iter().map(|&value| value as f64).collect()),
            }
        }
        "f2" => {
            let narrow = of_type!(u16).into_iter().map(f16::from_bits);
            Values::F32(narrow.map(f16::to_f32).collect())
        }
        "f4" => Values::F32(of_type!(f32)),
        "f8" => Values::F64(of_type!(f64)),
        _ => {
            let width = header.element_bytes()?;
            let mut values = Vec::new();
            read_elements(stream, bytes, width, |chunk| {
                for element in chunk.chunks_exact(width) {
                    values.push(match header.descr.starts_with('|') {
                        true => bytes_text(element)?,
                        false => text(element, big)?,
                    });
                }
                Ok(())
            })?;
            Values::Text(values)
        }
    })
}

/// Values whose first axis runs fastest, with the last one running fastest.
fn rows_first<T: Clone>(shape: &[usize], values: Vec<T>) -> Vec<T> {
    match ArrayView::from_shape(IxDyn(shape).f(), &values) {
        Ok(view) => view.iter().cloned().collect(),
        // As many values as the shape says were read; `Array::new` looks again.
        Err(_) => values,
    }
}

/// Hands the next `bytes` bytes over in pieces that hold whole elements.
fn read_elements(
    stream: &mut impl Read,
    bytes: u64,
    element_bytes: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), NpzError>,
) -> Result<(), NpzError> {
    let piece = (PIECE_BYTES / element_bytes).max(1) * element_bytes;
    let mut buffer = vec![0; piece];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece as u64) as usize;
        stream
            .read_exact(&mut buffer[..now])
            .map_err(NpzError::read)?;
        take(&buffer[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// A fixed-width UTF-32 string, NUL-padded at its end.
fn text(element: &[u8], big: bool) -> Result<String, NpzError> {
    let mut string = String::new();
    for raw in element.chunks_exact(4) {
        let raw = [raw[0], raw[1], raw[2], raw[3]];
        let code = match big {
            true => u32::from_be_bytes(raw),
            false => u32::from_le_bytes(raw),
        };
        string.push(char::from_u32(code).ok_or(NpzError::Character { code })?);
    }
    string.truncate(string.trim_end_matches('\0').len());
    Ok(string)
}

/// A fixed-width byte string, NUL-padded at its end.
fn bytes_text(element: &[u8]) -> Result<String, NpzError> {
    let length = element.iter().rposition(|&byte| byte != 0);
    let bytes = &element[..length.map_or(0, |at| at + 1)];
    let text = std::str::from_utf8(bytes).map_err(|_| NpzError::BytesText)?;
    Ok(text.to_owned())
}

/// Bytes converted at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Largest integer that an f64 counts to without gaps.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
