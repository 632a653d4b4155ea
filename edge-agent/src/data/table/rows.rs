//! Rows of a table, kept as they are or cut into windows.

use common::task::InputKind;
use csv::StringRecord;

use super::super::account::{Account, Unused};
use super::super::note::Note;
use super::super::sample::Kept;
use super::super::schema::{ParseError, Place, Schema};
use super::super::series::{PIECE_VALUES, Samples, windows_into};
use super::super::source::BadRows;
use super::super::{Dataset, LabelCounts};
use super::columns::Columns;
use super::reader::RowReader;
use super::typed::CellType;

/// Rows as they are read.
pub(super) struct Rows<'a> {
    reader: RowReader<'a>,
    kept: Kept,
    samples: Option<Samples>,
    counts: LabelCounts,
    /// Of the rows that were left out, what the first was refused for.
    first_error: Option<ParseError>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(columns: &'a Columns, schema: &'a Schema, decimal: u8) -> Self {
        let (width, samples) = match schema.input() {
            InputKind::Series(_) => (schema.values(), Some(Samples::default())),
            InputKind::Array(_) | InputKind::Table(_) => (columns.values(), None),
        };
        Self {
            reader: RowReader::new(columns, schema, decimal),
            kept: Kept::new(
                width,
                schema.numbers().len(),
                schema.rows_max(),
                schema.split_rule(),
            ),
            samples,
            counts: LabelCounts::default(),
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
        let cells = bytes / 2 / self.reader.columns.sources.len().max(1);
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
        let skips = self.reader.schema.mapping().bad_rows == BadRows::Skip;
        match read {
            Err(ParseError::At { place, problem }) if skips => {
                let why = Unused::of(&problem);
                self.reader.account.leave_out(why, || place.clone());
                self.first_error
                    .get_or_insert(ParseError::At { place, problem });
                Ok(())
            }
            other => other,
        }
    }

    /// Puts a line down that is no row.
    pub(super) fn leave_out(&mut self, why: Unused, line: u64) {
        self.reader.account.leave_out(why, || Place::Line(line));
    }

    /// The same as [`Self::push`] of cells that have types.
    pub(super) fn push_typed(
        &mut self,
        record: &StringRecord,
        types: &[CellType],
        line: u64,
        notes: &mut Vec<Note>,
    ) -> Result<(), ParseError> {
        self.reader.types.clear();
        self.reader.types.extend_from_slice(types);
        self.push(record, line, notes)
    }

    /// Takes a row in, or nothing of it.
    pub(super) fn push(
        &mut self,
        record: &StringRecord,
        line: u64,
        notes: &mut Vec<Note>,
    ) -> Result<(), ParseError> {
        let Some(beside) = self.reader.read(record, line)? else {
            return Ok(());
        };
        let (class, values) = (beside.meaning.class(), &self.reader.values);
        self.counts.add(beside.meaning);
        let Some(samples) = &mut self.samples else {
            let row = values.iter().copied();
            self.kept.push(row, class, &beside.numbers);
            return Ok(());
        };
        let rate_hz = self.reader.schema.mapping().rate_hz;
        samples.values.extend_from_slice(values);
        samples.labels.push(class);
        samples.push(beside.time, beside.number, rate_hz, beside.group, line);
        match samples.len() * (values.len() + BESIDE_VALUES) >= self.piece() {
            true => self.cut(notes),
            false => Ok(()),
        }
    }

    /// Values of samples at which they are cut into windows: pieces are many
    /// windows long, so that few are lost where they end.
    fn piece(&self) -> usize {
        PIECE_VALUES.max(PIECE_WINDOWS * self.reader.schema.values())
    }

    /// Cuts the samples that are held into windows.
    fn cut(&mut self, notes: &mut Vec<Note>) -> Result<(), ParseError> {
        let schema = self.reader.schema;
        let (InputKind::Series(series), Some(samples)) = (schema.input(), &mut self.samples) else {
            return Ok(());
        };
        if !schema.numbers().is_empty() {
            return Err(ParseError::NumbersOfRecording);
        }
        let kept = &mut self.kept;
        let mut keep = |window: &[f32], label| kept.push(window.iter().copied(), label, &[]);
        windows_into(samples, series, &mut self.reader.account, notes, &mut keep)?;
        samples.clear();
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        notes: &mut Vec<Note>,
    ) -> Result<(Dataset, Account), ParseError> {
        // Nothing of it can be read: a mapping is missing rather than a row.
        if let Some(error) = self.first_error.take().filter(|_| self.reader.taken == 0) {
            return Err(error);
        }
        notes.extend(self.reader.narrowed());
        notes.extend(self.reader.outside());
        self.counts.note(self.reader.schema.classes(), notes);
        let schema = self.reader.schema;
        let values = schema.values();
        let found = self.reader.columns.sources.len();
        let shape = || ParseError::ValueColumns {
            expected: values,
            shape: schema.shape().sides().to_vec(),
            found,
        };
        match self.samples.is_some() {
            true => self.cut(notes)?,
            false => self.reader.account.used = self.reader.taken,
        }
        let data = self.kept.finish().ok_or_else(shape)?;
        if data.inputs().ncols() != values {
            return Err(shape());
        }
        Ok((data, self.reader.account))
    }
}

/// What goes beside the values of a sample, in values.
const BESIDE_VALUES: usize = 6;
/// A piece of a recording is so many windows long, at least.
const PIECE_WINDOWS: usize = 32;
