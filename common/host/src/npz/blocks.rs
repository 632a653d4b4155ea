//! An array that is read some rows at a time.

use std::io::Read;

use super::header::Header;
use super::npy::Array;
use super::{NpzError, elements};

/// What is left of an array. One whose first axis runs fastest is there all at once,
/// or not at all.
pub struct Blocks<'a> {
    stream: Box<dyn Read + 'a>,
    header: Header,
    /// Rows that are left.
    left: usize,
}

impl<'a> Blocks<'a> {
    /// Reads the header of an NPY file of `bytes` bytes, and compares the two.
    /// Errors: those of [`Array::parse`].
    pub fn begin(stream: impl Read + 'a, bytes: u64) -> Result<Self, NpzError> {
        let mut stream: Box<dyn Read + 'a> = Box::new(stream);
        let (header, header_bytes) = Header::read(&mut stream)?;
        let expected = header.data_bytes()?;
        let found = bytes.saturating_sub(header_bytes);
        if found != expected {
            return Err(NpzError::DataBytes { expected, found });
        }
        Ok(Self {
            stream,
            left: header.shape.first().copied().unwrap_or(1),
            header,
        })
    }

    /// Lengths of the whole array's axes; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The next rows of the first axis, as many as asked for unless fewer are left,
    /// all that are left of an array whose first axis runs fastest; none at the end.
    ///
    /// Errors: [`NpzError::Values`], before memory is taken, if these are more than
    /// `values_max` values; those of [`Array::parse`].
    pub fn next(&mut self, rows: usize, values_max: u64) -> Result<Option<Array>, NpzError> {
        if self.left == 0 {
            let more = self.stream.read(&mut [0]).map_err(NpzError::read)?;
            return match more {
                0 => Ok(None),
                _ => Err(NpzError::TrailingBytes),
            };
        }
        let is_scalar = self.header.shape.is_empty();
        let many = match self.columns_first() {
            true => self.left,
            false => rows.clamp(1, self.left),
        };
        let mut shape = self.header.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = many;
        }
        let values = elements(&shape).unwrap_or(usize::MAX) as u64;
        // A long text counts as several numbers.
        let wide = values * self.header.element_bytes()? as u64 / size_of::<f64>() as u64;
        if values.max(wide) > values_max {
            return Err(NpzError::Values {
                shape,
                max: values_max,
            });
        }
        self.left = if is_scalar { 0 } else { self.left - many };
        let block = Header {
            descr: self.header.descr.clone(),
            shape,
            columns_first: self.columns_first(),
        };
        Array::of_elements(block, &mut self.stream).map(Some)
    }

    /// Whether rows lie apart: of one row, or one column, they do not.
    fn columns_first(&self) -> bool {
        let long = self.header.shape.iter().filter(|&&length| length != 1);
        self.header.columns_first && long.count() > 1
    }
}
