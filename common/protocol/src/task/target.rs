//! What a task asks of a row.

use bincode::{Decode, Encode};
use ndarray::Array2;
use serde::Serialize;

mod file;

pub(super) use file::RawTarget;

use super::checked::{TaskError, allowed};
use super::definition::{Contribute, TaskDefinition};
use crate::limits::NUMBERS_MAX;

/// The one class of a task whose rows have no labels: a student of it says how
/// unlike all others a row is ([`crate::novelty`]), and nothing else.
pub const USUAL: &str = "usual";

/// What a task asks of a row.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Which of the task's classes it is.
    #[default]
    Class,
    /// How much: one or several numbers.
    Number(Vec<NumberSpec>),
}

/// A number that a task asks for.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct NumberSpec {
    /// What people and files call it.
    pub name: String,
    /// Its unit, for people; may be empty.
    pub unit: String,
    /// What is less counts as this.
    pub min: Option<f32>,
    /// What is more counts as this.
    pub max: Option<f32>,
}

impl NumberSpec {
    /// A number within the limits.
    pub fn within(&self, number: f32) -> f32 {
        let number = self.min.map_or(number, |min| number.max(min));
        self.max.map_or(number, |max| number.min(max))
    }

    /// The number with its unit, for people.
    pub fn shown(&self, number: f64) -> String {
        match self.unit.as_str() {
            "" => format!("{number:.4}"),
            unit => format!("{number:.4} {unit}"),
        }
    }
}

impl Target {
    /// Whether it asks for a class.
    pub fn is_class(&self) -> bool {
        matches!(self, Self::Class)
    }

    /// Numbers that it asks for; none unless it asks for numbers.
    pub fn numbers(&self) -> &[NumberSpec] {
        match self {
            Self::Number(values) => values,
            Self::Class => &[],
        }
    }

    /// Numbers (rows × values) within the limits of each.
    pub fn within(&self, mut numbers: Array2<f32>) -> Array2<f32> {
        for mut row in numbers.rows_mut() {
            for (value, spec) in row.iter_mut().zip(self.numbers()) {
                *value = spec.within(*value);
            }
        }
        numbers
    }

    /// What teachers and students answer: `classes` where it asks for a class.
    pub fn outputs(&self, classes: usize) -> usize {
        match self {
            Self::Class => classes,
            Self::Number(values) => values.len(),
        }
    }

    /// Groups of labelled rows that are described apart: `classes` where it asks
    /// for a class, one of all rows otherwise.
    pub fn groups(&self, classes: usize) -> usize {
        match self {
            Self::Class => classes,
            Self::Number(_) => 1,
        }
    }
}

/// Holds a target that is no class against its limits.
pub(super) fn check(task: &TaskDefinition) -> Result<(), TaskError> {
    let numbers = match &task.target {
        Target::Number(values) => {
            let many = values.len();
            allowed(
                (1..=NUMBERS_MAX).contains(&many),
                "target.values",
                format!("{many} values"),
                format!("1 to {NUMBERS_MAX}"),
            )?;
            values.as_slice()
        }
        Target::Class => &[],
    };
    allowed(
        task.classes.is_empty(),
        "classes.names",
        format!("{} names", task.classes.len()),
        "nothing, unless target.kind is \"class\"",
    )?;
    // Soft labels are distributions over classes.
    allowed(
        matches!(task.contribute, Contribute::Moments | Contribute::Points),
        "contribute",
        format!("{:?}", task.contribute).to_lowercase(),
        "\"moments\" or \"points\", unless target.kind is \"class\"",
    )?;
    for (index, value) in numbers.iter().enumerate() {
        check_number(value, &numbers[..index])?;
    }
    Ok(())
}

fn check_number(value: &NumberSpec, earlier: &[NumberSpec]) -> Result<(), TaskError> {
    let written = |text: &str, least: usize| {
        text.trim() == text
            && !text.chars().any(char::is_control)
            && (least..=64).contains(&text.len())
    };
    let is_new = !earlier.iter().any(|other| other.name == value.name);
    allowed(
        written(&value.name, 1) && is_new,
        "target.values",
        format!("{:?}", value.name),
        "distinct names of 1 to 64 bytes, with no space at either end and no control characters",
    )?;
    allowed(
        written(&value.unit, 0),
        "target.units",
        format!("{:?}", value.unit),
        "at most 64 bytes, with no space at either end and no control characters",
    )?;
    let limits = [value.min, value.max];
    let finite = limits.iter().flatten().all(|limit| limit.is_finite());
    let ordered = value.min.zip(value.max).is_none_or(|(min, max)| min < max);
    allowed(
        finite && ordered,
        "target.min and target.max",
        format!("{:?} and {:?}", value.min, value.max),
        "finite numbers, the smaller first",
    )
}
