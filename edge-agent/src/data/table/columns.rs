//! Which column of a table is which value of an input.

use common::task::{Column, InputKind, folded};
use csv::StringRecord;

use super::super::classes::{ClassNames, Meaning};
use super::super::note::Note;
use super::super::schema::{LabelSource, ParseError, Schema, shortened};
use super::super::source::{Conversion, TimeFormat, conversion, same_unit};
use super::dialect::bare;

/// Which columns are read.
#[derive(Debug)]
pub(super) struct Columns {
    /// The file's columns.
    pub(super) names: Vec<String>,
    /// Where the columns of an input come from, in the task's order.
    pub(super) sources: Vec<Source>,
    /// The column of the label, of times and of groups.
    pub(super) label: Option<usize>,
    /// The columns of the numbers that rows are labelled with, in the task's
    /// order; none where the file has none.
    pub(super) numbers: Vec<usize>,
    pub(super) time: Option<usize>,
    /// The column of the time of day, where that of times holds dates.
    pub(super) clock: Option<usize>,
    pub(super) group: Option<usize>,
    /// Whether the column of times was found by its name, without being told.
    pub(super) time_found: bool,
    /// Where a recording has no column of times and nothing says its rate.
    pub(super) untimed: Option<Untimed>,
    /// Whether an unnamed first column was taken for the row's number.
    pub(super) index: bool,
    /// Whether the columns are those of the files before in another order.
    pub(super) reordered: bool,
}

/// A recording whose samples are taken at the task's rate without a word of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Untimed {
    /// Samples a second.
    rate_hz: f64,
    /// A column that is not used and may hold times.
    rising: Option<String>,
}

/// Where one column of an input comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    /// What it is called in messages: the file's column.
    pub(super) name: String,
    /// The task's column, if it is known.
    pub(super) wanted: Option<String>,
    /// Its place in the file.
    pub(super) place: usize,
    /// How its numbers become the task's.
    pub(super) conversion: Conversion,
    /// The words of a categorical column, as they are compared.
    pub(super) words: Vec<String>,
}

impl Columns {
    /// What was decided about them, and about the decimal sign.
    pub(super) fn note(&self, decimal: u8, notes: &mut Vec<Note>) {
        if self.index {
            notes.push(Note::IndexColumn);
        }
        if self.reordered {
            notes.push(Note::Reordered);
        }
        if self.time_found {
            notes.push(Note::TimeColumn {
                column: self.names[self.time.unwrap_or(0)].clone(),
                clock: self.clock.map(|place| self.names[place].clone()),
            });
        }
        if let Some(Untimed { rate_hz, rising }) = self.untimed.clone() {
            notes.push(Note::NoTimeColumn { rate_hz, rising });
        }
        if decimal == b',' {
            notes.push(Note::DecimalComma);
        }
    }

    /// Finds them in a header; `sample` are rows below it, for advice.
    pub(super) fn of(
        header: &StringRecord,
        sample: &[StringRecord],
        schema: &Schema,
    ) -> Result<Self, ParseError> {
        let mut names: Vec<String> = header.iter().map(|name| bare(name).to_owned()).collect();
        if names.iter().all(String::is_empty) {
            return Err(ParseError::NoHeader);
        }
        let (label, numbers) = match schema.numbers() {
            [] => (label_place(&names, sample, schema)?, Vec::new()),
            wanted => (None, number_places(&names, wanted, schema)?),
        };
        let mapping = schema.mapping();
        let mapped = |key, name: &Option<String>| -> Result<Option<usize>, ParseError> {
            let Some(name) = name else {
                return Ok(None);
            };
            match place_of(&names, name) {
                Some(place) => once(&names, place).map(Some),
                None => Err(ParseError::NoMappedColumn {
                    key,
                    name: name.clone(),
                    columns: listed(&names),
                }),
            }
        };
        let mut time = mapped("time_column", &mapping.time_column)?;
        let is_series = matches!(schema.input(), InputKind::Series(_));
        let time_found = is_series && time.is_none() && mapping.rate_hz.is_none();
        if time_found {
            time = TIME_NAMES.iter().find_map(|name| place_of(&names, name));
        }
        let mut clock = mapped("time_column", &mapping.clock_column)?;
        // A date and a time of day are one time.
        if time_found && time.is_some_and(|place| holds_clocks(sample, place)) {
            let date = DATE_NAMES.iter().find_map(|name| place_of(&names, name));
            if let Some(date) = date {
                (time, clock) = (Some(date), time);
            }
        }
        let group = mapped("group_column", &mapping.group_column)?;
        let mut taken = vec![label, time, clock, group];
        taken.extend(numbers.iter().copied().map(Some));
        let (mut sources, index) = match wanted(schema.input()) {
            Some(wanted) => {
                let search = Search {
                    names: &names,
                    sample,
                    taken: &taken,
                    schema,
                };
                (search.sources(&wanted)?, false)
            }
            None => by_place(&mut names, &taken, schema)?,
        };
        let is_by_place = wanted(schema.input()).is_none();
        let order = schema.order().filter(|_| is_by_place);
        let reordered = order.is_some_and(|order| reorder(&mut sources, order));
        let untimed = match schema.input() {
            InputKind::Series(series) if time_found && time.is_none() => {
                taken.extend(sources.iter().map(|source| Some(source.place)));
                let rising = (0..names.len()).find(|place| {
                    !names[*place].is_empty()
                        && !taken.contains(&Some(*place))
                        && rises(sample, *place)
                });
                Some(Untimed {
                    rate_hz: series.rate_hz,
                    rising: rising.map(|place| names[place].clone()),
                })
            }
            _ => None,
        };
        Ok(Self {
            names,
            sources,
            label,
            numbers,
            time,
            clock,
            group,
            time_found: time_found && time.is_some(),
            untimed,
            index,
            reordered,
        })
    }

    /// Values of a row: a number a column, or one for each word.
    pub(super) fn values(&self) -> usize {
        let sources = self.sources.iter();
        sources.map(|source| source.words.len().max(1)).sum()
    }

    /// Whether a record is the header again, as where files were joined: the same
    /// one (true), or one of other columns or in another order (false).
    pub(super) fn header_again(&self, record: &StringRecord) -> Option<bool> {
        let first = self.sources.first()?;
        let cell = record.get(first.place).unwrap_or_default().trim();
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
        if cell.is_empty() || cell.starts_with(is_number) {
            return None;
        }
        let cells = || {
            record
                .iter()
                .map(|cell| bare(cell).trim_start_matches('\u{feff}'))
        };
        let fits = record.len() >= self.names.len();
        if fits
            && self
                .names
                .iter()
                .zip(cells())
                .all(|(name, cell)| name == cell)
        {
            // A header of numbers may be a row of them.
            return first.name.parse::<f64>().is_err().then_some(true);
        }
        let label = self.label.map(|place| &self.names[place]);
        let named = self.sources.iter().map(|source| &source.name).chain(label);
        let mut others = named.filter(|name| name.parse::<f64>().is_err()).peekable();
        let is_any = others.peek().is_some() && record.len() > 1;
        (is_any && others.all(|name| cells().any(|cell| cell == name))).then_some(false)
    }

    /// Whether a line has its columns; a separator at its end adds none.
    pub(super) fn fits(&self, record: &StringRecord) -> bool {
        let (expected, found) = (self.names.len(), record.len());
        let last = record.get(expected);
        found == expected
            || found == expected + 1 && last.is_some_and(|cell| cell.trim().is_empty())
    }
}

/// Whether a column's cells go up like times: none is below the one above it, and
/// the last is above the first.
fn rises(sample: &[StringRecord], place: usize) -> bool {
    let cells = sample.iter().filter_map(|record| record.get(place));
    let cells: Vec<String> = cells.map(|cell| bare(cell).replace(',', ".")).collect();
    let Some(first) = cells.first().filter(|_| cells.len() >= RISING_MIN) else {
        return false;
    };
    let format = TimeFormat::shown_by(first);
    let times: Result<Vec<i64>, _> = cells.iter().map(|cell| format.parse(cell)).collect();
    match times {
        Ok(times) => times.is_sorted() && times.first() < times.last(),
        // Times in a form of their own, within one day.
        Err(_) => {
            let is_clock = |cell: &String| {
                cell.contains(':') && cell.starts_with(|c: char| c.is_ascii_digit())
            };
            cells.iter().all(is_clock) && cells.is_sorted() && cells.first() < cells.last()
        }
    }
}

/// Fewer rows show no order.
const RISING_MIN: usize = 3;

/// Whether a column holds times of day without a date.
fn holds_clocks(sample: &[StringRecord], place: usize) -> bool {
    let mut cells = sample
        .iter()
        .filter_map(|record| record.get(place))
        .map(bare);
    cells
        .find(|cell| !cell.is_empty())
        .is_some_and(TimeFormat::is_clock)
}

/// The columns that a task names, if it names any.
pub(super) fn wanted(input: &InputKind) -> Option<Vec<Column>> {
    match input {
        InputKind::Array(array) if array.names.is_empty() => None,
        InputKind::Array(array) => {
            let plain = |name: &String| Column {
                name: name.clone(),
                unit: String::new(),
                values: Vec::new(),
            };
            Some(array.names.iter().map(plain).collect())
        }
        InputKind::Table(table) => Some(table.columns.clone()),
        InputKind::Series(series) => Some(series.channels.clone()),
    }
}

/// Every column but those that are something else, in their order. A last
/// column without a name that is one too many comes from a separator at the
/// end of lines, a first one from pandas' index.
fn by_place(
    names: &mut Vec<String>,
    taken: &[Option<usize>],
    schema: &Schema,
) -> Result<(Vec<Source>, bool), ParseError> {
    let mut apart: Vec<usize> = taken.iter().flatten().copied().collect();
    apart.sort_unstable();
    apart.dedup();
    let wanted = schema.values() + apart.len();
    if names.len() == wanted + 1 && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    let is_index = names[0].is_empty() || names[0] == "Unnamed: 0";
    let index = names.len() == wanted + 1 && is_index && !apart.contains(&0);
    let places = (usize::from(index)..names.len()).filter(|place| !apart.contains(place));
    let sources: Vec<Source> = places
        .map(|place| Source::plain(&names[place], place))
        .collect();
    match sources.len() == schema.values() {
        true => Ok((sources, index)),
        false => Err(ParseError::ValueColumns {
            expected: schema.values(),
            shape: schema.shape().sides().to_vec(),
            found: names.len() - apart.len(),
        }),
    }
}

/// Puts sources in the order of these names, if they have the same names in
/// another one; whether they had.
fn reorder(sources: &mut Vec<Source>, order: &[String]) -> bool {
    let same = sources.iter().map(|source| &source.name).eq(order);
    let place = |name: &String| {
        let mut found = sources.iter().filter(|source| source.name == *name);
        found.next().filter(|_| found.next().is_none()).cloned()
    };
    let ordered: Option<Vec<Source>> = order.iter().map(place).collect();
    match ordered.filter(|ordered| !same && ordered.len() == sources.len()) {
        Some(ordered) => {
            *sources = ordered;
            true
        }
        None => false,
    }
}

impl Source {
    fn plain(name: &str, place: usize) -> Self {
        Self {
            name: name.to_owned(),
            wanted: None,
            place,
            conversion: Conversion {
                scale: 1.0,
                offset: 0.0,
            },
            words: Vec::new(),
        }
    }
}

/// Finds named columns.
struct Search<'a> {
    names: &'a [String],
    sample: &'a [StringRecord],
    taken: &'a [Option<usize>],
    schema: &'a Schema,
}

impl Search<'_> {
    fn sources(&self, wanted: &[Column]) -> Result<Vec<Source>, ParseError> {
        let mut sources: Vec<Source> = Vec::with_capacity(wanted.len());
        for column in wanted {
            let said = self.schema.mapping().column(&column.name);
            let place = match said.and_then(|said| said.from.as_ref()) {
                Some(from) => {
                    let found = place_of(self.names, from);
                    let found = found.ok_or_else(|| ParseError::NoMappedColumn {
                        key: "columns",
                        name: from.clone(),
                        columns: listed(self.names),
                    });
                    once(self.names, found?)?
                }
                None => self.place(column)?,
            };
            let mut source = Source::plain(&self.names[place], place);
            source.wanted = Some(column.name.clone());
            source.words = column.values.iter().map(|value| folded(value)).collect();
            source.conversion = match said {
                Some(said) if said.scale.is_some() || said.offset.is_some() => Conversion {
                    scale: said.scale.unwrap_or(1.0),
                    offset: said.offset.unwrap_or(0.0),
                },
                said => {
                    let unit = said.and_then(|said| said.unit.as_deref());
                    self.conversion(column, place, unit)?
                }
            };
            sources.push(source);
        }
        Ok(sources)
    }

    /// The one column of the task's name: as it is written, else but for case
    /// and blanks, else but for a unit in brackets behind it.
    fn place(&self, column: &Column) -> Result<usize, ParseError> {
        let exact = self.names.iter().position(|name| *name == column.name);
        if let Some(place) = exact {
            return once(self.names, place);
        }
        let wanted = folded(&column.name);
        for compared in [folded as fn(&str) -> String, |name| {
            folded(without_unit(name).0)
        }] {
            let alike = |&place: &usize| compared(&self.names[place]) == wanted;
            let mut places = (0..self.names.len()).filter(alike);
            match (places.next(), places.next()) {
                (Some(place), None) => return Ok(place),
                (Some(one), Some(other)) => {
                    return Err(ParseError::TwoColumns {
                        name: column.name.clone(),
                        one: self.names[one].clone(),
                        other: self.names[other].clone(),
                    });
                }
                (None, _) => {}
            }
        }
        Err(ParseError::NoColumn {
            name: column.name.clone(),
            columns: listed(self.names),
            guess: self.guess(&wanted),
        })
    }

    /// How numbers of a column become the task's, by their units: the one the
    /// owner names, else the one in brackets in the header.
    fn conversion(
        &self,
        column: &Column,
        place: usize,
        said: Option<&str>,
    ) -> Result<Conversion, ParseError> {
        let plain = Conversion {
            scale: 1.0,
            offset: 0.0,
        };
        let written = said.or(without_unit(&self.names[place]).1);
        let Some(unit) = written.filter(|_| !column.unit.is_empty()) else {
            return Ok(plain);
        };
        if same_unit(unit, &column.unit) {
            return Ok(plain);
        }
        let known = conversion(unit, &column.unit);
        match (said, known) {
            // What the owner writes is meant so; what a header says is asked.
            (Some(_), Some(known)) => Ok(known),
            _ => Err(ParseError::Unit {
                name: column.name.clone(),
                found: self.names[place].clone(),
                unit: unit.to_owned(),
                wanted: column.unit.clone(),
                advice: match known {
                    Some(_) => format!("unit = {unit:?}"),
                    None => "scale = …, offset = …".to_owned(),
                },
            }),
        }
    }

    /// The column that may be meant by a name that no column has.
    fn guess(&self, wanted: &str) -> String {
        let known = super::columns::wanted(self.schema.input()).unwrap_or_default();
        let free = |&place: &usize| {
            let name = folded(without_unit(&self.names[place]).0);
            let is_another = known.iter().any(|column| folded(&column.name) == name);
            !self.taken.contains(&Some(place)) && !name.is_empty() && !is_another
        };
        let likeness = |place: &usize| {
            let alike = alike(wanted, &folded(&self.names[*place]));
            (alike >= ALIKE_MIN).then_some(alike)
        };
        let places = || (0..self.names.len()).filter(free);
        let best = places()
            .filter_map(|place| Some((likeness(&place)?, place)))
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let number = |&place: &usize| {
            let mut cells = self.sample.iter().filter_map(|record| record.get(place));
            cells.any(|cell| super::dialect::number(cell.trim(), b',').is_some())
        };
        let place = best
            .map(|(_, place)| place)
            .or_else(|| places().find(number));
        place.map_or_else(|| "COLUMN".to_owned(), |place| self.names[place].clone())
    }
}

/// A name and the unit in brackets behind it, if there is one.
pub(in super::super) fn without_unit(name: &str) -> (&str, Option<&str>) {
    for (open, close) in [('(', ')'), ('[', ']')] {
        if let Some(inner) = name.strip_suffix(close)
            && let Some((before, unit)) = inner.rsplit_once(open)
            && !before.trim().is_empty()
        {
            return (before.trim(), Some(unit.trim()));
        }
    }
    (name, None)
}

/// The share of pairs of neighbouring characters that two names have in
/// common (Dice 1945).
fn alike(one: &str, other: &str) -> f64 {
    let pairs =
        |name: &str| -> Vec<(char, char)> { name.chars().zip(name.chars().skip(1)).collect() };
    let (one, mut other) = (pairs(one), pairs(other));
    let all = one.len() + other.len();
    let mut common = 0;
    for pair in one {
        if let Some(at) = other.iter().position(|found| *found == pair) {
            other.swap_remove(at);
            common += 1;
        }
    }
    2.0 * f64::from(common) / all.max(1) as f64
}

/// The place of a column: as it is written, else the only one but for case
/// and blanks.
pub(in super::super) fn place_of(names: &[String], wanted: &str) -> Option<usize> {
    let exact = names.iter().position(|name| name == wanted.trim());
    exact.or_else(|| {
        let wanted = folded(wanted);
        let mut places = (0..names.len()).filter(|&place| folded(&names[place]) == wanted);
        let place = places.next()?;
        places.next().is_none().then_some(place)
    })
}

/// A place whose column no other has the name of: which of two is meant cannot be
/// told.
pub(in super::super) fn once(names: &[String], place: usize) -> Result<usize, ParseError> {
    match names.iter().filter(|name| **name == names[place]).count() {
        1 => Ok(place),
        _ => Err(ParseError::ColumnTwice {
            name: names[place].clone(),
        }),
    }
}

/// Whether a first line is a row and no header: half of it and more are numbers that
/// do not count its columns, and a word in it is one of its column's, if there is a
/// word. Wavelengths name columns as well.
pub(in super::super) fn is_row(names: &[String], sample: &[StringRecord]) -> bool {
    let is_number = |name: &String| name.parse::<f64>().is_ok();
    let numbers = || names.iter().filter(|name| is_number(name));
    let is_counted = { numbers().enumerate() }.all(|(at, name)| *name == at.to_string());
    let comes_again = |(place, name): (usize, &String)| {
        let mut cells = sample.iter().filter_map(|record| record.get(place));
        !is_number(name) && cells.any(|cell| cell.trim() == name)
    };
    let count = numbers().count();
    let has_word = count == names.len() || names.iter().enumerate().any(comes_again);
    2 * count >= names.len() && !is_counted && has_word
}

/// The place of the label column, if there is one.
fn label_place(
    names: &[String],
    sample: &[StringRecord],
    schema: &Schema,
) -> Result<Option<usize>, ParseError> {
    let name = schema.label_column();
    let twice = |name: &str| names.iter().filter(|found| *found == name).count() > 1;
    if let Some(name) = name.filter(|name| twice(name)) {
        return Err(ParseError::ColumnTwice {
            name: name.to_owned(),
        });
    }
    let place = name.and_then(|name| place_of(names, name));
    // Numbers may name columns, but then the label's name stands among them.
    if place.is_none() && is_row(names, sample) {
        return Err(ParseError::NumericHeader);
    }
    let needed = schema.intervals().is_none();
    if let (None, true, LabelSource::Column(name)) = (place, needed, schema.labels()) {
        return Err(ParseError::NoLabelColumn {
            name: name.clone(),
            columns: listed(names),
            guess: guessed_label(names, sample, schema.classes()),
        });
    }
    Ok(place)
}

/// The places of the numbers that rows are labelled with: the columns of their
/// names; of a single number also the label column. None where rows need no
/// label and there is none.
fn number_places(
    names: &[String],
    wanted: &[String],
    schema: &Schema,
) -> Result<Vec<usize>, ParseError> {
    let places = wanted.iter().map(|name| place_of(names, name));
    let mut places: Vec<Option<usize>> = places.collect();
    if let ([place @ None], Some(label)) = (places.as_mut_slice(), schema.label_column()) {
        *place = place_of(names, label);
    }
    let needed = matches!(schema.labels(), LabelSource::Column(_));
    if !needed && places.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    match places.iter().position(Option::is_none) {
        Some(missing) => Err(ParseError::NoNumberColumn {
            name: wanted[missing].clone(),
            columns: listed(names),
        }),
        None => places
            .into_iter()
            .flatten()
            .map(|place| once(names, place))
            .collect(),
    }
}

/// The column whose cells are names of classes.
fn guessed_label(names: &[String], sample: &[StringRecord], classes: &ClassNames) -> String {
    let holds_classes = |&place: &usize| {
        let cells = sample.iter().filter_map(|record| record.get(place));
        let mut known = 0;
        for cell in cells.filter(|cell| !cell.trim().is_empty()) {
            match classes.of_text(cell) {
                Ok(Meaning::Name(_)) => known += 1,
                _ => return false,
            }
        }
        known > 0
    };
    let place = (0..names.len()).find(holds_classes);
    place.map_or_else(|| "COLUMN".to_owned(), |place| names[place].clone())
}

/// Some of a file's columns, for messages.
fn listed(names: &[String]) -> String {
    let some: Vec<String> = names.iter().take(12).map(|name| shortened(name)).collect();
    let more = if names.len() > some.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", some.join(", "))
}

/// Names of a column that can be nothing but times.
pub(in super::super) const TIME_NAMES: [&str; 6] = [
    "timestamp",
    "time",
    "datetime",
    "date_time",
    "zeitstempel",
    "time_s",
];
/// Names of a column of dates, beside one of times of day.
const DATE_NAMES: [&str; 3] = ["date", "day", "datum"];
const ALIKE_MIN: f64 = 0.3;
