//! Rows as they are read from cells.

use std::collections::HashMap;

use common::task::{InputKind, Missing, folded};
use csv::StringRecord;

use super::super::account::{Account, ColumnAccount, Unused};
use super::super::classes::Meaning;
use super::super::note::Note;
use super::super::precision::Precision;
use super::super::sample::Kept;
use super::super::schema::{ParseError, Place, Problem, Schema, VALUE_MAX, shortened};
use super::super::series::{PIECE_VALUES, Samples, windows_into};
use super::super::source::{BadRows, TimeFormat};
use super::super::{Dataset, LabelCounts};
use super::columns::{Columns, Source};
use super::dialect::number;

/// Rows as they are read.
pub(super) struct Rows<'a> {
    columns: &'a Columns,
    schema: &'a Schema,
    decimal: u8,
    time_format: TimeFormat,
    missing: OnMissing,
    kept: Kept,
    /// Rows taken in, or samples.
    taken: usize,
    samples: Option<Samples>,
    groups: HashMap<String, Group>,
    counts: LabelCounts,
    precision: Precision,
    account: Account,
    /// Values of one row, while it is read.
    row: Vec<f64>,
    narrow: Vec<f32>,
    /// Of the rows that were left out, what the first was refused for.
    first_error: Option<ParseError>,
}

/// What a missing value costs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    Refuse,
    Keep,
    Skip,
}

/// A group of rows: its number, and how many rows of it were read.
#[derive(Clone, Copy, Default)]
struct Group {
    number: u32,
    rows: i64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(columns: &'a Columns, schema: &'a Schema, decimal: u8) -> Self {
        let account = |source: &Source| ColumnAccount {
            wanted: source.wanted.clone(),
            from: source.name.clone(),
            scale: source.conversion.scale,
            offset: source.conversion.offset,
            words: !source.words.is_empty(),
            values: 0,
            missing: 0,
            least: 0.0,
            largest: 0.0,
        };
        let (missing, samples) = match schema.input() {
            InputKind::Array(_) => (OnMissing::Refuse, None),
            InputKind::Table(table) => {
                let missing = match table.missing {
                    Missing::Refuse => OnMissing::Refuse,
                    Missing::Mean => OnMissing::Keep,
                    Missing::SkipRow => OnMissing::Skip,
                };
                (missing, None)
            }
            InputKind::Series(_) => (OnMissing::Skip, Some(Samples::default())),
        };
        let width: usize = columns
            .sources
            .iter()
            .map(|source| source.words.len().max(1))
            .sum();
        Self {
            columns,
            schema,
            decimal,
            time_format: schema.mapping().time_format,
            missing,
            kept: Kept::new(
                match schema.input() {
                    InputKind::Series(_) => schema.values(),
                    InputKind::Array(_) | InputKind::Table(_) => width,
                },
                schema.numbers().len(),
                schema.rows_max(),
                schema.split_rule(),
            ),
            taken: 0,
            samples,
            groups: HashMap::new(),
            counts: LabelCounts::default(),
            precision: Precision::new(width),
            account: Account {
                columns: columns.sources.iter().map(account).collect(),
                ..Account::default()
            },
            row: Vec::with_capacity(width),
            narrow: Vec::with_capacity(width),
            first_error: None,
        }
    }

    /// Takes the memory of a file of `length` bytes at once, as far as it is
    /// needed, whose first bytes have so many line ends: growing step by step
    /// would need half as much again.
    pub(super) fn expect(&mut self, ends: usize, bytes: usize, length: u64) {
        if self.samples.is_some() {
            return;
        }
        // A value and its separator are two bytes at least.
        let cells = bytes / 2 / self.columns.sources.len().max(1);
        let rows = ends.saturating_add(1).min(cells);
        let more = length as f64 / bytes.max(1) as f64;
        self.kept.expect((rows as f64 * more.max(1.0)) as usize);
    }

    /// What a row costs that was read so: itself where the owner says so, else
    /// the file.
    ///
    /// # Errors
    /// What the row was refused for, or what costs the file in any case.
    pub(super) fn settle(&mut self, read: Result<(), ParseError>) -> Result<(), ParseError> {
        let skips = self.schema.mapping().bad_rows == BadRows::Skip;
        match read {
            Err(ParseError::At { place, problem }) if skips => {
                let why = Unused::of(&problem);
                self.account.leave_out(why, || place.clone());
                self.first_error
                    .get_or_insert(ParseError::At { place, problem });
                Ok(())
            }
            other => other,
        }
    }

    /// Takes a row in, or nothing of it.
    pub(super) fn push(
        &mut self,
        record: &StringRecord,
        line: u64,
        notes: &mut Vec<Note>,
    ) -> Result<(), ParseError> {
        self.account.rows += 1;
        if !self.columns.fits(record) {
            let problem = Problem::ColumnCount {
                expected: self.columns.names.len(),
                found: record.len(),
            };
            return Err(ParseError::at(Place::Line(line), problem));
        }
        let at = |place: usize| {
            let column = self.columns.names[place].clone();
            Place::Cell { line, column }
        };
        // The number of a row counts those that are left out, so that a
        // recording without times keeps its rate.
        let group = match self.columns.group {
            Some(place) => record.get(place).unwrap_or_default().trim(),
            None => "",
        };
        let count = self.groups.len() as u32;
        if !self.groups.contains_key(group) {
            let first = Group {
                number: count,
                rows: 0,
            };
            self.groups.insert(group.to_owned(), first);
        }
        let mut own = Group::default();
        if let Some(known) = self.groups.get_mut(group) {
            own = *known;
            known.rows += 1;
        }
        let timed = self.samples.is_some() || self.schema.intervals().is_some();
        let time = match self.columns.time.filter(|_| timed) {
            Some(place) => {
                let cell = record.get(place).unwrap_or_default();
                if self.taken == 0 {
                    self.time_format = self.time_format.settled(cell);
                }
                let time = self.time_format.parse(cell);
                Some(time.map_err(|problem| ParseError::at(at(place), problem))?)
            }
            None => None,
        };
        let mut meaning = Meaning::Unlabelled;
        if let (Some(intervals), Some(time)) = (self.schema.intervals(), time) {
            meaning = intervals.at(group, time).map_or(meaning, Meaning::Name);
        } else if let Some(place) = self.columns.label {
            let cell = record.get(place).unwrap_or_default();
            let found = self.schema.classes().of_text(cell);
            meaning = found.map_err(|problem| ParseError::at(at(place), problem))?;
        }
        let numbers = self.read_numbers(record, line)?;
        if let Some(missing) = self.read_row(record, line)? {
            self.account.leave_out(Unused::Missing, || missing);
            return Ok(());
        }
        let mut numbers = numbers.unwrap_or_default();
        if !numbers.is_empty() {
            meaning = match numbers.iter().all(|number| number.is_finite()) {
                true => Meaning::Name(0),
                false => Meaning::Unlabelled,
            };
            // They count for nothing, and equal rows must be equal.
            let known = |value: f32| if value.is_finite() { value } else { 0.0 };
            numbers
                .iter_mut()
                .for_each(|number| *number = known(*number));
        }
        self.counts.add(meaning);
        self.taken += 1;
        self.narrow.clear();
        for (index, &value) in self.row.iter().enumerate() {
            self.narrow.push(match value.is_nan() {
                // One NaN of the many that there are, so that equal rows have
                // equal bytes.
                true => f32::NAN,
                false => self.precision.narrow(index, value),
            });
        }
        let Some(samples) = &mut self.samples else {
            let row = self.narrow.iter().copied();
            self.kept.push(row, meaning.class(), &numbers);
            return Ok(());
        };
        let rate = self.schema.mapping().rate_hz;
        samples.values.extend_from_slice(&self.narrow);
        samples.labels.push(meaning.class());
        samples.push(time, own.rows, rate, own.number, line);
        match samples.len() * (self.narrow.len() + BESIDE_VALUES) >= self.piece() {
            true => self.cut(notes),
            false => Ok(()),
        }
    }

    /// Values of samples at which they are cut into windows: pieces are many
    /// windows long, so that few are lost where they end.
    fn piece(&self) -> usize {
        PIECE_VALUES.max(PIECE_WINDOWS * self.schema.values())
    }

    /// Cuts the samples that are held into windows.
    fn cut(&mut self, notes: &mut Vec<Note>) -> Result<(), ParseError> {
        let (InputKind::Series(series), Some(samples)) = (self.schema.input(), &mut self.samples)
        else {
            return Ok(());
        };
        if !self.schema.numbers().is_empty() {
            return Err(ParseError::NumbersOfRecording);
        }
        let kept = &mut self.kept;
        let mut keep = |window: &[f32], label| kept.push(window.iter().copied(), label, &[]);
        windows_into(samples, series, &mut self.account, notes, &mut keep)?;
        samples.clear();
        Ok(())
    }

    /// The numbers that a row is labelled with, where rows are labelled with
    /// numbers: not numbers where one of them is not known.
    fn read_numbers(
        &self,
        record: &StringRecord,
        line: u64,
    ) -> Result<Option<Vec<f32>>, ParseError> {
        let wanted = self.schema.numbers().len();
        if wanted == 0 {
            return Ok(None);
        }
        let mut numbers = vec![f32::NAN; wanted];
        for (out, &place) in numbers.iter_mut().zip(&self.columns.numbers) {
            let cell = record.get(place).unwrap_or_default().trim();
            if is_missing(cell) || cell.is_empty() {
                continue;
            }
            let found = number(cell, self.decimal).ok_or_else(|| Problem::NotANumber {
                found: shortened(cell),
            });
            let found = found.and_then(|value| {
                Problem::of_value(value, || shortened(cell)).map_or(Ok(value), Err)
            });
            let column = self.columns.names[place].clone();
            let value =
                found.map_err(|problem| ParseError::at(Place::Cell { line, column }, problem))?;
            *out = value as f32;
        }
        Ok(Some(numbers))
    }

    /// The values of a row; the first place where one is missing that costs
    /// it.
    fn read_row(&mut self, record: &StringRecord, line: u64) -> Result<Option<Place>, ParseError> {
        self.row.clear();
        let mut lacking = None;
        for (source, account) in self.columns.sources.iter().zip(&mut self.account.columns) {
            let cell = record.get(source.place).unwrap_or_default().trim();
            let place = || Place::Cell {
                line,
                column: source.name.clone(),
            };
            let plain_array = matches!(self.schema.input(), InputKind::Array(_));
            let is_missing = match plain_array {
                true => cell.is_empty(),
                false => is_missing(cell),
            };
            if is_missing {
                account.add(None);
                match self.missing {
                    OnMissing::Refuse => return Err(ParseError::at(place(), Problem::Missing)),
                    OnMissing::Skip => {
                        lacking.get_or_insert_with(place);
                    }
                    OnMissing::Keep => {}
                }
                let width = source.words.len().max(1);
                self.row.extend(std::iter::repeat_n(f64::NAN, width));
                continue;
            }
            if source.words.is_empty() {
                let value = converted(cell, self.decimal, source);
                let value = value.map_err(|problem| ParseError::at(place(), problem))?;
                account.add(Some(value));
                self.row.push(value);
            } else {
                let found = word(cell, source);
                let found = found.map_err(|problem| ParseError::at(place(), problem))?;
                account.add(Some(found as f64));
                let words = 0..source.words.len();
                self.row
                    .extend(words.map(|at| f64::from(u8::from(at == found))));
            }
        }
        Ok(lacking)
    }

    pub(super) fn finish(
        mut self,
        notes: &mut Vec<Note>,
    ) -> Result<(Dataset, Account), ParseError> {
        // Nothing of it can be read: a mapping is missing rather than a row.
        if let Some(error) = self.first_error.take().filter(|_| self.taken == 0) {
            return Err(error);
        }
        let names: Vec<&str> = { self.columns.sources.iter() }
            .flat_map(|source| std::iter::repeat_n(source.name.as_str(), source.words.len().max(1)))
            .collect();
        notes.extend(self.precision.notes(|value| format!("{:?}", names[value])));
        self.counts.note(self.schema.classes(), notes);
        let values = self.schema.values();
        let (schema, found) = (self.schema, self.columns.sources.len());
        let shape = || ParseError::ValueColumns {
            expected: values,
            shape: schema.shape().sides().to_vec(),
            found,
        };
        match self.samples.is_some() {
            true => self.cut(notes)?,
            false => self.account.used = self.taken,
        }
        let data = self.kept.finish().ok_or_else(shape)?;
        if data.inputs().ncols() != values {
            return Err(shape());
        }
        Ok((data, self.account))
    }
}

/// Whether a cell says that there is no value.
pub(in super::super) fn is_missing(cell: &str) -> bool {
    MISSING
        .iter()
        .any(|written| cell.eq_ignore_ascii_case(written))
}

/// A cell's number in the task's unit.
fn converted(cell: &str, decimal: u8, source: &Source) -> Result<f64, Problem> {
    let found = number(cell, decimal).ok_or_else(|| Problem::NotANumber {
        found: shortened(cell),
    })?;
    let value = found * source.conversion.scale + source.conversion.offset;
    // Before and after: an offset must not make a fill value of no fill value.
    let worse = if found.abs() > VALUE_MAX || !found.is_finite() {
        found
    } else {
        value
    };
    Problem::of_value(worse, || shortened(cell)).map_or(Ok(value), Err)
}

/// The place of a word among a column's values.
fn word(cell: &str, source: &Source) -> Result<usize, Problem> {
    let written = folded(cell);
    let place = source.words.iter().position(|word| *word == written);
    // 1.0 is how pandas writes a 1 beside which a value is missing.
    let same_number = || {
        let number: f64 = cell.parse().ok()?;
        source
            .words
            .iter()
            .position(|word| word.parse() == Ok(number))
    };
    place
        .or_else(same_number)
        .ok_or_else(|| Problem::UnknownValue {
            found: shortened(cell),
            known: source.words.join(", "),
        })
}

/// What goes beside the values of a sample, in values.
const BESIDE_VALUES: usize = 6;
/// A piece of a recording is so many windows long, at least.
const PIECE_WINDOWS: usize = 32;
/// How tables write that there is no value.
const MISSING: [&str; 10] = [
    "", "nan", "na", "n/a", "#n/a", "null", "none", "-", "?", "nil",
];
