//! A text as records of cells, block by block.

use std::io::Read;

use csv::StringRecord;

use super::super::classes::ClassNames;
use super::super::note::Note;
use super::super::schema::{ParseError, Place, Problem, Schema, shortened};
use super::super::text::{LINE_BYTES_MAX, Lines, Text, line_of};
use super::columns::{Columns, place_of};
use super::dialect::{reader, separator, tabbed};
use super::preamble::Preamble;

/// The cells of a text, record by record.
pub(in super::super) struct Cells {
    pub(super) text: Vec<u8>,
    pub(super) tail: Vec<u8>,
    /// Line ends before the text.
    pub(super) lines_before: u64,
    /// Whether any number of blanks parts cells.
    blanks: bool,
    separator: u8,
    pub(super) start: Start,
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
                let start = Start::behind(&lines, b',', told, schema);
                let shown = || separator(&lines[start.offset..]).unwrap_or(b',');
                start.separator.unwrap_or_else(shown)
            }
        };
        let start = Start::behind(&lines, separator, told.map(|_| separator), schema);
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
    pub(super) fn ends(&self) -> usize {
        self.text.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The same from a place on, and the next block behind it.
    pub(super) fn go_on(
        &mut self,
        rest: usize,
        source: &mut Lines<&mut dyn Read>,
        notes: &mut Vec<Note>,
    ) -> Result<(), ParseError> {
        self.lines_before += line_of(&self.text, rest) - 1;
        self.text.drain(..rest);
        self.records_at = 0;
        if self.text.len() > LINE_BYTES_MAX {
            let problem = Problem::Long {
                what: "a quoted cell",
                mib_max: LINE_BYTES_MAX >> 20,
            };
            return Err(ParseError::at(Place::Line(self.lines_before + 1), problem));
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
    pub(super) fn is_waiting(&self) -> bool {
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
        let line = self.lines_before + line_of(&self.text, self.records_at);
        self.records_from(self.records_at, line)
    }

    /// Those from a place on, which is in this line.
    pub(super) fn records_from(&self, place: usize, line: u64) -> Records<'_> {
        Records {
            reader: reader(&self.text[place..], self.separator, self.start.comments),
            base: place,
            lines: LineCount {
                text: &self.text,
                byte: place,
                line,
                comments: self.start.comments,
                passed: Vec::new(),
            },
        }
    }

    /// One more line, cut as those before; false if it is empty or a comment.
    pub(super) fn one(
        &self,
        line: &[u8],
        number: u64,
        record: &mut StringRecord,
    ) -> Result<bool, ParseError> {
        let shown = line.trim_ascii();
        if shown.is_empty() || self.start.comments && shown.starts_with(b"#") {
            return Ok(false);
        }
        let tabbed = self.blanks.then(|| tabbed(line));
        let line = tabbed.as_deref().unwrap_or(line);
        let mut reader = reader(line, self.separator, false);
        reader
            .read_record(record)
            .map_err(|error| broken(&error, number))
    }

    /// Whether a comment has as many cells as a row.
    pub(super) fn is_commented_row(&self, comment: &[u8], columns: usize) -> bool {
        let line = comment.strip_prefix(b"#").unwrap_or(comment);
        let mut record = StringRecord::new();
        let read = self.one(line, 0, &mut record);
        columns > 1 && matches!(read, Ok(true)) && record.len() == columns
    }

    /// The first of them.
    pub(super) fn sample(&self) -> Vec<StringRecord> {
        let mut records = self.records();
        let read = records.reader.records().take(SAMPLE_RECORDS);
        read.filter_map(Result::ok).collect()
    }

    /// The last line of a file without a line end, if it cannot be part of a
    /// longer one: it ends with a label that nothing else begins with.
    pub(super) fn whole(&self, columns: &Columns, classes: &ClassNames) -> Option<StringRecord> {
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
    pub(super) fn position(&self) -> usize {
        self.base + self.reader.position().byte() as usize
    }

    /// Comments right before the last record, and their lines.
    pub(super) fn comments(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let passed = self.lines.passed.iter();
        passed.map(|(line, place)| (*line, &self.lines.text[place.clone()]))
    }

    /// Where the second line of the last record begins, if it has one.
    pub(super) fn second_line(&self) -> Option<usize> {
        let (start, end) = (self.lines.byte, self.position());
        let record = self.lines.text.get(start..end)?.trim_ascii_end();
        let first = record.iter().position(|&byte| byte == b'\n')?;
        Some(start + first + 1)
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
pub(super) struct Start {
    /// Where the table begins.
    offset: usize,
    /// The separator, if a line such as Excel's `sep=;` says it.
    separator: Option<u8>,
    /// Lines before it.
    pub(super) lines: u64,
    /// Those of them that are no comments and no table.
    pub(super) preamble: u64,
    /// The header, if it is written as a comment.
    pub(super) header: Option<StringRecord>,
    /// Whether lines that begin with `#` are comments: not where a class's
    /// name begins so.
    comments: bool,
}

impl Start {
    /// Whether comments stand before the table.
    pub(super) fn has_comments(&self) -> bool {
        self.lines - self.preamble > u64::from(self.separator.is_some())
    }

    /// The same, and what a logger writes before its header.
    fn behind(text: &[u8], separator: u8, told: Option<u8>, schema: &Schema) -> Self {
        let mut start = Self::of(text, separator, schema);
        if start.header.is_none() {
            let told = told.or(start.separator);
            let preamble = Preamble::of(&text[start.offset..], told, schema);
            start.offset += preamble.bytes;
            start.lines += preamble.lines;
            start.preamble = preamble.lines;
        }
        start
    }

    fn of(text: &[u8], separator: u8, schema: &Schema) -> Self {
        let names = schema.classes().names();
        let comments = !names.iter().any(|name| name.starts_with('#'));
        let (mut offset, mut lines, mut last) = (0, 0, None);
        let said = said_separator(text);
        if let Some((_, length)) = said {
            (offset, lines) = (length, 1);
        }
        while comments && text[offset..].first() == Some(&b'#') {
            let rest = &text[offset..];
            let length = line_end(rest);
            last = Some(&rest[1..length]);
            offset += length;
            lines += 1;
        }
        let mut start = Self {
            separator: said.map(|(separator, _)| separator),
            offset,
            lines,
            preamble: 0,
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

/// What a first line `sep=;` says, and how long it is.
fn said_separator(text: &[u8]) -> Option<(u8, usize)> {
    let length = line_end(text);
    let line = text[..length]
        .strip_suffix(b"\n")
        .unwrap_or(&text[..length]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let quoted = line
        .strip_prefix(b"\"")
        .and_then(|line| line.strip_suffix(b"\""));
    match quoted.unwrap_or(line).split_at_checked(4)? {
        (word, [separator]) if word.eq_ignore_ascii_case(b"sep=") => Some((*separator, length)),
        _ => None,
    }
}

pub(super) fn line_end(text: &[u8]) -> usize {
    let end = text.iter().position(|&byte| byte == b'\n');
    end.map_or(text.len(), |at| at + 1)
}

fn first_record(line: &[u8], separator: u8) -> Option<StringRecord> {
    let mut record = untrimmed_record(line, separator)?;
    record.trim();
    Some(record)
}

/// The cells of one line.
pub(super) fn untrimmed_record(line: &[u8], separator: u8) -> Option<StringRecord> {
    let mut record = StringRecord::new();
    let read = reader(line, separator, false)
        .read_record(&mut record)
        .ok()?;
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
    /// Comments that were passed over last: their lines and places.
    passed: Vec<(u64, std::ops::Range<usize>)>,
}

impl LineCount<'_> {
    /// The line of the first record from a place on, which lies after those
    /// that were asked for before.
    fn of(&mut self, byte: usize) -> u64 {
        let mut start = byte.min(self.text.len());
        self.passed.clear();
        loop {
            let rest = &self.text[start..];
            start += match rest.first() {
                Some(b'\n' | b'\r') => 1,
                Some(b'#') if self.comments => {
                    let end = rest.iter().position(|&byte| byte == b'\n');
                    let end = end.unwrap_or(rest.len());
                    let line = self.count_to(start);
                    self.passed.push((line, start..start + end));
                    end
                }
                _ => break,
            };
        }
        self.count_to(start)
    }

    /// The line of a place behind those that were asked for before.
    fn count_to(&mut self, place: usize) -> u64 {
        let passed = &self.text[self.byte.min(place)..place];
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.byte = place;
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
pub(super) const SAMPLE_RECORDS: usize = 200;
