//! Training on the stream.

use ndarray::{Array2, Axis, s};
use rand::Rng;

use common::math::last_layer::LastLayerError;
use common::math::linalg::LinalgError;
use common::math::network::{Batch, Loss, Network, NetworkError, Student, Trainer};
use common::math::optimiser::{AdamParams, Ema, OptimiserError, Schedule};
use common::math::random::rng;
use common::math::shape::ShapeError;
use common::novelty::NoveltyError;
use common::summary::Points;
use common::task::{Target, Task};
use common::teacher::{Teacher, TeacherError};

use super::centring::Centring;
use super::stream::Stream;

/// A trained student and how it went.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network.
    pub network: Student,
    /// How often it gives the teacher's answer on fresh synthetic inputs; of
    /// numbers, the share of the teacher's variance that it has.
    pub agreement: f64,
    /// Optimiser steps taken.
    pub steps: u32,
}

/// Why no student could be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The network refused its shape or diverged.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The task's learning rate is no use.
    #[error(transparent)]
    Optimiser(#[from] OptimiserError),
    /// Weights that cannot be encoded.
    #[error(transparent)]
    Weights(#[from] common::weights::WeightsError),
    /// The teacher and the points do not fit.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// Points that have no principal directions.
    #[error(transparent)]
    Directions(#[from] LinalgError),
    /// The last layer could not be moved.
    #[error(transparent)]
    LastLayer(#[from] LastLayerError),
    /// What tells how unlike a row is does not hold together.
    #[error(transparent)]
    Novelty(#[from] NoveltyError),
    /// A wrong number of something.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Inputs at hand. The oldest are replaced by fresh ones as training goes on:
/// as good as fresh ones for every step, and the teacher answers far fewer
/// questions.
const POOL: usize = 40_000;
/// How often an input is gone through before it is replaced.
const USES: usize = 10;
/// Inputs drawn at a time; a divisor of the pool.
const DRAW: usize = 2_000;
/// Steps over which the learning rate rises.
const WARM_UP: u64 = 50;
/// How much of the averaged weights a step keeps.
const AVERAGE: f64 = 0.998;
/// Fresh inputs on which student and teacher are compared.
const AGREEMENT_ROWS: usize = 2_000;

/// Trains the task's student on the teacher's tempered answers, or on its
/// numbers with squared loss, by Adam with
/// a cosine schedule and averaged weights. The same task, points and teacher
/// give the same student. `progress` hears of steps done.
///
/// Cost: `steps`·`batch` student updates, and a teacher's answer for each ten
/// of them, at least for 40,000.
///
/// # Errors
/// If a shape does not fit or training diverges.
pub fn train_student(
    task: &Task,
    points: &Points,
    teacher: &Teacher,
    mut progress: impl FnMut(u32, u32),
) -> Result<Trained, TrainError> {
    let settings = task.definition().distillation;
    let batch = settings.batch as usize;
    let wanted = u64::from(settings.steps) * u64::from(settings.batch);
    let rows = POOL.min(usize::try_from(wanted).unwrap_or(POOL)).max(batch);
    let mut stream = Stream::new(points, task.classes(), settings.seed);
    let asked = Asked::of(task);
    let (mut inputs, mut targets) = label(&mut stream, teacher, rows, asked)?;

    let centring = Centring::of(&inputs, task.student());
    centring.apply(&mut inputs);

    let mut random = rng(settings.seed, "student");
    let mut network = Student::new(task.student(), &mut random)?;
    let steps = u64::from(settings.steps);
    let adam = AdamParams {
        learning_rate: f64::from(settings.learning_rate),
        schedule: Schedule::Cosine {
            steps,
            warmup_steps: WARM_UP.min(steps / 4),
            floor: 0.0,
        },
        ..AdamParams::default()
    };
    let mut trainer = Trainer::new(&network, adam.check()?, batch);
    let mut average = Ema::new(AVERAGE, network.parameters())?;
    let (mut used, mut oldest) = (0, 0);
    for step in 0..settings.steps {
        if rows == POOL && used >= DRAW * USES {
            let (mut fresh, answers) = label(&mut stream, teacher, DRAW, asked)?;
            centring.apply(&mut fresh);
            let place = s![oldest..oldest + DRAW, ..];
            inputs.slice_mut(place).assign(&fresh);
            targets.slice_mut(place).assign(&answers);
            (used, oldest) = (0, (oldest + DRAW) % POOL);
        }
        used += batch;
        let start = random.random_range(0..=rows - batch);
        let batch = Batch {
            inputs: inputs.slice(s![start..start + batch, ..]),
            targets: targets.slice(s![start..start + batch, ..]),
        };
        trainer.step(&mut network, batch, asked.loss())?;
        average.update(network.parameters());
        if step % 50 == 0 {
            progress(step, settings.steps);
        }
    }
    if settings.steps >= 500 {
        network.load_flat(average.average())?;
    }
    centring.fold(&mut network);
    let agreement = match asked {
        Asked::Classes(_) => agreement(&network, teacher, &mut stream)?,
        Asked::Numbers(_) => variance_kept(&network, teacher, &mut stream)?,
    };
    Ok(Trained {
        network,
        agreement,
        steps: settings.steps,
    })
}

/// What the student learns of the teacher.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// Its tempered probabilities of so many classes.
    Classes(usize),
    /// So many numbers, as it says them.
    Numbers(usize),
}

impl Asked {
    fn of(task: &Task) -> Self {
        match task.target() {
            Target::Class => Self::Classes(task.outputs()),
            Target::Number(_) => Self::Numbers(task.outputs()),
        }
    }

    fn outputs(self) -> usize {
        match self {
            Self::Classes(outputs) | Self::Numbers(outputs) => outputs,
        }
    }

    fn loss(self) -> Loss {
        match self {
            Self::Classes(_) => Loss::from(1.0),
            Self::Numbers(_) => Loss::Squared,
        }
    }

    fn answers(self, teacher: &Teacher, inputs: &Array2<f32>) -> Result<Array2<f32>, TrainError> {
        Ok(match self {
            Self::Classes(_) => teacher.probabilities(inputs.view())?,
            Self::Numbers(_) => teacher.answers(inputs.view())?,
        })
    }
}

/// Draws inputs and lets the teacher label them.
fn label(
    stream: &mut Stream<'_>,
    teacher: &Teacher,
    rows: usize,
    asked: Asked,
) -> Result<(Array2<f32>, Array2<f32>), TrainError> {
    let mut inputs: Option<Array2<f32>> = None;
    let mut targets = Array2::zeros((rows, asked.outputs()));
    let mut done = 0;
    while done < rows {
        let drawn = stream.take(DRAW.min(rows - done));
        let until = done + drawn.nrows();
        targets
            .slice_mut(s![done..until, ..])
            .assign(&asked.answers(teacher, &drawn)?);
        let all = inputs.get_or_insert_with(|| Array2::zeros((rows, drawn.ncols())));
        all.slice_mut(s![done..until, ..]).assign(&drawn);
        done = until;
    }
    Ok((inputs.unwrap_or_default(), targets))
}

/// The share of the teacher's variance that the student has on fresh inputs
/// (the coefficient of determination), no less than 0.
pub(super) fn variance_kept(
    network: &Student,
    teacher: &Teacher,
    stream: &mut Stream<'_>,
) -> Result<f64, TrainError> {
    let fresh = stream.take(AGREEMENT_ROWS);
    let said = teacher.answers(fresh.view())?;
    let learnt = network.logits(fresh.view())?;
    let square = |values: &Array2<f32>| -> f64 {
        values.iter().map(|&value| f64::from(value).powi(2)).sum()
    };
    let mean = said.mean_axis(Axis(0)).unwrap_or_default();
    let whole = square(&(&said - &mean));
    let missed = square(&(&said - &learnt));
    Ok((1.0 - missed / whole.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0))
}

pub(super) fn agreement(
    network: &Student,
    teacher: &Teacher,
    stream: &mut Stream<'_>,
) -> Result<f64, TrainError> {
    let fresh = stream.take(AGREEMENT_ROWS);
    let said = teacher.probabilities(fresh.view())?;
    let learnt = network.predict(fresh.view())?;
    let same = said
        .axis_iter(Axis(0))
        .zip(learnt)
        .filter(|(row, class)| row.iter().all(|value| *value <= row[*class]))
        .count();
    Ok(same as f64 / AGREEMENT_ROWS as f64)
}
