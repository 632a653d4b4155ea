//! Inputs brought around zero for training, at no cost afterwards.

use ndarray::{Array1, Array2, Axis};

use common::math::network::{Mlp, Network};

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
    /// Of these inputs (rows, features).
    pub(super) fn of(inputs: &Array2<f32>) -> Self {
        let rows = inputs.nrows().max(1) as f32;
        let mean = inputs.sum_axis(Axis(0)) / rows;
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
    pub(super) fn fold(&self, network: &mut Mlp<f32>) {
        let [weight, bias] = match &network.tensors()[..] {
            [weight, bias, ..] => [weight.range.clone(), bias.range.clone()],
            _ => return,
        };
        let features = self.mean.len();
        let parameters = network.parameters_mut();
        for unit in 0..bias.len() {
            let from = weight.start + unit * features;
            let mut shift = 0f64;
            for (value, &mean) in parameters[from..from + features].iter_mut().zip(&self.mean) {
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
    use common::math::network::MlpShape;
    use common::math::random::rng;

    #[test]
    fn a_folded_network_answers_on_inputs_what_it_answered_on_centred_ones() {
        let inputs = Array2::from_shape_fn((9, 4), |(row, column)| {
            3.0 + ((row * 5 + column * 3) as f32).sin()
        });
        let shape = MlpShape {
            inputs: 4,
            hidden: vec![6],
            outputs: 3,
        };
        let mut network = Mlp::<f32>::new(shape, &mut rng(1, "weights")).unwrap();
        let centring = Centring::of(&inputs);
        let mut centred = inputs.clone();
        centring.apply(&mut centred);
        assert!(centred.sum().abs() < 1e-4);
        let before = network.logits(centred.view()).unwrap();
        centring.fold(&mut network);
        let after = network.logits(inputs.view()).unwrap();
        assert!((&before - &after).iter().all(|gap| gap.abs() < 1e-4));
    }
}
