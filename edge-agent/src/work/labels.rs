//! What the local teacher says of the transfer set, and how near each point
//! lies to the device's rows.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::index::sample;

use common::labels::Labels;
use common::math::random::rng;
use common::round::Kind;
use common::transfer::TransferSet;

use super::{Entry, TeacherChoice, View, Work, WorkError};
use crate::teacher::{KernelTeacher, LocalTeacher, NetworkTeacher};

/// Rows that nearness is measured against.
const NEIGHBOURS_AMONG: usize = 1_000;
/// Nearness is the mean distance to this many rows, never to a single one.
const NEIGHBOURS: usize = 5;

/// The local teacher; none if the device has no labelled rows to speak of.
pub(super) fn learn(
    work: &Work<'_>,
    view: &View,
) -> Result<Option<Box<dyn LocalTeacher>>, WorkError> {
    if view.labels.is_empty() {
        return Ok(None);
    }
    let depth = work.task.definition().teacher.depth;
    Ok(Some(match work.teacher {
        // The model has labelled rows before; what they teach is learnt here.
        TeacherChoice::Kernel | TeacherChoice::Model(_) => {
            Box::new(KernelTeacher::fit(view.labelled(), depth, work.seed)?)
        }
        TeacherChoice::Network(hidden) => {
            Box::new(NetworkTeacher::fit(view.labelled(), hidden, work.seed)?)
        }
    }))
}

pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    transfer: &TransferSet,
    teacher: Option<&dyn LocalTeacher>,
) -> Result<Option<Entry>, WorkError> {
    let Some(teacher) = teacher else {
        return Ok(None);
    };
    // One direction for each class but the last, whose share is what is left.
    let classes = view.class_counts.iter().filter(|&&count| count > 0).count();
    let directions = work.privacy.directions(view.distinct_rows());
    if directions < classes.saturating_sub(1).max(1) {
        return Ok(None);
    }
    let points = transfer.points.inputs.view();
    let class_counts = work.told_classes(&view.class_counts);
    let unlabelled = match view.unlabelled().nrows() as u64 {
        0 => 0,
        rows => work.told(None, rows),
    };
    let labels = Labels {
        rows: class_counts.iter().sum::<u64>() + unlabelled,
        class_counts,
        probabilities: teacher.probabilities(points)?,
        nearness: nearness(work.seed, view.labelled().inputs, points),
    };
    let raw = labels.to_raw(work.task.definition().budget.label_bits)?;
    Ok(Some(Entry::of(Kind::Labels, &raw, view.distinct_rows())))
}

/// 1 for a point as near to the rows as they are to one another, falling to 0
/// with distance: exp(−8·max(0, r − 1)²), where r is the mean squared distance
/// to the five nearest rows relative to the same among the rows themselves.
fn nearness(seed: u64, rows: ArrayView2<'_, f32>, points: ArrayView2<'_, f32>) -> Vec<f32> {
    let count = rows.nrows();
    let mut random = rng(seed, "nearness");
    let chosen = sample(&mut random, count, count.min(NEIGHBOURS_AMONG)).into_vec();
    let rows = rows.select(Axis(0), &chosen);
    let own = mean_nearest(rows.view(), rows.view(), true);
    let mut sorted = own.clone();
    sorted.sort_by(f32::total_cmp);
    let typical = sorted
        .get(sorted.len() / 2)
        .copied()
        .unwrap_or(0.0)
        .max(1e-12);
    mean_nearest(points, rows.view(), false)
        .into_iter()
        .map(|distance| {
            let excess = (distance / typical - 1.0).max(0.0);
            (-8.0 * excess * excess).exp()
        })
        .collect()
}

/// Mean squared distance of each of `from` to its nearest few of `to`.
fn mean_nearest(from: ArrayView2<'_, f32>, to: ArrayView2<'_, f32>, same: bool) -> Vec<f32> {
    let squares = |rows: ArrayView2<'_, f32>| -> Vec<f32> {
        rows.rows().into_iter().map(|row| row.dot(&row)).collect()
    };
    let (a, b) = (squares(from), squares(to));
    let products: Array2<f32> = from.dot(&to.t());
    let skip = usize::from(same);
    products
        .rows()
        .into_iter()
        .zip(a)
        .map(|(row, own)| {
            let mut distances: Vec<f32> = row
                .iter()
                .zip(&b)
                .map(|(product, other)| (own + other - 2.0 * product).max(0.0))
                .collect();
            distances.sort_by(f32::total_cmp);
            let nearest = &distances[skip.min(distances.len())..];
            let nearest = &nearest[..nearest.len().min(NEIGHBOURS)];
            nearest.iter().sum::<f32>() / nearest.len().max(1) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_point_among_the_rows_is_near_and_one_far_off_is_not() {
        let mut random = rng(5, "rows");
        let rows = Array2::from_shape_fn((200, 6), |_| random.random_range(-1.0f32..1.0));
        let points = ndarray::array![
            [0.0f32, 0.0, 0.0, 0.0, 0.0, 0.0],
            [9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
        ];
        let near = nearness(1, rows.view(), points.view());
        assert!(near[0] > 0.5, "{near:?}");
        assert!(near[1] < 0.01, "{near:?}");
    }
}
