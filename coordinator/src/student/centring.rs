//! Inputs brought around zero for training, at no cost afterwards.

use ndarray::{Array1, Array2, Axis};

use common::math::network::{Network, Student, StudentShape};

/// A shift of each feature and one scale, under which a network's inputs have
/// mean 0 and mean square 1. Features that share a large mean, as those that
/// cannot be negative do, otherwise hide what tells inputs apart from the
/// first steps of training.
#[derive(Clone, Debug)]
pub(super) struct Centring {
    mean: Array1<f32>,
    scale: f32,
}

impl Centring {
    /// Of these inputs (rows, features) for a network of this shape. A
    /// convolution sees one window everywhere, so its inputs are only scaled.
    pub(super) fn of(inputs: &Array2<f32>, shape: &StudentShape) -> Self {
        let rows = inputs.nrows().max(1) as f32;
        let mean = match shape {
            StudentShape::Mlp(_) => inputs.sum_axis(Axis(0)) / rows,
            StudentShape::Cnn(_) => Array1::zeros(inputs.ncols()),
        };
        let square: f64 = inputs
            .rows()
            .into_iter()
            .map(|row| f64::from((&row - &mean).mapv(|value| value * value).sum()))
            .sum();
        let scale = (square / inputs.len().max(1) as f64).sqrt() as f32;
        let usable = scale.is_finite() && scale > SCALE_MIN;
        Self {
            mean,
            scale: if usable { scale } else { 1.0 },
        }
    }

    /// Brings inputs around zero, where they are.
    pub(super) fn apply(&self, inputs: &mut Array2<f32>) {
        for mut row in inputs.rows_mut() {
            row -= &self.mean;
            row /= self.scale;
        }
    }

    /// Changes a network of centred inputs into the same of inputs as they
    /// are: with x' = (x − m)/s, W·x' + b = (W/s)·x + (b − W·m/s).
    pub(super) fn fold(&self, network: &mut Student) {
        let [weight, bias] = match &network.tensors()[..] {
            [weight, bias, ..] => [weight.range.clone(), bias.range.clone()],
            _ => return,
        };
        // Of a convolution's window only the length matters: its mean is 0.
        let width = weight.len() / bias.len().max(1);
        let parameters = network.parameters_mut();
        for unit in 0..bias.len() {
            let from = weight.start + unit * width;
            let mut shift = 0f64;
            for (value, &mean) in parameters[from..from + width].iter_mut().zip(&self.mean) {
                *value /= self.scale;
                shift += f64::from(*value) * f64::from(mean);
            }
            parameters[bias.start + unit] -= shift as f32;
        }
    }
}

/// Inputs that differ by less do not differ.
const SCALE_MIN: f32 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::network::{CnnShape, ConvolutionShape, MlpShape, Padding};
    use common::math::random::rng;

    #[test]
    fn folding_the_centre_keeps_the_answers() {
        let inputs = Array2::from_shape_fn((9, 4), |(row, column)| {
            3.0 + ((row * 5 + column * 3) as f32).sin()
        });
        let mlp = StudentShape::Mlp(MlpShape {
            inputs: 4,
            hidden: vec![6],
            outputs: 3,
        });
        let cnn = StudentShape::Cnn(CnnShape {
            input: [1, 4, 1],
            convolutions: vec![ConvolutionShape {
                channels: 5,
                kernel: [1, 3],
                padding: Padding::Same,
                pool: [1, 2],
            }],
            hidden: vec![],
            outputs: 3,
        });
        for shape in [mlp, cnn] {
            let mut network = Student::new(&shape, &mut rng(1, "weights")).unwrap();
            let centring = Centring::of(&inputs, &shape);
            let mut centred = inputs.clone();
            centring.apply(&mut centred);
            let before = network.logits(centred.view()).unwrap();
            centring.fold(&mut network);
            let after = network.logits(inputs.view()).unwrap();
            assert!((&before - &after).iter().all(|gap| gap.abs() < 1e-4));
        }
    }
}
