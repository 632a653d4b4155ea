//! The device's data: files in a folder, read strictly, split once and for
//! all into rows to learn from and rows to judge by.

mod account;
mod classes;
mod columnar;
mod content;
mod copies;
mod database;
mod folder;
mod format;
mod images;
mod intervals;
mod label_counts;
mod live;
mod missing;
mod note;
mod numpy;
mod parse_error;
mod precision;
mod problem;
mod sample;
mod schema;
mod series;
mod source;
mod split;
mod suggest;
mod table;
mod text;
mod wave;

use ndarray::{Array2, ArrayView2, Axis, concatenate};

pub use account::{Account, ColumnAccount, Recordings, Unused};
pub use classes::{ClassNames, Meaning};
pub use copies::{Resolution, originals};
pub use folder::{FileError, FileStamp, Folder, FolderError, FolderFile, Quarantined, Scan};
pub use images::Picture;
pub use live::{LiveEvent, LiveInput, follow_lines, follow_rows};
pub use note::Note;
pub use precision::Precision;
pub use sample::{SAMPLE_ROWS_MAX, StandsFor};
pub use schema::{
    ArrayNames, LabelSource, ParseError, Place, Problem, Schema, SchemaError, VALUE_MAX,
};
pub use source::{BadRows, ColumnSource, Encoding, Mapping, MappingError, TimeFormat};
pub use split::{Split, SplitRule};
pub use suggest::{SuggestError, suggest};
pub use text::Ending;
pub use wave::sound;

use format::Format;
use label_counts::LabelCounts;

use std::io::Read;
use std::path::Path;

/// Rows of one shape; some labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Inputs, n × values (each row one input, row-major), all finite but for
    /// NaN where the task fills what is missing.
    inputs: Array2<f32>,
    /// The class of each row, where it is known; of a task without classes 0
    /// where its answer is known.
    labels: Vec<Option<u16>>,
    /// The numbers of each row, n × numbers, where the task asks for numbers;
    /// of rows without a label they mean nothing.
    numbers: Option<Array2<f32>>,
    /// The probability of each class of each row, n × classes, where a model
    /// labelled some of them.
    soft: Option<Array2<f32>>,
    /// What the task's frozen model made of each row, n × its values, where rows went
    /// through one.
    seen: Option<Array2<f32>>,
    /// If these are not all rows that were read.
    sample: Option<sample::Sample>,
}

impl Dataset {
    /// No rows of this many values.
    pub fn empty(values: usize) -> Self {
        Self {
            inputs: Array2::zeros((0, values)),
            labels: Vec::new(),
            numbers: None,
            soft: None,
            seen: None,
            sample: None,
        }
    }

    /// Rows that are in memory already; none if there are not as many labels
    /// as inputs.
    pub fn new(inputs: Array2<f32>, labels: Vec<Option<u16>>) -> Option<Self> {
        (inputs.nrows() == labels.len()).then_some(Self {
            inputs,
            labels,
            numbers: None,
            soft: None,
            seen: None,
            sample: None,
        })
    }

    /// The same rows with the numbers that a task asks for, of those that have a
    /// label; none if they are not as many as the rows.
    pub fn with_numbers(self, numbers: Array2<f32>) -> Option<Self> {
        (numbers.nrows() == self.labels.len()).then_some(Self {
            numbers: Some(numbers),
            ..self
        })
    }

    /// The numbers of each row, n × numbers, where the task asks for numbers.
    pub fn numbers(&self) -> Option<ArrayView2<'_, f32>> {
        self.numbers.as_ref().map(|all| all.view())
    }

    /// The same rows with a model's labels and the probability of each class of
    /// each row, as many as there are rows.
    ///
    /// # Panics
    /// If they are not as many.
    #[must_use]
    pub fn with_answers(self, labels: Vec<Option<u16>>, soft: Array2<f32>) -> Self {
        assert_eq!((labels.len(), soft.nrows()), (self.rows(), self.rows()));
        Self {
            labels,
            soft: Some(soft),
            ..self
        }
    }

    /// The probability of each class of each row, n × classes, where a model
    /// labelled some of them.
    pub fn soft(&self) -> Option<ArrayView2<'_, f32>> {
        self.soft.as_ref().map(|all| all.view())
    }

    /// The same rows with what the task's frozen model made of them, a row each.
    ///
    /// # Panics
    /// If they are not as many.
    #[must_use]
    pub fn with_seen(self, seen: Array2<f32>) -> Self {
        assert_eq!(seen.nrows(), self.rows());
        Self {
            seen: Some(seen),
            ..self
        }
    }

    /// What the task's frozen model made of each row, where rows went through one.
    pub fn seen(&self) -> Option<ArrayView2<'_, f32>> {
        self.seen.as_ref().map(|all| all.view())
    }

    /// What the task's feature stage sees of each row.
    pub fn stage_inputs(&self) -> ArrayView2<'_, f32> {
        self.seen.as_ref().unwrap_or(&self.inputs).view()
    }

    /// The two parts that `rule` makes of these rows, as of one file.
    pub fn split(&self, rule: SplitRule) -> Split {
        let rows = rule.rows(self);
        Split {
            training: self.select(&rows.training),
            held_out: self.select(&rows.held_out),
            stands_for: None,
        }
    }

    /// Rows, row-major, as the readers make them: the caller has made sure
    /// that there are as many labels as rows.
    fn from_rows(values: usize, rows: Vec<f32>, labels: Vec<Option<u16>>) -> Option<Self> {
        let inputs = Array2::from_shape_vec((labels.len(), values), rows).ok()?;
        Self::new(inputs, labels)
    }

    /// Reads one file's bytes; `name`, from the data folder on, tells the
    /// format by its ending, and the class of a picture.
    ///
    /// # Errors
    /// If the ending is not one of csv, npy and npz, or the file does not fit
    /// `schema`; the error says where and what to do.
    pub fn parse(name: &Path, bytes: &[u8], schema: &Schema) -> Result<Self, ParseError> {
        Self::read(name, bytes, schema, Ending::Closed).map(|file| file.data)
    }

    /// The same of a file that may still be written, and what was decided on
    /// the way.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(
        name: &Path,
        bytes: &[u8],
        schema: &Schema,
        ending: Ending,
    ) -> Result<FileRows, ParseError> {
        Self::read_from(name, &mut &*bytes, bytes.len() as u64, schema, ending)
    }

    /// The same rows, those without a label being of the one class, if there is but
    /// one: of a task without labels.
    fn of_one_class(mut self, schema: &Schema) -> Self {
        if schema.is_unlabelled() {
            for label in &mut self.labels {
                label.get_or_insert(0);
            }
        }
        self
    }

    /// The same of a file of about so many bytes that is read bit by bit: a
    /// table in blocks, so that memory holds no more than a sample of its rows
    /// needs, and anything else whole.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read_from(
        name: &Path,
        source: &mut dyn Read,
        length: u64,
        schema: &Schema,
        ending: Ending,
    ) -> Result<FileRows, ParseError> {
        let mut notes = Vec::new();
        let format = Format::meant(name, schema.mapping()).ok_or(ParseError::Format)?;
        let ending = match source::is_packed(name) {
            true => Ending::Closed,
            false => ending,
        };
        if format == Format::Csv {
            let mut unpacked = source::unpacking(name, source);
            let source: &mut dyn Read = &mut *unpacked;
            let lines = text::Lines::new(source, schema.mapping().encoding, ending);
            let read = table::parse(lines, length, schema, &mut notes);
            let (data, account) = read.map_err(|error| match error {
                ParseError::Read { reason } if source::is_packed(name) => {
                    ParseError::Packed { reason }
                }
                error => error,
            })?;
            return Ok(FileRows {
                data: data.of_one_class(schema),
                notes,
                account,
            });
        }
        let mut bytes = Vec::new();
        let read = source
            .take(folder::FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| ParseError::Read {
            reason: error.to_string(),
        })?;
        let unpacked = source::unpacked(name, &bytes, folder::FILE_BYTES_MAX)?;
        let (data, account) = match format {
            Format::Npz => numpy::parse_npz(&unpacked, schema, &mut notes),
            Format::Npy => numpy::parse_npy(&unpacked, schema, &mut notes),
            Format::Database => database::parse(&unpacked, schema, &mut notes),
            Format::Parquet => columnar::parse(&unpacked, schema, &mut notes),
            Format::Picture => images::parse(name, &unpacked, schema),
            Format::Csv | Format::Wave => wave::parse(name, &unpacked, schema, &mut notes),
        }?;
        let data = match data.rows() > schema.rows_max() {
            true => sample::sampled_together(vec![data], schema.rows_max(), schema.split_rule())
                .remove(0),
            false => data,
        };
        Ok(FileRows {
            data: data.of_one_class(schema),
            notes,
            account,
        })
    }

    /// The sides of these rows, where they are a sample.
    fn sampled_sides(&self) -> Option<split::SplitRows> {
        let sides = self.sample.as_ref()?.sides().enumerate();
        let mut rows = split::SplitRows::default();
        for (row, side) in sides {
            match side {
                split::Side::Training => rows.training.push(row),
                split::Side::HeldOut => rows.held_out.push(row),
            }
        }
        Some(rows)
    }

    /// Rows that were read, of which these may be a sample.
    pub fn rows_read(&self) -> u64 {
        let sample = self.sample.as_ref();
        sample.map_or(self.rows() as u64, sample::Sample::read)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Inputs, n × values.
    pub fn inputs(&self) -> ArrayView2<'_, f32> {
        self.inputs.view()
    }

    /// The class of each row, where it is known.
    pub fn labels(&self) -> &[Option<u16>] {
        &self.labels
    }

    /// Rows of each class, of this many.
    pub fn class_counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &label in self.labels.iter().flatten() {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        counts
    }

    /// These rows, in this order.
    ///
    /// # Panics
    /// If a row does not exist.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            numbers: self.numbers.as_ref().map(|all| all.select(Axis(0), rows)),
            soft: self.soft.as_ref().map(|all| all.select(Axis(0), rows)),
            seen: self.seen.as_ref().map(|all| all.select(Axis(0), rows)),
            sample: None,
        }
    }

    /// A name for the content of each row, label included. Rows that are
    /// equal have different names, by how many equal ones stand before, so
    /// that a set of names tells how often a row is there.
    pub fn row_names(&self) -> Vec<u64> {
        let mut seen = std::collections::HashMap::new();
        let row_names = (0..self.rows()).map(|row| {
            let content = self.row_hash(row, 0);
            let repeats = seen.entry(content).or_insert(0u64);
            let name = self.row_hash(row, *repeats);
            *repeats += 1;
            name
        });
        row_names.collect()
    }

    fn row_hash(&self, row: usize, repeats: u64) -> u64 {
        let numbers = self.numbers.as_ref();
        let numbers = numbers.into_iter().flat_map(|all| all.row(row).to_vec());
        let inputs = self.inputs.row(row);
        content_hash(inputs.iter().copied(), numbers, self.labels[row], repeats)
    }

    /// Takes the rows from this one on away, and returns them.
    fn split_off(&mut self, row: usize) -> Self {
        let values = self.inputs.ncols();
        let at = row.min(self.labels.len());
        let labels = self.labels.split_off(at);
        let numbers = self.numbers.take().map(|all| {
            let (before, after) = all.view().split_at(Axis(0), at);
            (before.to_owned(), after.to_owned())
        });
        let (before, after) = numbers.unzip();
        let inputs = std::mem::take(&mut self.inputs);
        let (mut inputs, _) = inputs.into_raw_vec_and_offset();
        let rest = inputs.split_off((self.labels.len() * values).min(inputs.len()));
        let whole = |inputs, labels| {
            Self::from_rows(values, inputs, labels).unwrap_or_else(|| Self::empty(values))
        };
        let labels_left = std::mem::take(&mut self.labels);
        *self = whole(inputs, labels_left);
        self.numbers = before;
        Self {
            numbers: after,
            ..whole(rest, labels)
        }
    }

    /// All rows of these, one data set after the other; each is given up
    /// before the next is added.
    fn joined(values: usize, parts: Vec<Self>) -> Self {
        let rows: usize = parts.iter().map(Self::rows).sum();
        let mut inputs = Vec::new();
        let mut labels = Vec::with_capacity(rows);
        let numbers: Option<Vec<_>> = parts.iter().map(Self::numbers).collect();
        let numbers = numbers.and_then(|all| concatenate(Axis(0), &all).ok());
        for part in parts {
            labels.extend(part.labels);
            let (mut own, offset) = part.inputs.into_raw_vec_and_offset();
            if offset.is_some_and(|offset| offset > 0) {
                own.drain(..offset.unwrap_or(0));
            }
            if inputs.is_empty() {
                inputs = own;
                inputs.reserve_exact((rows * values).saturating_sub(inputs.len()));
            } else {
                inputs.extend_from_slice(&own);
            }
        }
        let joined = Self::from_rows(values, inputs, labels).unwrap_or_else(|| Self::empty(values));
        Self { numbers, ..joined }
    }

    /// All rows of these, one data set after the other.
    #[cfg(test)]
    fn concatenate<'a>(values: usize, parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let rows: usize = parts.clone().map(Self::rows).sum();
        let mut inputs = Array2::zeros((rows, values));
        let mut labels = Vec::with_capacity(rows);
        for part in parts {
            let start = labels.len();
            labels.extend_from_slice(&part.labels);
            let mut place = inputs.slice_mut(ndarray::s![start..labels.len(), ..]);
            place.assign(&part.inputs);
        }
        Self {
            inputs,
            labels,
            numbers: None,
            soft: None,
            seen: None,
            sample: None,
        }
    }
}

/// A name for the content of a row, and for how many equal ones stand before.
fn content_hash(
    values: impl Iterator<Item = f32>,
    numbers: impl Iterator<Item = f32>,
    label: Option<u16>,
    repeats: u64,
) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for value in values.chain(numbers) {
        hasher.update(&value.to_le_bytes());
    }
    let label = label.map_or(-1, i32::from);
    hasher.update(&label.to_le_bytes());
    hasher.update(&repeats.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// What a file holds, and what was made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRows {
    /// Its rows, or the windows of its recordings.
    pub data: Dataset,
    /// What was decided on the way.
    pub notes: Vec<Note>,
    /// What became of each row.
    pub account: Account,
}

#[cfg(test)]
mod odd_tests;
#[cfg(test)]
mod tests;
