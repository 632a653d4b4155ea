//! One-shot ensemble distillation: devices train alone, and the server
//! teaches their mean answers on unlabelled rows to one network.

use ndarray::Array2;
use rand::seq::SliceRandom;

use common::math::network::{Batch, Network, Student, Trainer, softmax_rows};
use common::math::optimiser::{AdamParams, Schedule};
use common::math::random::rng;

use super::fleet::{Fleet, one_hot};
use super::{FederatedError, Rival, right, traffic};
use crate::baseline::BaselineError;

pub(super) fn run(fleet: &Fleet, seed: u64) -> Result<Rival, FederatedError> {
    Ok(distil(fleet, seed)?)
}

fn distil(fleet: &Fleet, seed: u64) -> Result<Rival, BaselineError> {
    let mut random = rng(seed, "federated");
    let start = Student::new(&fleet.shape, &mut random)?;
    let unlabelled = fleet.held_out.inputs.view();
    let mut logits = Array2::<f32>::zeros((unlabelled.nrows(), fleet.classes));
    let mut mean = vec![0f32; start.parameters().len()];
    let all = fleet.rows().max(1) as f32;
    for device in &fleet.devices {
        let targets = one_hot(&device.labels, fleet.classes);
        let network = fit(&start, &device.inputs, &targets, LOCAL_STEPS, &mut random)?;
        logits += &network.logits(unlabelled)?;
        let share = device.labels.len() as f32 / all;
        let weights = mean.iter_mut().zip(network.parameters());
        weights.for_each(|(mean, weight)| *mean += share * weight);
    }
    logits /= fleet.devices.len().max(1) as f32;
    softmax_rows(logits.view_mut(), 1.0);
    let mut average = start;
    average.load_flat(&mean)?;
    let student = fit(
        &average,
        &fleet.held_out.inputs,
        &logits,
        SERVER_STEPS,
        &mut random,
    )?;
    let said = student.predict(fleet.test.inputs.view())?;
    let reached = right(&said, &fleet.test.labels);
    let bytes = 4 * mean.len() as u64;
    let (uplink_bytes, downlink_bytes) = traffic(1, bytes, bytes);
    Ok(Rival {
        name: "FedDF",
        accuracy: reached,
        rounds: 1,
        uplink_bytes,
        downlink_bytes,
        by_round: vec![reached],
        chosen: String::new(),
        note: "the task's student; the server has a tenth of all rows without labels, which the \
               other methods do not need",
    })
}

/// The network after some steps of Adam on rows with soft labels.
fn fit(
    from: &Student,
    inputs: &Array2<f32>,
    targets: &Array2<f32>,
    steps: u32,
    random: &mut impl rand::Rng,
) -> Result<Student, BaselineError> {
    let mut network = from.clone();
    if inputs.nrows() == 0 {
        return Ok(network);
    }
    let adam = AdamParams {
        learning_rate: 1e-3,
        schedule: Schedule::cosine(u64::from(steps)),
        ..AdamParams::default()
    };
    let batch = BATCH.min(inputs.nrows());
    let mut trainer = Trainer::new(&network, adam.check()?, batch);
    let mut order: Vec<usize> = (0..inputs.nrows()).collect();
    let mut next = order.len();
    for _ in 0..steps {
        if next + batch > order.len() {
            order.shuffle(random);
            next = 0;
        }
        let chosen = &order[next..next + batch];
        next += batch;
        let inputs = inputs.select(ndarray::Axis(0), chosen);
        let targets = targets.select(ndarray::Axis(0), chosen);
        let pairs = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        trainer.step(&mut network, pairs, 1.0)?;
    }
    Ok(network)
}

const BATCH: usize = 64;
/// Steps of a device alone, as of the baseline that shares nothing.
const LOCAL_STEPS: u32 = 600;
/// Steps on the ensemble's answers.
const SERVER_STEPS: u32 = 2_000;
