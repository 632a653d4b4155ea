//! What the federated student is held against: the same network on all true
//! labels in one place, and each device alone.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;

use common::features::{FeatureError, TargetScale};
use common::math::network::{Batch, Loss, Network, NetworkError, Student, Trainer};
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

/// What a baseline says of the test inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A class each.
    Classes(Vec<u16>),
    /// Numbers in their units, shape (rows, numbers).
    Numbers(Array2<f32>),
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
/// the chosen rate. Returns what it says of the test inputs.
///
/// # Errors
/// If features cannot be computed or training fails.
pub fn train(
    task: &Task,
    rows: &Part,
    test: ArrayView2<'_, f32>,
    steps: u32,
    seed: u64,
) -> Result<Said, BaselineError> {
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
    let targets = Targets::of(task, rows);
    let of = |chosen: &[usize]| Fitting {
        inputs: inputs.select(Axis(0), chosen),
        targets: targets.values.select(Axis(0), chosen),
        loss: targets.loss,
    };
    let (fit, validation) = (of(&fitting), of(&held));
    let mut best: Option<(f64, Student)> = None;
    for rate in RATES {
        let found = run(task, &fit, &validation, rate, steps, seed)?;
        if best.as_ref().is_none_or(|(score, _)| found.0 > *score) {
            best = Some(found);
        }
    }
    let logits = match best {
        Some((_, network)) => network.logits(test.view())?,
        None => Array2::zeros((0, task.outputs())),
    };
    Ok(match targets.scale {
        Some(scale) => Said::Numbers(task.target().within(scale.restore(logits))),
        None => Said::Classes(largest(&logits).map(|class| class as u16).collect()),
    })
}

fn largest(logits: &Array2<f32>) -> impl Iterator<Item = usize> + '_ {
    logits.rows().into_iter().map(|row| {
        let larger = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
        (0..row.len()).fold(0, larger)
    })
}

/// What is learnt: classes one-hot, or numbers on the scale of these rows.
struct Targets {
    values: Array2<f32>,
    loss: Loss,
    scale: Option<TargetScale>,
}

impl Targets {
    fn of(task: &Task, rows: &Part) -> Self {
        let Some(numbers) = &rows.numbers else {
            let mut values = Array2::zeros((rows.len(), task.outputs()));
            for (row, &label) in rows.labels.iter().enumerate() {
                values[[row, usize::from(label)]] = 1.0;
            }
            return Self {
                values,
                loss: Loss::from(1.0),
                scale: None,
            };
        };
        let numbers = task.target().within(numbers.clone()).mapv(f64::from);
        let mean = numbers.mean_axis(Axis(0)).unwrap_or_default();
        let variance = numbers.var_axis(Axis(0), 0.0);
        let scale = TargetScale::of(&mean.to_vec(), &variance.to_vec());
        let narrow = numbers.mapv(|value| value as f32);
        Self {
            values: scale.standardise(narrow.view()),
            loss: Loss::Squared,
            scale: Some(scale),
        }
    }
}

struct Fitting {
    inputs: Array2<f32>,
    targets: Array2<f32>,
    loss: Loss,
}

impl Fitting {
    /// How well a network does on these rows, the more the better: how many
    /// answers are right, or how small the squared error is.
    fn score(&self, network: &Student) -> Result<f64, NetworkError> {
        let logits = network.logits(self.inputs.view())?;
        if self.loss == Loss::Squared {
            let apart = &logits - &self.targets;
            let squares = apart.iter().map(|&value| f64::from(value).powi(2));
            return Ok(-squares.sum::<f64>());
        }
        let pairs = largest(&logits).zip(largest(&self.targets));
        Ok(pairs.filter(|(said, label)| said == label).count() as f64)
    }
}

/// One run at one rate; its score on validation rows at its best stop and the
/// network there.
fn run(
    task: &Task,
    fit: &Fitting,
    validation: &Fitting,
    rate: f64,
    steps: u32,
    seed: u64,
) -> Result<(f64, Student), BaselineError> {
    let mut random = rng(seed, "baseline");
    let mut network = Student::new(task.student(), &mut random)?;
    let adam = AdamParams {
        learning_rate: rate,
        schedule: Schedule::cosine(u64::from(steps)),
        ..AdamParams::default()
    };
    let batch = BATCH.min(fit.inputs.nrows().max(1));
    let mut trainer = Trainer::new(&network, adam.check()?, batch);
    let mut average = Ema::new(0.99, network.parameters())?;
    let mut order: Vec<usize> = (0..fit.inputs.nrows()).collect();
    let mut next = order.len();
    let mut best: Option<(f64, Student)> = None;
    for step in 0..steps {
        if next + batch > order.len() {
            order.shuffle(&mut random);
            next = 0;
        }
        let chosen = &order[next..next + batch];
        next += batch;
        let inputs = fit.inputs.select(Axis(0), chosen);
        let targets = fit.targets.select(Axis(0), chosen);
        let pairs = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        trainer.step(&mut network, pairs, fit.loss)?;
        average.update(network.parameters());
        if (step + 1) % (steps / STOPS as u32).max(1) == 0 {
            let mut candidate = network.clone();
            candidate.load_flat(average.average())?;
            let score = validation.score(&candidate)?;
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, candidate));
            }
        }
    }
    Ok(best.unwrap_or((f64::NEG_INFINITY, network)))
}
