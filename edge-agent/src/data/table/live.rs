//! Rows of a table that is still being written, each as soon as it is whole.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use common::task::InputKind;
use csv::StringRecord;

use super::super::live::{LiveEvent, LiveInput};
use super::super::note::Note;
use super::super::schema::{ParseError, Place, Problem, Schema};
use super::super::series::{LiveSeries, Sample};
use super::super::source::Encoding;
use super::super::text::Text;
use super::cells::Cells;
use super::columns::Columns;
use super::csv::decimal;
use super::reader::RowReader;

/// Reads lines as they come until there are no more, or `tell` breaks off. The
/// header and the first row say how the others are written. What is wrong costs
/// its row and is told.
///
/// # Errors
/// What `next` fails with.
pub(in super::super) fn follow_lines(
    next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
    schema: &Schema,
    tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
) -> io::Result<()> {
    let latin = schema.mapping().encoding == Some(Encoding::Latin1);
    let mut line = || {
        let line = next()?;
        Ok::<_, io::Error>(line.map(|bytes| {
            match latin {
                true => bytes
                    .iter()
                    .map(|&byte| char::from(byte))
                    .collect::<String>()
                    .into_bytes(),
                false => bytes,
            }
        }))
    };
    let mut start = Vec::new();
    let needed = match schema.mapping().names {
        Some(_) => 1,
        None => 2,
    };
    let mut found = 0;
    while found < needed {
        let Some(bytes) = line()? else {
            return Ok(());
        };
        if start.is_empty() {
            start.extend_from_slice(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes));
        } else {
            start.extend_from_slice(&bytes);
        }
        let shown = bytes.trim_ascii();
        let is_said = shown.len() >= 4 && shown[..4].eq_ignore_ascii_case(b"sep=");
        found += usize::from(!shown.is_empty() && !shown.starts_with(b"#") && !is_said);
    }
    let text = Text {
        lines: start,
        tail: Vec::new(),
    };
    let mut cells = Cells::of(text, schema);
    let begun = cells.header(schema).and_then(|header| {
        let sample = cells.sample();
        let columns = Columns::of(&header, &sample, schema)?;
        let sign = decimal(&columns, &sample, schema, cells.start.lines)?;
        Ok((columns, sign))
    });
    let (columns, sign) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let _ = tell(LiveEvent::Unreadable(error));
            return Ok(());
        }
    };
    let mut notes = Vec::new();
    columns.note(sign, &mut notes);
    let mut rows = LiveRows::new(&columns, schema, sign);
    if tell_all(notes, tell).is_break() {
        return Ok(());
    }
    let mut record = StringRecord::new();
    let mut number = 0;
    let mut records = cells.records();
    while let Some((at, read)) = records.next(&mut record) {
        number = at;
        let said = match read {
            Ok(()) => rows.push(&record, at, tell),
            Err(error) => tell(LiveEvent::Bad(error)),
        };
        if said.is_break() {
            return Ok(());
        }
    }
    while let Some(bytes) = line()? {
        number += 1;
        let said = match cells.one(&bytes, number, &mut record) {
            Ok(true) => rows.push(&record, number, tell),
            Ok(false) => ControlFlow::Continue(()),
            Err(error) => tell(LiveEvent::Bad(error)),
        };
        if said.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// The same of rows whose cells have names, as messages tell them. Columns are
/// those of all rows until the first that has what the task wants.
///
/// # Errors
/// What `next` fails with.
pub(in super::super) fn follow_rows(
    next: &mut dyn FnMut() -> io::Result<Option<BTreeMap<String, String>>>,
    schema: &Schema,
    tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let (columns, first) = loop {
        let Some(row) = next()? else {
            return Ok(());
        };
        known.extend(row);
        let names: StringRecord = known.keys().collect();
        let record: StringRecord = known.values().collect();
        match Columns::of(&names, std::slice::from_ref(&record), schema) {
            Ok(columns) => break (columns, record),
            Err(error) => {
                if tell(LiveEvent::Bad(error)).is_break() {
                    return Ok(());
                }
            }
        }
        if known.len() > NAMES_MAX {
            known.clear();
        }
    };
    let mut rows = LiveRows::new(&columns, schema, b'.');
    let mut number = 1;
    let mut said = rows.push(&first, number, tell);
    while said.is_continue() {
        let Some(row) = next()? else {
            return Ok(());
        };
        number += 1;
        let cell = |name: &String| row.get(name).map_or("", String::as_str);
        let record: StringRecord = columns.names.iter().map(cell).collect();
        said = rows.push(&record, number, tell);
    }
    Ok(())
}

fn tell_all(
    notes: Vec<Note>,
    tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for note in notes {
        tell(LiveEvent::Note(note))?;
    }
    ControlFlow::Continue(())
}

struct LiveRows<'a> {
    reader: RowReader<'a>,
    series: Option<LiveSeries>,
    rate_hz: Option<f64>,
}

impl<'a> LiveRows<'a> {
    fn new(columns: &'a Columns, schema: &'a Schema, decimal: u8) -> Self {
        let series = match schema.input() {
            InputKind::Series(series) => Some(LiveSeries::new(series.clone())),
            InputKind::Array(_) | InputKind::Table(_) => None,
        };
        Self {
            reader: RowReader::new(columns, schema, decimal),
            series,
            rate_hz: schema.mapping().rate_hz,
        }
    }

    fn push(
        &mut self,
        record: &StringRecord,
        line: u64,
        tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.reader.columns.header_again(record) == Some(true) {
            return ControlFlow::Continue(());
        }
        let beside = match self.reader.read(record, line) {
            Ok(Some(beside)) => beside,
            // What follows would be read in the order of the first header.
            Err(error @ ParseError::HeaderChanged { .. }) => {
                tell(LiveEvent::Unreadable(error))?;
                return ControlFlow::Break(());
            }
            Ok(None) => {
                let place = Place::Line(line);
                return tell(LiveEvent::Bad(ParseError::at(place, Problem::Missing)));
            }
            Err(error) => return tell(LiveEvent::Bad(error)),
        };
        let group = self.reader.group(record);
        let input = |values, span| {
            LiveEvent::Input(LiveInput {
                values,
                group: group.to_owned(),
                line,
                span,
            })
        };
        let values = &self.reader.values;
        let Some(series) = &mut self.series else {
            let time = beside.time.map(|time| (time, time));
            return tell(input(values.clone(), time));
        };
        let sample = Sample {
            values,
            time: beside.time,
            number: beside.number,
            rate_hz: self.rate_hz,
            line,
        };
        match series.push(group, sample) {
            Ok(windows) => {
                for window in windows {
                    tell(input(window.values, window.span))?;
                }
                ControlFlow::Continue(())
            }
            Err(error) => tell(LiveEvent::Bad(error)),
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Columns of messages that are remembered while those that the task wants are
/// missing.
const NAMES_MAX: usize = 4096;
