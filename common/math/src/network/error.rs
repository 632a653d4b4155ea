//! What can be wrong with a network's shape, inputs or parameters.

use super::Real;
use crate::shape::{self, ShapeError};

/// Why a network could not be built, loaded, run or trained.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum NetworkError {
    /// A layer would have no units.
    #[error("layer {layer} has no units; every layer needs at least one")]
    NoUnits {
        /// Counted from 0, the inputs.
        layer: usize,
    },
    /// A convolutional network without a convolution.
    #[error("no convolutions; at least one is needed, or an MLP")]
    NoConvolutions,
    /// A kernel or a pool that is empty or larger than what it slides over.
    #[error("convolution {layer}: a {what} of {size:?} does not fit an input of {input:?}")]
    DoesNotFit {
        /// Which convolution, counted from 0.
        layer: usize,
        /// Kernel or pool.
        what: &'static str,
        /// Its height and width.
        size: [usize; 2],
        /// Height and width of what it slides over.
        input: [usize; 2],
    },
    /// A convolution that would take too much memory for one input.
    #[error("convolution {layer} needs {values} values an input, at most {max} are allowed")]
    TooWide {
        /// Which convolution, counted from 0.
        layer: usize,
        /// Of its windows or its response (saturating).
        values: usize,
        /// The limit.
        max: usize,
    },
    /// The network has too many layers.
    #[error("{layers} layers, at most {max} are allowed")]
    TooDeep {
        /// Layers with parameters.
        layers: usize,
        /// The limit.
        max: usize,
    },
    /// The network has too many parameters.
    #[error("{parameters} parameters, at most {max} are allowed")]
    TooLarge {
        /// Parameters of the shape (saturating).
        parameters: usize,
        /// The limit.
        max: usize,
    },
    /// Inputs, targets or flat parameters that do not fit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A training batch with no rows.
    #[error("the batch has no rows")]
    EmptyBatch,
    /// A temperature that is not a positive, finite number.
    #[error("the temperature is {0}, it must be positive and finite")]
    Temperature(f64),
    /// A parameter that is NaN or infinite.
    #[error("parameter {index} is not finite: {value}")]
    NonFinite {
        /// Its place in the flat parameters.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// Training has diverged.
    #[error("step {step} diverged at a loss of {loss}; a lower learning rate may help")]
    Diverged {
        /// Counted from 0.
        step: u64,
        /// The loss; it, or its gradient, is NaN or infinite.
        loss: f64,
    },
}

pub(super) fn check_width(expected: usize, got: usize) -> Result<(), NetworkError> {
    Ok(shape::check_count("values of an input", expected, got)?)
}

pub(super) fn check_count(expected: usize, got: usize) -> Result<(), NetworkError> {
    Ok(shape::check_count("parameters", expected, got)?)
}

pub(super) fn check_flat<T: Real>(expected: usize, values: &[T]) -> Result<(), NetworkError> {
    check_count(expected, values.len())?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(NetworkError::NonFinite {
            index,
            value: values[index].wide(),
        }),
    }
}
