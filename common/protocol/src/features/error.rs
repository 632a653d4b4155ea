//! Why features cannot be computed.

use math::linalg::LinalgError;

use super::{FeatureStage, InputShape, NormaliserError};
use crate::limits::INPUT_VALUES_MAX;

/// Why features cannot be computed. The messages say what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// A shape that is not valid.
    #[error(
        "an input has 1 to 3 sides, each 1 or more, and at most {INPUT_VALUES_MAX} values; got {shape:?}"
    )]
    Shape {
        /// What was given.
        shape: Vec<usize>,
    },
    /// A shape that a stage, or its parameters, does not take.
    #[error("feature stage {stage} takes {takes}; got {shape:?}")]
    Unfit {
        /// The stage with its parameters.
        stage: FeatureStage,
        /// What it takes.
        takes: String,
        /// What was given.
        shape: Vec<usize>,
    },
    /// A stage that other programs cannot be told.
    #[error("students of feature stage {stage} cannot be exported yet")]
    NotExported {
        /// The stage.
        stage: FeatureStage,
    },
    /// Another program's stage.
    #[error(
        "feature stage {name:?} is not known; known are {}",
        FeatureStage::known()
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
    /// Directions of a projection that cannot be found.
    #[error("the directions of a projection cannot be computed: {0}")]
    Directions(#[from] LinalgError),
    /// No rows, or values that no common scale holds.
    #[error(
        "no device could send these features' statistics: there are no rows, or values beyond 1e18"
    )]
    Immense,
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

impl FeatureError {
    /// That a stage takes `takes`, and not this shape.
    pub(super) fn unfit(stage: FeatureStage, takes: impl Into<String>, shape: &InputShape) -> Self {
        Self::Unfit {
            stage,
            takes: takes.into(),
            shape: shape.sides().to_vec(),
        }
    }
}
