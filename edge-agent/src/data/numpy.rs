//! Data as NumPy arrays.

use common::npz::{Archive, Array, NpzError, Values};

use common::task::{InputKind, Missing};

use super::account::{Account, Unused};
use super::classes::{ClassNames, Meaning};
use super::note::Note;
use super::precision::Precision;
use super::schema::{LabelSource, ParseError, Place, Problem, Schema};
use super::source::BadRows;
use super::{Dataset, LabelCounts};

/// Reads an NPZ archive: inputs n × shape (or n × values), labels n if they
/// are there, an optional `scale` that multiplies the values, and optional
/// `class_names`: what the file calls the classes of its labels, in an order
/// that need not be the task's.
///
/// # Errors
/// No inputs, another shape, more than may be held, a value that is not finite
/// or too large, an unknown class.
pub(super) fn parse_npz(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let archive = Archive::open(bytes)?;
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
    let mut read_inputs = inputs.read(read(&inputs_name)?, notes)?;
    let rows = read_inputs.rows;
    let labels_name = labels_name(&archive, schema);
    if !schema.numbers().is_empty() {
        let (labels, numbers) = match labels_name {
            Some(name) => numbers(&name, &read(&name)?, rows, schema)?,
            None => (vec![None; rows], vec![0.0; rows * schema.numbers().len()]),
        };
        read_inputs.account.rows = rows;
        let (data, account) = dataset(&inputs_name, read_inputs, labels, schema)?;
        let unlike = || ParseError::NumberCount {
            array: inputs_name.clone(),
            found: vec![rows],
            rows,
            numbers: schema.numbers().len(),
        };
        let data = data.labelled_with(schema, numbers).ok_or_else(unlike)?;
        return Ok((data, account));
    }
    let labels = match labels_name {
        Some(name) => {
            let own = match archive.contains("class_names") {
                true => Some(names_of(&read("class_names")?, schema)?),
                false => None,
            };
            let labels = Labels {
                name: &name,
                own,
                schema,
            };
            let (labels, bad) = labels.read(&read(&name)?, rows, notes)?;
            let known = read_inputs.incomplete.len();
            for (row, place, problem) in bad {
                if read_inputs.incomplete[..known].binary_search(&row).is_err() {
                    read_inputs.incomplete.push(row);
                    let why = Unused::of(&problem);
                    read_inputs.account.leave_out(why, || place);
                }
            }
            read_inputs.incomplete.sort_unstable();
            labels
        }
        None => vec![None; rows],
    };
    read_inputs.account.rows = rows;
    dataset(&inputs_name, read_inputs, labels, schema)
}

/// The numbers of each row, row-major, and which rows have all of theirs: NaN
/// stands for a number that is not known.
fn numbers(
    name: &str,
    array: &Array,
    rows: usize,
    schema: &Schema,
) -> Result<(Vec<Option<u16>>, Vec<f32>), ParseError> {
    let values = schema.numbers().len();
    let fits = match array.shape() {
        [all] => *all == rows && values == 1,
        [all, columns] => *all == rows && *columns == values,
        _ => false,
    };
    if !fits {
        return Err(ParseError::NumberCount {
            array: name.to_owned(),
            found: array.shape().to_vec(),
            rows,
            numbers: values,
        });
    }
    let wide = array
        .to_f64()
        .map_err(|error| array_error(name, error, schema))?;
    for (at, &value) in wide.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        if let Some(problem) = Problem::of_value(value, || value.to_string()) {
            let place = Place::Element {
                array: name.to_owned(),
                row: at / values,
                index: at % values,
            };
            return Err(ParseError::at(place, problem));
        }
    }
    let known = |row: &[f64]| row.iter().all(|value| !value.is_nan()).then_some(0);
    let labels = wide.chunks(values).map(known).collect();
    Ok((labels, wide.iter().map(|&value| value as f32).collect()))
}

/// The array that holds the labels: the one that the owner names as the label
/// column, else one of the usual names.
fn labels_name(archive: &Archive<'_>, schema: &Schema) -> Option<String> {
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

/// Reads an NPY array of inputs, n × shape (or n × values), without labels.
///
/// # Errors
/// As [`parse_npz`].
pub(super) fn parse_npy(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let array = Array::parse_within(bytes, schema.values_max() as u64);
    let inputs = Inputs {
        name: NPY,
        scale: None,
        schema,
    };
    let array = array.map_err(|error| array_error(NPY, error, schema))?;
    let read = inputs.read(array, notes)?;
    let labels = vec![None; read.rows];
    dataset(NPY, read, labels, schema)
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

fn dataset(
    array: &str,
    read: ReadInputs,
    labels: Vec<Option<u16>>,
    schema: &Schema,
) -> Result<(Dataset, Account), ParseError> {
    let shape = vec![labels.len(), read.values.len()];
    let data = Dataset::from_rows(schema.values(), read.values, labels);
    let data = data.ok_or_else(|| ParseError::InputShape {
        array: array.to_owned(),
        found: shape,
        expected: schema.shape().sides().to_vec(),
    })?;
    let mut account = read.account;
    account.rows = data.rows();
    account.used = data.rows() - read.incomplete.len();
    if read.incomplete.is_empty() {
        return Ok((data, account));
    }
    let whole: Vec<usize> = { 0..data.rows() }
        .filter(|row| read.incomplete.binary_search(row).is_err())
        .collect();
    Ok((data.select(&whole), account))
}

/// Inputs of an array.
struct ReadInputs {
    rows: usize,
    /// Rows × values.
    values: Vec<f32>,
    /// Rows that a missing value costs, in order.
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
    /// How many rows there are, and their values, row-major. Numbers that
    /// single precision does not hold are scaled before they are narrowed.
    fn read(&self, array: Array, notes: &mut Vec<Note>) -> Result<ReadInputs, ParseError> {
        let (sides, values) = (self.schema.shape().sides(), self.schema.values());
        let fits = match array.shape() {
            [_, rest @ ..] => rest == sides || rest == [values],
            [] => false,
        };
        if !fits {
            return Err(ParseError::InputShape {
                array: self.name.to_owned(),
                found: array.shape().to_vec(),
                expected: sides.to_vec(),
            });
        }
        let scale = self.scale(sides.last().copied().unwrap_or(1))?;
        let rows = array.rows();
        let mut precision = Precision::new(values);
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
        let missing = match self.schema.input() {
            InputKind::Table(table) => table.missing,
            _ => Missing::Refuse,
        };
        let (mut inputs, mut incomplete) = (inputs, Vec::new());
        let mut account = Account::default();
        for (at, value) in inputs.iter_mut().enumerate() {
            if value.is_nan() && missing != Missing::Refuse {
                *value = f32::NAN;
                if missing == Missing::SkipRow && incomplete.last() != Some(&(at / values)) {
                    incomplete.push(at / values);
                    account.leave_out(Unused::Missing, || Place::Element {
                        array: self.name.to_owned(),
                        row: at / values,
                        index: at % values,
                    });
                }
                continue;
            }
            let value = *value;
            if let Some(problem) = Problem::of_value(f64::from(value), || value.to_string()) {
                let place = Place::Element {
                    array: self.name.to_owned(),
                    row: at / values,
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
        if rows > 0 && incomplete.len() == rows && missing == Missing::Refuse {
            return Err(ParseError::NoGoodRow {
                reason: account.explain(),
            });
        }
        notes.extend(precision.notes(|value| format!("{value} of array {:?}", self.name)));
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

/// A row that its label costs, where the owner says that bad rows cost themselves.
type BadRow = (usize, Place, Problem);

/// How an array of labels is read.
struct Labels<'a> {
    name: &'a str,
    /// What the file itself calls its classes.
    own: Option<ClassNames>,
    schema: &'a Schema,
}

impl Labels<'_> {
    fn read(
        &self,
        array: &Array,
        rows: usize,
        notes: &mut Vec<Note>,
    ) -> Result<(Vec<Option<u16>>, Vec<BadRow>), ParseError> {
        let shape = array.shape();
        if shape != [rows] && shape != [rows, 1] {
            return Err(ParseError::LabelCount {
                array: self.name.to_owned(),
                found: shape.to_vec(),
                rows,
            });
        }
        let mut counts = LabelCounts::default();
        let (mut bad, skips) = (Vec::new(), self.schema.mapping().bad_rows == BadRows::Skip);
        let mut labels = Vec::with_capacity(rows);
        let mut take = |row: usize, found: Result<Meaning, Problem>| {
            let place = || Place::Element {
                array: self.name.to_owned(),
                row,
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
        counts.note(self.schema.classes(), notes);
        match bad.first() {
            // Not one label is understood: a mapping is missing rather than rows.
            Some((_, place, problem)) if bad.len() == rows => {
                Err(ParseError::at(place.clone(), problem.clone()))
            }
            _ => Ok((labels, bad)),
        }
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
