//! A small network trained on the device's rows.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;

use common::math::network::{Batch, Loss, Mlp, MlpShape, Network, Trainer, softmax_rows};
use common::math::optimiser::{AdamParams, Schedule};
use common::math::random::rng;

use super::{LabelledRows, LocalTeacher, TeacherError};

const BATCH: usize = 64;
const STEPS: usize = 600;

/// A multi-layer perceptron trained by Adam on one-hot labels, or on
/// numbers.
#[derive(Clone, Debug)]
pub struct NetworkTeacher {
    gives_numbers: bool,
    network: Mlp<f32>,
}

impl NetworkTeacher {
    /// Learns from labelled rows, 600 steps of 64 rows.
    ///
    /// # Errors
    /// Without rows, or if training diverges.
    pub fn fit(rows: LabelledRows<'_>, hidden: &[usize], seed: u64) -> Result<Self, TeacherError> {
        let count = rows.labels.len();
        if count == 0 {
            return Err(TeacherError::NoRows);
        }
        let shape = MlpShape {
            inputs: rows.inputs.ncols(),
            hidden: hidden.to_vec(),
            outputs: rows.numbers.map_or(rows.classes, |numbers| numbers.ncols()),
        };
        let mut random = rng(seed, "network teacher");
        let mut network = Mlp::new(shape, &mut random)?;
        let settings = AdamParams {
            learning_rate: 1e-2,
            schedule: Schedule::cosine(STEPS as u64),
            ..AdamParams::default()
        }
        .check();
        let settings = settings.expect("the constants above lie in their ranges");
        let mut trainer = Trainer::new(&network, settings, BATCH);
        let mut order: Vec<usize> = (0..count).collect();
        let mut next = count;
        for _ in 0..STEPS {
            if next + BATCH.min(count) > count {
                order.shuffle(&mut random);
                next = 0;
            }
            let chosen = &order[next..next + BATCH.min(count)];
            next += chosen.len();
            let inputs = rows.inputs.select(Axis(0), chosen);
            let (targets, loss) = match rows.numbers {
                Some(numbers) => (numbers.select(Axis(0), chosen), Loss::Squared),
                None => (one_hot(rows, chosen), Loss::from(1.0)),
            };
            let batch = Batch {
                inputs: inputs.view(),
                targets: targets.view(),
            };
            trainer.step(&mut network, batch, loss)?;
        }
        Ok(Self {
            gives_numbers: rows.numbers.is_some(),
            network,
        })
    }
}

fn one_hot(rows: LabelledRows<'_>, chosen: &[usize]) -> Array2<f32> {
    let mut targets = Array2::zeros((chosen.len(), rows.classes));
    for (row, &index) in chosen.iter().enumerate() {
        targets[[row, usize::from(rows.labels[index])]] = 1.0;
    }
    targets
}

impl LocalTeacher for NetworkTeacher {
    fn probabilities(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        let mut logits = self.network.logits(inputs)?;
        softmax_rows(logits.view_mut(), 1.0);
        Ok(logits)
    }

    fn targets(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        if self.gives_numbers {
            return Ok(self.network.logits(inputs)?);
        }
        let probabilities = self.probabilities(inputs)?;
        let classes = probabilities.ncols().max(1) as f32;
        Ok(probabilities - 1.0 / classes)
    }
}
