//! Data as NumPy arrays.

use common::npz::{Archive, Array, Values};

use super::Dataset;
use super::schema::{ParseError, Place, Problem, Schema};

/// Arrays of inputs, the first that is there.
const INPUTS: [&str; 2] = ["X", "X_train"];
/// Arrays of labels, the first that is there.
const LABELS: [&str; 2] = ["y", "y_train"];

/// Reads an NPZ archive: inputs n × shape (or n × values), labels n if they
/// are there, an optional `scale` that multiplies the values, and optional
/// `class_names` that integer labels then index.
///
/// # Errors
/// No inputs, another shape, a value that is not finite, an unknown class.
pub(super) fn parse_npz(bytes: &[u8], schema: &Schema) -> Result<Dataset, ParseError> {
    let archive = Archive::open(bytes)?;
    let first = |names: [&str; 2]| names.into_iter().find(|name| archive.contains(name)).map(str::to_owned);
    let inputs_name = first(INPUTS).ok_or_else(|| ParseError::NoInputs {
        wanted: INPUTS.join(", "),
        names: archive.names().join(", "),
    })?;
    let scale = match archive.contains("scale") {
        true => Some(archive.array("scale")?.to_f32()?),
        false => None,
    };
    let (rows, inputs) = read_inputs(
        &inputs_name,
        &archive.array(&inputs_name)?,
        scale.as_deref(),
        schema,
    )?;
    let labels = match first(LABELS) {
        Some(name) => {
            let class_names = match archive.contains("class_names") {
                true => Some(archive.array("class_names")?.to_text()?.to_vec()),
                false => None,
            };
            read_labels(
                &name,
                &archive.array(&name)?,
                class_names.as_deref(),
                rows,
                schema,
            )?
        }
        None => vec![None; rows],
    };
    dataset(&inputs_name, inputs, labels, schema)
}

/// Reads an NPY array of inputs, n × shape (or n × values), without labels.
///
/// # Errors
/// Another shape, or a value that is not finite.
pub(super) fn parse_npy(bytes: &[u8], schema: &Schema) -> Result<Dataset, ParseError> {
    let (rows, inputs) = read_inputs(NPY, &Array::parse(bytes)?, None, schema)?;
    dataset(NPY, inputs, vec![None; rows], schema)
}

fn dataset(
    array: &str,
    inputs: Vec<f32>,
    labels: Vec<Option<u16>>,
    schema: &Schema,
) -> Result<Dataset, ParseError> {
    let shape = vec![labels.len(), inputs.len()];
    Dataset::from_rows(schema.values(), inputs, labels).ok_or_else(|| ParseError::InputShape {
        array: array.to_owned(),
        found: shape,
        expected: schema.shape().sides().to_vec(),
    })
}

/// How many rows there are, and their values, row-major.
fn read_inputs(
    name: &str,
    array: &Array,
    scale: Option<&[f32]>,
    schema: &Schema,
) -> Result<(usize, Vec<f32>), ParseError> {
    let sides = schema.shape().sides();
    let fits = match array.shape() {
        [_, rest @ ..] => rest == sides || rest == [schema.values()],
        [] => false,
    };
    if !fits {
        return Err(ParseError::InputShape {
            array: name.to_owned(),
            found: array.shape().to_vec(),
            expected: sides.to_vec(),
        });
    }
    let mut values = array.to_f32()?;
    if let Some(scale) = scale {
        let channels = sides.last().copied().unwrap_or(1);
        if ![1, channels, schema.values()].contains(&scale.len()) {
            return Err(ParseError::Scale {
                found: scale.len(),
                channels,
                values: schema.values(),
            });
        }
        for (value, scale) in values.iter_mut().zip(scale.iter().cycle()) {
            *value *= scale;
        }
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let place = Place::Element {
            array: name.to_owned(),
            row: at / schema.values(),
            index: at % schema.values(),
        };
        let found = values[at].to_string();
        return Err(ParseError::at(place, Problem::NotFinite { found }));
    }
    Ok((array.rows(), values))
}

fn read_labels(
    name: &str,
    array: &Array,
    class_names: Option<&[String]>,
    rows: usize,
    schema: &Schema,
) -> Result<Vec<Option<u16>>, ParseError> {
    let shape = array.shape();
    if shape != [rows] && shape != [rows, 1] {
        return Err(ParseError::LabelCount {
            array: name.to_owned(),
            found: shape.to_vec(),
            rows,
        });
    }
    let at = |row| {
        move |problem| {
            let array = name.to_owned();
            ParseError::at(
                Place::Element {
                    array,
                    row,
                    index: 0,
                },
                problem,
            )
        }
    };
    if let Values::Text(texts) = array.values() {
        let labels = texts.iter().enumerate();
        return labels
            .map(|(row, text)| schema.label_of_text(text).map_err(at(row)))
            .collect();
    }
    let numbers = array.to_f64()?.into_iter().enumerate();
    let class = |number: f64| match class_names.filter(|_| number >= 0.0 && number.fract() == 0.0) {
        // The file's own order of classes need not be the task's.
        Some(names) if (number as usize) < names.len() => {
            schema.label_of_text(&names[number as usize])
        }
        _ => schema.label_of_number(number),
    };
    numbers
        .map(|(row, number)| class(number).map_err(at(row)))
        .collect()
}

/// What the one array of an NPY file is called in messages.
const NPY: &str = "npy";
