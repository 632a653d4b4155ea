//! A run of dense layers over flat parameters: the whole of an MLP and the
//! head of a convolutional network.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Real, Tensor};

/// Layers y = x·Wᵀ + b, with ReLU between them and none after the last. W is
/// (outputs, inputs), row by row, and b follows it.
#[derive(Clone, Debug)]
pub(super) struct DenseStack {
    layers: Vec<Dense>,
}

#[derive(Clone, Copy, Debug)]
struct Dense {
    inputs: usize,
    outputs: usize,
    /// Where the weight begins in the flat parameters.
    start: usize,
}

/// What a pass leaves behind: the output of each layer, and the gradient of
/// the loss with respect to it.
#[derive(Debug)]
pub(super) struct DenseBuffers<T> {
    outputs: Vec<Vec<T>>,
    deltas: Vec<Vec<T>>,
}

impl DenseStack {
    /// Layers between consecutive `widths`, their parameters from `start` on.
    pub(super) fn new(widths: &[usize], start: usize) -> Self {
        let mut next = start;
        let layers = widths
            .windows(2)
            .map(|pair| {
                let layer = Dense {
                    inputs: pair[0],
                    outputs: pair[1],
                    start: next,
                };
                next += layer.parameters();
                layer
            })
            .collect();
        Self { layers }
    }

    pub(super) fn tensors(&self, prefix: &str) -> Vec<Tensor> {
        let of_layer = |(index, layer): (usize, &Dense)| {
            let bias = layer.start + layer.inputs * layer.outputs;
            [
                Tensor {
                    name: format!("{prefix}.{index}.weight"),
                    shape: vec![layer.outputs, layer.inputs],
                    range: layer.start..bias,
                },
                Tensor {
                    name: format!("{prefix}.{index}.bias"),
                    shape: vec![layer.outputs],
                    range: bias..bias + layer.outputs,
                },
            ]
        };
        self.layers.iter().enumerate().flat_map(of_layer).collect()
    }

    /// Draws weights that keep the variance of the signal: N(0, 2/inputs)
    /// before a ReLU (He et al. 2015, equation 10), N(0, 1/inputs) before the
    /// logits. Biases start at zero.
    pub(super) fn initialise<T: Real>(&self, parameters: &mut [T], rng: &mut impl Rng) {
        for (index, layer) in self.layers.iter().enumerate() {
            let gain = if index + 1 == self.layers.len() {
                1.0
            } else {
                2.0
            };
            let (weight, bias) = layer.split_mut(parameters);
            draw_normal(weight, (gain / layer.inputs as f64).sqrt(), rng);
            bias.fill(T::zero());
        }
    }

    pub(super) fn buffers<T: Real>(&self, rows: usize) -> DenseBuffers<T> {
        let of_layers = || {
            let zeros = |layer: &Dense| vec![T::zero(); rows * layer.outputs];
            self.layers.iter().map(zeros).collect()
        };
        DenseBuffers {
            outputs: of_layers(),
            deltas: of_layers(),
        }
    }

    /// Fills the outputs of every layer for `inputs` (rows, inputs).
    pub(super) fn forward<T: Real>(
        &self,
        parameters: &[T],
        inputs: ArrayView2<'_, T>,
        buffers: &mut DenseBuffers<T>,
    ) {
        let rows = inputs.nrows();
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, after) = buffers.outputs.split_at_mut(index);
            let from = match before.last() {
                None => inputs,
                Some(buffer) => matrix(buffer, rows, layer.inputs),
            };
            let mut to = matrix_mut(&mut after[0], rows, layer.outputs);
            let (weight, bias) = layer.split(parameters);
            let weight = matrix(weight, layer.outputs, layer.inputs);
            for mut row in to.rows_mut() {
                row.iter_mut().zip(bias).for_each(|(y, &b)| *y = b);
            }
            general_mat_mul(T::one(), &from, &weight.t(), T::one(), &mut to);
            if index + 1 < self.layers.len() {
                rectify(&mut to);
            }
        }
    }

    /// The logits of the last [`forward`](Self::forward).
    pub(super) fn logits<'b, T: Real>(
        &self,
        rows: usize,
        buffers: &'b DenseBuffers<T>,
    ) -> ArrayView2<'b, T> {
        let last = self.layers.len() - 1;
        matrix(&buffers.outputs[last], rows, self.layers[last].outputs)
    }

    /// What the last layer was given in the last [`forward`](Self::forward) of
    /// `inputs`.
    pub(super) fn before_last<T: Real>(
        &self,
        inputs: ArrayView2<'_, T>,
        buffers: &DenseBuffers<T>,
    ) -> Array2<T> {
        let last = self.layers.len() - 1;
        match last.checked_sub(1) {
            None => inputs.to_owned(),
            Some(before) => {
                let width = self.layers[last].inputs;
                matrix(&buffers.outputs[before], inputs.nrows(), width).to_owned()
            }
        }
    }

    /// The logits, and where their gradient goes before
    /// [`backward`](Self::backward).
    pub(super) fn logits_and_delta<'b, T: Real>(
        &self,
        rows: usize,
        buffers: &'b mut DenseBuffers<T>,
    ) -> (ArrayView2<'b, T>, ArrayViewMut2<'b, T>) {
        let last = self.layers.len() - 1;
        let width = self.layers[last].outputs;
        (
            matrix(&buffers.outputs[last], rows, width),
            matrix_mut(&mut buffers.deltas[last], rows, width),
        )
    }

    /// Carries the gradient at the logits back: fills this stack's part of
    /// `gradient` and, if asked, the gradient with respect to the inputs.
    pub(super) fn backward<T: Real>(
        &self,
        parameters: &[T],
        inputs: ArrayView2<'_, T>,
        buffers: &mut DenseBuffers<T>,
        gradient: &mut [T],
        mut input_gradient: Option<ArrayViewMut2<'_, T>>,
    ) {
        let rows = inputs.nrows();
        let (zero, one) = (T::zero(), T::one());
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, after) = buffers.deltas.split_at_mut(index);
            let delta = matrix(&after[0], rows, layer.outputs);
            let from = match index.checked_sub(1) {
                None => inputs,
                Some(previous) => matrix(&buffers.outputs[previous], rows, layer.inputs),
            };
            let (weight_gradient, bias_gradient) = layer.split_mut(gradient);
            let mut weight_gradient = matrix_mut(weight_gradient, layer.outputs, layer.inputs);
            general_mat_mul(one, &delta.t(), &from, zero, &mut weight_gradient);
            bias_gradient.fill(zero);
            add_row_sums(delta, bias_gradient);

            let weight = matrix(layer.split(parameters).0, layer.outputs, layer.inputs);
            if let Some(buffer) = before.last_mut() {
                let mut to = matrix_mut(buffer, rows, layer.inputs);
                general_mat_mul(one, &delta, &weight, zero, &mut to);
                to.zip_mut_with(&from, |d, &y| {
                    if y <= zero {
                        *d = zero;
                    }
                });
            } else if let Some(to) = input_gradient.as_mut() {
                general_mat_mul(one, &delta, &weight, zero, to);
            }
        }
    }
}

impl Dense {
    fn parameters(&self) -> usize {
        (self.inputs + 1) * self.outputs
    }

    fn split<'p, T>(&self, flat: &'p [T]) -> (&'p [T], &'p [T]) {
        flat[self.start..self.start + self.parameters()].split_at(self.inputs * self.outputs)
    }

    fn split_mut<'p, T>(&self, flat: &'p mut [T]) -> (&'p mut [T], &'p mut [T]) {
        flat[self.start..self.start + self.parameters()].split_at_mut(self.inputs * self.outputs)
    }
}

impl<T: Real> DenseBuffers<T> {
    /// Makes room for `rows` rows, if there is less.
    pub(super) fn reserve(&mut self, stack: &DenseStack, rows: usize) {
        let buffers = self.outputs.iter_mut().zip(&mut self.deltas);
        for ((output, delta), layer) in buffers.zip(&stack.layers) {
            let length = rows * layer.outputs;
            if output.len() < length {
                output.resize(length, T::zero());
                delta.resize(length, T::zero());
            }
        }
    }
}

/// ReLU in place. NaN stays NaN, so that it is noticed.
pub(super) fn rectify<T: Real>(values: &mut ArrayViewMut2<'_, T>) {
    let zero = T::zero();
    values.mapv_inplace(|value| if value < zero { zero } else { value });
}

/// Fills `weights` from N(0, deviation²).
pub(super) fn draw_normal<T: Real>(weights: &mut [T], deviation: f64, rng: &mut impl Rng) {
    for value in weights {
        let sample: f64 = StandardNormal.sample(rng);
        *value = T::of(deviation * sample);
    }
}

/// Adds every row of `delta` to `sums`.
pub(super) fn add_row_sums<T: Real>(delta: ArrayView2<'_, T>, sums: &mut [T]) {
    for row in delta.axis_iter(Axis(0)) {
        sums.iter_mut().zip(row).for_each(|(sum, &d)| *sum += d);
    }
}

/// The first rows × columns numbers of a buffer as a matrix.
pub(super) fn matrix<T>(buffer: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), &buffer[..rows * columns])
        .expect("the slice is exactly as long as the shape")
}

/// As [`matrix`], to be written to.
pub(super) fn matrix_mut<T>(buffer: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut buffer[..rows * columns])
        .expect("the slice is exactly as long as the shape")
}
