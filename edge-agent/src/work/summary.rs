//! Distilled points: per-class k-means centres, in later rounds where the
//! global teacher is wrong.

use ndarray::{Array1, ArrayView2, Axis};

use common::math::cluster::KMeansParams;
use common::math::random::rng;
use common::round::Kind;
use common::summary::Points;
use common::teacher::Teacher;

use super::{Built, Entry, View, Work, WorkError};
use crate::teacher::{TeacherError, centred_one_hot};

pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    teacher: Option<&Teacher>,
) -> Result<Built, WorkError> {
    let points = summarise(work, view, teacher)?;
    if points.is_empty() {
        return Ok(Built {
            entries: Vec::new(),
            partial: true,
        });
    }
    let raw = points.to_raw(work.task.definition().budget.bits)?;
    let rows = view.labels.len() as u64;
    Ok(Built {
        entries: vec![Entry::of(Kind::Summary, &raw, rows)],
        partial: false,
    })
}

fn summarise(work: &Work<'_>, view: &View, teacher: Option<&Teacher>) -> Result<Points, WorkError> {
    let rows = view.labelled();
    let weights = match teacher {
        Some(teacher) => Some(residual_weights(teacher, view)?),
        None => None,
    };
    let budget = &work.task.definition().budget;
    let cluster_size_min = budget.cluster_size_min.max(work.privacy.cluster_size_min) as usize;
    let shares = share(budget.points_per_device as usize, &view.class_counts);
    let mut random = rng(work.seed, "summary");
    let mut points = Points::none(work.task.features());
    for (class, &clusters) in shares.iter().enumerate() {
        let members: Vec<usize> = (0..rows.labels.len())
            .filter(|&row| usize::from(rows.labels[row]) == class)
            .collect();
        if clusters == 0 || members.is_empty() {
            continue;
        }
        let inputs = rows.inputs.select(Axis(0), &members);
        let weights: Option<Vec<f32>> = weights
            .as_ref()
            .map(|all| members.iter().map(|&row| all[row]).collect());
        let kmeans = KMeansParams {
            clusters,
            cluster_size_min,
            ..KMeansParams::default()
        }
        .check()?;
        let found = kmeans.fit(inputs.view(), weights.as_deref(), &mut random)?;
        points.push_class(class as u16, &found);
    }
    Ok(points)
}

/// How many points each class gets: by its share of the rows, at least one
/// for a class that has any.
pub(super) fn share(points: usize, class_counts: &[u64]) -> Vec<usize> {
    let total: u64 = class_counts.iter().sum();
    if total == 0 {
        return vec![0; class_counts.len()];
    }
    let exact = |count: u64| points as f64 * count as f64 / total as f64;
    let mut shares: Vec<usize> = class_counts
        .iter()
        .map(|&count| {
            if count == 0 {
                0
            } else {
                (exact(count).floor() as usize).max(1)
            }
        })
        .collect();
    let mut order: Vec<usize> = (0..shares.len())
        .filter(|&class| class_counts[class] > 0)
        .collect();
    order.sort_by(|&one, &other| {
        let rest = |class: usize| exact(class_counts[class]).fract();
        rest(other).total_cmp(&rest(one))
    });
    let mut left = points.saturating_sub(shares.iter().sum());
    for &class in order.iter().cycle().take(order.len() * 2) {
        if left == 0 {
            break;
        }
        shares[class] += 1;
        left -= 1;
    }
    shares
}

/// Each row weighs its squared residual to the power 2, relative to the
/// mean, with a floor so that no region is forgotten.
fn residual_weights(teacher: &Teacher, view: &View) -> Result<Array1<f32>, WorkError> {
    let rows = view.labelled();
    let answers = teacher.answers(rows.inputs).map_err(TeacherError::from)?;
    let targets = centred_one_hot(rows.labels, rows.classes);
    let squares = squared_rows((&answers - &targets).view());
    let mut weights = squares.mapv(|square| square * square);
    let mean = weights.mean().unwrap_or(0.0);
    if mean > 0.0 {
        weights.mapv_inplace(|weight| weight / mean + 1e-3);
    } else {
        weights.fill(1.0);
    }
    Ok(weights)
}

fn squared_rows(values: ArrayView2<'_, f32>) -> Array1<f32> {
    values.rows().into_iter().map(|row| row.dot(&row)).collect()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn points_are_shared_by_rows_and_none_is_lost() {
        assert_eq!(share(20, &[100, 0, 300]), vec![5, 0, 15]);
        assert_eq!(share(10, &[33, 33, 34]).iter().sum::<usize>(), 10);
        assert_eq!(share(3, &[1_000, 20, 20]), vec![2, 1, 1]);
        assert_eq!(share(5, &[0, 0]), vec![0, 0]);
    }
}
