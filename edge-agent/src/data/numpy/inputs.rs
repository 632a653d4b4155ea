//! The array of inputs.

use common::npz::{Array, Values};
use common::task::{InputKind, Missing};

use super::super::account::{Account, Unused};
use super::super::precision::Precision;
use super::super::schema::{ParseError, Place, Problem, Schema};
use super::super::source::BadRows;
use super::array_error;

/// Inputs of a block of an array.
pub(super) struct ReadInputs {
    pub(super) rows: usize,
    /// Rows × values.
    pub(super) values: Vec<f32>,
    /// Rows of the block that a missing value costs, in order.
    pub(super) incomplete: Vec<usize>,
    pub(super) account: Account,
}

/// How an array of inputs is read.
pub(super) struct Inputs<'a> {
    pub(super) name: &'a str,
    pub(super) scale: Option<Vec<f64>>,
    pub(super) schema: &'a Schema,
}

impl Inputs<'_> {
    pub(super) fn check(&self, shape: &[usize]) -> Result<(), ParseError> {
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

    pub(super) fn missing(&self) -> Missing {
        match self.schema.input() {
            InputKind::Table(table) => table.missing,
            _ => Missing::Refuse,
        }
    }

    /// How many rows there are in a block whose first row this is, and their
    /// values, row-major. Numbers that single precision does not hold are scaled
    /// before they are narrowed.
    pub(super) fn read(
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
