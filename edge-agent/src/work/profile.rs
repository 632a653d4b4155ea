//! Counts and feature statistics, for the shared normaliser, and a sketch of the rows
//! where a task learns a projection. Where the rows are
//! a sample, counts are those of all rows, and statistics those of the part of
//! the sample in which every class has its share.

use common::blocks::RawBlocks;
use common::profile::{ProfileParts, RawFeatureMoments, RawProfile};
use common::round::Kind;
use common::sketch::RawSketch;

use super::rows::Described;
use super::{Built, Entry, Work, WorkError};

pub(super) fn build(work: &Work<'_>) -> Result<Built, WorkError> {
    let described = Described::of(work);
    let rows = described.chosen.len() as u64;
    if rows < work.privacy.rows_min {
        return Ok(Built {
            partial: true,
            ..Built::default()
        });
    }
    let (mut moments, mut blocks, mut sketch) = (None, None, None);
    if work.task.learns_normaliser() {
        if !work.privacy.tells_means(rows) {
            return Ok(Built {
                partial: true,
                ..Built::default()
            });
        }
        let even = described.uniform(work);
        let rows = even.chosen.len() as u64;
        if rows < work.privacy.rows_min || !work.privacy.tells_means(rows) {
            return Ok(Built {
                partial: true,
                ..Built::default()
            });
        }
        let features = even.features(work.task, work.rows, None)?;
        moments = RawFeatureMoments::of(features.view());
        let asked = work.task.definition().budget.cluster_size_min;
        let rows_min = work.privacy.cluster_size_min.max(asked);
        // One block is the mean again.
        let blocks_max = work.privacy.directions(rows).max(1) as u64;
        let share = u32::try_from(rows.div_ceil(blocks_max)).unwrap_or(u32::MAX);
        let rows_min = rows_min.max(share);
        let told = work.task.learns_quantiles();
        blocks = told.then(|| RawBlocks::of(features.view(), rows_min));
        if let (Some(projection), Some(moments)) = (work.task.learnt_projection(), &moments) {
            let may_tell = (work.privacy.directions(rows), work.privacy.rows_min);
            let described = (features.view(), even.labels.as_slice());
            let told = RawSketch::of(described, &moments.variance, &projection, may_tell);
            sketch = Some(told?);
        }
    }
    let targets = match described.uniform(work).numbers(work) {
        Some(numbers) => {
            let rows = numbers.nrows() as u64;
            if rows >= work.privacy.rows_min && work.privacy.tells_means(rows) {
                RawFeatureMoments::of(numbers.view())
            } else {
                return Ok(Built {
                    entries: Vec::new(),
                    partial: true,
                    why: None,
                });
            }
        }
        None => None,
    };
    let class_counts = work.told_classes(&described.class_counts);
    let unlabelled = (described.chosen.len() - described.labels.len()) as u64;
    let unlabelled = match unlabelled {
        0 => 0,
        rows => work.told(None, rows),
    };
    let profile = RawProfile {
        rows: class_counts.iter().sum::<u64>() + unlabelled,
        class_counts,
        moments,
    };
    let parts = ProfileParts {
        profile,
        blocks,
        targets,
        sketch,
    };
    let entry = Entry {
        kind: Kind::Profile,
        bytes: parts.to_bytes(),
        rows,
    };
    Ok(Built {
        entries: vec![entry],
        partial: false,
        why: None,
    })
}
