//! The same network on each device alone and on everything in one place.

use common::task::Task;

use crate::baseline::{BaselineError, Said, train};
use crate::data::{Dataset, Part};
use crate::metrics::{accuracy, rmse};
use crate::outcome::Baselines;
use crate::progress::Progress;

/// Steps of a device alone: its few hundred rows are seen a hundred times.
const ALONE_STEPS: u32 = 600;
/// Most steps on everything pooled, at each of three rates: beyond, only the
/// rows it was trained on get better.
const POOLED_STEPS: u32 = 3_000;

/// Trains the baselines, each with rate and stopping chosen on a tenth of its
/// own training rows.
///
/// # Errors
/// If training fails.
pub fn measure(
    task: &Task,
    data: &Dataset,
    parts: &[Vec<usize>],
    seed: u64,
    progress: &mut Progress,
) -> Result<Baselines, BaselineError> {
    let test = data.test.inputs.view();
    let mut alone = Vec::new();
    progress.stage("each device alone");
    progress.bar(parts.len() as u64);
    for rows in parts {
        if !rows.is_empty() {
            let said = train(task, &data.train.select(rows), test, ALONE_STEPS, seed)?;
            alone.push(reached(&said, &data.test));
        }
        progress.advance();
    }
    progress.stage("the same student on all data pooled");
    let steps = task.definition().distillation.steps.min(POOLED_STEPS);
    let said = train(task, &data.train, test, steps, seed)?;
    let mean = alone.iter().sum::<f64>() / alone.len().max(1) as f64;
    let least = alone.iter().copied().fold(f64::INFINITY, f64::min);
    let most = alone.iter().copied().fold(0.0, f64::max);
    let pooled = reached(&said, &data.test);
    Ok(match said {
        Said::Classes(_) => Baselines::Classes {
            alone_mean: mean,
            alone_min: least.min(1.0),
            alone_max: most,
            pooled_student: pooled,
        },
        Said::Numbers(_) => Baselines::Numbers {
            alone_rmse_mean: mean,
            alone_rmse_min: least.min(most),
            alone_rmse_max: most,
            pooled_student_rmse: pooled,
        },
    })
}

/// Accuracy of classes, or the root of the mean squared error of numbers.
fn reached(said: &Said, test: &Part) -> f64 {
    match (said, &test.numbers) {
        (Said::Classes(said), _) => accuracy(said, &test.labels),
        (Said::Numbers(said), Some(truth)) => rmse(said, truth),
        (Said::Numbers(_), None) => f64::NAN,
    }
}
