//! What the profile phase publishes: how inputs, and numbers that are asked
//! for, are brought to one scale, and what bytes are spent on where that is
//! planned.

use crate::codec::{DecodeError, decode_blob_start, encode};
use crate::features::{Normaliser, NormaliserError, TargetScale, TargetScaleError};
use crate::task::{BudgetPlan, Target, Task, TaskError};

/// A task's scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Of the features.
    pub normaliser: Normaliser,
    /// Of the numbers, where the task asks for numbers.
    pub targets: Option<TargetScale>,
    /// What bytes are spent on, where the task leaves that to the coordinator.
    pub plan: Option<BudgetPlan>,
}

/// Why scales were refused.
#[derive(Debug, thiserror::Error)]
pub enum ScalesError {
    /// Their bytes are malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The features' do not fit the task.
    #[error(transparent)]
    Normaliser(#[from] NormaliserError),
    /// The numbers' do not fit the task.
    #[error(transparent)]
    Targets(#[from] TargetScaleError),
    /// The plan does not fit the task.
    #[error("the plan of the budget: {0}")]
    Plan(#[from] TaskError),
}

impl Scales {
    /// The features', the numbers' behind them where there are any, and the
    /// plan behind those.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.normaliser);
        if let Some(targets) = &self.targets {
            bytes.extend(encode(targets));
        }
        if let Some(plan) = &self.plan {
            bytes.extend(encode(plan));
        }
        bytes
    }

    /// Reads a task's scales.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn read(task: &Task, bytes: &[u8]) -> Result<Self, ScalesError> {
        let (normaliser, rest): (Normaliser, &[u8]) = decode_blob_start(bytes)?;
        let (targets, rest) = match task.target() {
            Target::Number(values) => {
                let (targets, rest): (TargetScale, &[u8]) = decode_blob_start(rest)?;
                targets.check(values.len())?;
                (Some(targets), rest)
            }
            Target::Class => (None, rest),
        };
        let (plan, rest) = match task.definition().auto_budget {
            true => {
                let (plan, rest): (BudgetPlan, &[u8]) = decode_blob_start(rest)?;
                task.planned(&plan)?;
                (Some(plan), rest)
            }
            false => (None, rest),
        };
        if !rest.is_empty() {
            return Err(DecodeError::Trailing(rest.len()).into());
        }
        let scales = Self {
            normaliser,
            targets,
            plan,
        };
        let (features, width) = (task.stage_features(), task.features());
        scales.normaliser.check_widths(features, width)?;
        Ok(scales)
    }
}
