//! How many directions of its rows a contribution tells, read from the bytes
//! that would leave: the last check, whatever built them.

use std::collections::BTreeMap;

use common::gradient::{RawGradient, directions};
use common::labels::RawLabels;
use common::moments::RawMoments;
use common::profile::ProfileParts;
use common::report::RawReport;
use common::round::Kind;
use common::summary::RawPoints;
use common::task::Task;
use common::wire::codec::{DecodeError, decode_blob};

use super::Refusal;
use crate::work::{Entry, Privacy, SAMPLE_ROWS_MEAN};

/// What a contribution tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    /// Rows it says that it describes.
    rows: u64,
    /// Numbers a dimension; none where there are but counts.
    directions: usize,
    /// Whether it tells the mean and variance of each feature.
    means: bool,
    /// The fewest rows that a part of it describes by itself, if it has parts.
    part_rows: Option<u64>,
    /// The fewest that one of its parts may describe.
    part_rows_min: u64,
}

/// Whether a contribution may leave under `privacy`.
///
/// | kind | directions | parts |
/// |---|---|---|
/// | profile | block means of a feature beyond its mean, which with the variance takes rows for two; class means and products of a sketch | classes |
/// | summary | – | points |
/// | labels | classes less one | classes |
/// | moments | virtual rows | – |
/// | report | – | – |
/// | gradient | classes less one, for each step up to its own | classes |
///
/// # Errors
/// The rule that forbids it.
pub(super) fn check(privacy: Privacy, task: &Task, entry: &Entry) -> Result<(), Refusal> {
    let kind = entry.kind;
    let told = told(privacy, task, entry).map_err(|_| Refusal::Unreadable { kind })?;
    // A summary stands for labelled rows only, and not for all of them.
    let rows = entry.rows.min(told.rows);
    if rows < privacy.rows_min && kind != Kind::Summary {
        let rows_min = privacy.rows_min;
        return Err(Refusal::Rows { rows, rows_min });
    }
    let refused = |directions, directions_max| {
        Err(Refusal::Directions {
            kind,
            rows,
            directions,
            directions_max,
        })
    };
    let directions_max = privacy.directions(rows);
    if told.directions > directions_max {
        return refused(told.directions, directions_max);
    }
    if told.means && !privacy.tells_means(rows) {
        return refused(2, directions_max);
    }
    match told.part_rows {
        Some(rows) if rows < told.part_rows_min => Err(Refusal::Part {
            kind,
            rows,
            rows_min: told.part_rows_min,
        }),
        _ => Ok(()),
    }
}

fn told(privacy: Privacy, task: &Task, entry: &Entry) -> Result<Told, DecodeError> {
    let bytes = entry.bytes.as_slice();
    let counts = |rows, directions, classes: &[u64]| Told {
        rows,
        directions,
        means: false,
        part_rows: classes.iter().copied().filter(|&count| count > 0).min(),
        part_rows_min: privacy.rows_min,
    };
    Ok(match entry.kind {
        Kind::Profile => {
            let parts = ProfileParts::read(task, bytes)?;
            let profile = parts.profile;
            let blocks = parts.blocks.map_or(0, |blocks| usize::from(blocks.count));
            let directions = if blocks > 1 { blocks } else { 0 };
            let told = Told {
                means: profile.moments.is_some() || parts.targets.is_some(),
                ..counts(profile.rows, directions, &profile.class_counts)
            };
            match parts.sketch {
                None => told,
                Some(sketch) => {
                    let classes = sketch.classes.iter().map(|(_, rows)| *rows);
                    let vectors = sketch.classes.len() + sketch.products.rows as usize;
                    Told {
                        rows: told.rows.min(sketch.rows),
                        directions: told.directions + vectors,
                        part_rows: told.part_rows.into_iter().chain(classes).min(),
                        ..told
                    }
                }
            }
        }
        Kind::Summary => {
            let (points, _) = RawPoints::parts(task, bytes)?;
            let stand = points.counts.iter().copied().map(u64::from);
            Told {
                rows: stand.clone().sum(),
                directions: 0,
                means: false,
                part_rows: stand.chain(rows_in_mean(&points)).min(),
                part_rows_min: privacy.cluster_size_min.into(),
            }
        }
        Kind::Labels => {
            let labels: RawLabels = decode_blob(bytes)?;
            let classes = labels.class_counts.iter().filter(|&&count| count > 0);
            let directions = classes.count().saturating_sub(1).max(1);
            counts(labels.rows, directions, &labels.class_counts)
        }
        Kind::Moments => {
            let moments: RawMoments = decode_blob(bytes)?;
            let directions = moments.carried.rows.saturating_add(moments.factor.rows);
            counts(moments.rows, directions as usize, &[])
        }
        Kind::Gradient => {
            let gradient: RawGradient = decode_blob(bytes)?;
            let told = directions(task, gradient.refined);
            counts(gradient.rows(), told, &gradient.class_counts)
        }
        Kind::Report => {
            let report: RawReport = decode_blob(bytes)?;
            counts(report.rows, 0, &[])
        }
    })
}

/// Of each class with several samples, their rows in the mean, in units of
/// which the least is what one sample stands for.
fn rows_in_mean(points: &RawPoints) -> impl Iterator<Item = u64> + '_ {
    let mut classes: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for (&class, &count) in points.classes.iter().zip(&points.counts) {
        let (samples, rows) = classes.entry(class).or_default();
        *samples += 1;
        *rows += u64::from(count);
    }
    let several = classes.into_values().filter(|(samples, _)| *samples > 1);
    several.map(|(samples, rows)| rows / (samples * u64::from(SAMPLE_ROWS_MEAN)))
}

#[cfg(test)]
mod tests;
