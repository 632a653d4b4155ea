//! What became of the rows of a file, and why some are not used.

use std::collections::BTreeMap;
use std::fmt;

use super::schema::{Place, Problem};

/// What became of the rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Rows that were read.
    pub rows: usize,
    /// Rows, or windows of a series, that are used.
    pub used: usize,
    /// Those that are not, by reason: how many, and the first places.
    pub unused: BTreeMap<Unused, (usize, Vec<String>)>,
    /// The columns that are read.
    pub columns: Vec<ColumnAccount>,
    /// The recordings of a series, if it is one.
    pub recordings: Option<Recordings>,
}

/// What a column of the task is in a file, and what stands in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnAccount {
    /// The task's column, where it names its columns.
    pub wanted: Option<String>,
    /// The file's column.
    pub from: String,
    /// What its numbers are multiplied with.
    pub scale: f64,
    /// What is added to them then.
    pub offset: f64,
    /// Whether it holds words.
    pub words: bool,
    /// Cells with a value.
    pub values: usize,
    /// Cells without.
    pub missing: usize,
    /// The least number, in the task's unit.
    pub least: f64,
    /// The largest.
    pub largest: f64,
}

impl ColumnAccount {
    /// Whether it says the same in every row.
    pub fn is_constant(&self) -> bool {
        self.values > 1 && !self.words && self.least == self.largest
    }

    pub(super) fn add(&mut self, value: Option<f64>) {
        match value {
            None => self.missing += 1,
            Some(value) => {
                if self.values == 0 {
                    (self.least, self.largest) = (value, value);
                }
                self.values += 1;
                self.least = self.least.min(value);
                self.largest = self.largest.max(value);
            }
        }
    }
}

/// What a series of samples consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recordings {
    /// Stretches without a gap, of one group and, where windows begin anew
    /// with a label, one label.
    pub stretches: usize,
    /// Samples a second in the first of them that was cut into windows.
    pub rate_hz: f64,
    /// Gaps that end a recording.
    pub gaps: usize,
    /// Seconds that they last in all.
    pub gap_s: f64,
}

/// Why a row or a window is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unused {
    /// A value is missing.
    Missing,
    /// A cell holds no number.
    NotANumber,
    /// A number that no statistic holds.
    OutOfRange,
    /// A label that is no class.
    UnknownClass,
    /// A word that is no value of a categorical column.
    UnknownValue,
    /// Cells too few or too many.
    Columns,
    /// A time that cannot be read.
    Time,
    /// A time that stood before, or times that only fall.
    TimeAgain,
    /// A line that is no text.
    Text,
    /// A line that begins with `#` and has the cells of a row.
    Commented,
    /// The header once more.
    HeaderAgain,
    /// A window that no label covers as far as the task wants.
    MixedLabels,
    /// Samples of a stretch with fewer a second than windows can be made of.
    Slow,
    /// Samples of a recording that is shorter than a window, or left at its
    /// end.
    Rest,
}

impl Unused {
    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotANumber => "not-a-number",
            Self::OutOfRange => "out-of-range",
            Self::UnknownClass => "unknown-class",
            Self::UnknownValue => "unknown-value",
            Self::Columns => "columns",
            Self::Time => "time",
            Self::TimeAgain => "time-again",
            Self::Text => "text",
            Self::Commented => "commented",
            Self::HeaderAgain => "header-again",
            Self::MixedLabels => "mixed-labels",
            Self::Slow => "slow",
            Self::Rest => "rest",
        }
    }

    /// Why a problem costs a row.
    pub(super) fn of(problem: &Problem) -> Self {
        match problem {
            Problem::Missing => Self::Missing,
            Problem::NotANumber { .. } | Problem::Ambiguous { .. } => Self::NotANumber,
            Problem::NotFinite { .. } | Problem::TooLarge { .. } => Self::OutOfRange,
            Problem::UnknownClass { .. } => Self::UnknownClass,
            Problem::UnknownValue { .. } => Self::UnknownValue,
            Problem::ColumnCount { .. } => Self::Columns,
            Problem::Time { .. } | Problem::Clock { .. } | Problem::TimeUnit { .. } => Self::Time,
            Problem::Nul | Problem::Text { .. } | Problem::Long { .. } => Self::Text,
        }
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "rows in which a value is missing",
            Self::NotANumber => "rows with a text in place of a number",
            Self::OutOfRange => "rows with a number that no measurement is",
            Self::UnknownClass => "rows with a label that is no class",
            Self::UnknownValue => "rows with a word that is no value of its column",
            Self::Columns => "rows with too few or too many cells",
            Self::Time => "rows with a time that cannot be read",
            Self::TimeAgain => "samples with the time of another, or an earlier one",
            Self::Text => "lines that are no text",
            Self::Commented => {
                "lines with the cells of a row that begin with # and so are comments"
            }
            Self::HeaderAgain => "lines that say the header again",
            Self::MixedLabels => "windows that no label covers as far as the task wants",
            Self::Slow => "samples of stretches with less than half the task's samples a second",
            Self::Rest => "samples of recordings shorter than a window, or left at their ends",
        })
    }
}

impl Account {
    /// Why what was read is not used, most of it first: for people.
    pub fn explain(&self) -> String {
        let mut reasons: Vec<_> = self.unused.iter().collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let told = reasons
            .into_iter()
            .map(|(why, (count, places))| format!("{count} {why} ({})", places.join("; ")));
        told.collect::<Vec<_>>().join(", ")
    }

    /// What became of further rows.
    pub(super) fn join(&mut self, other: Self) {
        for (why, (count, places)) in other.unused {
            let mut places = places.into_iter();
            let first = places.next().unwrap_or_default();
            self.leave_out_many(why, count, || first);
            if let Some((_, known)) = self.unused.get_mut(&why) {
                known.extend(places);
                known.truncate(PLACES_MAX);
            }
        }
    }

    /// One more row or window that is not used.
    pub(super) fn leave_out(&mut self, why: Unused, place: impl FnOnce() -> Place) {
        self.leave_out_many(why, 1, || place().to_string());
    }

    /// So many more.
    pub(super) fn leave_out_many(
        &mut self,
        why: Unused,
        many: usize,
        place: impl FnOnce() -> String,
    ) {
        let (count, places) = self.unused.entry(why).or_default();
        *count += many;
        if places.len() < PLACES_MAX {
            places.push(place());
        }
    }
}

/// Places that are named of each reason.
const PLACES_MAX: usize = 3;
