//! Counts and feature moments, for the shared normaliser.

use ndarray::Axis;

use common::profile::{RawFeatureMoments, RawProfile};
use common::round::Kind;

use super::rows::Described;
use super::{Built, Entry, Work, WorkError};

pub(super) fn build(work: &Work<'_>) -> Result<Built, WorkError> {
    let described = Described::of(work);
    let rows = described.chosen.len() as u64;
    if rows < work.privacy.rows_min {
        return Ok(Built {
            entries: Vec::new(),
            partial: true,
        });
    }
    let moments = if work.task.learns_normaliser() {
        let features = described.features(work.task, work.rows)?.mapv(f64::from);
        let mean = features.mean_axis(Axis(0));
        let variance = features.var_axis(Axis(0), 0.0);
        mean.map(|mean| RawFeatureMoments {
            mean: mean.iter().map(|&value| value as f32).collect(),
            variance: variance.iter().map(|&value| value as f32).collect(),
        })
    } else {
        None
    };
    let profile = RawProfile {
        rows,
        class_counts: described.class_counts,
        moments,
    };
    Ok(Built {
        entries: vec![Entry::of(Kind::Profile, &profile, rows)],
        partial: false,
    })
}
