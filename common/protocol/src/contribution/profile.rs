//! Counts, means and variances of a device's rows.

use super::{CheckContext, Contribution, StandsOn, quantise_reason};
use crate::blocks::BlocksError;
use crate::profile::{Profile, ProfileError, ProfileParts};
use crate::round::{Kind, Reason};
use crate::sketch::SketchError;

impl Contribution for Profile {
    const KIND: Kind = Kind::Profile;
    const STANDS_ON: StandsOn = StandsOn::Rows;
    /// Blocks of rows travel behind a profile where a task learns quantile transforms, the
    /// spread of its numbers where it asks for any, and a sketch where it learns a
    /// projection.
    type Raw = ProfileParts;

    fn decode(bytes: &[u8], context: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        ProfileParts::read(context.task, bytes).map_err(|_| Reason::Malformed)
    }

    fn check(parts: Self::Raw, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let ProfileParts {
            profile: raw,
            blocks,
            targets,
            sketch,
        } = parts;
        let task = context.task;
        let learns = task.learns_normaliser();
        let checked = Self::check(raw, task.stage_features(), task.classes(), learns);
        let checked = checked.and_then(|profile| match targets {
            Some(targets) => profile.with_targets(targets, task.outputs()),
            None => Ok(profile),
        });
        let profile = checked.map_err(|error| match error {
            ProfileError::Shape { .. } => Reason::WrongShape,
            // An honest sum that overflows is infinite, never NaN.
            ProfileError::Value { value, .. } if value == f32::INFINITY => Reason::BeyondScale,
            ProfileError::Value { value, .. } if value < 0.0 && value.is_finite() => {
                Reason::OutOfBounds
            }
            ProfileError::Value { .. } => Reason::NotFinite,
            ProfileError::TooLarge { .. } => Reason::BeyondScale,
            ProfileError::Rows { .. } => Reason::OutOfBounds,
        })?;
        let profile = match sketch {
            None => profile,
            Some(sketch) => { profile.with_sketch(task, sketch) }.map_err(|error| match error {
                SketchError::Shape(_) | SketchError::Count { .. } => Reason::WrongShape,
                SketchError::Quantise(error) => quantise_reason(&error),
                SketchError::Class { .. } | SketchError::Bound { .. } => Reason::OutOfBounds,
            })?,
        };
        let Some(blocks) = blocks else {
            return Ok(profile);
        };
        let rows_min = task.definition().budget.cluster_size_min;
        let checked = profile.with_blocks(blocks, rows_min);
        checked.map_err(|error| match error {
            BlocksError::Shape { .. } => Reason::WrongShape,
            BlocksError::Value { value, .. } if value.is_nan() => Reason::NotFinite,
            BlocksError::Value { .. } => Reason::BeyondScale,
            _ => Reason::OutOfBounds,
        })
    }

    fn rows(&self) -> u64 {
        self.rows()
    }
}
