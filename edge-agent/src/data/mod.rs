//! The device's data: files in a folder, read strictly, split once and for
//! all into rows to learn from and rows to judge by.

mod csv;
mod folder;
mod numpy;
mod schema;
mod split;

use ndarray::{Array2, ArrayView2, Axis};

pub use folder::{FileError, Folder, FolderError, FolderFile, Quarantined, Scan};
pub use schema::{ArrayNames, LabelSource, ParseError, Place, Problem, Schema, SchemaError};
pub use split::{Split, SplitRule};

use std::path::Path;

/// Rows of one shape; some labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Inputs, n × values (each row one input, row-major), all finite.
    inputs: Array2<f32>,
    /// The class of each row, where it is known.
    labels: Vec<Option<u16>>,
}

impl Dataset {
    /// No rows of this many values.
    pub fn empty(values: usize) -> Self {
        Self {
            inputs: Array2::zeros((0, values)),
            labels: Vec::new(),
        }
    }

    /// Rows that are in memory already; none if there are not as many labels
    /// as inputs.
    pub fn new(inputs: Array2<f32>, labels: Vec<Option<u16>>) -> Option<Self> {
        (inputs.nrows() == labels.len()).then_some(Self { inputs, labels })
    }

    /// The two parts that `rule` makes of these rows, as of one file.
    pub fn split(&self, rule: SplitRule) -> Split {
        let rows = rule.rows(self);
        Split {
            training: self.select(&rows.training),
            held_out: self.select(&rows.held_out),
        }
    }

    /// Rows, row-major, as the readers make them: the caller has made sure
    /// that there are as many labels as rows.
    fn from_rows(values: usize, rows: Vec<f32>, labels: Vec<Option<u16>>) -> Option<Self> {
        let inputs = Array2::from_shape_vec((labels.len(), values), rows).ok()?;
        Some(Self { inputs, labels })
    }

    /// Reads one file's bytes; `name` tells the format by its ending.
    ///
    /// # Errors
    /// If the ending is not one of csv, npy and npz, or the file does not fit
    /// `schema`; the error says where and what to do.
    pub fn parse(name: &Path, bytes: &[u8], schema: &Schema) -> Result<Self, ParseError> {
        match Format::of(name) {
            Some(Format::Csv) => csv::parse(bytes, schema),
            Some(Format::Npz) => numpy::parse_npz(bytes, schema),
            Some(Format::Npy) => numpy::parse_npy(bytes, schema),
            None => Err(ParseError::Format),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
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
        let mut hasher = blake3::Hasher::new();
        for value in self.inputs.row(row) {
            hasher.update(&value.to_le_bytes());
        }
        let label = self.labels[row].map_or(-1, i32::from);
        hasher.update(&label.to_le_bytes());
        hasher.update(&repeats.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// All rows of these, one data set after the other.
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
        Self { inputs, labels }
    }
}

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Npz,
    Npy,
}

impl Format {
    fn of(name: &Path) -> Option<Self> {
        let ending = name.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(Self::Csv),
            "npz" => Some(Self::Npz),
            "npy" => Some(Self::Npy),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
