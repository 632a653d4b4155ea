//! Data as NumPy arrays.

mod inputs;
mod labels;
mod rows;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use common::npz::{Archive, Blocks, NpzError};

use self::inputs::Inputs;
use self::labels::{Labels, labels_name, names_of};
use self::rows::Rows;
use super::account::Account;
use super::note::Note;
use super::schema::{ParseError, Schema};
use super::{Dataset, FileRows};

/// Reads an NPZ archive where it lies: inputs n × shape (or n × values), labels n
/// if they are there, an optional `scale` that multiplies the values, and optional
/// `class_names`: what the file calls the classes of its labels, in an order
/// that need not be the task's. Memory holds a sample of the rows and a block of
/// them, unless an array's first axis runs fastest: that has to be held whole.
///
/// # Errors
/// No inputs, another shape, more than may be held, a value that is not finite
/// or too large, an unknown class.
pub(super) fn read_npz(file: &File, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let archive = Archive::over(At { file, at: 0 })?;
    let (data, account) = parse(&archive, schema, &mut notes)?;
    Ok(FileRows {
        data: data.of_one_class(schema),
        notes,
        account,
    })
}

/// The same of an NPY array of inputs, without labels.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn read_npy(file: &File, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let bytes = file.metadata().map(|about| about.len());
    let bytes = bytes.map_err(|error| ParseError::Read {
        reason: error.to_string(),
    })?;
    let source = BufReader::new(At { file, at: 0 });
    let (data, account) = of_npy(source, bytes, schema, &mut notes)?;
    Ok(FileRows {
        data: data.of_one_class(schema),
        notes,
        account,
    })
}

/// The same of an NPZ archive in memory.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn parse_npz(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    parse(&Archive::open(bytes)?, schema, notes)
}

/// The same of an NPY array in memory.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn parse_npy(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    of_npy(bytes, bytes.len() as u64, schema, notes)
}

/// A file, read from a place of its own: clones do not move each other.
#[derive(Clone)]
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let from = |base: u64, by: i64| base.checked_add_signed(by);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => from(self.at, by),
            SeekFrom::End(by) => from(self.file.metadata()?.len(), by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

fn of_npy<'a>(
    source: impl Read + 'a,
    bytes: u64,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let refused = |error| array_error(NPY, error, schema);
    let blocks = Blocks::begin(source, bytes).map_err(refused)?;
    let inputs = Inputs {
        name: NPY,
        scale: None,
        schema,
    };
    Rows::new(inputs, None).read(blocks, None, notes)
}

fn parse<R: Read + Seek + Clone>(
    archive: &Archive<R>,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let names = schema.arrays();
    let first = |names: &[String]| names.iter().find(|name| archive.contains(name)).cloned();
    let inputs_name = first(&names.inputs).ok_or_else(|| ParseError::NoInputs {
        wanted: names.inputs.join(", "),
        names: archive.names().join(", "),
    })?;
    let values_max = schema.values_max() as u64;
    let read = |name: &str| {
        // What a file unpacks to is bounded before it is unpacked.
        archive
            .array_within(name, values_max)
            .map_err(|error| array_error(name, error, schema))
    };
    let scale = match archive.contains("scale") {
        true => Some(
            read("scale")?
                .to_f64()
                .map_err(|error| array_error("scale", error, schema))?,
        ),
        false => None,
    };
    let inputs = Inputs {
        name: &inputs_name,
        scale,
        schema,
    };
    let labels_name = labels_name(archive, schema);
    let labels = match &labels_name {
        Some(name) if schema.numbers().is_empty() => Some(Labels {
            name,
            own: match archive.contains("class_names") {
                true => Some(names_of(&read("class_names")?, schema)?),
                false => None,
            },
            schema,
        }),
        _ => None,
    };
    let refused = |name: &str, error| array_error(name, error, schema);
    let rows = Rows::new(inputs, labels);
    let read = archive.blocks(&inputs_name, |inputs| match &labels_name {
        None => rows.read(inputs, None, notes),
        Some(name) => {
            let read = archive.blocks(name, |labels| {
                rows.read(inputs, Some((name, labels)), notes)
            });
            read.map_err(|error| refused(name, error))?
        }
    });
    read.map_err(|error| refused(&inputs_name, error))?
}

fn array_error(array: &str, error: NpzError, schema: &Schema) -> ParseError {
    match error {
        NpzError::Values { .. } => ParseError::Size {
            rows_max: schema.values_max() / schema.values(),
            values: schema.values(),
        },
        error => ParseError::Array {
            array: array.to_owned(),
            error,
        },
    }
}

/// What the one array of an NPY file is called in messages.
const NPY: &str = "npy";
