//! What a data file must look like, and how it may fail to.

use std::fmt;

use std::sync::Arc;

use common::features::InputShape;
use common::limits::CLASSES_MAX;
use common::npz::NpzError;
use common::task::{ArrayInput, InputKind};

use super::classes::ClassNames;
use super::intervals::Intervals;
use super::source::Mapping;

/// What every file of a task holds: inputs of one shape, and labels of named
/// classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    shape: InputShape,
    input: InputKind,
    mapping: Arc<Mapping>,
    /// Labels that stand in a file of their own.
    intervals: Option<Arc<Intervals>>,
    classes: ClassNames,
    labels: LabelSource,
    arrays: ArrayNames,
    values_max: usize,
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// A CSV file must have this column (its cells may be empty).
    Column(String),
    /// A CSV file may have this column.
    OptionalColumn(String),
    /// Every column is an input, and arrays of labels are not looked at.
    None,
}

/// Names of the arrays of an NPZ file, tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayNames {
    /// Inputs, n × the input's shape (or flattened).
    pub inputs: Vec<String>,
    /// Labels, n.
    pub labels: Vec<String>,
}

impl Default for ArrayNames {
    /// `X` and `y`, or `X_train` and `y_train`.
    fn default() -> Self {
        let names = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        Self {
            inputs: names("X", "X_train"),
            labels: names("y", "y_train"),
        }
    }
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
    /// `label`, arrays have their default names.
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
            input: InputKind::Array(ArrayInput::default()),
            mapping: Arc::default(),
            intervals: None,
            classes: ClassNames::new(classes),
            labels: LabelSource::Column("label".to_owned()),
            arrays: ArrayNames::default(),
            values_max: VALUES_MAX,
        })
    }

    /// The same with another source of labels.
    #[must_use]
    pub fn with_labels(self, labels: LabelSource) -> Self {
        Self { labels, ..self }
    }

    /// The same with other array names.
    #[must_use]
    pub fn with_arrays(self, arrays: ArrayNames) -> Self {
        Self { arrays, ..self }
    }

    /// The same for inputs that need no label, as in prediction: a label
    /// column may be absent.
    #[must_use]
    pub fn with_optional_labels(self) -> Self {
        let labels = match self.labels {
            LabelSource::Column(name) => LabelSource::OptionalColumn(name),
            other => other,
        };
        Self { labels, ..self }
    }

    /// The same for what a task says of its inputs.
    #[must_use]
    pub fn with_input(self, input: InputKind) -> Self {
        Self { input, ..self }
    }

    /// The same for files that are written as a device's owner says.
    #[must_use]
    pub fn with_mapping(self, mapping: Mapping) -> Self {
        Self {
            classes: self.classes.with_words(&mapping.labels),
            mapping: Arc::new(mapping),
            ..self
        }
    }

    /// The same with labels from a file of their own.
    #[must_use]
    pub(super) fn with_intervals(self, intervals: Option<Arc<Intervals>>) -> Self {
        Self { intervals, ..self }
    }

    /// What one input is.
    pub fn input(&self) -> &InputKind {
        &self.input
    }

    /// How files are written.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(super) fn intervals(&self) -> Option<&Intervals> {
        self.intervals.as_deref()
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

    /// Names of arrays.
    pub fn arrays(&self) -> &ArrayNames {
        &self.arrays
    }

    /// The classes, and the rule by which labels find them.
    pub fn classes(&self) -> &ClassNames {
        &self.classes
    }

    /// The same with another limit on the values of one file.
    #[must_use]
    pub fn with_values_max(self, values_max: usize) -> Self {
        Self { values_max, ..self }
    }

    /// Most values that one file may hold.
    pub fn values_max(&self) -> usize {
        self.values_max
    }

    /// The label column's name, where one is looked for.
    pub(super) fn label_column(&self) -> Option<&str> {
        match &self.labels {
            LabelSource::Column(name) | LabelSource::OptionalColumn(name) => Some(name.trim()),
            LabelSource::None => None,
        }
    }

    /// Whether so many values of one file may be held.
    pub(super) fn check_size(&self, values: usize) -> Result<(), ParseError> {
        match values <= self.values_max {
            true => Ok(()),
            false => Err(ParseError::Size {
                rows_max: self.values_max / self.values(),
                values: self.values(),
            }),
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
        "{found:?} is no time that can be read; say how times are written (time_format = \"iso8601\", \"s\", \"ms\", \"us\" or \"ns\" under [data] in agent.toml)"
    )]
    Time {
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

fn numbered(last: Option<usize>) -> String {
    match last {
        Some(last) => format!(" nor a number from 0 to {last}"),
        None => ", whose names are numbers, so that no number counts them".to_owned(),
    }
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
    #[error(
        "not a data file; files ending in .csv, .tsv, .npz and .npy are read, also with .gz or .zst after that"
    )]
    Format,
    /// Nothing in it.
    #[error("the file is empty; a header and rows are expected")]
    NoHeader,
    /// A first line of numbers only.
    #[error(
        "the first line holds only numbers; put a header with column names before it, or name the columns (names = [\"COLUMN\", …] under [data] in agent.toml)"
    )]
    NumericHeader,
    /// A compressed file that is damaged or cut short.
    #[error("cannot be unpacked ({reason}); copy it again, or wait until it is complete")]
    Packed {
        /// What the unpacker said.
        reason: String,
    },
    /// A compressed file of too much.
    #[error("unpacks to more than {bytes_max} bytes, the most that is read; split the file")]
    Unpacked {
        /// The bound.
        bytes_max: u64,
    },
    /// A column of the task that the file does not have.
    #[error(
        "no column {name:?} among {columns}; under [data] in agent.toml, say which it is: columns.{} = {{ from = {guess:?} }}", toml_key(name)
    )]
    NoColumn {
        /// What was looked for.
        name: String,
        /// The file's columns.
        columns: String,
        /// The column that it may be.
        guess: String,
    },
    /// Two columns of a file that may be one of the task's.
    #[error(
        "columns {one:?} and {other:?} both may be {name:?}; under [data] in agent.toml, say which it is: columns.{} = {{ from = {one:?} }}", toml_key(name)
    )]
    TwoColumns {
        /// The task's column.
        name: String,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// A column in another unit than the task's.
    #[error(
        "column {found:?} is in {unit:?} and the task wants {wanted:?}; under [data] in agent.toml, say how one becomes the other: columns.{} = {{ from = {found:?}, {advice} }}", toml_key(name)
    )]
    Unit {
        /// The task's column.
        name: String,
        /// The file's column.
        found: String,
        /// Its unit.
        unit: String,
        /// The task's unit.
        wanted: String,
        /// What to write into the mapping.
        advice: String,
    },
    /// A column that the mapping names and the file does not have.
    #[error("no column {name:?} among {columns}; correct {key} in agent.toml")]
    NoMappedColumn {
        /// The key that names it.
        key: &'static str,
        /// What was looked for.
        name: String,
        /// The file's columns.
        columns: String,
    },
    /// Numbers that may be read in two ways.
    #[error(
        "{place}: {found:?} may mean two numbers; under [data] in agent.toml, say which sign is the decimal one: decimal = \",\" or decimal = \".\""
    )]
    Decimal {
        /// Where.
        place: Place,
        /// What stands there.
        found: String,
    },
    /// Recordings too slow for the task.
    #[error(
        "has {found:.3} rows a second and the task wants {wanted:.3}: what lies between was not measured. Record faster, or correct time_format or rate_hz under [data] in agent.toml"
    )]
    Rate {
        /// Rows a second.
        found: f64,
        /// What the task wants.
        wanted: f64,
    },
    /// No labels, where intervals are wanted of times.
    #[error("labels: {reason}")]
    Intervals {
        /// What is wrong with the file of labels.
        reason: String,
    },
    /// A format that has no times, for a task that needs them.
    #[error("holds windows of another shape, and only CSV files hold recordings")]
    NoRecording,
    /// The header cannot be cut into columns.
    #[error(
        "the header {header:?} is one column; separate columns by commas, semicolons or tabs, or say what separates them (separator = \" \" under [data] in agent.toml)"
    )]
    Separator {
        /// The header.
        header: String,
    },
    /// No label column.
    #[error(
        "no column {name:?} among {columns}; under [data] in agent.toml, name the column that holds the label (label_column = {guess:?}; its cells may be empty), or a file of intervals (labels_file = \"labels.csv\", time_column = \"COLUMN\")"
    )]
    NoLabelColumn {
        /// What was looked for.
        name: String,
        /// The file's columns.
        columns: String,
        /// The column that it may be.
        guess: String,
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
    /// More values than may be held at once.
    #[error(
        "there is room for {rows_max} rows of {values} values more, and it holds more than that; remove older files, split this one, or raise data.memory_mib_max in the agent's config"
    )]
    Size {
        /// Rows that would be read.
        rows_max: usize,
        /// Values of one input.
        values: usize,
    },
    /// An archive that is not readable.
    #[error(transparent)]
    Numpy(#[from] NpzError),
    /// An array that is not readable.
    #[error("array {array:?}: {error}")]
    Array {
        /// The array's name.
        array: String,
        /// Why.
        error: NpzError,
    },
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

/// A name as TOML writes it as a key.
fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
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
/// Most values of one file unless something else is said.
const VALUES_MAX: usize = 1 << 28;
