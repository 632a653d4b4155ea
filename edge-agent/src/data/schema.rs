//! What a data file must look like, and how it may fail to.

use std::fmt;

use common::features::InputShape;
use common::limits::CLASSES_MAX;
use common::npz::NpzError;

/// What every file of a task holds: inputs of one shape, and labels of named
/// classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    shape: InputShape,
    classes: Vec<String>,
    labels: LabelSource,
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// A CSV file must have this column (its cells may be empty).
    Column(String),
    /// A CSV file may have this column.
    OptionalColumn(String),
}

/// Why a schema was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Too many classes, or none.
    #[error("{found} classes; 1 to {CLASSES_MAX} are allowed")]
    Classes {
        /// How many.
        found: usize,
    },
}

impl Schema {
    /// Inputs of this shape, labels of these classes; the label column is
    /// `label`.
    ///
    /// # Errors
    /// No classes, or more than [`CLASSES_MAX`].
    pub fn new(shape: InputShape, classes: Vec<String>) -> Result<Self, SchemaError> {
        if !(1..=CLASSES_MAX).contains(&classes.len()) {
            return Err(SchemaError::Classes {
                found: classes.len(),
            });
        }
        Ok(Self {
            shape,
            classes,
            labels: LabelSource::Column("label".to_owned()),
        })
    }

    /// The same with another source of labels.
    #[must_use]
    pub fn with_labels(self, labels: LabelSource) -> Self {
        Self { labels, ..self }
    }

    /// Values of one input.
    pub fn values(&self) -> usize {
        self.shape.values()
    }

    /// Shape of one input.
    pub fn shape(&self) -> &InputShape {
        &self.shape
    }

    /// Where labels come from.
    pub fn labels(&self) -> &LabelSource {
        &self.labels
    }

    /// The class that a written label names, or none for an empty one.
    /// Names go before numbers, so that classes may be named `"1"`, `"2"`.
    pub(super) fn label_of_text(&self, text: &str) -> Result<Option<u16>, Problem> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let by_name = self.classes.iter().position(|class| class == text);
        let index = by_name.or_else(|| text.parse().ok().filter(|&i| i < self.classes.len()));
        index
            .and_then(|index| u16::try_from(index).ok())
            .map(Some)
            .ok_or_else(|| self.unknown_class(text))
    }

    /// The class that a number names, or none for −1 and NaN.
    pub(super) fn label_of_number(&self, number: f64) -> Result<Option<u16>, Problem> {
        if number.is_nan() || number == -1.0 {
            return Ok(None);
        }
        let fits = number.fract() == 0.0 && number >= 0.0 && number < self.classes.len() as f64;
        if fits {
            // At most CLASSES_MAX, so the conversion is exact.
            Ok(Some(number as u16))
        } else {
            Err(self.unknown_class(&number.to_string()))
        }
    }

    fn unknown_class(&self, found: &str) -> Problem {
        let some: Vec<&str> = self.classes.iter().take(12).map(String::as_str).collect();
        let more = if self.classes.len() > some.len() {
            ", …"
        } else {
            ""
        };
        Problem::UnknownClass {
            found: shortened(found),
            known: format!("{}{more}", some.join(", ")),
            last: self.classes.len() - 1,
        }
    }
}

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
    /// NaN or infinity.
    #[error("{found} is not a finite number; fill the gap or remove the row")]
    NotFinite {
        /// What stands there.
        found: String,
    },
    /// A label that is no class of the task.
    #[error(
        "class {found:?} is not one of the task's ({known}) nor a number from 0 to {last}; correct it, or leave it empty for an unlabelled row"
    )]
    UnknownClass {
        /// What stands there.
        found: String,
        /// Class names.
        known: String,
        /// The largest class number.
        last: usize,
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
    /// Bytes that are not UTF-8, or a quote that never ends.
    #[error("not readable as text ({reason}); save the file as UTF-8 CSV")]
    Text {
        /// What the reader said.
        reason: String,
    },
}

/// Why a file was refused, whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// One place is wrong.
    #[error("{place}: {problem}")]
    At {
        /// Where.
        place: Place,
        /// What.
        problem: Problem,
    },
    /// An unknown ending.
    #[error("not a data file; files ending in .csv, .npz and .npy are read")]
    Format,
    /// Nothing in it.
    #[error("the file is empty; a header and rows are expected")]
    NoHeader,
    /// A first line of numbers only.
    #[error("the first line holds only numbers; put a header with column names before it")]
    NumericHeader,
    /// The separator is not a comma.
    #[error("the header {header:?} is one column; separate columns by commas")]
    Separator {
        /// The header.
        header: String,
    },
    /// No label column.
    #[error(
        "no column {name:?} among {columns}; name the label column in the agent's config (data.label_column), or leave its cells empty for unlabelled rows"
    )]
    NoLabelColumn {
        /// What was looked for.
        name: String,
        /// The file's columns.
        columns: String,
    },
    /// The label column twice.
    #[error("column {name:?} is there twice; rename or remove one")]
    TwoLabelColumns {
        /// Its name.
        name: String,
    },
    /// The wrong number of input columns.
    #[error("expected {expected} value columns for an input of shape {shape:?}, got {found}")]
    ValueColumns {
        /// Values of one input.
        expected: usize,
        /// The input's shape.
        shape: Vec<usize>,
        /// Columns besides the label.
        found: usize,
    },
    /// An archive or array that is not readable.
    #[error(transparent)]
    Numpy(#[from] NpzError),
    /// None of the array names is there.
    #[error("none of the arrays {wanted} is there; the file holds: {names}")]
    NoInputs {
        /// Names tried.
        wanted: String,
        /// What there is.
        names: String,
    },
    /// An array of another shape.
    #[error("array {array:?} has shape {found:?}, expected (rows, {expected:?})")]
    InputShape {
        /// The array's name.
        array: String,
        /// Its shape.
        found: Vec<usize>,
        /// Shape of one input.
        expected: Vec<usize>,
    },
    /// As many labels as rows are needed.
    #[error("array {array:?} has shape {found:?}, expected ({rows},): one label a row")]
    LabelCount {
        /// The array's name.
        array: String,
        /// Its shape.
        found: Vec<usize>,
        /// Rows of the inputs.
        rows: usize,
    },
    /// A scale that fits nothing.
    #[error(
        "array \"scale\" has {found} values; expected 1, one for each of the last side ({channels}), or one for each of {values}"
    )]
    Scale {
        /// How many values it has.
        found: usize,
        /// Length of the input's last side.
        channels: usize,
        /// Values of one input.
        values: usize,
    },
}

impl ParseError {
    pub(super) fn at(place: Place, problem: Problem) -> Self {
        Self::At { place, problem }
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
