//! Data as text with a header.

use std::io::Read;

use ::csv::StringRecord;

use super::super::Dataset;
use super::super::account::{Account, Unused};
use super::super::classes::ClassNames;
use super::super::note::Note;
use super::super::schema::{ParseError, Place, Problem, Schema, shortened};
use super::super::source::BadRows;
use super::super::text::{LINE_BYTES_MAX, Lines, Text, line_of};
use super::columns::{Columns, place_of};
use super::dialect::{DecimalSigns, reader, separator, tabbed};
use super::rows::Rows;

/// Reads a table of about `length` bytes, block by block: a header, then one input a line (or one sample of a
/// recording). Columns are found by the names that the task gives them, else
/// taken in their order. An empty label cell makes an unlabelled row. Lines
/// that begin with `#` are comments, a separator at the end of lines adds no
/// column, and an unnamed first column that is one too many is the index that
/// pandas writes.
///
/// # Errors
/// The first thing that is wrong, with its line and column; a row that the
/// owner or the task has left out is none.
pub(in super::super) fn parse(
    mut source: Lines<&mut dyn Read>,
    length: u64,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let lines = source.block(notes)?;
    let first_bytes = lines.len();
    let tail = std::mem::take(&mut source.tail);
    let mut cells = Cells::of(Text { lines, tail }, schema);
    if cells.is_waiting() {
        notes.push(Note::Unfinished {
            line: cells.start.lines + 1,
        });
        return Ok((Dataset::empty(schema.values()), Account::default()));
    }
    if cells.start.lines > 0 && cells.start.header.is_none() {
        notes.push(Note::Comments);
    }
    let header = cells.header(schema)?;
    let sample = cells.sample();
    let columns = Columns::of(&header, &sample, schema)?;
    if columns.index {
        notes.push(Note::IndexColumn);
    }
    if columns.reordered {
        notes.push(Note::Reordered);
    }
    if columns.time_found {
        notes.push(Note::TimeColumn {
            column: columns.names[columns.time.unwrap_or(0)].clone(),
        });
    }
    let decimal = decimal(&columns, &sample, schema, cells.start.lines)?;
    if decimal == b',' {
        notes.push(Note::DecimalComma);
    }
    let mut rows = Rows::new(&columns, schema, decimal);
    rows.expect(cells.ends(), first_bytes, length);
    let skips = schema.mapping().bad_rows == BadRows::Skip;
    let mut record = StringRecord::new();
    let mut first_error = None;
    let mut keep = |rows: &mut Rows<'_>, read| match read {
        Err(ParseError::At { place, problem }) if skips => {
            rows.leave_out(Unused::of(&problem), place.clone());
            first_error.get_or_insert(ParseError::At { place, problem });
            Ok(())
        }
        other => other,
    };
    loop {
        let is_last = source.is_done();
        let mut records = cells.records();
        let mut rest = cells.text.len();
        loop {
            let at = records.position();
            let Some((line, read)) = records.next(&mut record) else {
                break;
            };
            // A record that reaches the end of a block may go on in the next.
            if !is_last && records.position() >= cells.text.len() {
                rest = at;
                break;
            }
            let pushed = read.and_then(|()| rows.push(&record, line, notes));
            keep(&mut rows, pushed)?;
            common::liveness::heartbeat();
        }
        if is_last {
            break;
        }
        cells.go_on(rest, &mut source, notes)?;
    }
    if !cells.tail.is_empty() {
        let line = cells.lines_before + line_of(&cells.text, cells.text.len());
        match cells.whole(&columns, schema.classes()) {
            Some(record) => {
                let pushed = rows.push(&record, line, notes);
                keep(&mut rows, pushed)?;
            }
            None => notes.push(Note::Unfinished { line }),
        }
    }
    match first_error {
        // Nothing of it can be read: a mapping is missing rather than a row.
        Some(error) if rows.is_empty() => Err(error),
        _ => rows.finish(notes),
    }
}

/// The decimal sign of the cells that hold numbers.
fn decimal(
    columns: &Columns,
    sample: &[StringRecord],
    schema: &Schema,
    lines_before: u64,
) -> Result<u8, ParseError> {
    if let Some(decimal) = schema.mapping().decimal {
        return Ok(decimal);
    }
    let mut signs = DecimalSigns::default();
    for (record, line) in sample.iter().zip(lines_before + 2..) {
        let numbers = columns
            .sources
            .iter()
            .filter(|source| source.words.is_empty());
        for source in numbers {
            let column = || source.name.clone();
            let place = || Place::Cell {
                line,
                column: column(),
            };
            signs.look(record.get(source.place).unwrap_or_default(), place);
        }
    }
    signs.sign()
}

/// The cells of a text, record by record.
pub(in super::super) struct Cells {
    text: Vec<u8>,
    tail: Vec<u8>,
    /// Line ends before the text.
    lines_before: u64,
    /// Whether any number of blanks parts cells.
    blanks: bool,
    separator: u8,
    start: Start,
    /// Where the records begin: behind the header, once that is read.
    records_at: usize,
}

impl Cells {
    /// Those of a text, cut as the mapping or the first lines say.
    pub(in super::super) fn of(text: Text, schema: &Schema) -> Self {
        let told = schema.mapping().separator;
        let blanks = told == Some(b' ');
        let Text { lines, tail } = text;
        let (lines, tail) = match blanks {
            true => (tabbed(&lines), tabbed(&tail)),
            false => (lines, tail),
        };
        let separator = match told {
            Some(b' ') => b'\t',
            Some(separator) => separator,
            None => {
                let start = Start::of(&lines, b',', schema);
                separator(&lines[start.offset..]).unwrap_or(b',')
            }
        };
        let start = Start::of(&lines, separator, schema);
        Self {
            separator,
            records_at: start.offset,
            lines_before: 0,
            blanks,
            text: lines,
            tail,
            start,
        }
    }

    /// Line ends in the text.
    fn ends(&self) -> usize {
        self.text.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The same from a place on, and the next block behind it.
    fn go_on(
        &mut self,
        rest: usize,
        source: &mut Lines<&mut dyn Read>,
        notes: &mut Vec<Note>,
    ) -> Result<(), ParseError> {
        self.lines_before += line_of(&self.text, rest) - 1;
        self.text.drain(..rest);
        self.records_at = 0;
        if self.text.len() > LINE_BYTES_MAX {
            let reason = format!(
                "a quoted cell that does not end within {} MiB",
                LINE_BYTES_MAX >> 20
            );
            let place = Place::Line(self.lines_before + 1);
            return Err(ParseError::at(place, Problem::Text { reason }));
        }
        let block = source.block(notes)?;
        self.tail = std::mem::take(&mut source.tail);
        match self.blanks {
            true => {
                self.text.extend(tabbed(&block));
                self.tail = tabbed(&self.tail);
            }
            false => self.text.extend_from_slice(&block),
        }
        Ok(())
    }

    /// Whether there is half of a first line and nothing else.
    fn is_waiting(&self) -> bool {
        let empty = self.text.len() == self.start.offset && self.start.header.is_none();
        empty && !self.tail.is_empty()
    }

    /// The names of the columns; records follow it.
    pub(in super::super) fn header(&mut self, schema: &Schema) -> Result<StringRecord, ParseError> {
        if let Some(header) = &self.start.header {
            return Ok(header.clone());
        }
        let mut records = self.records();
        let mut header = StringRecord::new();
        let read = records.next(&mut header);
        let after = self.records_at + records.reader.position().byte() as usize;
        if let Some(names) = &schema.mapping().names {
            let mut found = header.iter().zip(names);
            // A header that says the same is one all the same.
            if found.all(|(cell, name)| cell.trim() == name.trim()) {
                self.records_at = after;
            }
            return Ok(StringRecord::from(names.clone()));
        }
        match read {
            Some((_, Ok(()))) => {}
            Some((_, Err(error))) => return Err(error),
            None => return Err(ParseError::NoHeader),
        }
        let single = header.len() == 1 && schema.values() > 1;
        if single && header[0].trim().contains([' ', ':', ';', '\t']) {
            return Err(ParseError::Separator {
                header: shortened(&header[0]),
            });
        }
        self.records_at = after;
        Ok(header)
    }

    /// The records below the header.
    pub(in super::super) fn records(&self) -> Records<'_> {
        Records {
            reader: reader(
                &self.text[self.records_at..],
                self.separator,
                self.start.comments,
            ),
            base: self.records_at,
            lines: LineCount {
                text: &self.text,
                byte: 0,
                line: 1 + self.lines_before,
                comments: self.start.comments,
            },
        }
    }

    /// The first of them.
    fn sample(&self) -> Vec<StringRecord> {
        let mut records = self.records();
        let read = records.reader.records().take(SAMPLE_RECORDS);
        read.filter_map(Result::ok).collect()
    }

    /// The last line of a file without a line end, if it cannot be part of a
    /// longer one: it ends with a label that nothing else begins with.
    fn whole(&self, columns: &Columns, classes: &ClassNames) -> Option<StringRecord> {
        let mut reader = reader(&self.tail, self.separator, false);
        let mut record = StringRecord::new();
        let read = reader.read_record(&mut record).ok()?;
        let last = columns.names.len() - 1;
        let whole = read
            && columns.label == Some(last)
            && record.len() == columns.names.len()
            && record.get(last).is_some_and(|cell| classes.is_closed(cell));
        whole.then_some(record)
    }
}

/// Records, one after the other.
pub(in super::super) struct Records<'a> {
    reader: ::csv::Reader<&'a [u8]>,
    base: usize,
    lines: LineCount<'a>,
}

impl Records<'_> {
    /// Behind the last record, in the text.
    fn position(&self) -> usize {
        self.base + self.reader.position().byte() as usize
    }

    /// The next record and its line, if there is one.
    pub(in super::super) fn next(
        &mut self,
        record: &mut StringRecord,
    ) -> Option<(u64, Result<(), ParseError>)> {
        let line = self.lines.of(self.position());
        match self.reader.read_record(record) {
            Ok(true) => Some((line, Ok(()))),
            Ok(false) => None,
            Err(error) => Some((line, Err(broken(&error, line)))),
        }
    }
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
    fn of(text: &[u8], separator: u8, schema: &Schema) -> Self {
        let names = schema.classes().names();
        let comments = !names.iter().any(|name| name.starts_with('#'));
        let (mut offset, mut lines, mut last) = (0, 0, None);
        while comments && text[offset..].first() == Some(&b'#') {
            let rest = &text[offset..];
            let length = line_end(rest);
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
            return start;
        };
        // numpy.savetxt writes the header as a comment.
        let names_label = |line: &[u8]| {
            let cells = first_record(line, separator)?;
            let names: Vec<String> = cells.iter().map(str::to_owned).collect();
            place_of(&names, label).is_some().then_some(cells)
        };
        if names_label(&text[offset..]).is_none() {
            start.header = names_label(last);
        }
        start
    }
}

fn line_end(text: &[u8]) -> usize {
    let end = text.iter().position(|&byte| byte == b'\n');
    end.map_or(text.len(), |at| at + 1)
}

fn first_record(line: &[u8], separator: u8) -> Option<StringRecord> {
    let mut record = StringRecord::new();
    let read = reader(line, separator, false)
        .read_record(&mut record)
        .ok()?;
    record.trim();
    read.then_some(record)
}

/// Counts lines as a record after the other is read. The reader itself passes
/// over empty lines and comments before it says where a record begins.
struct LineCount<'a> {
    text: &'a [u8],
    /// Up to here lines are counted.
    byte: usize,
    /// The line of that place.
    line: u64,
    comments: bool,
}

impl LineCount<'_> {
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
fn broken(error: &::csv::Error, line: u64) -> ParseError {
    let reason = match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    ParseError::at(Place::Line(line), Problem::Text { reason })
}

/// Records that are looked at before any is taken.
const SAMPLE_RECORDS: usize = 200;
