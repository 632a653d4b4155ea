//! Tables whose cells have a type of their own: rows of databases and of Parquet files.

use ::csv::StringRecord;

use super::super::Dataset;
use super::super::account::Account;
use super::super::note::Note;
use super::super::schema::{ParseError, Schema};
use super::cells::SAMPLE_RECORDS;
use super::columns::Columns;
use super::csv::decimal;
use super::rows::Rows;

/// What is known of a cell beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in super::super) enum CellType {
    /// Nothing: the owner's decimal sign and time format hold for it.
    #[default]
    Text,
    /// A number, written with a point.
    Number,
    /// A date, or a date and time, written as ISO 8601.
    Time,
}

/// The cells of one row, each with its type.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct TypedRecord {
    cells: StringRecord,
    types: Vec<CellType>,
}

impl TypedRecord {
    /// Forgets all cells.
    pub(in super::super) fn clear(&mut self) {
        self.cells.clear();
        self.types.clear();
    }

    /// One more cell.
    pub(in super::super) fn push(&mut self, text: &str, cell_type: CellType) {
        self.cells.push_field(text);
        self.types.push(cell_type);
    }

    /// The same with nothing in cells that have a type: those show nothing of how
    /// texts are written.
    fn texts(&self) -> StringRecord {
        let cells = self.cells.iter().zip(&self.types);
        cells
            .map(|(cell, cell_type)| match cell_type {
                CellType::Text => cell,
                CellType::Number | CellType::Time => "",
            })
            .collect()
    }
}

/// Makes rows of records that another program has cut into cells already:
/// `next` puts one record after the other into its argument and says whether
/// there was one. Rows are counted from 1.
///
/// # Errors
/// As for a table of text, and what `next` says.
pub(in super::super) fn parse_records(
    names: Vec<String>,
    next: &mut dyn FnMut(&mut TypedRecord) -> Result<bool, ParseError>,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let (mut first, mut record) = (Vec::new(), TypedRecord::default());
    while first.len() < SAMPLE_RECORDS && next(&mut record)? {
        first.push(record.clone());
    }
    let sample: Vec<StringRecord> = first.iter().map(|record| record.cells.clone()).collect();
    let columns = Columns::of(&StringRecord::from(names), &sample, schema)?;
    let texts: Vec<StringRecord> = first.iter().map(TypedRecord::texts).collect();
    let decimal = decimal(&columns, &texts, schema, 0)?;
    columns.note(decimal, notes);
    let mut rows = Rows::new(&columns, schema, decimal);
    let mut line = 0;
    for record in first {
        line += 1;
        let pushed = rows.push_typed(&record.cells, &record.types, line, notes);
        rows.settle(pushed)?;
    }
    while next(&mut record)? {
        line += 1;
        let pushed = rows.push_typed(&record.cells, &record.types, line, notes);
        rows.settle(pushed)?;
        common::liveness::heartbeat();
    }
    rows.finish(notes)
}
