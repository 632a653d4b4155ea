//! The `[data]` table of an agent's configuration, checked.

use bincode::{Decode, Encode};
use serde::Deserialize;

use super::{TimeFormat, matches};

/// How files of a device are to be read, whatever the task. The default reads
/// what is unambiguous.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Mapping {
    /// Patterns of the files that are read, from the folder on; none for
    /// every file in it whose ending is known.
    pub files: Vec<String>,
    /// What stands between cells; none for what the header shows.
    pub separator: Option<u8>,
    /// The decimal sign; none for what the cells show.
    pub decimal: Option<u8>,
    /// The encoding of text; none for UTF-8, or UTF-16 where that shows.
    pub encoding: Option<Encoding>,
    /// Names of the columns of files without a header.
    pub names: Option<Vec<String>>,
    /// The column that says when a row was measured, or on which day.
    pub time_column: Option<String>,
    /// The column of the time of day, where it is another.
    pub clock_column: Option<String>,
    /// How times are written.
    pub time_format: TimeFormat,
    /// Rows a second of recordings without times.
    pub rate_hz: Option<f64>,
    /// The column that says whose row it is: machine, person, session.
    pub group_column: Option<String>,
    /// What a written label means: a class, or nothing for no label.
    pub labels: Vec<(String, String)>,
    /// A file of intervals: start, end, label.
    pub labels_file: Option<String>,
    /// The rows of a database that are meant.
    pub query: Option<String>,
    /// Which column of a file is which of the task's.
    pub columns: Vec<ColumnSource>,
    /// What a row costs that cannot be read.
    pub bad_rows: BadRows,
}

/// Where a column of the task comes from.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSource {
    /// The task's column.
    #[serde(skip)]
    pub name: String,
    /// The file's column; none if it has the task's name.
    pub from: Option<String>,
    /// What multiplies its numbers.
    pub scale: Option<f64>,
    /// What is added to them then.
    pub offset: Option<f64>,
    /// Their unit, from which the task's is computed.
    pub unit: Option<String>,
}

/// What a row costs that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// Its file.
    #[default]
    Refuse,
    /// Itself.
    Skip,
}

impl BadRows {
    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

impl Encoding {
    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
            Self::Latin1 => "latin-1",
        }
    }
}

/// How characters are written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, by its mark or else little-endian.
    #[serde(rename = "utf-16")]
    Utf16,
    /// ISO 8859-1.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// A value that does not fit, with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingError {
    /// The key, with its table.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl Mapping {
    /// What is said of a column of the task.
    pub fn column(&self, name: &str) -> Option<&ColumnSource> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a file of this path, from the folder on, is read. Without
    /// patterns its ending decides.
    pub fn wants(&self, path: &str) -> bool {
        self.files.iter().any(|pattern| matches(pattern, path))
    }

    /// Holds it against its limits.
    ///
    /// # Errors
    /// The first key that does not fit.
    pub fn check(self) -> Result<Self, MappingError> {
        let refuse = |key, value: &dyn std::fmt::Display, allowed| {
            let value = value.to_string();
            Err(MappingError {
                key,
                value,
                allowed,
            })
        };
        if let Some(pattern) = self.files.iter().find(|pattern| !is_pattern(pattern)) {
            let allowed = "patterns from the folder on, such as \"*.csv\" or \"**/*.csv.gz\", \
                 without .. and an / at the start";
            return refuse("data.files", pattern, allowed);
        }
        if let (Some(b','), Some(b',')) = (self.separator, self.decimal) {
            let allowed = "another sign than data.separator";
            return refuse("data.decimal", &',', allowed);
        }
        if let Some(names) = &self.names {
            let mut sorted: Vec<&str> = names.iter().map(|name| name.trim()).collect();
            sorted.sort_unstable();
            sorted.dedup();
            if sorted.len() != names.len() || sorted.first().is_none_or(|name| name.is_empty()) {
                let allowed = "a name for each column of files without a header, each another";
                return refuse("data.names", &names.join(", "), allowed);
            }
        }
        let positive = |number: &f64| number.is_finite() && *number > 0.0;
        if let Some(rate) = self.rate_hz.filter(|rate| !positive(rate)) {
            return refuse("data.rate_hz", &rate, "rows a second, above 0");
        }
        if let (Some(file), None) = (&self.labels_file, &self.time_column) {
            let allowed =
                "a file beside data.time_column, which says when rows were measured: add it";
            return refuse("data.labels_file", file, allowed);
        }
        if let Some(query) = self.query.as_ref().filter(|query| query.trim().is_empty()) {
            let allowed =
                "a query such as SELECT * FROM readings, or no key where there is one table";
            return refuse("data.query", query, allowed);
        }
        for column in &self.columns {
            let scale = column.scale.unwrap_or(1.0);
            let offset = column.offset.unwrap_or(0.0);
            if !scale.is_finite() || scale == 0.0 || !offset.is_finite() {
                let allowed = "a scale that is not 0 and an offset, finite numbers both";
                return refuse("data.columns", &column.name, allowed);
            }
            if column.unit.is_some() && (column.scale.is_some() || column.offset.is_some()) {
                let allowed = "unit, or scale and offset: the unit says both";
                return refuse("data.columns", &column.name, allowed);
            }
        }
        Ok(self)
    }
}

fn is_pattern(pattern: &str) -> bool {
    let parts_fit = pattern
        .split('/')
        .all(|part| part != ".." && !part.is_empty());
    parts_fit && pattern.len() <= PATTERN_BYTES_MAX
}

const PATTERN_BYTES_MAX: usize = 1_024;
