//! Feature stages: what turns a raw input into what kernels and students
//! see. A task fixes one stage by name and version, so that all devices look
//! through the same lens.

mod normaliser;
mod window;

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::limits::{FEATURES_MAX, INPUT_VALUES_MAX};

pub use normaliser::{Normaliser, NormaliserError};

/// A feature stage, with the version of its definition. Written as `raw` or
/// `window/1`; `window` alone stands for the newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FeatureStage {
    /// The values as they are, flattened in row-major order.
    Raw,
    /// Statistics, spectra and correlations of a window of a multi-channel
    /// signal; shape is time × channels.
    Window {
        /// Version of the definition.
        version: u16,
    },
}

/// Shape of one raw input: 1 to 3 sides, none zero, at most
/// [`INPUT_VALUES_MAX`] values. One side is a list of features, two are time
/// × channels of a window or height × width of an image, three are height ×
/// width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct InputShape(Vec<usize>);

/// Why features cannot be computed. The messages say what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// A shape that is none.
    #[error(
        "an input has 1 to 3 sides, each 1 or more, and at most {INPUT_VALUES_MAX} values; got {shape:?}"
    )]
    Shape {
        /// What was given.
        shape: Vec<usize>,
    },
    /// A shape that this stage does not take.
    #[error(
        "the window stage takes inputs of time x channels with at least {} steps; got {shape:?}",
        window::STEPS_MIN
    )]
    NotAWindow {
        /// What was given.
        shape: Vec<usize>,
    },
    /// So many channels that their correlations are too many.
    #[error("{channels} channels give more than {FEATURES_MAX} features")]
    Channels {
        /// How many channels there are.
        channels: usize,
    },
    /// Another program's stage.
    #[error(
        "feature stage {name:?} is not known; known are \"raw\" and \"window/{}\"",
        window::VERSION
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// Rows that do not have the input's shape.
    #[error("expected rows of {expected} values, got {got}")]
    RowValues {
        /// Values of one input.
        expected: usize,
        /// Columns of the rows.
        got: usize,
    },
    /// A normaliser that does not fit.
    #[error(transparent)]
    Normaliser(#[from] NormaliserError),
    /// A value that is NaN or infinite.
    #[error("row {row}, value {column} is {value}; inputs are finite")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The value's place in it, from 0.
        column: usize,
        /// What stands there.
        value: f32,
    },
}

impl FeatureStage {
    /// The window stage of the newest version.
    pub const fn window() -> Self {
        Self::Window {
            version: window::VERSION,
        }
    }

    /// Features of one input. Errors: a shape the stage does not take, or a
    /// version that is not known here.
    pub fn features(&self, shape: &InputShape) -> Result<usize, FeatureError> {
        match self {
            Self::Raw => Ok(shape.values()),
            Self::Window { .. } => Ok(self.extractor(shape)?.features()),
        }
    }

    /// What each feature is, for reports: as many names as features.
    pub fn names(&self, shape: &InputShape) -> Result<Vec<String>, FeatureError> {
        match self {
            Self::Raw => Ok((0..shape.values()).map(|i| format!("value {i}")).collect()),
            Self::Window { .. } => Ok(self.extractor(shape)?.names()),
        }
    }

    /// Features of each row: n × values (each row one input, row-major) to
    /// n × features. The result is finite. Errors: rows of another length, or
    /// a value that is not finite.
    ///
    /// Takes O(values · log(time)) a row and, beside the result, memory for
    /// one row.
    pub fn compute(
        &self,
        shape: &InputShape,
        rows: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, FeatureError> {
        if rows.ncols() != shape.values() {
            return Err(FeatureError::RowValues {
                expected: shape.values(),
                got: rows.ncols(),
            });
        }
        if let Some(((row, column), &value)) =
            rows.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(FeatureError::NotFinite { row, column, value });
        }
        match self {
            Self::Raw => Ok(rows.as_standard_layout().into_owned()),
            Self::Window { .. } => Ok(self.extractor(shape)?.compute(rows)),
        }
    }

    fn extractor(&self, shape: &InputShape) -> Result<window::Window, FeatureError> {
        match self {
            Self::Window {
                version: window::VERSION,
            } => window::Window::new(shape),
            other => Err(FeatureError::Unknown {
                name: other.to_string(),
            }),
        }
    }
}

impl fmt::Display for FeatureStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Window { version } => write!(f, "window/{version}"),
        }
    }
}

impl FromStr for FeatureStage {
    type Err = FeatureError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let newest = Self::window();
        match name {
            "raw" => Ok(Self::Raw),
            "window" => Ok(newest),
            _ if name == newest.to_string() => Ok(newest),
            _ => Err(FeatureError::Unknown {
                name: name.to_owned(),
            }),
        }
    }
}

impl From<FeatureStage> for String {
    fn from(stage: FeatureStage) -> Self {
        stage.to_string()
    }
}

impl TryFrom<String> for FeatureStage {
    type Error = FeatureError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl InputShape {
    /// A shape of these sides. Errors: none or more than three, a zero, or
    /// more than [`INPUT_VALUES_MAX`] values.
    pub fn new(sides: Vec<usize>) -> Result<Self, FeatureError> {
        let values = sides
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side));
        let fits = values.is_some_and(|values| (1..=INPUT_VALUES_MAX).contains(&values));
        if (1..=3).contains(&sides.len()) && fits {
            Ok(Self(sides))
        } else {
            Err(FeatureError::Shape { shape: sides })
        }
    }

    /// Lengths of the sides.
    pub fn sides(&self) -> &[usize] {
        &self.0
    }

    /// Values of one input: the product of the sides.
    pub fn values(&self) -> usize {
        self.0.iter().product()
    }
}

impl TryFrom<Vec<usize>> for InputShape {
    type Error = FeatureError;

    fn try_from(sides: Vec<usize>) -> Result<Self, Self::Error> {
        Self::new(sides)
    }
}

impl From<InputShape> for Vec<usize> {
    fn from(shape: InputShape) -> Self {
        shape.0
    }
}

#[cfg(test)]
mod tests;
