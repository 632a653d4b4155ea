//! What the profile phase publishes: how inputs, and numbers that are asked
//! for, are brought to one scale.

use crate::codec::{DecodeError, decode_blob, encode};
use crate::features::{Normaliser, NormaliserError, TargetScale, TargetScaleError};
use crate::task::{Target, Task};

/// A task's scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Of the features.
    pub normaliser: Normaliser,
    /// Of the numbers, where the task asks for numbers.
    pub targets: Option<TargetScale>,
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
}

impl Scales {
    /// The features', and the numbers' behind them where there are any.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.normaliser);
        if let Some(targets) = &self.targets {
            bytes.extend(encode(targets));
        }
        bytes
    }

    /// Reads a task's scales.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn read(task: &Task, bytes: &[u8]) -> Result<Self, ScalesError> {
        let scales = match task.target() {
            Target::Number(values) => {
                let (normaliser, targets): (Normaliser, TargetScale) = decode_blob(bytes)?;
                targets.check(values.len())?;
                Self {
                    normaliser,
                    targets: Some(targets),
                }
            }
            Target::Class => Self {
                normaliser: decode_blob(bytes)?,
                targets: None,
            },
        };
        scales.normaliser.check(task.features())?;
        Ok(scales)
    }
}
