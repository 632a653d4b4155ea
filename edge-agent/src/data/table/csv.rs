//! Data as text with a header.

use std::io::Read;

use ::csv::StringRecord;

use super::super::Dataset;
use super::super::account::{Account, Unused};
use super::super::note::Note;
use super::super::schema::{ParseError, Place, Schema};
use super::super::text::{Lines, Text, line_of};
use super::cells::Cells;
use super::columns::Columns;
use super::dialect::DecimalSigns;
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
/// owner or the task has left out is no error.
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
    if cells.start.preamble > 0 {
        notes.push(Note::Preamble {
            lines: cells.start.preamble,
        });
    }
    if cells.start.has_comments() && cells.start.header.is_none() {
        notes.push(Note::Comments);
    }
    let header = cells.header(schema)?;
    let sample = cells.sample();
    let columns = Columns::of(&header, &sample, schema)?;
    let decimal = decimal(&columns, &sample, schema, cells.start.lines)?;
    columns.note(decimal, notes);
    let mut rows = Rows::new(&columns, schema, decimal);
    rows.expect(cells.ends(), first_bytes, length);
    let mut record = StringRecord::new();
    loop {
        let is_last = source.is_done();
        let mut records = cells.records();
        let mut rest = cells.text.len();
        loop {
            let at = records.position();
            let next = records.next(&mut record);
            let is_whole = is_last || records.position() < cells.text.len();
            for (line, comment) in records.comments().filter(|_| is_whole || next.is_none()) {
                if cells.is_commented_row(comment, columns.names.len()) {
                    rows.leave_out(Unused::Commented, line);
                }
            }
            let Some((line, read)) = next else {
                break;
            };
            // A record that reaches the end of a block may go on in the next.
            if !is_whole {
                rest = at;
                break;
            }
            let pushed = read.and_then(|()| rows.push(&record, line, notes));
            let is_bad = pushed.is_err();
            rows.settle(pushed)?;
            // A quote that nobody closes must not take the lines below along.
            if let Some(place) = records.second_line().filter(|_| is_bad) {
                records = cells.records_from(place, line + 1);
            }
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
                rows.settle(pushed)?;
            }
            None => notes.push(Note::Unfinished { line }),
        }
    }
    rows.finish(notes)
}

/// The decimal sign of the cells that hold numbers.
pub(super) fn decimal(
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
