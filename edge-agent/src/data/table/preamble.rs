//! Lines that a logger writes before its table: its name, a serial number, a date.

use super::super::schema::{LabelSource, Schema};
use super::cells::{line_end, untrimmed_record};
use super::columns::{place_of, wanted, without_unit};
use super::dialect::{SEPARATORS, bare};

/// Lines before the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preamble {
    pub(super) bytes: usize,
    pub(super) lines: u64,
}

impl Preamble {
    /// Those of a text whose header is not its first line: the header is the first of
    /// the first lines that has the names that are asked for. None where no line has,
    /// or where the owner names the columns.
    pub(super) fn of(text: &[u8], told: Option<u8>, schema: &Schema) -> Self {
        let mut found = Self::default();
        if schema.mapping().names.is_some() {
            return found;
        }
        for _ in 0..LINES_MAX {
            let line = &text[found.bytes..];
            let line = &line[..line_end(line)];
            if line.is_empty() {
                break;
            }
            let told = told.as_slice();
            let separators = if told.is_empty() { &SEPARATORS } else { told };
            if separators
                .iter()
                .any(|&separator| is_header(line, separator, schema))
            {
                return found;
            }
            found.bytes += line.len();
            found.lines += 1;
        }
        Self::default()
    }
}

/// Whether a line, cut so, has the label's name and one of the task's columns, or all
/// of these.
fn is_header(line: &[u8], separator: u8, schema: &Schema) -> bool {
    let Some(cells) = untrimmed_record(line, separator) else {
        return false;
    };
    let names: Vec<String> = cells.iter().map(|cell| bare(cell).to_owned()).collect();
    let plain: Vec<String> = { names.iter() }
        .map(|name| without_unit(name).0.to_owned())
        .collect();
    let has = |name: &str| place_of(&names, name).is_some() || place_of(&plain, name).is_some();
    let columns = wanted(schema.input()).unwrap_or_default();
    let from = |name: &str| {
        let source = schema.mapping().column(name);
        source.and_then(|source| source.from.clone())
    };
    let known = { columns.iter() }
        .filter(|column| has(from(&column.name).as_deref().unwrap_or(&column.name)))
        .count();
    let is_labelled = match (schema.numbers(), schema.labels()) {
        ([], LabelSource::Column(label)) => has(label),
        ([], _) => false,
        (numbers, _) => numbers.iter().all(|name| has(name)),
    };
    match columns.len() {
        0 => is_labelled && names.len() > schema.values(),
        all => known == all || is_labelled && known > 0,
    }
}

/// Lines that are looked at.
const LINES_MAX: usize = 50;
