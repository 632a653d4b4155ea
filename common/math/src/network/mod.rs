//! Small feed-forward networks: the students that devices run.
//!
//! A [`Network`] keeps all its parameters in one flat, contiguous run of
//! numbers, cut into [`Tensor`]s. So releases, optimisers and averages need to
//! know nothing about layers. Training goes through a [`Trainer`], which owns
//! every buffer a step needs and allocates none on the way.

#[cfg(test)]
mod check;
mod cnn;
mod cnn_shape;
mod convolution;
mod dense;
mod error;
mod loss;
mod mlp;
mod student;
mod tensor;
mod trainer;
mod workspace;

use ndarray::{Array2, ArrayView2, Axis};

pub use super::kernel::Real;
pub use cnn::Cnn;
pub use cnn_shape::{CnnShape, ConvolutionShape, Padding, ROW_VALUES_MAX};
pub use error::NetworkError;
pub use loss::{Loss, cross_entropy, softmax_rows, squared_error};
pub use mlp::{Mlp, MlpShape};
pub use student::{Student, StudentShape};
pub use tensor::Tensor;
pub use trainer::Trainer;
pub use workspace::Workspace;

/// Inputs and the class distributions they should be given.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// One input a row, shape (rows, inputs).
    pub inputs: ArrayView2<'a, T>,
    /// One soft label a row, shape (rows, outputs). A row that sums to w
    /// instead of 1 counts w times.
    pub targets: ArrayView2<'a, T>,
}

/// A classifier with flat parameters and a known gradient.
pub trait Network<T: Real>: Send + Sync {
    /// Numbers in one input.
    fn inputs(&self) -> usize;

    /// Classes.
    fn outputs(&self) -> usize;

    /// Where each weight and bias lies in [`parameters`](Self::parameters).
    fn tensors(&self) -> Vec<Tensor>;

    /// Every parameter, in the order of [`tensors`](Self::tensors).
    fn parameters(&self) -> &[T];

    /// Every parameter, to be changed in place by an optimiser.
    fn parameters_mut(&mut self) -> &mut [T];

    /// Buffers for batches of up to `rows` rows. A larger batch makes them
    /// grow.
    fn workspace(&self, rows: usize) -> Workspace<T>;

    /// Writes the logits of `inputs` (rows, inputs) into the workspace and
    /// returns a view of them, shape (rows, outputs).
    ///
    /// # Errors
    /// If the width of the inputs is not [`inputs`](Self::inputs).
    fn forward<'w>(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<ArrayView2<'w, T>, NetworkError>;

    /// What the last layer is given for `inputs` (rows, inputs), shape (rows,
    /// units of the layer before it). Costs as much as [`forward`](Self::forward).
    ///
    /// # Errors
    /// If the width of the inputs is not [`inputs`](Self::inputs).
    fn before_last(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Array2<T>, NetworkError>;

    /// The [`Loss`] of a batch, in the mean of its rows, and
    /// its gradient, which replaces what is in `gradient` (as long as
    /// [`parameters`](Self::parameters)). About three times the cost of
    /// [`forward`](Self::forward).
    ///
    /// # Errors
    /// If a shape does not fit, the batch is empty, or the temperature is not
    /// positive.
    fn loss_gradient(
        &self,
        batch: Batch<'_, T>,
        loss: Loss,
        workspace: &mut Workspace<T>,
        gradient: &mut [T],
    ) -> Result<f64, NetworkError>;

    /// The logits of any number of inputs, shape (rows, outputs). Works in
    /// blocks, so memory beside the answer does not grow with the rows.
    ///
    /// # Errors
    /// If the width of the inputs is not [`inputs`](Self::inputs).
    fn logits(&self, inputs: ArrayView2<'_, T>) -> Result<Array2<T>, NetworkError> {
        error::check_width(self.inputs(), inputs.ncols())?;
        let mut logits = Array2::zeros((inputs.nrows(), self.outputs()));
        let mut workspace = self.workspace(BLOCK_ROWS.min(inputs.nrows()));
        let blocks = inputs.axis_chunks_iter(Axis(0), BLOCK_ROWS);
        for (block, mut out) in blocks.zip(logits.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS)) {
            out.assign(&self.forward(block, &mut workspace)?);
        }
        Ok(logits)
    }

    /// The most likely class of each input; the lower one of two that tie.
    ///
    /// # Errors
    /// If the width of the inputs is not [`inputs`](Self::inputs).
    fn predict(&self, inputs: ArrayView2<'_, T>) -> Result<Vec<usize>, NetworkError> {
        let logits = self.logits(inputs)?;
        let largest = |row: ndarray::ArrayView1<'_, T>| {
            let first = (0, T::neg_infinity());
            let pick = |best: (usize, T), (class, &value): (usize, &T)| {
                if value > best.1 { (class, value) } else { best }
            };
            row.iter().enumerate().fold(first, pick).0
        };
        Ok(logits.rows().into_iter().map(largest).collect())
    }

    /// A copy of every parameter.
    fn to_flat(&self) -> Vec<T> {
        self.parameters().to_vec()
    }

    /// Replaces every parameter. On an error nothing has changed.
    ///
    /// # Errors
    /// If there are too many or too few, or one is not finite.
    fn load_flat(&mut self, parameters: &[T]) -> Result<(), NetworkError> {
        error::check_flat(self.parameters().len(), parameters)?;
        self.parameters_mut().copy_from_slice(parameters);
        Ok(())
    }
}

/// Rows that [`Network::logits`] takes at a time.
const BLOCK_ROWS: usize = 256;
/// Most parameters a network may have: 256 MiB of `f32`.
pub const PARAMETERS_MAX: usize = 1 << 26;
/// Most layers with parameters a network may have.
pub const LAYERS_MAX: usize = 32;
