//! Counts and feature statistics, for the shared normaliser.

use common::blocks::RawBlocks;
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
    let (mut moments, mut blocks) = (None, None);
    if work.task.learns_normaliser() {
        let features = described.features(work.task, work.rows, None)?;
        moments = RawFeatureMoments::of(features.view());
        let asked = work.task.definition().budget.cluster_size_min;
        let rows_min = work.privacy.cluster_size_min.max(asked);
        let told = work.task.learns_curves();
        blocks = told.then(|| RawBlocks::of(features.view(), rows_min));
    }
    let profile = RawProfile {
        rows,
        class_counts: described.class_counts,
        moments,
    };
    let entry = match blocks {
        Some(blocks) => Entry::of(Kind::Profile, &(profile, blocks), rows),
        None => Entry::of(Kind::Profile, &profile, rows),
    };
    Ok(Built {
        entries: vec![entry],
        partial: false,
    })
}
