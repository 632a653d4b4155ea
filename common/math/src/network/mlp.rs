//! The multi-layer perceptron.

use crate::shape::check_shape;
use ndarray::{Array2, ArrayView2};
use rand::Rng;

use super::dense::DenseStack;
use super::error::{check_count, check_flat, check_width};
use super::{
    Batch, LAYERS_MAX, Loss, Network, NetworkError, PARAMETERS_MAX, Real, Tensor, Workspace,
};

/// The widths of an [`Mlp`]: ReLU after each hidden layer, none after the
/// outputs. No hidden layer makes it a linear classifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MlpShape {
    /// Numbers in one input.
    pub inputs: usize,
    /// Units of each hidden layer, from the inputs on.
    pub hidden: Vec<usize>,
    /// Classes.
    pub outputs: usize,
}

impl MlpShape {
    /// Holds the shape against the limits.
    ///
    /// # Errors
    /// If a layer has no units, or there are more than [`LAYERS_MAX`] layers
    /// or [`PARAMETERS_MAX`] parameters.
    pub fn check(&self) -> Result<(), NetworkError> {
        let layers = self.hidden.len() + 1;
        if let Some(layer) = self.widths().iter().position(|&width| width == 0) {
            return Err(NetworkError::NoUnits { layer });
        }
        if layers > LAYERS_MAX {
            return Err(NetworkError::TooDeep {
                layers,
                max: LAYERS_MAX,
            });
        }
        let parameters = self.parameters();
        if parameters > PARAMETERS_MAX {
            return Err(NetworkError::TooLarge {
                parameters,
                max: PARAMETERS_MAX,
            });
        }
        Ok(())
    }

    /// Weights and biases in all; the largest `usize` if they are more.
    pub fn parameters(&self) -> usize {
        let of_layer = |pair: &[usize]| pair[0].saturating_add(1).saturating_mul(pair[1]);
        let sum = |total: usize, layer: usize| total.saturating_add(layer);
        self.widths().windows(2).map(of_layer).fold(0, sum)
    }

    pub(super) fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.inputs];
        widths.extend(&self.hidden);
        widths.push(self.outputs);
        widths
    }
}

/// A multi-layer perceptron with ReLU units and linear logits.
#[derive(Clone, Debug)]
pub struct Mlp<T: Real = f32> {
    shape: MlpShape,
    stack: DenseStack,
    parameters: Vec<T>,
}

impl<T: Real> Mlp<T> {
    /// A network with random weights that keep the signal's variance (He et
    /// al. 2015) and zero biases.
    ///
    /// # Errors
    /// If the shape does not pass [`MlpShape::check`].
    pub fn new(shape: MlpShape, rng: &mut impl Rng) -> Result<Self, NetworkError> {
        shape.check()?;
        let stack = DenseStack::new(&shape.widths(), 0);
        let mut parameters = vec![T::zero(); shape.parameters()];
        stack.initialise(&mut parameters, rng);
        Ok(Self {
            shape,
            stack,
            parameters,
        })
    }

    /// A network with these parameters, in the order of
    /// [`Network::tensors`].
    ///
    /// # Errors
    /// If the shape does not pass [`MlpShape::check`], or the parameters are
    /// too many, too few or not finite.
    pub fn from_flat(shape: MlpShape, parameters: Vec<T>) -> Result<Self, NetworkError> {
        shape.check()?;
        check_flat(shape.parameters(), &parameters)?;
        let stack = DenseStack::new(&shape.widths(), 0);
        Ok(Self {
            shape,
            stack,
            parameters,
        })
    }

    /// The widths of the layers.
    pub fn shape(&self) -> &MlpShape {
        &self.shape
    }
}

impl<T: Real> Network<T> for Mlp<T> {
    fn inputs(&self) -> usize {
        self.shape.inputs
    }

    fn outputs(&self) -> usize {
        self.shape.outputs
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.stack.tensors("layers")
    }

    fn parameters(&self) -> &[T] {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    fn workspace(&self, rows: usize) -> Workspace<T> {
        Workspace {
            dense: self.stack.buffers(rows),
            convolutional: None,
        }
    }

    fn forward<'w>(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<ArrayView2<'w, T>, NetworkError> {
        check_width(self.shape.inputs, inputs.ncols())?;
        workspace.dense.reserve(&self.stack, inputs.nrows());
        self.stack
            .forward(&self.parameters, inputs, &mut workspace.dense);
        Ok(self.stack.logits(inputs.nrows(), &workspace.dense))
    }

    fn before_last(
        &self,
        inputs: ArrayView2<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Array2<T>, NetworkError> {
        self.forward(inputs, workspace)?;
        Ok(self.stack.before_last(inputs, &workspace.dense))
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
        let (logits, delta) = self.stack.logits_and_delta(rows, &mut workspace.dense);
        let loss = loss.of(logits, batch.targets, delta);
        self.stack.backward(
            &self.parameters,
            batch.inputs,
            &mut workspace.dense,
            gradient,
            None,
        );
        Ok(loss)
    }
}

impl<T: Real> Batch<'_, T> {
    /// Holds the targets against the inputs and the number of classes.
    pub(super) fn check(&self, outputs: usize, loss: Loss) -> Result<(), NetworkError> {
        check_shape(
            "targets",
            &[self.inputs.nrows(), outputs],
            self.targets.shape(),
        )?;
        if self.inputs.nrows() == 0 {
            return Err(NetworkError::EmptyBatch);
        }
        loss.check()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;
    use rand_distr::{Distribution, StandardNormal};

    use super::super::check::assert_gradient_agrees;
    use super::*;
    use crate::network::Trainer;
    use crate::optimiser::AdamParams;
    use crate::random::rng;
    use crate::shape::ShapeError;

    fn shape(inputs: usize, hidden: &[usize], outputs: usize) -> MlpShape {
        MlpShape {
            inputs,
            hidden: hidden.to_vec(),
            outputs,
        }
    }

    #[test]
    fn gradient_agrees_with_finite_differences_at_every_depth() {
        for hidden in [&[][..], &[9], &[12, 8], &[10, 9, 8, 7]] {
            let mlp = Mlp::<f64>::new(shape(11, hidden, 5), &mut rng(3, "weights")).unwrap();
            assert_gradient_agrees(mlp.clone(), 6, 2.5);
            assert_gradient_agrees(mlp, 6, Loss::Squared);
        }
    }

    #[test]
    fn tensors_cover_the_parameters_in_order() {
        let mlp = Mlp::<f32>::new(shape(4, &[3], 2), &mut rng(1, "weights")).unwrap();
        let tensors = mlp.tensors();
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "layers.0.weight",
                "layers.0.bias",
                "layers.1.weight",
                "layers.1.bias"
            ]
        );
        assert_eq!(tensors[0].shape, [3, 4]);
        let mut next = 0;
        for tensor in &tensors {
            assert_eq!(tensor.range.start, next);
            assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
            next = tensor.range.end;
        }
        assert_eq!(next, mlp.shape().parameters());
        assert_eq!(next, mlp.parameters().len());
    }

    #[test]
    fn logits_are_those_of_the_formula() {
        let parameters = vec![1.0, -1.0, 2.0, 0.5, 0.0, -1.0, 3.0, 4.0, 0.25];
        let mlp = Mlp::from_flat(shape(2, &[2], 1), parameters).unwrap();
        // Hidden: relu(1·3 − 1·1), relu(2·3 + 0.5·1 − 1) = 2, 5.5.
        let logits = mlp.logits(array![[3.0, 1.0], [0.0, 1.0]].view()).unwrap();
        assert_eq!(logits, array![[3.0 * 2.0 + 4.0 * 5.5 + 0.25], [0.25]]);
    }

    #[test]
    fn blocks_and_batch_sizes_do_not_change_the_logits() {
        let mlp = Mlp::<f64>::new(shape(7, &[16], 3), &mut rng(5, "weights")).unwrap();
        let mut normal = rng(5, "inputs");
        let inputs = Array2::from_shape_simple_fn((600, 7), || StandardNormal.sample(&mut normal));
        let all = mlp.logits(inputs.view()).unwrap();
        let mut workspace = mlp.workspace(1);
        let at_once = mlp.forward(inputs.view(), &mut workspace).unwrap();
        assert!(
            (&all - &at_once)
                .iter()
                .all(|difference| difference.abs() < 1e-12)
        );
        assert_eq!(
            mlp.logits(Array2::zeros((0, 7)).view()).unwrap().dim(),
            (0, 3)
        );
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        assert_eq!(
            shape(3, &[0], 2).check(),
            Err(NetworkError::NoUnits { layer: 1 })
        );
        assert_eq!(
            shape(0, &[], 2).check(),
            Err(NetworkError::NoUnits { layer: 0 })
        );
        assert!(matches!(
            shape(3, &[1; 40], 2).check(),
            Err(NetworkError::TooDeep { .. })
        ));
        let huge = shape(usize::MAX, &[usize::MAX], 2);
        assert_eq!(huge.parameters(), usize::MAX);
        assert!(matches!(huge.check(), Err(NetworkError::TooLarge { .. })));
    }

    #[test]
    fn bad_parameters_are_refused_and_change_nothing() {
        let mut mlp = Mlp::<f32>::new(shape(2, &[], 2), &mut rng(1, "weights")).unwrap();
        let before = mlp.to_flat();
        assert_eq!(
            mlp.load_flat(&[0.0; 5]),
            Err(NetworkError::Shape(ShapeError::count("parameters", 6, 5)))
        );
        let mut bad = vec![0.0; 6];
        bad[4] = f32::INFINITY;
        assert!(matches!(
            mlp.load_flat(&bad),
            Err(NetworkError::NonFinite { index: 4, .. })
        ));
        assert!(matches!(
            Mlp::from_flat(shape(2, &[], 2), bad),
            Err(NetworkError::NonFinite { index: 4, .. })
        ));
        assert_eq!(mlp.to_flat(), before);
        mlp.load_flat(&[1.0; 6]).unwrap();
        assert_eq!(mlp.to_flat(), [1.0; 6]);
    }

    #[test]
    fn inputs_and_targets_that_do_not_fit_are_refused() {
        let mlp = Mlp::<f32>::new(shape(3, &[4], 2), &mut rng(1, "weights")).unwrap();
        let (mut workspace, mut gradient) = (mlp.workspace(4), vec![0.0; 26]);
        let mut refusal = |inputs: (usize, usize), targets: (usize, usize), temperature: f64| {
            let (inputs, targets) = (Array2::zeros(inputs), Array2::zeros(targets));
            let batch = Batch {
                inputs: inputs.view(),
                targets: targets.view(),
            };
            mlp.loss_gradient(batch, temperature.into(), &mut workspace, &mut gradient)
                .unwrap_err()
        };
        let width = NetworkError::Shape(ShapeError::count("values of an input", 3, 2));
        assert_eq!(refusal((4, 2), (4, 2), 1.0), width);
        assert_eq!(
            refusal((4, 3), (5, 2), 1.0),
            NetworkError::Shape(ShapeError::new("targets", &[4, 2], &[5, 2]))
        );
        assert_eq!(
            refusal((4, 3), (4, 3), 1.0),
            NetworkError::Shape(ShapeError::new("targets", &[4, 2], &[4, 3]))
        );
        assert_eq!(refusal((0, 3), (0, 2), 1.0), NetworkError::EmptyBatch);
        assert_eq!(refusal((4, 3), (4, 2), 0.0), NetworkError::Temperature(0.0));
        assert_eq!(mlp.logits(Array2::zeros((1, 2)).view()), Err(width));
    }

    #[test]
    fn exclusive_or_is_learnt() {
        let inputs = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
        let targets = array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]];
        let mut mlp = Mlp::<f32>::new(shape(2, &[16], 2), &mut rng(2, "weights")).unwrap();
        let params = AdamParams {
            learning_rate: 0.02,
            ..AdamParams::default()
        };
        let mut trainer = Trainer::new(&mlp, params.check().unwrap(), 4);
        let batch = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        for _ in 0..500 {
            trainer.step(&mut mlp, batch, 1.0).unwrap();
        }
        assert_eq!(mlp.predict(inputs.view()).unwrap(), [0, 1, 1, 0]);
        assert_eq!(trainer.steps(), 500);
    }

    #[test]
    fn a_loss_that_is_not_finite_leaves_the_network_as_it_was() {
        let mut mlp = Mlp::<f32>::new(shape(2, &[3], 2), &mut rng(2, "weights")).unwrap();
        let before = mlp.to_flat();
        let mut trainer = Trainer::new(&mlp, AdamParams::default().check().unwrap(), 1);
        let (inputs, targets) = (array![[f32::NAN, 0.0]], array![[1.0, 0.0]]);
        let batch = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        let refused = trainer.step(&mut mlp, batch, 1.0);
        assert!(matches!(
            refused,
            Err(NetworkError::Diverged { step: 0, .. })
        ));
        assert_eq!(mlp.to_flat(), before);
    }
}
