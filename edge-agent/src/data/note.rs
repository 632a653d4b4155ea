//! What was decided while a file was read, for its owner.

use std::fmt;

/// One thing that a reader decided and an owner may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The last line has no line end yet and is not used.
    Unfinished {
        /// The line, counted from 1.
        line: u64,
    },
    /// The file ends in NUL bytes; the lines before them are used.
    NulTail {
        /// How many.
        bytes: usize,
    },
    /// A recording ends before its header says.
    CutShort {
        /// Bytes of samples that it declares.
        declared: u64,
    },
    /// The text is UTF-16.
    Utf16,
    /// Lines that begin with `#` are left out.
    Comments,
    /// Lines before the header are left out.
    Preamble {
        /// How many.
        lines: u64,
    },
    /// The first column has no name and is left out: the index that pandas
    /// writes.
    IndexColumn,
    /// A column was taken for the times of a recording.
    TimeColumn {
        /// Its name.
        column: String,
        /// That of the time of day, where it holds dates.
        clock: Option<String>,
    },
    /// A recording has no column of times, and nothing says how fast its samples
    /// came.
    NoTimeColumn {
        /// The task's samples a second, which it is taken to have.
        rate_hz: f64,
        /// A column that is not used and goes up steadily.
        rising: Option<String>,
    },
    /// Numbers are written with a decimal comma.
    DecimalComma,
    /// Columns have the names of another file's in another order.
    Reordered,
    /// Recordings whose times only fall were read from their end on.
    NewestFirst,
    /// Recordings have fewer samples a second than the task's windows.
    Slower {
        /// Samples a second.
        rate_hz: f64,
        /// What the task wants.
        wanted_hz: f64,
    },
    /// The sampling rate is so high that times may be in another unit.
    TooFast {
        /// The line of the first of them.
        line: u64,
        /// Samples a second.
        rate_hz: f64,
        /// What the task wants.
        wanted_hz: f64,
        /// What the first time was taken for.
        seconds: f64,
    },
    /// No row lies within an interval of the file of labels.
    OutsideIntervals {
        /// From when to when there are rows, in nanoseconds.
        rows: [i64; 2],
        /// And intervals.
        intervals: [i64; 2],
    },
    /// Lines of the file of labels were left out.
    IntervalsLeftOut {
        /// How many.
        lines: usize,
        /// Why the first of them was.
        first: String,
    },
    /// Labels of −1 were taken for no label.
    MinusOne {
        /// Rows.
        rows: usize,
    },
    /// Labels are numbers that count the task's classes.
    Indexed {
        /// Rows.
        rows: usize,
        /// What the smallest and the largest one of them were taken for.
        meanings: String,
    },
    /// A column's values lie so far from zero that single precision keeps
    /// little of how they differ.
    Lost {
        /// The column's name or its place.
        column: String,
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
        /// The largest error of a value in single precision.
        error: f64,
    },
}

impl Note {
    /// Whether the owner should do something about it.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::NulTail { .. }
                | Self::CutShort { .. }
                | Self::OutsideIntervals { .. }
                | Self::IntervalsLeftOut { .. }
                | Self::Reordered
                | Self::MinusOne { .. }
                | Self::Lost { .. }
                | Self::Slower { .. }
                | Self::TooFast { .. }
                | Self::NoTimeColumn {
                    rising: Some(_),
                    ..
                }
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { line } => write!(
                f,
                "line {line} has no line end yet: it waits until it is completed, or until the \
                 file has rested for a day"
            ),
            Self::NulTail { bytes } => write!(
                f,
                "ends in {bytes} NUL bytes, as after a power cut; the complete lines before them \
                 are used"
            ),
            Self::CutShort { declared } => write!(
                f,
                "its header declares {declared} bytes of samples and the file ends before that; \
                 those that are there are used"
            ),
            Self::Utf16 => f.write_str("is UTF-16 text and is read as such"),
            Self::Comments => f.write_str("lines that begin with # are comments and left out"),
            Self::Preamble { lines } => write!(
                f,
                "{lines} lines before the header are left out: line {} has the names that the task \
                 asks for",
                lines + 1
            ),
            Self::IndexColumn => {
                f.write_str("the first column has no name and is left out as the row's number")
            }
            Self::TimeColumn {
                column,
                clock: Some(clock),
            } => write!(
                f,
                "columns {column:?} and {clock:?} are taken for the time of each row; say otherwise \
                 with time_column or rate_hz under [data]"
            ),
            Self::TimeColumn { column, .. } => write!(
                f,
                "column {column:?} is taken for the time of each row; say otherwise with \
                 time_column or rate_hz under [data]"
            ),
            Self::NoTimeColumn { rate_hz, rising } => {
                write!(
                    f,
                    "no time column was found; samples are taken at the task's {rate_hz} a second; \
                     name it with data.time_column, or say the rate with data.rate_hz"
                )?;
                match rising {
                    Some(column) => write!(
                        f,
                        "; column {column:?} is not used and increases steadily: is it the time?"
                    ),
                    None => Ok(()),
                }
            }
            Self::Reordered => f.write_str(
                "has the columns of the files before it in another order: they are read by name. \
                 Have the task name them ([input] names), so that all devices' files are",
            ),
            Self::DecimalComma => f.write_str("numbers are read with a decimal comma"),
            Self::NewestFirst => {
                f.write_str("its times are newest first: it is read from its end on")
            }
            Self::Slower { rate_hz, wanted_hz } => write!(
                f,
                "recordings of {rate_hz:.3} samples a second are brought to {wanted_hz:.3}: what \
                 is faster than half of the former is not in them"
            ),
            Self::TooFast {
                line,
                rate_hz,
                wanted_hz,
                seconds,
            } => {
                write!(
                    f,
                    "from line {line} on there seem to be {rate_hz:.0} samples a second, and the \
                     task wants {wanted_hz:.3}: "
                )?;
                match JULIAN_DAYS.contains(seconds) {
                    true => f.write_str(
                        "times look like Julian days and are read as seconds; write seconds, in \
                         SQLite as unixepoch(at, 'subsec') in data.query",
                    ),
                    false => f.write_str("are times in another unit than time_format says?"),
                }
            }
            Self::OutsideIntervals { rows, intervals } => {
                let seconds = |ns: i64| ns as f64 * 1e-9;
                write!(
                    f,
                    "no row has a label: they lie from {:.3} to {:.3} s, and the intervals of \
                     labels_file from {:.3} to {:.3} s; is one of them in another unit, zone or \
                     clock (time_format under [data])?",
                    seconds(rows[0]),
                    seconds(rows[1]),
                    seconds(intervals[0]),
                    seconds(intervals[1])
                )
            }
            Self::IntervalsLeftOut { lines, first } => write!(
                f,
                "{lines} lines of labels_file are left out, and what they label stays without; the \
                 first: {first}"
            ),
            Self::MinusOne { rows } => write!(
                f,
                "{rows} rows with the label -1 count as unlabelled; if -1 is a class, name it in \
                 the task or write the class's name"
            ),
            Self::Indexed { rows, meanings } => write!(
                f,
                "labels of {rows} rows are numbers that count the task's classes: {meanings}"
            ),
            Self::Lost {
                column,
                mean,
                deviation,
                error,
            } => write!(
                f,
                "column {column}: values around {mean} differ by {deviation:.3e}, of which single \
                 precision loses up to {error:.3e}; subtract one constant near {mean:.0} from this \
                 column on every device, and before predicting"
            ),
        }
    }
}

/// The days from 1900 to 2100, as astronomers count them.
const JULIAN_DAYS: std::ops::Range<f64> = 2_415_020.0..2_488_070.0;
