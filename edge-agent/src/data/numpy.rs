//! Data as NumPy arrays.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use common::npz::{Archive, Array, Blocks, NpzError, Values};

use common::task::{InputKind, Missing};

use super::account::{Account, Unused};
use super::classes::{ClassNames, Meaning};
use super::note::Note;
use super::precision::Precision;
use super::sample::Kept;
use super::schema::{LabelSource, ParseError, Place, Problem, Schema};
use super::source::BadRows;
use super::{Dataset, FileRows, LabelCounts};

/// Reads an NPZ archive where it lies: inputs n × shape (or n × values), labels n
/// if they are there, an optional `scale` that multiplies the values, and optional
/// `class_names`: what the file calls the classes of its labels, in an order
/// that need not be the task's. Memory holds a sample of the rows and a block of
/// them, unless an array's first axis runs fastest: that has to be held whole.
///
/// # Errors
/// No inputs, another shape, more than may be held, a value that is not finite
/// or too large, an unknown class.
pub(super) fn read_npz(file: &File, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let archive = Archive::over(At { file, at: 0 })?;
    let (data, account) = parse(&archive, schema, &mut notes)?;
    Ok(FileRows {
        data: data.of_one_class(schema),
        notes,
        account,
    })
}

/// The same of an NPY array of inputs, without labels.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn read_npy(file: &File, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let bytes = file.metadata().map(|about| about.len());
    let bytes = bytes.map_err(|error| ParseError::Read {
        reason: error.to_string(),
    })?;
    let source = BufReader::new(At { file, at: 0 });
    let (data, account) = of_npy(source, bytes, schema, &mut notes)?;
    Ok(FileRows {
        data: data.of_one_class(schema),
        notes,
        account,
    })
}

/// The same of an NPZ archive in memory.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn parse_npz(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    parse(&Archive::open(bytes)?, schema, notes)
}

/// The same of an NPY array in memory.
///
/// # Errors
/// As [`read_npz`].
pub(super) fn parse_npy(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    of_npy(bytes, bytes.len() as u64, schema, notes)
}

/// A file, read from a place of its own: clones do not move each other.
#[derive(Clone)]
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let from = |base: u64, by: i64| base.checked_add_signed(by);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => from(self.at, by),
            SeekFrom::End(by) => from(self.file.metadata()?.len(), by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

fn of_npy<'a>(
    source: impl Read + 'a,
    bytes: u64,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let refused = |error| array_error(NPY, error, schema);
    let blocks = Blocks::begin(source, bytes).map_err(refused)?;
    let inputs = Inputs {
        name: NPY,
        scale: None,
        schema,
    };
    Rows::new(inputs, None).read(blocks, None, notes)
}

fn parse<R: Read + Seek + Clone>(
    archive: &Archive<R>,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let names = schema.arrays();
    let first = |names: &[String]| names.iter().find(|name| archive.contains(name)).cloned();
    let inputs_name = first(&names.inputs).ok_or_else(|| ParseError::NoInputs {
        wanted: names.inputs.join(", "),
        names: archive.names().join(", "),
    })?;
    let values_max = schema.values_max() as u64;
    let read = |name: &str| {
        // What a file unpacks to is bounded before it is unpacked.
        archive
            .array_within(name, values_max)
            .map_err(|error| array_error(name, error, schema))
    };
    let scale = match archive.contains("scale") {
        true => Some(
            read("scale")?
                .to_f64()
                .map_err(|error| array_error("scale", error, schema))?,
        ),
        false => None,
    };
    let inputs = Inputs {
        name: &inputs_name,
        scale,
        schema,
    };
    let labels_name = labels_name(archive, schema);
    let labels = match &labels_name {
        Some(name) if schema.numbers().is_empty() => Some(Labels {
            name,
            own: match archive.contains("class_names") {
                true => Some(names_of(&read("class_names")?, schema)?),
                false => None,
            },
            schema,
        }),
        _ => None,
    };
    let refused = |name: &str, error| array_error(name, error, schema);
    let rows = Rows::new(inputs, labels);
    let read = archive.blocks(&inputs_name, |inputs| match &labels_name {
        None => rows.read(inputs, None, notes),
        Some(name) => {
            let read = archive.blocks(name, |labels| {
                rows.read(inputs, Some((name, labels)), notes)
            });
            read.map_err(|error| refused(name, error))?
        }
    });
    read.map_err(|error| refused(&inputs_name, error))?
}

/// Rows as they are read from arrays side by side.
struct Rows<'a> {
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
    fn new(inputs: Inputs<'a>, labels: Option<Labels<'a>>) -> Self {
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

    fn read(
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

/// The array that holds the labels: the one that the owner names as the label
/// column, else one of the usual names.
fn labels_name<R: Read + Seek + Clone>(archive: &Archive<R>, schema: &Schema) -> Option<String> {
    let named = match schema.labels() {
        LabelSource::None => return None,
        LabelSource::Column(name) | LabelSource::OptionalColumn(name) => name,
    };
    let usual = schema.arrays().labels.iter();
    match named.as_str() {
        // What the column is called where the owner names none.
        "label" => usual
            .chain([named])
            .find(|name| archive.contains(name))
            .cloned(),
        _ => [named]
            .into_iter()
            .chain(usual)
            .find(|name| archive.contains(name))
            .cloned(),
    }
}

fn array_error(array: &str, error: NpzError, schema: &Schema) -> ParseError {
    match error {
        NpzError::Values { .. } => ParseError::Size {
            rows_max: schema.values_max() / schema.values(),
            values: schema.values(),
        },
        error => ParseError::Array {
            array: array.to_owned(),
            error,
        },
    }
}

/// What a file calls its classes, also where they are numbers.
fn names_of(array: &Array, schema: &Schema) -> Result<ClassNames, ParseError> {
    if let Ok(names) = array.to_text() {
        return Ok(ClassNames::new(names.to_vec()));
    }
    let numbers = array.to_f64();
    let numbers = numbers.map_err(|error| array_error("class_names", error, schema))?;
    let names = numbers.iter().map(f64::to_string);
    Ok(ClassNames::new(names.collect()))
}

/// Inputs of a block of an array.
struct ReadInputs {
    rows: usize,
    /// Rows × values.
    values: Vec<f32>,
    /// Rows of the block that a missing value costs, in order.
    incomplete: Vec<usize>,
    account: Account,
}

/// How an array of inputs is read.
struct Inputs<'a> {
    name: &'a str,
    scale: Option<Vec<f64>>,
    schema: &'a Schema,
}

impl Inputs<'_> {
    fn check(&self, shape: &[usize]) -> Result<(), ParseError> {
        let (sides, values) = (self.schema.shape().sides(), self.schema.values());
        let fits = match shape {
            [_, rest @ ..] => rest == sides || rest == [values],
            [] => false,
        };
        match fits {
            true => Ok(()),
            false => Err(ParseError::InputShape {
                array: self.name.to_owned(),
                found: shape.to_vec(),
                expected: sides.to_vec(),
            }),
        }
    }

    fn missing(&self) -> Missing {
        match self.schema.input() {
            InputKind::Table(table) => table.missing,
            _ => Missing::Refuse,
        }
    }

    /// How many rows there are in a block whose first row this is, and their
    /// values, row-major. Numbers that single precision does not hold are scaled
    /// before they are narrowed.
    fn read(
        &self,
        array: Array,
        first: usize,
        precision: &mut Precision,
    ) -> Result<ReadInputs, ParseError> {
        let (sides, values) = (self.schema.shape().sides(), self.schema.values());
        let scale = self.scale(sides.last().copied().unwrap_or(1))?;
        let rows = array.rows();
        let mut narrow = |index: usize, value: f64| {
            precision.narrow(index % values, value * scale[index % scale.len()])
        };
        let inputs: Vec<f32> = match array.values() {
            Values::F64(wide) => {
                let wide = wide.iter().enumerate();
                wide.map(|(index, &value)| narrow(index, value)).collect()
            }
            Values::I64(wide) => {
                let wide = wide.iter().enumerate();
                wide.map(|(index, &value)| narrow(index, value as f64))
                    .collect()
            }
            Values::I32(wide) => {
                let wide = wide.iter().enumerate();
                wide.map(|(index, &value)| narrow(index, f64::from(value)))
                    .collect()
            }
            _ => self.scaled(array, scale)?,
        };
        let missing = self.missing();
        let (mut inputs, mut incomplete) = (inputs, Vec::new());
        let mut account = Account::default();
        for (at, value) in inputs.iter_mut().enumerate() {
            if value.is_nan() && missing != Missing::Refuse {
                *value = f32::NAN;
                if missing == Missing::SkipRow && incomplete.last() != Some(&(at / values)) {
                    incomplete.push(at / values);
                    account.leave_out(Unused::Missing, || Place::Element {
                        array: self.name.to_owned(),
                        row: first + at / values,
                        index: at % values,
                    });
                }
                continue;
            }
            let value = *value;
            if let Some(problem) = Problem::of_value(f64::from(value), || value.to_string()) {
                let place = Place::Element {
                    array: self.name.to_owned(),
                    row: first + at / values,
                    index: at % values,
                };
                if self.schema.mapping().bad_rows == BadRows::Refuse {
                    return Err(ParseError::at(place, problem));
                }
                if incomplete.last() != Some(&(at / values)) {
                    incomplete.push(at / values);
                    account.leave_out(Unused::of(&problem), || place);
                }
            }
        }
        Ok(ReadInputs {
            rows,
            values: inputs,
            incomplete,
            account,
        })
    }

    fn scaled(&self, array: Array, scale: &[f64]) -> Result<Vec<f32>, ParseError> {
        let mut inputs = array
            .into_f32()
            .map_err(|error| array_error(self.name, error, self.schema))?;
        if self.scale.is_some() {
            for (value, scale) in inputs.iter_mut().zip(scale.iter().cycle()) {
                *value *= *scale as f32;
            }
        }
        Ok(inputs)
    }

    /// What multiplies the values, over and over.
    fn scale(&self, channels: usize) -> Result<&[f64], ParseError> {
        let Some(scale) = &self.scale else {
            return Ok(&[1.0]);
        };
        match [1, channels, self.schema.values()].contains(&scale.len()) {
            true => Ok(scale),
            false => Err(ParseError::Scale {
                found: scale.len(),
                channels,
                values: self.schema.values(),
            }),
        }
    }
}

/// A row of a block that its label costs, where the owner says that bad rows cost themselves.
type BadRow = (usize, Place, Problem);

/// How an array of labels is read.
struct Labels<'a> {
    name: &'a str,
    /// What the file itself calls its classes.
    own: Option<ClassNames>,
    schema: &'a Schema,
}

impl Labels<'_> {
    /// The labels of a block whose first row this is, and the rows of the block that
    /// they cost.
    fn read(
        &self,
        array: &Array,
        first: usize,
        counts: &mut LabelCounts,
    ) -> Result<(Vec<Option<u16>>, Vec<BadRow>), ParseError> {
        let (mut bad, skips) = (Vec::new(), self.schema.mapping().bad_rows == BadRows::Skip);
        let mut labels = Vec::with_capacity(array.rows());
        let mut take = |row: usize, found: Result<Meaning, Problem>| {
            let place = || Place::Element {
                array: self.name.to_owned(),
                row: first + row,
                index: 0,
            };
            let meaning = match found {
                Err(problem) if skips => {
                    bad.push((row, place(), problem));
                    Meaning::Unlabelled
                }
                found => found.map_err(|problem| ParseError::at(place(), problem))?,
            };
            counts.add(meaning);
            labels.push(meaning.class());
            Ok::<_, ParseError>(())
        };
        if let Values::Text(texts) = array.values() {
            for (row, text) in texts.iter().enumerate() {
                take(row, self.schema.classes().of_text(text))?;
            }
        } else if array.holds_truths() && self.own.is_none() {
            let truths = array.to_f64();
            let truths = truths.map_err(|error| array_error(self.name, error, self.schema))?;
            for (row, truth) in truths.into_iter().enumerate() {
                take(row, self.schema.classes().of_truth(truth != 0.0))?;
            }
        } else {
            if let Some(own) = self.own.as_ref().filter(|own| !own.is_counted_by_names()) {
                return Err(ParseError::NumberedNames {
                    names: own.names().join(", "),
                });
            }
            let numbers = array
                .to_f64()
                .map_err(|error| array_error(self.name, error, self.schema))?;
            for (row, number) in numbers.into_iter().enumerate() {
                take(row, self.of_number(number))?;
            }
        }
        Ok((labels, bad))
    }

    /// A number finds its name by the file's own list, where there is one, and
    /// the name its class by the task's.
    fn of_number(&self, number: f64) -> Result<Meaning, Problem> {
        let task = self.schema.classes();
        let Some(own) = &self.own else {
            return task.of_number(number);
        };
        let meaning = own.of_number(number)?;
        match meaning.class() {
            Some(class) => task.of_text(&own.names()[usize::from(class)]),
            None => Ok(meaning),
        }
    }
}

/// What the one array of an NPY file is called in messages.
const NPY: &str = "npy";
/// Values that are taken in at once.
const BLOCK_VALUES: usize = 1 << 18;
/// Rows that are, each of which may have a long text beside it.
const BLOCK_ROWS: usize = 1 << 14;
