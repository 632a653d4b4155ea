//! Devices' rows as every method sees them.

use ndarray::{Array2, ArrayView2, Axis};

use common::math::network::{Batch, Network, NetworkError, Student, StudentShape, Workspace};
use common::task::Task;

use super::FederatedError;
use crate::baseline::BaselineError;
use crate::data::Dataset;
use crate::plan::pooled_normaliser;

/// A fleet through one feature view.
pub(super) struct Fleet {
    pub(super) shape: StudentShape,
    pub(super) classes: usize,
    /// What each device with rows learns from.
    pub(super) devices: Vec<Rows>,
    /// What all devices hold out together.
    pub(super) held_out: Rows,
    pub(super) test: Rows,
}

/// Scaled features and labels.
pub(super) struct Rows {
    pub(super) inputs: Array2<f32>,
    pub(super) labels: Vec<u16>,
}

impl Fleet {
    pub(super) fn new(
        task: &Task,
        data: &Dataset,
        parts: &[Vec<usize>],
        seed: u64,
    ) -> Result<Self, FederatedError> {
        let stage = &task.definition().features;
        let see = |rows: ArrayView2<'_, f32>| stage.compute(task.input_shape(), rows);
        let features = see(data.train.inputs.view()).map_err(BaselineError::from)?;
        let normaliser = pooled_normaliser(task, features.view()).map_err(BaselineError::from)?;
        let scaled = normaliser
            .apply(features.view())
            .map_err(BaselineError::from)?;
        let test = see(data.test.inputs.view()).map_err(BaselineError::from)?;
        let test = normaliser.apply(test.view()).map_err(BaselineError::from)?;
        let of = |rows: &[usize]| Rows {
            inputs: scaled.select(Axis(0), rows),
            labels: rows.iter().map(|&row| data.train.labels[row]).collect(),
        };
        let mut held_out = Vec::new();
        let mut devices = Vec::new();
        for (device, rows) in parts.iter().enumerate() {
            let mut rows = rows.clone();
            let purpose = format!("federated/{device}");
            rand::seq::SliceRandom::shuffle(
                rows.as_mut_slice(),
                &mut common::math::random::rng(seed, &purpose),
            );
            held_out.extend(rows.split_off(rows.len() - rows.len() / HELD_OUT));
            if !rows.is_empty() {
                devices.push(of(&rows));
            }
        }
        Ok(Self {
            shape: task.student().clone(),
            classes: task.classes(),
            devices,
            held_out: of(&held_out),
            test: Rows {
                inputs: test,
                labels: data.test.labels.clone(),
            },
        })
    }

    /// Rows that devices learn from.
    pub(super) fn rows(&self) -> usize {
        self.devices.iter().map(|device| device.labels.len()).sum()
    }
}

/// Plain stochastic gradient descent, with the pull of FedProx towards where it began.
pub(super) struct Descent {
    pub(super) rate: f32,
    pub(super) pull: f32,
    pub(super) batch: usize,
}

impl Descent {
    /// One pass over rows with soft labels, in this order.
    pub(super) fn pass(
        &self,
        network: &mut Student,
        inputs: ArrayView2<'_, f32>,
        targets: ArrayView2<'_, f32>,
        order: &[usize],
        workspace: &mut Workspace<f32>,
    ) -> Result<(), NetworkError> {
        let began = network.to_flat();
        let mut gradient = vec![0.0; began.len()];
        for chosen in order.chunks(self.batch) {
            let inputs = inputs.select(Axis(0), chosen);
            let targets = targets.select(Axis(0), chosen);
            let batch = Batch {
                inputs: inputs.view(),
                targets: targets.view(),
            };
            network.loss_gradient(batch, 1.0.into(), workspace, &mut gradient)?;
            // A step as long as this is a rate that is too large: it is cut short.
            let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            let cut = if norm > GRADIENT_MAX {
                GRADIENT_MAX / norm
            } else {
                1.0
            };
            let weights = network
                .parameters_mut()
                .iter_mut()
                .zip(&gradient)
                .zip(&began);
            for ((weight, gradient), began) in weights {
                *weight -= self.rate * (cut * gradient + self.pull * (*weight - began));
            }
            common::liveness::heartbeat();
        }
        Ok(())
    }
}

/// Labels as distributions.
pub(super) fn one_hot(labels: &[u16], classes: usize) -> Array2<f32> {
    let is = |(row, class): (usize, usize)| f32::from(usize::from(labels[row]) == class);
    Array2::from_shape_fn((labels.len(), classes), is)
}

/// One row in this many is held out to choose by.
const HELD_OUT: usize = 10;
/// Longest gradient that is followed.
const GRADIENT_MAX: f32 = 10.0;
