//! Steps of gradient descent that allocate nothing.

use super::{Batch, Loss, Network, NetworkError, Real, Workspace};
use crate::optimiser::{Adam, AdamSettings};

/// Trains one network: its optimiser and every buffer a step needs.
#[derive(Debug)]
pub struct Trainer<T: Real = f32> {
    adam: Adam<T>,
    gradient: Vec<T>,
    workspace: Workspace<T>,
}

impl<T: Real> Trainer<T> {
    /// A trainer for `network` and batches of up to `rows` rows; a larger
    /// batch makes the buffers grow. Holds three numbers a parameter, and two
    /// a unit and row.
    pub fn new(network: &dyn Network<T>, settings: AdamSettings, rows: usize) -> Self {
        let parameters = network.parameters().len();
        Self {
            adam: Adam::new(settings, parameters),
            gradient: vec![T::zero(); parameters],
            workspace: network.workspace(rows),
        }
    }

    /// One step on one batch; returns the loss before it (see
    /// [`Loss`]).
    ///
    /// # Errors
    /// If a shape does not fit, or the loss or its gradient is not finite.
    /// The network has then not changed.
    pub fn step(
        &mut self,
        network: &mut dyn Network<T>,
        batch: Batch<'_, T>,
        loss: impl Into<Loss>,
    ) -> Result<f64, NetworkError> {
        let loss =
            network.loss_gradient(batch, loss.into(), &mut self.workspace, &mut self.gradient)?;
        let finite = |all: bool, value: &T| all & value.is_finite();
        if !(loss.is_finite() && self.gradient.iter().fold(true, finite)) {
            let step = self.adam.steps();
            return Err(NetworkError::Diverged { step, loss });
        }
        self.adam.step(network.parameters_mut(), &mut self.gradient);
        crate::liveness::heartbeat();
        Ok(loss)
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }
}
