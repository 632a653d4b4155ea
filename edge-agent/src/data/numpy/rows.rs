//! The rows of arrays side by side, a block at a time.

use common::npz::{Array, Blocks, NpzError};
use common::task::Missing;

use super::super::account::{Account, Unused};
use super::super::note::Note;
use super::super::precision::Precision;
use super::super::sample::Kept;
use super::super::schema::{ParseError, Place, Problem, Schema};
use super::super::{Dataset, LabelCounts};
use super::array_error;
use super::inputs::Inputs;
use super::labels::Labels;

/// Rows as they are read from arrays side by side.
pub(super) struct Rows<'a> {
    inputs: Inputs<'a>,
    /// How labels are read, where they are classes.
    labels: Option<Labels<'a>>,
    kept: Kept,
    account: Account,
    precision: Precision,
    counts: LabelCounts,
    /// Rows that were left out for their values, and for their labels; the first of
    /// the latter.
    bad: (usize, usize, Option<(Place, Problem)>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(inputs: Inputs<'a>, labels: Option<Labels<'a>>) -> Self {
        let schema = inputs.schema;
        let (values, numbers) = (schema.values(), schema.numbers().len());
        Self {
            kept: Kept::new(values, numbers, schema.rows_max(), schema.split_rule()),
            account: Account::default(),
            precision: Precision::new(values),
            counts: LabelCounts::default(),
            bad: (0, 0, None),
            inputs,
            labels,
        }
    }

    pub(super) fn read(
        mut self,
        mut inputs: Blocks<'_>,
        labels: Option<(&str, Blocks<'_>)>,
        notes: &mut Vec<Note>,
    ) -> Result<(Dataset, Account), ParseError> {
        let schema = self.inputs.schema;
        self.inputs.check(inputs.shape())?;
        let rows = inputs.shape()[0];
        if let Some((name, labels)) = &labels {
            check_labels(name, labels.shape(), rows, schema)?;
        }
        self.kept.expect(rows);
        let mut labels = labels.map(|(name, blocks)| Beside {
            name,
            blocks,
            whole: None,
        });
        let values_max = schema.values_max() as u64;
        let each = BLOCK_VALUES.min(schema.values_max()) / schema.values().max(1);
        let each = each.min(BLOCK_ROWS);
        let name = self.inputs.name;
        let refused = |error| array_error(name, error, schema);
        let mut first = 0;
        while let Some(block) = inputs.next(each, values_max).map_err(refused)? {
            let many = block.rows();
            let beside = match &mut labels {
                Some(labels) => Some((labels.name, labels.next(first, many, schema)?)),
                None => None,
            };
            self.block(first, block, beside)?;
            first += many;
        }
        if let Some(mut labels) = labels {
            let more = labels.blocks.next(1, values_max);
            more.map_err(|error| array_error(labels.name, error, schema))?;
        }
        self.finish(rows, notes)
    }

    /// The next rows, of which this is the first, and what stands beside them.
    fn block(
        &mut self,
        first: usize,
        inputs: Array,
        beside: Option<(&str, Array)>,
    ) -> Result<(), ParseError> {
        let schema = self.inputs.schema;
        let mut read = self.inputs.read(inputs, first, &mut self.precision)?;
        let rows = read.rows;
        let width = schema.numbers().len();
        let (mut labels, mut numbers) = (vec![None; rows], vec![0.0; rows * width]);
        if let Some((name, array)) = beside {
            if let Some(own) = &self.labels {
                let (found, bad) = own.read(&array, first, &mut self.counts)?;
                labels = found;
                self.bad.1 += bad.len();
                let known = read.incomplete.len();
                for (row, place, problem) in bad {
                    self.bad.2.get_or_insert((place.clone(), problem.clone()));
                    if read.incomplete[..known].binary_search(&row).is_err() {
                        read.incomplete.push(row);
                        let why = Unused::of(&problem);
                        read.account.leave_out(why, || place);
                    }
                }
                read.incomplete.sort_unstable();
                self.bad.0 += known;
            } else {
                (labels, numbers) = self::numbers(name, &array, first, schema)?;
                self.bad.0 += read.incomplete.len();
            }
        } else {
            self.bad.0 += read.incomplete.len();
        }
        self.account.join(read.account);
        let values = schema.values();
        for row in (0..rows).filter(|row| read.incomplete.binary_search(row).is_err()) {
            let own = &read.values[row * values..(row + 1) * values];
            let numbers = &numbers[row * width..(row + 1) * width];
            self.kept.push(own.iter().copied(), labels[row], numbers);
            self.account.used += 1;
        }
        Ok(())
    }

    fn finish(
        mut self,
        rows: usize,
        notes: &mut Vec<Note>,
    ) -> Result<(Dataset, Account), ParseError> {
        let (schema, name) = (self.inputs.schema, self.inputs.name);
        let missing = self.inputs.missing();
        if rows > 0 && self.bad.0 == rows && missing == Missing::Refuse {
            return Err(ParseError::NoGoodRow {
                reason: self.account.explain(),
            });
        }
        notes.extend(
            self.precision
                .notes(|value| format!("{value} of array {name:?}")),
        );
        self.counts.note(schema.classes(), notes);
        if let Some((place, problem)) = self.bad.2.take()
            && self.bad.1 == rows
        {
            // Not one label is understood: a mapping is missing rather than rows.
            return Err(ParseError::at(place, problem));
        }
        self.account.rows = rows;
        let data = self.kept.finish().ok_or_else(|| ParseError::InputShape {
            array: name.to_owned(),
            found: vec![rows, schema.values()],
            expected: schema.shape().sides().to_vec(),
        })?;
        Ok((data, self.account))
    }
}

/// An array that is read beside the inputs.
struct Beside<'a> {
    name: &'a str,
    blocks: Blocks<'a>,
    /// All of it, where its first axis runs fastest.
    whole: Option<Array>,
}

impl Beside<'_> {
    /// So many rows from this one on, which is the next.
    fn next(&mut self, first: usize, many: usize, schema: &Schema) -> Result<Array, ParseError> {
        let refused = |error| array_error(self.name, error, schema);
        if self.whole.is_none() {
            let next = self.blocks.next(many, schema.values_max() as u64);
            let next = next.map_err(refused)?;
            let next = next.ok_or_else(|| {
                refused(NpzError::NoRow {
                    row: first,
                    rows: first,
                })
            })?;
            if next.rows() == many {
                return Ok(next);
            }
            self.whole = Some(next);
        }
        let rows: Vec<usize> = (first..first + many).collect();
        match &self.whole {
            Some(whole) => whole.select(&rows).map_err(refused),
            None => Err(refused(NpzError::NoRow {
                row: first,
                rows: first,
            })),
        }
    }
}

/// Whether as many labels, or numbers, stand beside the rows.
fn check_labels(
    name: &str,
    shape: &[usize],
    rows: usize,
    schema: &Schema,
) -> Result<(), ParseError> {
    let values = schema.numbers().len();
    let fits = match (shape, values) {
        ([all], 0 | 1) | ([all, 1], 0) => *all == rows,
        ([all, columns], values) => *all == rows && *columns == values,
        _ => false,
    };
    let (array, found) = (name.to_owned(), shape.to_vec());
    match (fits, values) {
        (true, _) => Ok(()),
        (false, 0) => Err(ParseError::LabelCount { array, found, rows }),
        (false, numbers) => Err(ParseError::NumberCount {
            array,
            found,
            rows,
            numbers,
        }),
    }
}

/// The numbers of each row, row-major, and which rows have all of theirs: those of
/// the others are 0.
fn numbers(
    name: &str,
    array: &Array,
    first: usize,
    schema: &Schema,
) -> Result<(Vec<Option<u16>>, Vec<f32>), ParseError> {
    let values = schema.numbers().len();
    let wide = array
        .to_f64()
        .map_err(|error| array_error(name, error, schema))?;
    for (at, &value) in wide.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        if let Some(problem) = Problem::of_value(value, || value.to_string()) {
            let place = Place::Element {
                array: name.to_owned(),
                row: first + at / values,
                index: at % values,
            };
            return Err(ParseError::at(place, problem));
        }
    }
    let known = |row: &[f64]| row.iter().all(|value| !value.is_nan()).then_some(0);
    let labels = wide.chunks(values).map(known).collect();
    let plain = |value: &f64| if value.is_nan() { 0.0 } else { *value as f32 };
    Ok((labels, wide.iter().map(plain).collect()))
}

/// Values that are taken in at once.
const BLOCK_VALUES: usize = 1 << 18;
/// Rows that are, each of which may have a long text beside it.
const BLOCK_ROWS: usize = 1 << 14;
