//! One transfer set from all devices' points.

use ndarray::Axis;

use common::math::cluster::{ClusterError, merge_centres};
use common::math::quantise::QuantiseError;
use common::math::random::rng;
use common::math::regression::RegressionError;
use common::summary::Points;
use common::task::Task;
use common::transfer::{RawTransferSet, TRANSFER_BITS};

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap, scaled};
use super::feature_weights::learn_feature_weights;

/// Why points could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// No device sent a point.
    #[error(
        "no device sent a point; each class needs at least the task's smallest cluster of rows"
    )]
    NoPoints,
    /// Centres could not be merged.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What features tell could not be found out.
    #[error(transparent)]
    FeatureWeights(#[from] RegressionError),
    /// Points could not be encoded.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
}

/// Joins the points so far and the devices' new ones, in device order. The
/// points of a device stand for no more rows in all than the task allows
/// beside the median device's. Beyond
/// `points_max`, the centres of each class are merged by weighted k-means,
/// its share of points by its share of rows. Where the task has it so, the
/// points also say how much each feature counts.
///
/// # Errors
/// If there are no points at all.
pub fn gather_transfer_set(
    task: &Task,
    previous: Option<&Points>,
    summaries: &[Points],
) -> Result<RawTransferSet, GatherError> {
    let rows: Vec<u64> = summaries.iter().map(Points::rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let none = Points::none_with(task.features(), task.target().numbers().len());
    let mut all = none.clone();
    all.extend(previous.unwrap_or(&none));
    for points in summaries {
        all.extend(&capped(points, cap));
    }
    if all.is_empty() {
        return Err(GatherError::NoPoints);
    }
    let points_max = task.definition().budget.points_max as usize;
    if all.len() > points_max {
        all = merge(task, &all, points_max)?;
    }
    let feature_weights = match task.definition().method.feature_weights {
        true => Some(learn_feature_weights(task, &all)?.to_raw()),
        false => None,
    };
    Ok(RawTransferSet {
        points: all.to_raw(TRANSFER_BITS)?,
        targets: all.targets_to_raw()?,
        feature_weights,
    })
}

/// The same points for no more rows than count of one device, each for as many
/// as it surely lies at: noise costs weight.
fn capped(points: &Points, cap: RowsCap) -> Points {
    let share = cap.share(points.rows());
    let mut capped = points.clone();
    for (index, count) in capped.counts.iter_mut().enumerate() {
        let share = share * points.certainty(index);
        *count = scaled(u64::from(*count), share) as u32;
    }
    capped
}

fn merge(task: &Task, all: &Points, points_max: usize) -> Result<Points, GatherError> {
    let mut random = rng(task.definition().distillation.seed, "merge");
    let mut merged = Points::none_with(task.features(), task.target().numbers().len());
    let members: Vec<Vec<usize>> = (0..task.classes())
        .map(|class| {
            (0..all.len())
                .filter(|&i| usize::from(all.classes[i]) == class)
                .collect()
        })
        .collect();
    let shares = share(points_max, &members);
    for (class, (members, share)) in members.iter().zip(shares).enumerate() {
        if members.is_empty() {
            continue;
        }
        let inputs = all.inputs.select(Axis(0), members);
        let counts: Vec<u32> = members.iter().map(|&i| all.counts[i]).collect();
        let spreads: Vec<f32> = members.iter().map(|&i| all.spreads[i]).collect();
        let numbers = all.targets.as_ref();
        let numbers = numbers.map(|targets| targets.select(Axis(0), members));
        match numbers {
            Some(numbers) => {
                let joint = Points::joint(inputs.view(), numbers.view());
                let found = merge_centres(joint.view(), &counts, &spreads, share, &mut random)?;
                merged.push_joint(&found, joint.view(), &counts, &spreads);
            }
            None => {
                let found = merge_centres(inputs.view(), &counts, &spreads, share, &mut random)?;
                merged.push_class(class as u16, &found);
            }
        }
    }
    Ok(merged)
}

/// Points for each class: in proportion to the points it has now, at least
/// one each, never more than `points` in all (as far as there are no more
/// classes than points).
fn share(points: usize, members: &[Vec<usize>]) -> Vec<usize> {
    let total: usize = members.iter().map(Vec::len).sum();
    let present = members.iter().filter(|members| !members.is_empty()).count();
    let spare = points.saturating_sub(present);
    members
        .iter()
        .map(|members| match members.len() {
            0 => 0,
            count => 1 + spare * count / total.max(1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::validation;
    use common::summary::PointsFrame;
    use common::task::RawTask;
    use common::transfer::TransferSet;
    use ndarray::Array2;

    fn points(count: usize, class: u16) -> Points {
        Points {
            inputs: Array2::from_shape_fn((count, 2), |(i, j)| (i * 3 + j) as f32),
            classes: vec![class; count],
            counts: vec![10; count],
            spreads: vec![1.0; count],
            targets: None,
        }
    }

    #[test]
    fn points_beyond_the_limit_are_merged_and_no_row_is_lost() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"\n\
                    [budget]\npoints_max = 8\npoints_per_device = 8";
        let task = RawTask::parse(task).unwrap();
        let raw = gather_transfer_set(&task, Some(&points(6, 0)), &[points(9, 1), points(3, 0)]);
        let frame = PointsFrame {
            features: 2,
            classes: 2,
            points_max: 8,
            cluster_size_min: 1,
            numbers: 0,
        };
        let set = TransferSet::check(raw.unwrap(), frame).unwrap();
        assert!(set.points.len() <= 8);
        assert_eq!(set.points.rows(), 180);
        assert!(set.points.classes.contains(&0) && set.points.classes.contains(&1));
    }

    #[test]
    fn feature_weights_travel_with_the_points() {
        let task = |feature_weights: bool| {
            let text = format!(
                "name = \"t\"\n[input]\nshape = [1]\n[classes]\nnames = [\"a\", \"b\"]\n\
                 [features]\nstage = \"lifted\"\n[teacher]\nfeature_weights = {feature_weights}"
            );
            RawTask::parse(&text).unwrap()
        };
        let gathered = |task: &Task| {
            let points = [points(6, 0), points(9, 1)];
            gather_transfer_set(task, None, &points).unwrap()
        };
        let (learns, plain) = (task(true), task(false));
        let bytes = gathered(&learns).to_bytes();
        let set = validation::transfer_set(&learns, &bytes).unwrap();
        assert_eq!(set.feature_weights.weights().len(), 2);
        assert!(validation::transfer_set(&plain, &bytes).is_err());
        assert!(validation::transfer_set(&learns, &bytes[..bytes.len() - 1]).is_err());

        let bytes = gathered(&plain).to_bytes();
        let set = validation::transfer_set(&plain, &bytes).unwrap();
        assert!(set.feature_weights.is_alike());
        assert!(validation::transfer_set(&learns, &bytes).is_err());
    }

    #[test]
    fn landmarks_are_drawn_by_whoever_reads_the_set() {
        let task = |landmarks: u32| {
            let text = format!(
                "name = \"t\"\ncontribute = \"moments\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"\n\
                 [teacher]\nlandmarks_max = {landmarks}"
            );
            RawTask::parse(&text).unwrap()
        };
        let (few, many, none) = (task(20), task(1_000), task(0));
        let bytes = gather_transfer_set(&few, None, &[points(9, 1), points(3, 0)]);
        let bytes = bytes.unwrap().to_bytes();
        let read = |task: &Task| validation::transfer_set(task, &bytes).unwrap();
        assert_eq!(read(&few).landmarks, read(&few).landmarks);
        assert_eq!(read(&few).support(), 12 + 20);
        assert_eq!(read(&many).support(), 12 + 3 * 12);
        assert_eq!(read(&none).support(), 12);
        let set = read(&few);
        assert_eq!(set.seen().nrows(), 32);
        assert_eq!(set.seen_points(), read(&none).seen());
        assert_eq!(set.support_counts()[10..14], [10, 10, 0, 0]);
    }

    #[test]
    fn a_device_stands_for_three_times_the_median_rows_at_most() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(task).unwrap();
        let mut boasts = points(5, 1);
        boasts.counts.fill(1_000_000_000);
        let raw = gather_transfer_set(&task, None, &[points(5, 0), boasts, points(4, 1)]);
        let counts = raw.unwrap().points.counts;
        assert_eq!(counts, [vec![10; 5], vec![30; 5], vec![10; 4]].concat());
    }

    #[test]
    fn no_points_are_an_error() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(task).unwrap();
        assert!(matches!(
            gather_transfer_set(&task, None, &[]),
            Err(GatherError::NoPoints)
        ));
    }
}
