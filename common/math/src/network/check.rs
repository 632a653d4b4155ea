//! Holds gradients against finite differences, for tests.

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};

use super::{Batch, Loss, Network, softmax_rows};
use crate::random::rng;

/// Asserts that the gradient of a network agrees with central differences in
/// every parameter to 1e-6 relative, on random inputs and soft targets.
pub(super) fn assert_gradient_agrees(
    mut network: impl Network<f64>,
    rows: usize,
    loss: impl Into<Loss>,
) {
    let loss = loss.into();
    let mut numbers = rng(11, "check");
    let mut normal = |_| StandardNormal.sample(&mut numbers);
    let inputs: Array2<f64> = Array2::from_shape_fn((rows, network.inputs()), &mut normal);
    let mut targets = Array2::from_shape_fn((rows, network.outputs()), &mut normal);
    softmax_rows(targets.view_mut(), 1.0);
    let batch = Batch {
        inputs: inputs.view(),
        targets: targets.view(),
    };
    // Biases of zero would leave their part of the forward pass untested.
    for value in network.parameters_mut() {
        *value += 0.05 * normal((0, 0));
    }
    let count = network.parameters().len();
    let mut workspace = network.workspace(rows);
    let mut gradient = vec![f64::NAN; count];
    let mut ignored = vec![0.0; count];
    network
        .loss_gradient(batch, loss, &mut workspace, &mut gradient)
        .expect("the batch fits");
    let scale = gradient.iter().fold(0.0f64, |max, g| max.max(g.abs()));
    for (index, &found) in gradient.iter().enumerate() {
        let mut loss_at = |shift: f64| {
            let before = network.parameters()[index];
            network.parameters_mut()[index] = before + shift;
            let loss = network
                .loss_gradient(batch, loss, &mut workspace, &mut ignored)
                .expect("the batch fits");
            network.parameters_mut()[index] = before;
            loss
        };
        let step = 1e-6;
        let expected = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        let error = (found - expected).abs();
        assert!(
            error <= 1e-6 * expected.abs().max(1e-2 * scale),
            "parameter {index}: {found} instead of {expected}"
        );
    }
}
