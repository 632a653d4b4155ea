//! The `[data]` table: where rows are, and how they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConfigError;
use crate::data::{BadRows, ColumnSource, Encoding, Mapping, TimeFormat};

/// The table as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawData {
    pub(super) folder: Option<String>,
    pub(super) label_column: Option<String>,
    pub(super) memory_mib_max: Option<i64>,
    files: Vec<String>,
    separator: Option<Separator>,
    decimal: Option<Decimal>,
    encoding: Option<Encoding>,
    names: Option<Vec<String>>,
    time_column: Option<TimeColumn>,
    time_format: TimeFormat,
    rate_hz: Option<f64>,
    group_column: Option<String>,
    labels: BTreeMap<String, String>,
    labels_file: Option<String>,
    query: Option<String>,
    columns: BTreeMap<String, ColumnSource>,
    bad_rows: BadRows,
}

/// Where the time of a row stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a column's name, or those of the date and of the time of day: [\"date\", \"time\"]"
)]
enum TimeColumn {
    Moment(String),
    DateAndClock([String; 2]),
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Separator {
    #[serde(rename = ",")]
    Comma,
    #[serde(rename = ";")]
    Semicolon,
    #[serde(rename = "\t")]
    Tab,
    #[serde(rename = "|")]
    Bar,
    #[serde(rename = " ")]
    Blanks,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Decimal {
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
}

impl RawData {
    /// How files are read.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub(super) fn mapping(&self, origin: &str) -> Result<Mapping, ConfigError> {
        let columns = self.columns.iter().map(|(name, source)| ColumnSource {
            name: name.clone(),
            ..source.clone()
        });
        let mapping = Mapping {
            files: self.files.clone(),
            separator: self.separator.map(|separator| match separator {
                Separator::Comma => b',',
                Separator::Semicolon => b';',
                Separator::Tab => b'\t',
                Separator::Bar => b'|',
                Separator::Blanks => b' ',
            }),
            decimal: self.decimal.map(|decimal| match decimal {
                Decimal::Point => b'.',
                Decimal::Comma => b',',
            }),
            encoding: self.encoding,
            names: self.names.clone(),
            time_column: self.time_column.as_ref().map(|column| match column {
                TimeColumn::Moment(name) | TimeColumn::DateAndClock([name, _]) => name.clone(),
            }),
            clock_column: match &self.time_column {
                Some(TimeColumn::DateAndClock([_, clock])) => Some(clock.clone()),
                Some(TimeColumn::Moment(_)) | None => None,
            },
            time_format: self.time_format.clone(),
            rate_hz: self.rate_hz,
            group_column: self.group_column.clone(),
            labels: self.labels.clone().into_iter().collect(),
            labels_file: self.labels_file.clone(),
            query: self.query.clone(),
            columns: columns.collect(),
            bad_rows: self.bad_rows,
        };
        mapping.check().map_err(|error| ConfigError::Value {
            origin: origin.to_owned(),
            key: error.key,
            value: error.value,
            allowed: error.allowed,
        })
    }
}
