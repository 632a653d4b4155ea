//! Data as comma-separated text with a header.

use csv::{ReaderBuilder, StringRecord};

use super::classes::{ClassNames, Meaning};
use super::note::Note;
use super::precision::Precision;
use super::schema::{LabelSource, ParseError, Place, Problem, Schema, shortened};
use super::text::{Ending, Text};
use super::{Dataset, LabelCounts};

/// Reads a CSV file: a header, then one input a line, its values in the
/// order of the columns. An empty label cell makes an unlabelled row. Lines
/// that begin with `#` are comments, a comma at the end of lines adds no
/// column, and an unnamed first column that is one too many is the index that
/// pandas writes.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub(super) fn parse(
    bytes: &[u8],
    schema: &Schema,
    ending: Ending,
    notes: &mut Vec<Note>,
) -> Result<Dataset, ParseError> {
    let text = Text::of(bytes, ending, notes)?;
    let start = Start::of(&text.lines, schema)?;
    if text.lines.len() == start.offset && start.header.is_none() && !text.tail.is_empty() {
        notes.push(Note::Unfinished {
            line: start.lines + 1,
        });
        return Ok(Dataset::empty(schema.values()));
    }
    if start.lines > 0 && start.header.is_none() {
        notes.push(Note::Comments);
    }
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .has_headers(start.header.is_none())
        .comment(start.comments.then_some(b'#'))
        .from_reader(&text.lines[start.offset..]);
    let header = match start.header {
        Some(header) => header,
        None => reader
            .headers()
            .map_err(|error| broken(&error, start.lines + 1))?
            .clone(),
    };
    let columns = Columns::of(&header, schema)?;
    if columns.first > 0 {
        notes.push(Note::IndexColumn);
    }
    let mut table = Table::new(&columns, schema);
    let ends = text.lines.iter().filter(|&&byte| byte == b'\n').count();
    table.expect(ends, text.lines.len());
    let mut lines = Lines {
        text: &text.lines,
        byte: 0,
        line: 1,
        comments: start.comments,
    };
    let mut record = StringRecord::new();
    loop {
        let line = lines.of(start.offset + reader.position().byte() as usize);
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(broken(&error, line)),
        }
        table.push(&record, line)?;
        common::pulse::beat();
    }
    if !text.tail.is_empty() {
        let line = super::text::line_of(&text.lines, text.lines.len());
        match columns.whole(&text.tail, schema.classes()) {
            Some(record) => table.push(&record, line)?,
            None => notes.push(Note::Unfinished { line }),
        }
    }
    table.finish(notes)
}

/// What stands before the table.
struct Start {
    /// Where the table begins.
    offset: usize,
    /// Lines before it.
    lines: u64,
    /// The header, if it is written as a comment.
    header: Option<StringRecord>,
    /// Whether lines that begin with `#` are comments: not where a class's
    /// name begins so.
    comments: bool,
}

impl Start {
    fn of(text: &[u8], schema: &Schema) -> Result<Self, ParseError> {
        let names = schema.classes().names();
        let comments = !names.iter().any(|name| name.starts_with('#'));
        let (mut offset, mut lines, mut last) = (0, 0, None);
        while comments && text[offset..].first() == Some(&b'#') {
            let rest = &text[offset..];
            let length = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            last = Some(&rest[1..length]);
            offset += length;
            lines += 1;
        }
        let mut start = Self {
            offset,
            lines,
            header: None,
            comments,
        };
        let (Some(last), Some(label)) = (last, schema.label_column()) else {
            return Ok(start);
        };
        // numpy.savetxt writes the header as a comment.
        let names_label = |line: &[u8]| {
            let cells = first_record(line)?;
            let found = cells.iter().any(|cell| cell.trim() == label);
            found.then_some(cells)
        };
        if names_label(&text[offset..]).is_none() {
            start.header = names_label(last);
        }
        Ok(start)
    }
}

fn first_record(line: &[u8]) -> Option<StringRecord> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(line);
    let mut record = StringRecord::new();
    let read = reader.read_record(&mut record).ok()?;
    record.trim();
    read.then_some(record)
}

/// Which columns are read.
struct Columns {
    names: Vec<String>,
    /// The first column that is read.
    first: usize,
    label: Option<usize>,
}

impl Columns {
    fn of(header: &StringRecord, schema: &Schema) -> Result<Self, ParseError> {
        let mut names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if names.iter().all(String::is_empty) {
            return Err(ParseError::NoHeader);
        }
        if names.len() == 1 && names[0].contains([';', '\t']) {
            return Err(ParseError::Separator {
                header: shortened(&names[0]),
            });
        }
        let label = label_place(&names, schema)?;
        let wanted = schema.values() + usize::from(label.is_some());
        if names.len() == wanted + 1 && names.last().is_some_and(String::is_empty) {
            names.pop();
        }
        let is_index = names[0].is_empty() || names[0] == "Unnamed: 0";
        let first = usize::from(names.len() == wanted + 1 && is_index && label != Some(0));
        match names.len() - first == wanted {
            true => Ok(Self {
                names,
                first,
                label,
            }),
            false => Err(value_columns(
                schema,
                names.len() - usize::from(label.is_some()),
            )),
        }
    }

    /// Whether a line has its columns; a comma at its end adds none.
    fn fits(&self, record: &StringRecord) -> bool {
        let (expected, found) = (self.names.len(), record.len());
        found == expected
            || found == expected + 1
                && record
                    .get(expected)
                    .is_some_and(|cell| cell.trim().is_empty())
    }

    /// The last line of a file without a line end, if it cannot be part of a
    /// longer one: it ends with a label that nothing else begins with.
    fn whole(&self, line: &[u8], classes: &ClassNames) -> Option<StringRecord> {
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(line);
        let mut record = StringRecord::new();
        let read = reader.read_record(&mut record).ok()?;
        let last = self.names.len() - 1;
        let whole = read
            && self.label == Some(last)
            && record.len() == self.names.len()
            && record.get(last).is_some_and(|cell| classes.is_closed(cell));
        whole.then_some(record)
    }
}

/// The place of the label column, if there is one.
fn label_place(names: &[String], schema: &Schema) -> Result<Option<usize>, ParseError> {
    let name = schema.label_column();
    let mut places = (0..names.len()).filter(|&at| Some(names[at].as_str()) == name);
    let place = places.next();
    if places.next().is_some() {
        return Err(ParseError::TwoLabelColumns {
            name: name.unwrap_or_default().to_owned(),
        });
    }
    // Numbers may name columns, but then the label's name stands among them.
    if place.is_none() && names.iter().all(|name| name.parse::<f32>().is_ok()) {
        let counted = names.iter().enumerate();
        if !counted.clone().all(|(at, name)| *name == at.to_string()) {
            return Err(ParseError::NumericHeader);
        }
    }
    if let (None, LabelSource::Column(name)) = (place, schema.labels()) {
        let some: Vec<String> = names.iter().take(12).map(|name| shortened(name)).collect();
        return Err(ParseError::NoLabelColumn {
            name: name.clone(),
            columns: some.join(", "),
        });
    }
    Ok(place)
}

/// Rows as they are read.
struct Table<'a> {
    columns: &'a Columns,
    schema: &'a Schema,
    rows: Vec<f32>,
    labels: Vec<Option<u16>>,
    counts: LabelCounts,
    precision: Precision,
}

impl<'a> Table<'a> {
    fn new(columns: &'a Columns, schema: &'a Schema) -> Self {
        Self {
            columns,
            schema,
            rows: Vec::new(),
            labels: Vec::new(),
            counts: LabelCounts::default(),
            precision: Precision::new(schema.values()),
        }
    }

    /// Takes the memory of at most so many rows at once: growing step by step
    /// would need half as much again.
    fn expect(&mut self, rows: usize, bytes: usize) {
        let values = rows.saturating_mul(self.schema.values());
        // A value and its separator are two bytes at least.
        let values = values.min(bytes / 2).min(self.schema.values_max());
        self.rows.reserve_exact(values);
        self.labels.reserve_exact(values / self.schema.values());
    }

    fn push(&mut self, record: &StringRecord, line: u64) -> Result<(), ParseError> {
        if !self.columns.fits(record) {
            let problem = Problem::ColumnCount {
                expected: self.columns.names.len(),
                found: record.len(),
            };
            return Err(ParseError::at(Place::Line(line), problem));
        }
        let mut meaning = Meaning::Unlabelled;
        let mut value = 0;
        let cells = record.iter().enumerate().take(self.columns.names.len());
        for (column, cell) in cells.skip(self.columns.first) {
            let outcome = if Some(column) == self.columns.label {
                self.schema
                    .classes()
                    .of_text(cell)
                    .map(|found| meaning = found)
            } else {
                number(cell).map(|number| {
                    self.rows.push(self.precision.narrow(value, number));
                    value += 1;
                })
            };
            outcome.map_err(|problem| {
                let column = self.columns.names[column].clone();
                ParseError::at(Place::Cell { line, column }, problem)
            })?;
        }
        self.counts.add(meaning);
        self.labels.push(meaning.class());
        self.schema.check_size(self.rows.len())
    }

    fn finish(self, notes: &mut Vec<Note>) -> Result<Dataset, ParseError> {
        let (first, label) = (self.columns.first, self.columns.label);
        let places = first..self.columns.names.len();
        let values: Vec<usize> = places.filter(|&at| Some(at) != label).collect();
        let name = |value: usize| format!("{:?}", self.columns.names[values[value]]);
        notes.extend(self.precision.notes(name));
        self.counts.note(self.schema.classes(), notes);
        let found = values.len();
        Dataset::from_rows(self.schema.values(), self.rows, self.labels)
            .ok_or_else(|| value_columns(self.schema, found))
    }
}

fn value_columns(schema: &Schema, found: usize) -> ParseError {
    ParseError::ValueColumns {
        expected: schema.values(),
        shape: schema.shape().sides().to_vec(),
        found,
    }
}

fn number(cell: &str) -> Result<f64, Problem> {
    let cell = cell.trim();
    let value = cell.parse().map_err(|_| Problem::NotANumber {
        found: shortened(cell),
    })?;
    Problem::of_value(value, || shortened(cell)).map_or(Ok(value), Err)
}

/// Counts lines as a record after the other is read. The reader itself passes
/// over empty lines and comments before it says where a record begins.
struct Lines<'a> {
    text: &'a [u8],
    /// Up to here lines are counted.
    byte: usize,
    /// The line of that place.
    line: u64,
    comments: bool,
}

impl Lines<'_> {
    /// The line of the first record from a place on, which lies after those
    /// that were asked for before.
    fn of(&mut self, byte: usize) -> u64 {
        let mut start = byte.min(self.text.len());
        loop {
            let rest = &self.text[start..];
            start += match rest.first() {
                Some(b'\n' | b'\r') => 1,
                Some(b'#') if self.comments => {
                    let end = rest.iter().position(|&byte| byte == b'\n');
                    end.unwrap_or(rest.len())
                }
                _ => break,
            };
        }
        let passed = &self.text[self.byte.min(start)..start];
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.byte = start;
        self.line
    }
}

/// What the reader says of a line.
fn broken(error: &csv::Error, line: u64) -> ParseError {
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    ParseError::at(Place::Line(line), Problem::Text { reason })
}
