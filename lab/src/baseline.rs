//! What the federated student is held against: the same network on all true
//! labels in one place, and each device alone.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;

use common::features::FeatureError;
use common::math::network::{Batch, Network, NetworkError, Student, Trainer};
use common::math::optimiser::{AdamParams, Ema, OptimiserError, Schedule};
use common::math::random::rng;
use common::task::Task;

use crate::data::Part;
use crate::plan::pooled_normaliser;

/// Why a baseline could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// Features could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The network refused its shape or diverged.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A learning rate is no use.
    #[error(transparent)]
    Optimiser(#[from] OptimiserError),
}

/// Learning rates tried.
const RATES: [f64; 3] = [1e-3, 3e-3, 1e-2];
/// Times at which a run may stop, as shares of all steps.
const STOPS: usize = 10;
const BATCH: usize = 128;
/// One row in this many is held out to choose rate and stopping.
const HELD_OUT: usize = 10;

/// The task's student trained on labelled rows with true labels: learning
/// rate and stopping chosen on a tenth of them, at least `steps` steps with
/// the chosen rate. Returns its predictions on the test inputs.
///
/// # Errors
/// If features cannot be computed or training fails.
pub fn train(
    task: &Task,
    rows: &Part,
    test: ArrayView2<'_, f32>,
    steps: u32,
    seed: u64,
) -> Result<Vec<u16>, BaselineError> {
    let stage = &task.definition().features;
    let features = stage.compute(task.input_shape(), rows.inputs.view())?;
    let normaliser = pooled_normaliser(task, features.view())?;
    let inputs = normaliser.apply(features.view())?;
    let test = normaliser.apply(stage.compute(task.input_shape(), test)?.view())?;

    // Whole blocks are held out: neighbouring windows overlap.
    let block = |row: usize| (row / 16) % HELD_OUT == HELD_OUT - 1;
    let (mut held, mut fitting): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|&row| block(row));
    if held.is_empty() || fitting.is_empty() {
        fitting = (0..rows.len()).collect();
        held = fitting.clone();
    }
    let of = |chosen: &[usize]| Fitting {
        inputs: inputs.select(Axis(0), chosen),
        labels: chosen.iter().map(|&row| rows.labels[row]).collect(),
    };
    let (fit, validation) = (of(&fitting), of(&held));
    let mut best: Option<(usize, Student)> = None;
    for rate in RATES {
        let found = run(task, &fit, &validation, rate, steps, seed)?;
        if best.as_ref().is_none_or(|(right, _)| found.0 > *right) {
            best = Some(found);
        }
    }
    let network = best.map(|(_, network)| network);
    let said = network
        .map(|network| network.predict(test.view()))
        .transpose()?;
    Ok(said
        .unwrap_or_default()
        .into_iter()
        .map(|class| class as u16)
        .collect())
}

struct Fitting {
    inputs: Array2<f32>,
    labels: Vec<u16>,
}

/// One run at one rate; the right answers on validation rows at its best stop
/// and the network there.
fn run(
    task: &Task,
    fit: &Fitting,
    validation: &Fitting,
    rate: f64,
    steps: u32,
    seed: u64,
) -> Result<(usize, Student), BaselineError> {
    let mut random = rng(seed, "baseline");
    let mut network = Student::new(task.student(), &mut random)?;
    let adam = AdamParams {
        learning_rate: rate,
        schedule: Schedule::cosine(u64::from(steps)),
        ..AdamParams::default()
    };
    let batch = BATCH.min(fit.labels.len().max(1));
    let mut trainer = Trainer::new(&network, adam.check()?, batch);
    let mut average = Ema::new(0.99, network.parameters())?;
    let mut order: Vec<usize> = (0..fit.labels.len()).collect();
    let mut next = order.len();
    let mut best = (0, network.clone());
    for step in 0..steps {
        if next + batch > order.len() {
            order.shuffle(&mut random);
            next = 0;
        }
        let chosen = &order[next..next + batch];
        next += batch;
        let inputs = fit.inputs.select(Axis(0), chosen);
        let mut targets = Array2::zeros((batch, task.classes()));
        for (row, &index) in chosen.iter().enumerate() {
            targets[[row, usize::from(fit.labels[index])]] = 1.0;
        }
        let pairs = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        trainer.step(&mut network, pairs, 1.0)?;
        average.update(network.parameters());
        if (step + 1) % (steps / STOPS as u32).max(1) == 0 {
            let mut candidate = network.clone();
            candidate.load_flat(average.average())?;
            let said = candidate.predict(validation.inputs.view())?;
            let right = said
                .iter()
                .zip(&validation.labels)
                .filter(|&(&said, &label)| said == usize::from(label))
                .count();
            if right > best.0 {
                best = (right, candidate);
            }
        }
    }
    Ok(best)
}
