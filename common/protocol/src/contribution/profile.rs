//! Counts, means and variances of a device's rows.

use super::{CheckContext, Contribution, StandsOn};
use crate::blocks::{BlocksError, RawBlocks};
use crate::codec::decode_blob;
use crate::profile::{Profile, ProfileError, RawProfile};
use crate::round::{Kind, Reason};

impl Contribution for Profile {
    const KIND: Kind = Kind::Profile;
    const STANDS_ON: StandsOn = StandsOn::Rows;
    /// Blocks of rows travel behind a profile where a task learns curves.
    type Raw = (RawProfile, Option<RawBlocks>);

    fn decode(bytes: &[u8], context: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        let decoded = match context.task.learns_curves() {
            true => decode_blob(bytes).map(|(profile, blocks)| (profile, Some(blocks))),
            false => decode_blob(bytes).map(|profile| (profile, None)),
        };
        decoded.map_err(|_| Reason::Malformed)
    }

    fn check((raw, blocks): Self::Raw, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let task = context.task;
        let learns = task.learns_normaliser();
        let checked = Self::check(raw, task.features(), task.classes(), learns);
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
