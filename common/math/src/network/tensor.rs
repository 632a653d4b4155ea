//! One weight or bias within the flat parameters.

use std::ops::Range;

/// Names a run of the flat parameters and gives it a shape, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Such as `layers.0.weight`.
    pub name: String,
    /// (outputs, inputs) for a dense weight, (outputs) for a bias.
    pub shape: Vec<usize>,
    /// Its place in the flat parameters.
    pub range: Range<usize>,
}
