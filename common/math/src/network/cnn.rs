//! The convolutional network.

use ndarray::{Array2, ArrayView2};
use rand::Rng;

use super::cnn_shape::CnnShape;
use super::convolution::{Convolution, ConvolutionBuffers, Scratch};
use super::dense::{DenseStack, draw_normal, matrix, matrix_mut};
use super::error::{check_count, check_flat, check_width};
use super::{Batch, Loss, Network, NetworkError, Real, Tensor, Workspace};

/// Convolutions, each with ReLU and max-pool, under a dense head: over images
/// (height, width, channels), or over series as images of height 1.
///
/// Each convolution is a matrix product over unfolded windows (Chellapilla,
/// Puri and Simard 2006), a few images at a time, so that memory beside the
/// activations stays near 2 MiB.
#[derive(Clone, Debug)]
pub struct Cnn<T: Real = f32> {
    shape: CnnShape,
    convolutions: Vec<Convolution>,
    head: DenseStack,
    parameters: Vec<T>,
}

/// What a pass leaves behind for all convolutions.
#[derive(Debug)]
pub(super) struct CnnBuffers<T> {
    layers: Vec<ConvolutionBuffers<T>>,
    scratch: Scratch<T>,
}

impl<T: Real> Cnn<T> {
    /// A network with random weights that keep the signal's variance (He et
    /// al. 2015) and zero biases.
    ///
    /// # Errors
    /// If the shape does not pass [`CnnShape::check`].
    pub fn new(shape: CnnShape, rng: &mut impl Rng) -> Result<Self, NetworkError> {
        let mut parameters = vec![T::zero(); shape.parameters()?];
        let (convolutions, head) = shape.layers()?;
        for convolution in &convolutions {
            let deviation = (2.0 / convolution.window() as f64).sqrt();
            draw_normal(convolution.split_mut(&mut parameters).0, deviation, rng);
        }
        head.initialise(&mut parameters, rng);
        Ok(Self {
            shape,
            convolutions,
            head,
            parameters,
        })
    }

    /// A network with these parameters, in the order of
    /// [`Network::tensors`].
    ///
    /// # Errors
    /// If the shape does not pass [`CnnShape::check`], or the parameters are
    /// too many, too few or not finite.
    pub fn from_flat(shape: CnnShape, parameters: Vec<T>) -> Result<Self, NetworkError> {
        check_flat(shape.parameters()?, &parameters)?;
        let (convolutions, head) = shape.layers()?;
        Ok(Self {
            shape,
            convolutions,
            head,
            parameters,
        })
    }

    /// What the network is made of.
    pub fn shape(&self) -> &CnnShape {
        &self.shape
    }

    /// Runs the convolutions over inputs in standard layout.
    fn convolve(&self, inputs: &[T], rows: usize, buffers: &mut CnnBuffers<T>) {
        let CnnBuffers { layers, scratch } = buffers;
        for (index, convolution) in self.convolutions.iter().enumerate() {
            let (before, after) = layers.split_at_mut(index);
            let from = before.last().map_or(inputs, |layer| &layer.outputs);
            let from = &from[..rows * convolution.inputs()];
            after[0].reserve(convolution, rows);
            convolution.forward(&self.parameters, from, &mut after[0], scratch);
        }
    }

    /// Carries the gradient at the last convolution's outputs back.
    fn backward(&self, inputs: &[T], rows: usize, buffers: &mut CnnBuffers<T>, gradient: &mut [T]) {
        let CnnBuffers { layers, scratch } = buffers;
        for (index, convolution) in self.convolutions.iter().enumerate().rev() {
            let (before, after) = layers.split_at_mut(index);
            let length = rows * convolution.inputs();
            let (from, to) = match before.last_mut() {
                None => (inputs, None),
                Some(layer) => (&layer.outputs[..], Some(&mut layer.deltas[..length])),
            };
            convolution.backward(
                &self.parameters,
                &from[..length],
                &after[0],
                scratch,
                gradient,
                to,
            );
        }
    }
}

impl<T: Real> Network<T> for Cnn<T> {
    fn inputs(&self) -> usize {
        self.shape.input.iter().product()
    }

    fn outputs(&self) -> usize {
        self.shape.outputs
    }

    fn tensors(&self) -> Vec<Tensor> {
        let of_convolution = |(index, convolution): (usize, &Convolution)| {
            let Convolution {
                kernel,
                input,
                channels,
                start,
                ..
            } = *convolution;
            let bias = start + convolution.window() * channels;
            [
                Tensor {
                    name: format!("convolutions.{index}.weight"),
                    shape: vec![channels, kernel[0], kernel[1], input[2]],
                    range: start..bias,
                },
                Tensor {
                    name: format!("convolutions.{index}.bias"),
                    shape: vec![channels],
                    range: bias..bias + channels,
                },
            ]
        };
        let convolutions = self.convolutions.iter().enumerate();
        let mut tensors: Vec<Tensor> = convolutions.flat_map(of_convolution).collect();
        tensors.extend(self.head.tensors("layers"));
        tensors
    }

    fn parameters(&self) -> &[T] {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    fn workspace(&self, rows: usize) -> Workspace<T> {
        let buffers = |convolution| ConvolutionBuffers::new(convolution, rows);
        Workspace {
            dense: self.head.buffers(rows),
            convolutional: Some(CnnBuffers {
                layers: self.convolutions.iter().map(buffers).collect(),
                scratch: Scratch::new(&self.convolutions),
            }),
        }
    }

    fn forward<'w>(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<ArrayView2<'w, T>, NetworkError> {
        check_width(Network::inputs(self), inputs.ncols())?;
        let rows = inputs.nrows();
        let standard = inputs.as_standard_layout();
        let values = standard.as_slice().expect("it is in standard layout");
        let Workspace {
            dense,
            convolutional,
        } = workspace;
        let buffers = convolutional.as_mut().expect(MADE_HERE);
        self.convolve(values, rows, buffers);
        dense.reserve(&self.head, rows);
        let features = buffers.features(&self.convolutions, rows).0;
        self.head.forward(&self.parameters, features, dense);
        Ok(self.head.logits(rows, dense))
    }

    fn before_last(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Array2<T>, NetworkError> {
        self.forward(inputs, workspace)?;
        let Workspace {
            dense,
            convolutional,
        } = workspace;
        let buffers = convolutional.as_mut().expect(MADE_HERE);
        let features = buffers.features(&self.convolutions, inputs.nrows()).0;
        Ok(self.head.before_last(features, dense))
    }

    fn loss_gradient(
        &self,
        batch: Batch<'_, T>,
        loss: Loss,
        workspace: &mut Workspace<T>,
        gradient: &mut [T],
    ) -> Result<f64, NetworkError> {
        batch.check(self.shape.outputs, loss)?;
        check_count(self.parameters.len(), gradient.len())?;
        self.forward(batch.inputs, workspace)?;
        let rows = batch.inputs.nrows();
        let Workspace {
            dense,
            convolutional,
        } = workspace;
        let buffers = convolutional.as_mut().expect(MADE_HERE);
        let (logits, delta) = self.head.logits_and_delta(rows, dense);
        let loss = loss.of(logits, batch.targets, delta);
        let (features, delta) = buffers.features(&self.convolutions, rows);
        self.head
            .backward(&self.parameters, features, dense, gradient, Some(delta));
        let standard = batch.inputs.as_standard_layout();
        let values = standard.as_slice().expect("it is in standard layout");
        self.backward(values, rows, buffers, gradient);
        Ok(loss)
    }
}

impl<T: Real> CnnBuffers<T> {
    /// The last convolution's outputs, a row each, and where their gradient
    /// goes.
    fn features(
        &mut self,
        convolutions: &[Convolution],
        rows: usize,
    ) -> (ArrayView2<'_, T>, ndarray::ArrayViewMut2<'_, T>) {
        let last = self.layers.len() - 1;
        let width = convolutions[last].outputs();
        let ConvolutionBuffers {
            outputs, deltas, ..
        } = &mut self.layers[last];
        (
            matrix(outputs, rows, width),
            matrix_mut(deltas, rows, width),
        )
    }
}

const MADE_HERE: &str = "a workspace is used by the network that made it";
