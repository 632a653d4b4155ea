//! Training on the stream.

use ndarray::{Array2, Axis, s};
use rand::Rng;

use common::math::network::{Batch, Network, NetworkError, Student, Trainer};
use common::math::optimiser::{AdamParams, Ema, OptimiserError, Schedule};
use common::math::random::rng;
use common::summary::Points;
use common::task::Task;
use common::teacher::{Teacher, TeacherError};

use super::centring::Centring;
use super::stream::Stream;

/// A trained student and how it went.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network.
    pub network: Student,
    /// How often it gives the teacher's answer on fresh synthetic inputs.
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
    /// The teacher and the points do not fit.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
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

/// Trains the task's student on the teacher's tempered answers, by Adam with
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
    let (mut inputs, mut targets) = label(&mut stream, teacher, rows, task.classes())?;

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
            let (mut fresh, answers) = label(&mut stream, teacher, DRAW, task.classes())?;
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
        trainer.step(&mut network, batch, 1.0)?;
        average.update(network.parameters());
        if step % 50 == 0 {
            progress(step, settings.steps);
        }
    }
    if settings.steps >= 500 {
        network.load_flat(average.average())?;
    }
    centring.fold(&mut network);
    let agreement = agreement(&network, teacher, &mut stream)?;
    Ok(Trained {
        network,
        agreement,
        steps: settings.steps,
    })
}

/// Draws inputs and lets the teacher label them.
fn label(
    stream: &mut Stream<'_>,
    teacher: &Teacher,
    rows: usize,
    classes: usize,
) -> Result<(Array2<f32>, Array2<f32>), TrainError> {
    let mut inputs: Option<Array2<f32>> = None;
    let mut targets = Array2::zeros((rows, classes));
    let mut done = 0;
    while done < rows {
        let drawn = stream.take(DRAW.min(rows - done));
        let until = done + drawn.nrows();
        targets
            .slice_mut(s![done..until, ..])
            .assign(&teacher.probabilities(drawn.view())?);
        let all = inputs.get_or_insert_with(|| Array2::zeros((rows, drawn.ncols())));
        all.slice_mut(s![done..until, ..]).assign(&drawn);
        done = until;
    }
    Ok((inputs.unwrap_or_default(), targets))
}

fn agreement(
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
