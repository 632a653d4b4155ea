//! What a data file must look like, and how it may fail to.

use std::sync::Arc;

use common::features::InputShape;
use common::limits::CLASSES_MAX;
use common::task::{ArrayInput, InputKind, Target, Task, USUAL};

use super::classes::ClassNames;
use super::intervals::Intervals;
use super::sample::SAMPLE_ROWS_MAX;
use super::source::Mapping;
use super::split::SplitRule;

pub use super::parse_error::ParseError;
pub(super) use super::problem::shortened;
pub use super::problem::{Place, Problem, VALUE_MAX};

/// What every file of a task holds: inputs of one shape, and labels of named
/// classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    shape: InputShape,
    input: InputKind,
    mapping: Arc<Mapping>,
    /// The names of the columns of the file before, where the task names none.
    order: Option<Arc<Vec<String>>>,
    /// Labels that stand in a file of their own.
    intervals: Option<Arc<Intervals>>,
    classes: ClassNames,
    /// Whether rows have no labels.
    unlabelled: bool,
    /// Names of the numbers that rows are labelled with; none where they are
    /// labelled with classes.
    numbers: Vec<String>,
    labels: LabelSource,
    arrays: ArrayNames,
    values_max: usize,
    held_values_max: usize,
    rows_max: usize,
    split: SplitRule,
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// A CSV file must have this column (its cells may be empty).
    Column(String),
    /// A CSV file may have this column.
    OptionalColumn(String),
    /// Every column is an input, and arrays of labels are not looked at.
    None,
}

/// Names of the arrays of an NPZ file, tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayNames {
    /// Inputs, n × the input's shape (or flattened).
    pub inputs: Vec<String>,
    /// Labels, n.
    pub labels: Vec<String>,
}

impl Default for ArrayNames {
    /// `X` and `y`, or `X_train` and `y_train`.
    fn default() -> Self {
        let names = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        Self {
            inputs: names("X", "X_train"),
            labels: names("y", "y_train"),
        }
    }
}

/// Why a schema was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Too many classes, or none.
    #[error("{found} classes; 1 to {CLASSES_MAX} are allowed")]
    Classes {
        /// How many.
        found: usize,
    },
}

impl Schema {
    /// Inputs of this shape, labels of these classes; the label column is
    /// `label`, arrays have their default names.
    ///
    /// # Errors
    /// No classes, or more than [`CLASSES_MAX`].
    pub fn new(shape: InputShape, classes: Vec<String>) -> Result<Self, SchemaError> {
        if !(1..=CLASSES_MAX).contains(&classes.len()) {
            return Err(SchemaError::Classes {
                found: classes.len(),
            });
        }
        Ok(Self {
            shape,
            input: InputKind::Array(ArrayInput::default()),
            mapping: Arc::default(),
            order: None,
            intervals: None,
            classes: ClassNames::new(classes),
            unlabelled: false,
            numbers: Vec::new(),
            labels: LabelSource::Column("label".to_owned()),
            arrays: ArrayNames::default(),
            values_max: VALUES_MAX,
            held_values_max: VALUES_MAX,
            rows_max: SAMPLE_ROWS_MAX,
            split: SplitRule::default(),
        })
    }

    /// What files of a task hold: rows labelled with its classes, or with its
    /// numbers.
    ///
    /// # Errors
    /// If the task's classes are too many to name.
    pub fn of_task(task: &Task) -> Result<Self, SchemaError> {
        let shape = task.input_shape().clone();
        let schema = match task.target() {
            Target::Class => {
                let classes = task.definition().classes.clone();
                let unlabelled = classes == [USUAL];
                let schema = Self::new(shape, classes)?;
                Self {
                    unlabelled,
                    ..schema
                }
            }
            Target::Number(specs) => {
                let one = Self::new(shape, vec!["row".to_owned()])?;
                let numbers = specs.iter().map(|spec| spec.name.clone()).collect();
                Self { numbers, ..one }
            }
        };
        Ok(schema.with_input(task.input().clone()))
    }

    /// Whether rows have no labels.
    pub fn is_unlabelled(&self) -> bool {
        self.unlabelled
    }

    /// Names of the numbers that rows are labelled with; none where they are
    /// labelled with classes.
    pub fn numbers(&self) -> &[String] {
        &self.numbers
    }

    /// The same with another source of labels.
    #[must_use]
    pub fn with_labels(self, labels: LabelSource) -> Self {
        Self { labels, ..self }
    }

    /// The same with other array names.
    #[must_use]
    pub fn with_arrays(self, arrays: ArrayNames) -> Self {
        Self { arrays, ..self }
    }

    /// The same for inputs that need no label, as in prediction: a label
    /// column may be absent.
    #[must_use]
    pub fn with_optional_labels(self) -> Self {
        let labels = match self.labels {
            LabelSource::Column(name) => LabelSource::OptionalColumn(name),
            other => other,
        };
        Self { labels, ..self }
    }

    /// The same for what a task says of its inputs.
    #[must_use]
    pub fn with_input(self, input: InputKind) -> Self {
        let split = SplitRule::default().for_input(&input);
        Self {
            input,
            split,
            ..self
        }
    }

    /// The same where files are split otherwise.
    #[must_use]
    pub fn with_split(self, split: SplitRule) -> Self {
        Self { split, ..self }
    }

    /// How a file's rows are split.
    pub fn split_rule(&self) -> SplitRule {
        self.split
    }

    /// The same for files that are written as a device's owner says.
    #[must_use]
    pub fn with_mapping(self, mapping: Mapping) -> Self {
        Self {
            classes: self.classes.with_words(&mapping.labels),
            mapping: Arc::new(mapping),
            ..self
        }
    }

    /// The same with labels from a file of their own.
    #[must_use]
    pub(super) fn with_intervals(self, intervals: Option<Arc<Intervals>>) -> Self {
        Self { intervals, ..self }
    }

    /// What one input is.
    pub fn input(&self) -> &InputKind {
        &self.input
    }

    /// How files are written.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The same for a file beside one whose columns have these names: one that
    /// has the same names in another order is read by name.
    #[must_use]
    pub(super) fn with_order(self, order: Option<Arc<Vec<String>>>) -> Self {
        Self { order, ..self }
    }

    pub(super) fn order(&self) -> Option<&[String]> {
        self.order.as_deref().map(Vec::as_slice)
    }

    pub(super) fn intervals(&self) -> Option<&Intervals> {
        self.intervals.as_deref()
    }

    /// Values of one input.
    pub fn values(&self) -> usize {
        self.shape.values()
    }

    /// Shape of one input.
    pub fn shape(&self) -> &InputShape {
        &self.shape
    }

    /// Where labels come from.
    pub fn labels(&self) -> &LabelSource {
        &self.labels
    }

    /// Names of arrays.
    pub fn arrays(&self) -> &ArrayNames {
        &self.arrays
    }

    /// The classes, and the rule by which labels find them.
    pub fn classes(&self) -> &ClassNames {
        &self.classes
    }

    /// The same with another limit on the values of one file that is read
    /// whole.
    #[must_use]
    pub fn with_values_max(self, values_max: usize) -> Self {
        Self { values_max, ..self }
    }

    /// The same where at most so many values and rows of all files together
    /// are held: of more, a sample is.
    #[must_use]
    pub fn with_held_max(self, held_values_max: usize, rows_max: usize) -> Self {
        Self {
            held_values_max,
            rows_max,
            ..self
        }
    }

    /// Most rows that are held.
    pub fn rows_max(&self) -> usize {
        let rows = self.held_values_max / self.values().max(1);
        rows.min(self.rows_max).max(1)
    }

    /// Most values that one file may hold that is read whole.
    pub fn values_max(&self) -> usize {
        self.values_max
    }

    /// The label column's name, where one is looked for.
    pub(super) fn label_column(&self) -> Option<&str> {
        match &self.labels {
            LabelSource::Column(name) | LabelSource::OptionalColumn(name) => Some(name.trim()),
            LabelSource::None => None,
        }
    }

    /// Whether so many values of one file may be held.
    pub(super) fn check_size(&self, values: usize) -> Result<(), ParseError> {
        match values <= self.values_max {
            true => Ok(()),
            false => Err(ParseError::Size {
                rows_max: self.values_max / self.values(),
                values: self.values(),
            }),
        }
    }
}

/// Most values of one file unless something else is said.
const VALUES_MAX: usize = 1 << 28;
