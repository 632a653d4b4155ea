//! What may be wrong at a place of a data file, and what mends it.

use std::fmt;

use super::missing::is_missing;

/// A place in a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, counted from 1, and the name of a column.
    Cell {
        /// The line.
        line: u64,
        /// The column's name.
        column: String,
    },
    /// A line of a text file, counted from 1.
    Line(u64),
    /// The folder that a picture or a recording lies in.
    Folder(String),
    /// A row of an array, counted from 0, and the value's place in it.
    Element {
        /// The array's name.
        array: String,
        /// The row.
        row: usize,
        /// The place in the row.
        index: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell { line, column } => write!(f, "line {line}, column {column:?}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Folder(name) => write!(f, "folder {name:?}"),
            Self::Element { array, row, index } => {
                write!(f, "array {array:?}, row {row}, value {index}")
            }
        }
    }
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Text where a number should be.
    #[error("expected a number, got {found:?}; correct it or remove the row")]
    NotANumber {
        /// What stands there.
        found: String,
    },
    /// A number that may be a thousand times what it may be as well.
    #[error(
        "{found:?} may mean two numbers; under [data] in agent.toml, say which sign is the decimal one: decimal = \",\" or decimal = \".\""
    )]
    Ambiguous {
        /// What stands there.
        found: String,
    },
    /// NaN or infinity.
    #[error("{found} is not a finite number; fill the gap or remove the row")]
    NotFinite {
        /// What stands there.
        found: String,
    },
    /// A number so large that no statistic holds its square.
    #[error(
        "{found} is beyond ±{VALUE_MAX:e}, which no measurement is: a fill value for a gap? fill the gap or remove the row"
    )]
    TooLarge {
        /// What stands there.
        found: String,
    },
    /// A label that is no class of the task.
    #[error(
        "class {found:?} is not one of the task's ({known}){}; correct it, leave it empty for an unlabelled row, or say what it means (labels = {{ {found:?} = \"CLASS\" }} under [data] in agent.toml)",
        numbered(*.last)
    )]
    UnknownClass {
        /// What stands there.
        found: String,
        /// Class names.
        known: String,
        /// The largest class number; none where classes are named by numbers.
        last: Option<usize>,
    },
    /// Nothing where a number should be.
    #[error(
        "no value; fill the gap, remove the row, or have such rows left out (bad_rows = \"skip\" under [data] in agent.toml)"
    )]
    Missing,
    /// Something that is no time.
    #[error(
        "{found:?} is no time that can be read; say how times are written (time_format = \"iso8601\", \"s\", \"ms\", \"us\", \"ns\", \"spreadsheet\" or a pattern as \"%m/%d/%Y %I:%M:%S %p\" under [data] in agent.toml)"
    )]
    Time {
        /// What stands there.
        found: String,
    },
    /// A time of day without a date.
    #[error(
        "{found:?} is a time of day without a date; name the column of the date before it (time_column = [\"date\", {column:?}] under [data] in agent.toml), which time_format then describes together, joined by a blank"
    )]
    Clock {
        /// What stands there.
        found: String,
        /// The column's name.
        column: String,
    },
    /// A number that is a time of another unit than those before.
    #[error(
        "{found:?} is a time in another unit than those above it, which are a thousand or a million times as large; split the file there, or correct the times"
    )]
    TimeUnit {
        /// What stands there.
        found: String,
    },
    /// A word that is no value of a categorical column.
    #[error("{found:?} is not one of the column's values ({known}); correct it or remove the row")]
    UnknownValue {
        /// What stands there.
        found: String,
        /// The column's values.
        known: String,
    },
    /// A line that is longer or shorter than the header.
    #[error(
        "expected {expected} columns as in the header, got {found}; correct the line or remove it"
    )]
    ColumnCount {
        /// Columns of the header.
        expected: usize,
        /// Columns of the line.
        found: usize,
    },
    /// NUL bytes between others.
    #[error(
        "NUL bytes, as a power cut leaves them in a file that was being written; remove the line, and the NUL bytes with it"
    )]
    Nul,
    /// A line or a cell that does not end.
    #[error(
        "{what} of more than {mib_max} MiB, the most that is read; is a line end or a quote missing, or is the file no table? correct or remove it"
    )]
    Long {
        /// What does not end.
        what: &'static str,
        /// The bound.
        mib_max: usize,
    },
    /// Bytes that are not UTF-8, or a quote that never ends.
    #[error(
        "not readable as text ({reason}); save the file as UTF-8, or say how it is written (encoding = \"latin-1\" under [data] in agent.toml)"
    )]
    Text {
        /// What the reader said.
        reason: String,
    },
}

impl Problem {
    /// What is wrong with a value that statistics have to carry, if anything
    /// is; `found` is how it is written.
    pub(super) fn of_value(value: f64, found: impl FnOnce() -> String) -> Option<Self> {
        if !value.is_finite() {
            Some(Self::NotFinite { found: found() })
        } else if value.abs() > VALUE_MAX {
            Some(Self::TooLarge { found: found() })
        } else {
            None
        }
    }
}

impl Problem {
    /// What is wrong without what stands there: cells are the owner's.
    pub(super) fn told(&self) -> &'static str {
        match self {
            Self::Missing => "a value is missing",
            Self::NotANumber { .. } => "a text in place of a number",
            Self::Ambiguous { .. } => "a number that may be read in two ways",
            Self::NotFinite { .. } => "a number that is not finite",
            Self::TooLarge { .. } => "a number that no measurement is",
            Self::UnknownClass { .. } => "a label that is no class of the task",
            Self::UnknownValue { .. } => "a word that is no value of its column",
            Self::ColumnCount { .. } => "too few or too many cells",
            Self::Clock { .. } => "a time of day without a date",
            Self::TimeUnit { .. } => "a time in another unit than those before",
            Self::Time { .. } => "a time that cannot be read",
            Self::Nul => "NUL bytes",
            Self::Long { .. } => "a line or a cell that does not end",
            Self::Text { .. } => "not readable as text",
        }
    }

    pub(super) fn mend(&self) -> Option<String> {
        Some(match self {
            Self::Missing
            | Self::NotANumber { .. }
            | Self::NotFinite { .. }
            | Self::TooLarge { .. }
            | Self::UnknownValue { .. }
            | Self::ColumnCount { .. } => "bad_rows = \"skip\"".to_owned(),
            // A sign that nothing is known, such as "-".
            Self::UnknownClass { found, .. } if is_missing(found) => {
                format!("labels = {{ {found:?} = \"\" }}")
            }
            Self::UnknownClass { found, .. } => format!("labels = {{ {found:?} = \"CLASS\" }}"),
            Self::Ambiguous { .. } => "decimal = \",\"".to_owned(),
            Self::Clock { column, .. } => format!("time_column = [\"…\", {column:?}]"),
            Self::Time { .. } => "time_format = \"…\"".to_owned(),
            Self::Text { .. } => "encoding = \"latin-1\"".to_owned(),
            Self::Nul | Self::Long { .. } | Self::TimeUnit { .. } => return None,
        })
    }
}

fn numbered(last: Option<usize>) -> String {
    match last {
        Some(last) => format!(" nor a number from 0 to {last}"),
        None => ", whose names are numbers, so that no number counts them".to_owned(),
    }
}

/// At most 40 characters of what a file says, for messages.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Largest magnitude of a value. A feature stage may add up a thousand of
/// them, and the square of that sum still fits single precision.
pub const VALUE_MAX: f64 = 1e15;
