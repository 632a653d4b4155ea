//! A network of either kind, as a task chooses it.

use std::fmt;

use ndarray::{Array2, ArrayView2};
use rand::Rng;

use super::convolution::Convolution;
use super::{Batch, Cnn, CnnShape, Loss, Mlp, MlpShape, Network, NetworkError, Tensor, Workspace};

/// What a [`Student`] is made of. Written `mlp:200` or `cnn:16,32/64`: the
/// channels of the convolutions, then the hidden units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StudentShape {
    /// A multi-layer perceptron.
    Mlp(MlpShape),
    /// A convolutional network.
    Cnn(CnnShape),
}

/// A multi-layer perceptron or a convolutional network.
#[derive(Clone, Debug)]
pub enum Student {
    /// A multi-layer perceptron.
    Mlp(Mlp<f32>),
    /// A convolutional network.
    Cnn(Cnn<f32>),
}

impl StudentShape {
    /// Holds the shape against the limits.
    ///
    /// # Errors
    /// As [`MlpShape::check`] or [`CnnShape::check`].
    pub fn check(&self) -> Result<(), NetworkError> {
        match self {
            Self::Mlp(shape) => shape.check(),
            Self::Cnn(shape) => shape.check(),
        }
    }

    /// Weights and biases in all; the largest `usize` if it passes no check.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Mlp(shape) => shape.parameters(),
            Self::Cnn(shape) => shape.parameters().unwrap_or(usize::MAX),
        }
    }

    /// Units before the last layer; 0 if it passes no check.
    pub fn before_last(&self) -> usize {
        match (self, self.hidden().last()) {
            (_, Some(&units)) => units,
            (Self::Mlp(shape), None) => shape.inputs,
            (Self::Cnn(shape), None) => {
                let layers = shape.layers().map(|(convolutions, _)| convolutions);
                let last = layers
                    .ok()
                    .and_then(|all| all.last().map(Convolution::outputs));
                last.unwrap_or(0)
            }
        }
    }

    /// Units of the hidden dense layers.
    pub fn hidden(&self) -> &[usize] {
        match self {
            Self::Mlp(shape) => &shape.hidden,
            Self::Cnn(shape) => &shape.hidden,
        }
    }
}

impl fmt::Display for StudentShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &mut dyn Iterator<Item = usize>| {
            numbers
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let hidden = list(&mut self.hidden().iter().copied());
        match self {
            Self::Mlp(_) => write!(f, "mlp:{hidden}"),
            Self::Cnn(shape) => {
                let channels = list(&mut shape.convolutions.iter().map(|one| one.channels));
                write!(f, "cnn:{channels}/{hidden}")
            }
        }
    }
}

impl Student {
    /// A network with random weights; see [`Mlp::new`] and [`Cnn::new`].
    ///
    /// # Errors
    /// If the shape does not pass its check.
    pub fn new(shape: &StudentShape, rng: &mut impl Rng) -> Result<Self, NetworkError> {
        Ok(match shape {
            StudentShape::Mlp(shape) => Self::Mlp(Mlp::new(shape.clone(), rng)?),
            StudentShape::Cnn(shape) => Self::Cnn(Cnn::new(shape.clone(), rng)?),
        })
    }

    /// A network with these parameters, in the order of
    /// [`Network::tensors`].
    ///
    /// # Errors
    /// If the shape does not pass its check, or the parameters are too many,
    /// too few or not finite.
    pub fn from_flat(shape: &StudentShape, parameters: Vec<f32>) -> Result<Self, NetworkError> {
        Ok(match shape {
            StudentShape::Mlp(shape) => Self::Mlp(Mlp::from_flat(shape.clone(), parameters)?),
            StudentShape::Cnn(shape) => Self::Cnn(Cnn::from_flat(shape.clone(), parameters)?),
        })
    }

    fn network(&self) -> &dyn Network<f32> {
        match self {
            Self::Mlp(network) => network,
            Self::Cnn(network) => network,
        }
    }

    fn network_mut(&mut self) -> &mut dyn Network<f32> {
        match self {
            Self::Mlp(network) => network,
            Self::Cnn(network) => network,
        }
    }
}

impl Network<f32> for Student {
    fn inputs(&self) -> usize {
        self.network().inputs()
    }

    fn outputs(&self) -> usize {
        self.network().outputs()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.network().tensors()
    }

    fn parameters(&self) -> &[f32] {
        self.network().parameters()
    }

    fn parameters_mut(&mut self) -> &mut [f32] {
        self.network_mut().parameters_mut()
    }

    fn workspace(&self, rows: usize) -> Workspace<f32> {
        self.network().workspace(rows)
    }

    fn forward<'w>(
        &self,
        inputs: ArrayView2<'_, f32>,
        workspace: &'w mut Workspace<f32>,
    ) -> Result<ArrayView2<'w, f32>, NetworkError> {
        self.network().forward(inputs, workspace)
    }

    fn before_last(
        &self,
        inputs: ArrayView2<'_, f32>,
        workspace: &mut Workspace<f32>,
    ) -> Result<Array2<f32>, NetworkError> {
        self.network().before_last(inputs, workspace)
    }

    fn loss_gradient(
        &self,
        batch: Batch<'_, f32>,
        loss: Loss,
        workspace: &mut Workspace<f32>,
        gradient: &mut [f32],
    ) -> Result<f64, NetworkError> {
        self.network()
            .loss_gradient(batch, loss, workspace, gradient)
    }
}
