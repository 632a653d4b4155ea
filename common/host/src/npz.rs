//! NumPy's NPZ archives (and the NPY arrays in them), bytes in and bytes out.
//!
//! The reader is strict: whatever is not exactly an array of a known element
//! type is refused with a reason, and what a file declares is compared with
//! limits and with its length before memory is taken. Both orders of bytes and
//! of axes are read, and become C order. The writer is deterministic:
//! the same arrays give the same bytes.
//!
//! Format: NumPy Enhancement Proposal 1 and `numpy.lib.format`.

mod blocks;
mod header;
mod npy;

use std::io::{Cursor, Read, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

pub use blocks::Blocks;
pub use npy::{Array, Values};

/// An NPZ archive, read from its bytes, or from where it lies.
#[derive(Clone, Debug)]
pub struct Archive<R> {
    zip: ZipArchive<R>,
}

/// Bytes in memory.
pub type Bytes<'a> = Cursor<&'a [u8]>;

impl<'a> Archive<Bytes<'a>> {
    /// Reads the directory of an archive. Errors: not a ZIP file, cut short,
    /// or more than [`ENTRIES_MAX`] arrays.
    pub fn open(bytes: &'a [u8]) -> Result<Self, NpzError> {
        Self::over(Cursor::new(bytes))
    }
}

impl<R: Read + Seek + Clone> Archive<R> {
    /// The same of a reader, whose clones read apart from each other.
    pub fn over(reader: R) -> Result<Self, NpzError> {
        let zip = ZipArchive::new(reader).map_err(NpzError::zip)?;
        if zip.len() > ENTRIES_MAX {
            return Err(NpzError::Entries { found: zip.len() });
        }
        Ok(Self { zip })
    }

    /// The names of the arrays, without `.npy`, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .zip
            .file_names()
            .filter_map(|name| name.strip_suffix(".npy"))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether there is an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.zip.index_for_name(&format!("{name}.npy")).is_some()
    }

    /// Reads one array. Errors: none of this name (says which there are), or
    /// one that [`Array::parse`] would refuse.
    pub fn array(&self, name: &str) -> Result<Array, NpzError> {
        self.array_within(name, u64::MAX)
    }

    /// Reads one array of at most this many values. Errors: those of
    /// [`Self::array`], and [`NpzError::Values`] before anything is unpacked.
    pub fn array_within(&self, name: &str, values_max: u64) -> Result<Array, NpzError> {
        let index = self.index(name)?;
        let mut zip = self.zip.clone();
        let entry = zip.by_index(index).map_err(NpzError::zip)?;
        let bytes = entry.size();
        Array::read(entry, bytes, values_max)
    }

    /// Has one array read some rows at a time. Errors: none of this name, or one
    /// whose header [`Array::parse`] would refuse.
    pub fn blocks<T>(&self, name: &str, read: impl FnOnce(Blocks<'_>) -> T) -> Result<T, NpzError> {
        let index = self.index(name)?;
        let mut zip = self.zip.clone();
        let entry = zip.by_index(index).map_err(NpzError::zip)?;
        let bytes = entry.size();
        Ok(read(Blocks::begin(entry, bytes)?))
    }

    fn index(&self, name: &str) -> Result<usize, NpzError> {
        let index = self.zip.index_for_name(&format!("{name}.npy"));
        index.ok_or_else(|| NpzError::NoArray {
            name: name.to_owned(),
            names: self.names().join(", "),
        })
    }
}

/// The archive of these arrays, compressed. The same arrays in the same order
/// give the same bytes. Errors: a name given twice, or a text too long.
pub fn write(arrays: &[(&str, &Array)]) -> Result<Vec<u8>, NpzError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        writer
            .start_file(format!("{name}.npy"), options)
            .map_err(NpzError::zip)?;
        writer.write_all(&array.encode()?).map_err(NpzError::read)?;
    }
    Ok(writer.finish().map_err(NpzError::zip)?.into_inner())
}

/// Why an archive or an array was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NpzError {
    /// Not a ZIP file, or a damaged one.
    #[error("not a readable NPZ archive ({reason}); write it again with numpy.savez_compressed")]
    Archive {
        /// What the ZIP reader said.
        reason: String,
    },
    /// An archive with too many arrays.
    #[error("the archive holds {found} files, at most {ENTRIES_MAX} are read")]
    Entries {
        /// How many there are.
        found: usize,
    },
    /// No array of this name.
    #[error("no array {name:?}; the archive holds: {names}")]
    NoArray {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
    },
    /// The data ends early, or its checksum is wrong.
    #[error("the data is cut short or damaged ({reason})")]
    Read {
        /// What the reader said.
        reason: String,
    },
    /// Not an NPY file.
    #[error("not an NPY array: the first bytes are not \\x93NUMPY")]
    Magic,
    /// A format version after 3.
    #[error("NPY format version {version} is not known, 1 to 3 are")]
    FormatVersion {
        /// What the file says.
        version: u8,
    },
    /// A header longer than any real one.
    #[error("the NPY header declares {length} bytes, at most 4096 are read")]
    HeaderBytes {
        /// What the file declares.
        length: usize,
    },
    /// A header that is not the dictionary of NPY.
    #[error("the NPY header is malformed: {reason}")]
    Header {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An element type that is not read.
    #[error(
        "element type {descr:?} is not read; convert it to integers or floats of at most 64 bits, X.astype(\"float32\")"
    )]
    ElementType {
        /// NumPy's name of the type.
        descr: String,
    },
    /// Python objects, which only Python can read.
    #[error(
        "it holds Python objects (dtype=object), which are not read; save text as y.astype(str) and numbers as y.astype(float)"
    )]
    Objects,
    /// Records of named fields.
    #[error(
        "it is a structured array (named fields), which is not read; save the fields as columns of one plain array, and the label as an array of its own"
    )]
    Structured,
    /// More values than the caller takes.
    #[error("shape {shape:?} holds more than {max} values")]
    Values {
        /// What the header declares.
        shape: Vec<usize>,
        /// The most that are read.
        max: u64,
    },
    /// A byte string that is no text.
    #[error("a byte string is not UTF-8 text; save it as y.astype(str)")]
    BytesText,
    /// A shape beyond the limit.
    #[error("shape {shape:?} is larger than an array may be (1 GiB)")]
    ArrayBytes {
        /// What the header declares.
        shape: Vec<usize>,
    },
    /// The header and the length of the file disagree.
    #[error("the header declares {expected} bytes of data, the file holds {found}")]
    DataBytes {
        /// What the shape and element type need.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// More bytes than declared.
    #[error("there are bytes after the last element")]
    TrailingBytes,
    /// A shape that does not fit its values.
    #[error("shape {shape:?} does not hold {found} values")]
    ValueCount {
        /// The shape.
        shape: Vec<usize>,
        /// How many values there are.
        found: usize,
    },
    /// A row beyond the first axis.
    #[error("row {row} of an array of {rows} rows")]
    NoRow {
        /// What was asked for.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// Text where numbers are needed.
    #[error("expected {wanted}, got text")]
    NotNumbers {
        /// What was needed.
        wanted: &'static str,
    },
    /// Numbers where text is needed.
    #[error("expected text, got numbers")]
    NotText,
    /// A text too long to be read again.
    #[error(
        "a text of {found} characters, at most {} are written",
        header::TEXT_CHARACTERS_MAX
    )]
    TextCharacters {
        /// Its characters.
        found: usize,
    },
    /// A fraction where an integer is needed.
    #[error("expected integers, got {value}")]
    NotInteger {
        /// The first that is not one.
        value: f64,
    },
    /// A text element with an invalid character.
    #[error("{code:#x} is not a character")]
    Character {
        /// The code point.
        code: u32,
    },
}

impl NpzError {
    fn header(reason: &'static str) -> Self {
        Self::Header { reason }
    }

    fn read(error: std::io::Error) -> Self {
        Self::Read {
            reason: error.to_string(),
        }
    }

    fn zip(error: zip::result::ZipError) -> Self {
        Self::Archive {
            reason: error.to_string(),
        }
    }
}

/// The number of elements of a shape, if it can be counted.
fn elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, &length| count.checked_mul(length))
}

/// Most arrays of an archive.
pub const ENTRIES_MAX: usize = 1000;

#[cfg(test)]
mod tests;
