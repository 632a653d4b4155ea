//! Why a data file was refused, and what mends it.

use common::npz::NpzError;

use super::problem::{Place, Problem};

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
    /// Something else than its name says.
    #[error("it is {what}; {advice}")]
    Foreign {
        /// What it is.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing in it.
    #[error("the file is empty; a header and rows are expected")]
    NoHeader,
    /// A first line of numbers, most of them.
    #[error(
        "the first line holds numbers and is no header; put a header with column names before it, or name the columns (names = [\"COLUMN\", …] under [data] in agent.toml)"
    )]
    NumericHeader,
    /// No picture that can be read.
    #[error("not a PNG or JPEG picture that can be read: {reason}")]
    Picture {
        /// Why.
        reason: String,
    },
    /// No sound that can be read.
    #[error("not a WAV recording that can be read: {reason}")]
    Wave {
        /// Why.
        reason: String,
    },
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
        "no column {name:?} among {columns}; under [data] in agent.toml, say which it is: columns.{} = {{ from = {guess:?} }}",
        toml_key(name)
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
        "columns {one:?} and {other:?} both may be {name:?}; under [data] in agent.toml, say which it is: columns.{} = {{ from = {one:?} }}",
        toml_key(name)
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
        "column {found:?} is in {unit:?} and the task wants {wanted:?}; under [data] in agent.toml, say how one becomes the other: columns.{} = {{ from = {found:?}, {advice} }}",
        toml_key(name)
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
    /// Recordings whose clock is coarser than their samples.
    #[error(
        "{samples} samples have the same time, and the next is {step_s} s later: times have no fraction. Say how many samples a second there are (rate_hz = {}, beside time_column, under [data] in agent.toml): samples of one time are then spread evenly over it",
        rate(*samples, *step_s)
    )]
    CoarseTimes {
        /// Samples of one time, usually.
        samples: usize,
        /// Seconds from one time to the next, usually.
        step_s: f64,
    },
    /// Times of recordings that mostly fall.
    #[error(
        "most of its times lie before the one above them: newest first, but not throughout; sort it by time, oldest first"
    )]
    TimesFall,
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
    /// No column of a number that rows are labelled with.
    #[error(
        "no column {name:?} among {columns}; name the column of that number so, or leave its cells empty for rows of which it is not known"
    )]
    NoNumberColumn {
        /// What was looked for.
        name: String,
        /// The file's columns.
        columns: String,
    },
    /// Recordings whose samples are labelled with numbers.
    #[error(
        "recordings are cut into windows only where they are labelled with classes; write windows with their numbers to an NPZ file, as X and y"
    )]
    NumbersOfRecording,
    /// A column that is read, twice.
    #[error("column {name:?} is there twice; rename or remove one")]
    ColumnTwice {
        /// Its name.
        name: String,
    },
    /// A second header that says something else than the first.
    #[error(
        "line {line} is another header, with other columns than the first line or in another order; split the file there"
    )]
    HeaderChanged {
        /// The line.
        line: u64,
    },
    /// Not one row of numbers for each input.
    #[error(
        "array {array:?} has shape {found:?}, expected ({rows}, {numbers}): the numbers of each row"
    )]
    NumberCount {
        /// The array's name.
        array: String,
        /// Its shape.
        found: Vec<usize>,
        /// Rows of the inputs.
        rows: usize,
        /// Numbers that the task asks for.
        numbers: usize,
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
    /// A database of which no rows can be had.
    #[error("as a database: {reason}")]
    Database {
        /// Why.
        reason: String,
    },
    /// A database of no table, or several, without a query.
    #[error("as a database: say which rows are meant, by a query; its tables are: {}", tables.join(", "))]
    NoQuery {
        /// The tables and views in it.
        tables: Vec<String>,
    },
    /// A Parquet file that cannot be read.
    #[error("as a Parquet file: {reason}")]
    Parquet {
        /// Why.
        reason: String,
    },
    /// The file cannot be read to its end.
    #[error("cannot be read to its end ({reason}); check the disk it lies on")]
    Read {
        /// What the system said.
        reason: String,
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
    /// An array of bad rows only.
    #[error("none of its rows can be used: {reason}")]
    NoGoodRow {
        /// What is wrong with them.
        reason: String,
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
    /// Labels that are numbers, and names of classes that are others.
    #[error(
        "array \"class_names\" holds numbers ({names}), so that a number in the labels may be a name or count the names; write the labels as text, y = class_names[y].astype(str), or leave class_names out"
    )]
    NumberedNames {
        /// The names.
        names: String,
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
    /// What is wrong for those who may not see what stands in the file: places
    /// and names of columns, no cell.
    pub fn told(&self) -> String {
        match self {
            Self::At { place, problem } => format!("{place}: {}", problem.told()),
            Self::Decimal { place, .. } => {
                format!("{place}: a number that may be read in two ways")
            }
            Self::Separator { .. } => "the header is one column".to_owned(),
            other => other.to_string(),
        }
    }

    /// The line under `[data]` in agent.toml that mends it, where one may. An
    /// ellipsis in it is for the owner to fill in.
    pub fn mend(&self) -> Option<String> {
        Some(match self {
            Self::At { problem, .. } => return problem.mend(),
            Self::NumericHeader => "names = [\"COLUMN\", …]".to_owned(),
            Self::NoColumn { name, guess, .. } => column(name, guess, ""),
            Self::TwoColumns { name, one, .. } => column(name, one, ""),
            Self::Unit {
                name,
                found,
                advice,
                ..
            } => column(name, found, &format!(", {advice}")),
            Self::NoLabelColumn { guess, .. } => format!("label_column = {guess:?}"),
            Self::Decimal { .. } => "decimal = \",\"".to_owned(),
            Self::CoarseTimes { samples, step_s } => {
                format!("rate_hz = {}", rate(*samples, *step_s))
            }
            Self::Separator { .. } => "separator = \" \"".to_owned(),
            Self::NoQuery { tables } => {
                let table = tables.first().map_or("TABLE", String::as_str);
                format!("query = {:?}", format!("SELECT … FROM {table}"))
            }
            Self::NoMappedColumn { key, .. } => format!("{key} = …"),
            _ => return None,
        })
    }

    pub(super) fn at(place: Place, problem: Problem) -> Self {
        Self::At { place, problem }
    }
}

/// Samples a second, to a thousandth.
fn rate(samples: usize, step_s: f64) -> f64 {
    (samples as f64 / step_s * 1e3).round() / 1e3
}

/// The line that says where a column of the task comes from.
fn column(name: &str, from: &str, more: &str) -> String {
    format!("columns.{} = {{ from = {from:?}{more} }}", toml_key(name))
}

/// A name as TOML writes it as a key.
fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}
