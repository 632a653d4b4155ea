//! One row, read from its cells.

use std::collections::HashMap;

use common::task::{InputKind, Missing, folded};
use csv::StringRecord;

use super::super::account::{Account, ColumnAccount, Unused};
use super::super::classes::Meaning;
use super::super::missing::is_missing;
use super::super::note::Note;
use super::super::precision::Precision;
use super::super::schema::{ParseError, Place, Problem, Schema, shortened};
use super::super::source::TimeFormat;
use super::columns::{Columns, Source};
use super::dialect::bare;
use super::numbers::Numbers;
use super::typed::CellType;

/// Reads the records of one table.
pub(in super::super) struct RowReader<'a> {
    pub(super) columns: &'a Columns,
    pub(super) schema: &'a Schema,
    cells: Numbers,
    /// Of each cell of the newest record; none where all are text.
    pub(super) types: Vec<CellType>,
    time_format: TimeFormat,
    /// The newest time that was read.
    newest: Option<i64>,
    missing: OnMissing,
    groups: HashMap<String, Group>,
    /// The first and the last time of a row, and whether one has a label, where
    /// labels are intervals.
    within: Option<([i64; 2], bool)>,
    /// Rows that were read whole.
    pub(super) taken: usize,
    pub(super) precision: Precision,
    pub(super) account: Account,
    /// Values of the newest row, as they were written and as they are kept.
    row: Vec<f64>,
    pub(super) values: Vec<f32>,
}

/// What stands beside the values of a row.
pub(super) struct Beside {
    pub(super) meaning: Meaning,
    /// The numbers that it is labelled with.
    pub(super) numbers: Vec<f32>,
    /// When it was measured, in nanoseconds, where that is asked for.
    pub(super) time: Option<i64>,
    /// The number of its group, and its own number in that, those included that
    /// were left out: so a recording without times keeps its rate.
    pub(super) group: u32,
    pub(super) number: i64,
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

impl<'a> RowReader<'a> {
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
        let missing = match schema.input() {
            InputKind::Array(_) => OnMissing::Refuse,
            InputKind::Table(table) => match table.missing {
                Missing::Refuse => OnMissing::Refuse,
                Missing::Mean => OnMissing::Keep,
                Missing::SkipRow => OnMissing::Skip,
            },
            InputKind::Series(_) => OnMissing::Skip,
        };
        let width = columns.values();
        Self {
            columns,
            schema,
            cells: Numbers {
                decimal,
                told: schema.mapping().decimal.is_some(),
            },
            types: Vec::new(),
            time_format: schema.mapping().time_format.clone(),
            newest: None,
            missing,
            groups: HashMap::new(),
            within: None,
            taken: 0,
            precision: Precision::new(width),
            account: Account {
                columns: columns.sources.iter().map(account).collect(),
                ..Account::default()
            },
            row: Vec::with_capacity(width),
            values: Vec::with_capacity(width),
        }
    }

    /// Reads a record into [`Self::values`]; nothing if a value is missing that
    /// costs the row, which is put down in the account.
    pub(super) fn read(
        &mut self,
        record: &StringRecord,
        line: u64,
    ) -> Result<Option<Beside>, ParseError> {
        match self.columns.header_again(record) {
            Some(true) => {
                let place = || Place::Line(line);
                self.account.leave_out(Unused::HeaderAgain, place);
                return Ok(None);
            }
            Some(false) => return Err(ParseError::HeaderChanged { line }),
            None => {}
        }
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
        let group = self.group(record);
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
        let is_series = matches!(self.schema.input(), InputKind::Series(_));
        let timed = is_series || self.schema.intervals().is_some();
        let time = match self.columns.time.filter(|_| timed) {
            Some(place) => {
                let cell = record.get(place).unwrap_or_default();
                let clock = self.columns.clock.and_then(|clock| record.get(clock));
                let time = self.read_time(cell, clock, type_of(&self.types, place));
                let time = time.map_err(|problem| match problem {
                    Problem::Time { found } if clock.is_none() && TimeFormat::is_clock(cell) => {
                        let column = self.columns.names[place].clone();
                        Problem::Clock { found, column }
                    }
                    problem => problem,
                });
                Some(time.map_err(|problem| ParseError::at(at(place), problem))?)
            }
            None => None,
        };
        let mut meaning = Meaning::Unlabelled;
        if let (Some(intervals), Some(time)) = (self.schema.intervals(), time) {
            meaning = intervals.at(group, time).map_or(meaning, Meaning::Name);
            let (span, any) = self.within.get_or_insert(([time; 2], false));
            *span = [span[0].min(time), span[1].max(time)];
            *any |= meaning.class().is_some();
        } else if let Some(place) = self.columns.label {
            let cell = record.get(place).unwrap_or_default();
            let found = self.schema.classes().of_text(bare(cell));
            meaning = found.map_err(|problem| ParseError::at(at(place), problem))?;
        }
        let numbers = self.read_numbers(record, line)?;
        if let Some(missing) = self.read_row(record, line)? {
            self.account.leave_out(Unused::Missing, || missing);
            return Ok(None);
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
        self.taken += 1;
        self.values.clear();
        for (index, &value) in self.row.iter().enumerate() {
            self.values.push(match value.is_nan() {
                // One NaN of the many that there are, so that equal rows have
                // equal bytes.
                true => f32::NAN,
                false => self.precision.narrow(index, value),
            });
        }
        Ok(Some(Beside {
            meaning,
            numbers,
            time,
            group: own.number,
            number: own.rows,
        }))
    }

    /// When a row was measured: what a cell says, or a date and the cell of its time of
    /// day.
    fn read_time(
        &mut self,
        cell: &str,
        clock: Option<&str>,
        cell_type: CellType,
    ) -> Result<i64, Problem> {
        let (mut cell, clock) = (bare(cell), clock.map(bare));
        if is_missing(cell) || clock.is_some_and(is_missing) {
            return Err(Problem::Missing);
        }
        let joined = clock.map(|clock| format!("{cell} {clock}"));
        cell = joined.as_deref().unwrap_or(cell);
        if cell_type == CellType::Time {
            return TimeFormat::Iso8601.parse(cell);
        }
        if self.taken == 0 {
            self.time_format.settle(cell);
        }
        let time = self.time_format.parse(cell)?;
        let other_unit = |before: i64| self.time_format.is_number() && is_of_unit(time, before);
        if self.newest.is_some_and(other_unit) {
            let found = shortened(cell);
            return Err(Problem::TimeUnit { found });
        }
        self.newest = Some(time);
        Ok(time)
    }

    /// That no row lies within an interval, if so it is.
    pub(super) fn outside(&self) -> Option<Note> {
        let intervals = self.schema.intervals()?.span()?;
        match self.within? {
            (rows, false) => Some(Note::OutsideIntervals { rows, intervals }),
            (_, true) => None,
        }
    }

    /// What was lost as values became f32, by column.
    pub(super) fn narrowed(&self) -> Vec<Note> {
        let sources = self.columns.sources.iter();
        let names = sources.flat_map(|source| {
            std::iter::repeat_n(source.name.as_str(), source.words.len().max(1))
        });
        let names: Vec<&str> = names.collect();
        let notes = self.precision.notes(|value| format!("{:?}", names[value]));
        notes.into_iter().collect()
    }

    /// The group of a record, as it is written.
    pub(super) fn group<'r>(&self, record: &'r StringRecord) -> &'r str {
        let place = self.columns.group;
        place.map_or("", |place| record.get(place).unwrap_or_default().trim())
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
            let cell = bare(record.get(place).unwrap_or_default());
            if is_missing(cell) {
                continue;
            }
            let found = self.cells.of_type(type_of(&self.types, place)).number(cell);
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
            let cell = bare(record.get(source.place).unwrap_or_default());
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
                let cells = self.cells.of_type(type_of(&self.types, source.place));
                let value = cells.converted(cell, source);
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
}

/// Whether a time is one of our days only if it is of a larger unit than the time
/// before it was read in.
fn is_of_unit(time: i64, before: i64) -> bool {
    let share = |factor: f64| (time as f64 * factor / before as f64 - 1.0).abs() < SAME_DAYS;
    before > YEAR_2000_NS && [1e3, 1e6, 1e9].into_iter().any(share)
}

/// 1 January 2000, in nanoseconds since 1970.
const YEAR_2000_NS: i64 = 946_684_800_000_000_000;
/// Half a year of the years since 1970.
const SAME_DAYS: f64 = 0.01;

/// The type of the cell at a place.
fn type_of(types: &[CellType], place: usize) -> CellType {
    types.get(place).copied().unwrap_or_default()
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
    let same_truth = || {
        let word = match written.as_str() {
            "1" | "1.0" => "true",
            "0" | "0.0" => "false",
            _ => return None,
        };
        source.words.iter().position(|found| found == word)
    };
    place
        .or_else(same_number)
        .or_else(same_truth)
        .ok_or_else(|| Problem::UnknownValue {
            found: shortened(cell),
            known: source.words.join(", "),
        })
}
