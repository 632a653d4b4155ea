//! Distilled points: per-class k-means centres, in later rounds where the
//! global teacher is wrong.

use ndarray::{Array1, ArrayView2, Axis};
use rand::Rng;

use common::limits::SAMPLE_ROWS_MEAN;
use common::math::cluster::KMeansParams;
use common::math::random::rng;
use common::round::Kind;
use common::summary::Points;
use common::teacher::Teacher;
use common::wire::codec::encode;

use super::{Built, Entry, View, Work, WorkError};
use crate::teacher::{LabelledRows, TeacherError};

pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    teacher: Option<&Teacher>,
) -> Result<Built, WorkError> {
    let points = summarise(work, view, teacher)?;
    if points.is_empty() {
        return Ok(Built {
            partial: true,
            ..Built::default()
        });
    }
    let mut bytes = encode(&points.to_raw(work.task.definition().budget.bits)?);
    if let Some(targets) = points.targets_to_raw()? {
        bytes.extend(encode(&targets));
    }
    let entry = Entry {
        kind: Kind::Summary,
        bytes,
        rows: view.distinct.len() as u64,
    };
    Ok(Built {
        entries: vec![entry],
        partial: false,
        why: None,
    })
}

fn summarise(work: &Work<'_>, view: &View, teacher: Option<&Teacher>) -> Result<Points, WorkError> {
    // Each row once, however often it was written down.
    let (inputs, labels, numbers) = view.distinct();
    let soft = view.distinct_soft();
    let rows = LabelledRows {
        inputs: inputs.view(),
        labels: &labels,
        classes: view.class_counts.len(),
        numbers: numbers.as_ref().map(|all| all.view()),
        soft: soft.as_ref().map(|all| all.view()),
    };
    let mut class_counts = vec![0; rows.classes];
    for &label in &labels {
        class_counts[usize::from(label)] += 1;
    }
    let weights = match teacher {
        Some(teacher) => Some(residual_weights(teacher, rows)?),
        None => None,
    };
    points_of(work, rows, &class_counts, weights.as_ref())
}

fn points_of(
    work: &Work<'_>,
    rows: LabelledRows<'_>,
    class_counts: &[u64],
    weights: Option<&Array1<f32>>,
) -> Result<Points, WorkError> {
    let budget = &work.task.definition().budget;
    let cluster_size_min = budget.cluster_size_min.max(work.privacy.cluster_size_min) as usize;
    let mut random = rng(work.seed, "summary");
    let wanted = budget.points_per_device as usize;
    let shares = share(wanted, class_counts, cluster_size_min, &mut random);
    let numbers_asked = work.task.target().numbers().len();
    let mut points = Points::none_with(work.task.features(), numbers_asked);
    for (class, &clusters) in shares.iter().enumerate() {
        let members: Vec<usize> = (0..rows.labels.len())
            .filter(|&row| usize::from(rows.labels[row]) == class)
            .collect();
        if clusters == 0 || members.is_empty() {
            continue;
        }
        let inputs = rows.inputs.select(Axis(0), &members);
        // Rows of one point are near in what is asked of them as well.
        let numbers = rows.numbers.map(|all| all.select(Axis(0), &members));
        let inputs = match &numbers {
            Some(numbers) => Points::joint(inputs.view(), numbers.view()),
            None => inputs,
        };
        let weights: Option<Vec<f32>> = weights.map(|all| {
            let own = members.iter().map(|&row| all[row]).collect();
            levelled(own, clusters * cluster_size_min)
        });
        let kmeans = KMeansParams {
            clusters,
            cluster_size_min,
            ..KMeansParams::default()
        }
        .check()?;
        let mut found = kmeans.fit(inputs.view(), weights.as_deref(), &mut random)?;
        for count in &mut found.counts {
            let told = work.told(Some(class as u16), u64::from(*count));
            *count = u32::try_from(told).unwrap_or(u32::MAX);
        }
        match numbers {
            Some(_) => {
                let (counts, spreads) = (vec![1; members.len()], vec![0.0; members.len()]);
                points.push_joint(&found, inputs.view(), &counts, &spreads);
            }
            None => points.push_class(class as u16, &found),
        }
    }
    Ok(points)
}

/// How many points each class gets: by its share of the rows, at least one
/// for a class that has any to tell of, and none for one whose rows are fewer
/// than `size_min`. No class gets more than its rows can fill with
/// [`SAMPLE_ROWS_MEAN`] times as many each in the mean. Where there are
/// more classes than points the dice choose, by rows, so that other devices
/// speak of the others.
fn share(points: usize, counts: &[u64], size_min: usize, random: &mut impl Rng) -> Vec<usize> {
    let size_min = size_min.max(1) as u64;
    let room = |class: usize| match counts[class] {
        rows if rows < size_min => 0,
        rows => (rows / (u64::from(SAMPLE_ROWS_MEAN) * size_min)).max(1) as usize,
    };
    let mut shares = vec![0; counts.len()];
    let mut classes: Vec<usize> = (0..counts.len()).filter(|&class| room(class) > 0).collect();
    if classes.len() > points {
        let mut keys = vec![0.0; counts.len()];
        for &class in &classes {
            keys[class] = random.random::<f64>().ln() / counts[class] as f64;
        }
        classes.sort_by(|&one, &other| keys[other].total_cmp(&keys[one]));
        for &class in classes.iter().take(points) {
            shares[class] = 1;
        }
        return shares;
    }
    let total: u64 = classes.iter().map(|&class| counts[class]).sum();
    let exact = |class: usize| points as f64 * counts[class] as f64 / total as f64;
    for &class in &classes {
        shares[class] = (exact(class).floor() as usize).clamp(1, room(class));
    }
    // The ones that rare classes got are taken from the most common.
    while shares.iter().sum::<usize>() > points {
        if let Some(most) = shares.iter_mut().max() {
            *most -= 1;
        }
    }
    let rest = |class: usize| exact(class).fract();
    classes.sort_by(|&one, &other| rest(other).total_cmp(&rest(one)));
    let mut left = points - shares.iter().sum::<usize>();
    while left > 0 {
        let before = left;
        for &class in &classes {
            if left > 0 && shares[class] < room(class) {
                shares[class] += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    shares
}

/// Each row weighs its squared residual to the power 2, relative to the
/// mean, with a floor so that no region is forgotten; [`levelled`] holds each class
/// to what `cluster_size_min` allows.
fn residual_weights(teacher: &Teacher, rows: LabelledRows<'_>) -> Result<Array1<f32>, WorkError> {
    let answers = teacher.answers(rows.inputs).map_err(TeacherError::from)?;
    let targets = rows.targets();
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

/// The weights of one class, brought so near to their mean that they tell as much
/// as `rows_min` rows of equal weight, (Σw)²/Σw²: where the teacher is right but
/// for a few rows, those outweigh all others, and no cluster would stand for enough
/// rows to be sent. n(1 + t)² / (v + 2t + t²) equals `rows_min` at the least t, in
/// means of the weights, that every weight has to gain; v is the mean of the squared
/// weights.
fn levelled(mut weights: Vec<f32>, rows_min: usize) -> Vec<f32> {
    let (rows, rows_min) = (weights.len() as f64, rows_min as f64);
    let mean = weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() / rows;
    if rows <= rows_min || mean <= 0.0 {
        weights.fill(1.0);
        return weights;
    }
    let ratio = |weight: f32| f64::from(weight) / mean;
    let squares = weights.iter().map(|&weight| ratio(weight).powi(2));
    let excess = (squares.sum::<f64>() / rows - 1.0).max(0.0);
    let gain = (rows_min * excess / (rows - rows_min)).sqrt() * (1.0 + 1e-6) - 1.0;
    if gain > 0.0 {
        for weight in &mut weights {
            *weight = ((f64::from(*weight) / mean + gain) / (1.0 + gain)) as f32;
        }
    }
    weights
}

fn squared_rows(values: ArrayView2<'_, f32>) -> Array1<f32> {
    values.rows().into_iter().map(|row| row.dot(&row)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::Array2;

    fn shared(points: usize, counts: &[u64], size_min: usize) -> Vec<usize> {
        share(points, counts, size_min, &mut rng(3, "test"))
    }

    #[test]
    fn points_are_shared_by_rows_and_none_is_lost() {
        assert_eq!(shared(20, &[100, 0, 300], 5), vec![5, 0, 15]);
        assert_eq!(shared(10, &[33, 33, 34], 2).iter().sum::<usize>(), 10);
        assert_eq!(shared(3, &[1_000, 20, 20], 5), vec![1, 1, 1]);
        assert_eq!(shared(4, &[1_000, 20, 20], 5), vec![2, 1, 1]);
        assert_eq!(shared(5, &[0, 0], 5), vec![0, 0]);
    }

    #[test]
    fn what_a_small_class_cannot_fill_goes_to_the_others() {
        assert_eq!(shared(10, &[20, 100, 4], 5), vec![2, 8, 0]);
        assert_eq!(shared(30, &[10, 100, 4], 5), vec![1, 10, 0]);
        assert_eq!(shared(50, &[28, 9], 5), vec![2, 1]);
        assert_eq!(shared(50, &[4, 3], 5), vec![0, 0]);
    }

    #[test]
    fn every_class_fits_the_budget() {
        let mut told = [0; 10];
        let mut random = rng(3, "test");
        for _ in 0..200 {
            let shares = share(2, &[50, 5, 5, 5, 5, 5, 5, 5, 5, 4], 5, &mut random);
            assert_eq!(shares.iter().sum::<usize>(), 2);
            for (sum, share) in told.iter_mut().zip(shares) {
                *sum += share;
            }
        }
        assert!(told[..9].iter().all(|&sum| sum > 5), "{told:?}");
        assert!(told[0] > 2 * told[1] && told[9] == 0, "{told:?}");
    }

    /// What a task with twelve points of six features makes of labelled rows.
    fn with_work<T>(
        rows: ArrayView2<'_, f32>,
        labels: &[Option<u16>],
        told: impl FnOnce(&Work<'_>, &View) -> T,
    ) -> T {
        use crate::work::{Privacy, RawRows, TeacherChoice};
        use common::features::Normaliser;
        use common::scales::Scales;
        use common::task::RawTask;
        use std::collections::BTreeMap;

        let text = "name = \"t\"\n[input]\nshape = [6]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [normaliser]\nrange = [-8.0, 8.0]\n[budget]\npoints_per_device = 12";
        let task = RawTask::parse(text).unwrap();
        let work = Work {
            task: &task,
            blobs: &BTreeMap::new(),
            rows: RawRows {
                inputs: rows,
                seen: None,
                labels,
                numbers: None,
                soft: None,
            },
            stands_for: None,
            privacy: Privacy {
                rows_min: 20,
                cluster_size_min: 5,
                rows_per_direction: 15,
            },
            teacher: &TeacherChoice::Kernel,
            seed: 3,
        };
        let scales = Scales {
            plan: None,
            normaliser: Normaliser::of_range(6, -8.0, 8.0).unwrap(),
            targets: None,
        };
        let view = View::of(&work, &scales).unwrap();
        told(&work, &view)
    }

    fn drawn_rows(rows: usize) -> Array2<f32> {
        let mut random = rng(1, "copies");
        Array2::from_shape_fn((rows, 6), |_| random.random_range(-4.0f32..4.0))
    }

    #[test]
    fn forty_copies_of_a_row_make_no_point_that_is_the_row() {
        let mut random = rng(2, "copies");
        let mut rows = drawn_rows(70);
        let polled = rows.row(0).to_owned();
        for mut row in rows.rows_mut().into_iter().take(40) {
            // Another reading of the same, within what eight bits can tell.
            let noise = random.random_range(-1e-3f32..1e-3);
            row.assign(&(&polled + noise));
        }
        with_work(rows.view(), &[Some(0); 70], |work, view| {
            let points = summarise(work, view, None).unwrap();
            assert!(!points.is_empty());
            assert_eq!(points.counts.iter().sum::<u32>(), 31);
            assert!(points.counts.iter().all(|&count| count >= 5));
            let row = view.inputs.row(0);
            for point in points.inputs.rows() {
                let apart = (&point - &row).mapv(f32::abs);
                assert!(apart.iter().any(|&apart| apart > 0.1), "{point} is {row}");
            }
        });
    }

    #[test]
    fn a_few_wrong_rows_leave_no_device_without_points() {
        let rows = drawn_rows(120);
        with_work(rows.view(), &[Some(0); 120], |work, view| {
            let (inputs, labels, _) = view.distinct();
            let rows = LabelledRows {
                inputs: inputs.view(),
                labels: &labels,
                classes: 2,
                numbers: None,
                soft: None,
            };
            let mut weights = Array1::from_elem(120, 1e-3);
            (weights[7], weights[50]) = (70.0, 50.0);
            let points = points_of(work, rows, &[120, 0], Some(&weights)).unwrap();
            assert_eq!(points.counts.iter().sum::<u32>(), 120);
            assert!(points.counts.iter().all(|&count| count >= 5));
            // They still draw the points towards them.
            let mean = |points: &Points| points.inputs.mean_axis(Axis(0)).unwrap();
            let even = points_of(work, rows, &[120, 0], None).unwrap();
            assert_ne!(mean(&points), mean(&even));
        });
    }

    #[test]
    fn weights_are_levelled_no_further_than_needed() {
        let effective = |weights: &[f32]| {
            let sum = |power: i32| -> f64 {
                weights
                    .iter()
                    .map(|&weight| f64::from(weight).powi(power))
                    .sum()
            };
            sum(1).powi(2) / sum(2)
        };
        let mut heavy = vec![1e-3; 100];
        heavy[3] = 90.0;
        let level = effective(&levelled(heavy.clone(), 40));
        assert!((level - 40.0).abs() < 0.01, "{level}");
        let kept: Vec<f32> = (0..100u8).map(f32::from).collect();
        assert_eq!(levelled(kept.clone(), 40), kept);
        assert_eq!(levelled(heavy, 100), [1.0; 100]);
    }
}
