#![allow(clippy::unwrap_used)]
use common::math::random::rng;
use common::profile::{Profile, RawFeatureMoments, RawProfile};
use common::sketch::RawSketch;
use common::task::{RawTask, Task};
use ndarray::{Array1, Array2, Axis};
use rand_distr::{Distribution as _, StandardNormal};

use crate::aggregate::learn_normaliser;

const FEATURES: usize = 60;
const DIRECTIONS: usize = 10;

fn task(directions: usize) -> Task {
    let text = format!(
        "name = \"t\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
         [features]\nstage = \"onnx\"\nmodel = \"{}\"\nwidth = {FEATURES}\nbytes = 1000\n\
         directions = {directions}\nlearn_directions = true\n",
        "ab".repeat(32)
    );
    RawTask::parse(&text).unwrap()
}

/// Rows of three classes in a subspace of six directions of sixty, beside noise in all.
fn rows(count: usize) -> (Array2<f32>, Vec<u16>) {
    let mut random = rng(7, "rows");
    let mut normal = |shape| -> Array2<f64> {
        Array2::from_shape_simple_fn(shape, || StandardNormal.sample(&mut random))
    };
    let basis = normal((6, FEATURES));
    let labels: Vec<u16> = (0..count).map(|row| (row % 3) as u16).collect();
    let mut hidden = normal((count, 6)) * 2.0;
    for (mut row, &label) in hidden.rows_mut().into_iter().zip(&labels) {
        row[usize::from(label)] += 4.0;
    }
    let scale = Array1::from_iter((0..FEATURES).map(|at| 1.0 + at as f64 / 10.0));
    let rows = (hidden.dot(&basis) + normal((count, FEATURES)) * 0.5) * &scale + 20.0;
    (rows.mapv(|value| value as f32), labels)
}

/// The sketch of a device with these rows, of at most `directions` vectors.
fn profile(task: &Task, rows: &Array2<f32>, labels: &[u16], directions: usize) -> Profile {
    let moments = RawFeatureMoments::of(rows.view()).unwrap();
    let projection = task.learnt_projection().unwrap();
    let described = (rows.view(), labels);
    let sketch = RawSketch::of(described, &moments.variance, &projection, (directions, 5));
    let mut class_counts = vec![0; 3];
    labels
        .iter()
        .for_each(|&label| class_counts[usize::from(label)] += 1);
    let raw = RawProfile {
        rows: labels.len() as u64,
        class_counts,
        moments: Some(moments),
    };
    let profile = Profile::check(raw, FEATURES, 3, true).unwrap();
    profile.with_sketch(task, sketch.unwrap()).unwrap()
}

/// Rows as kernels see them, with these rows of the data on each device.
fn seen(task: &Task, parts: &[Vec<usize>], directions: usize) -> Array2<f32> {
    let (all, labels) = rows(600);
    let profiles: Vec<Profile> = { parts.iter() }
        .map(|part| {
            let own: Vec<u16> = part.iter().map(|&row| labels[row]).collect();
            profile(task, &all.select(Axis(0), part), &own, directions)
        })
        .collect();
    let learnt = learn_normaliser(task, &profiles).unwrap();
    assert!(learnt.refused.is_empty());
    learnt.normaliser.apply(all.view()).unwrap()
}

/// The cosines between what two views say of how rows lie to one another, in the mean:
/// turning what is seen changes none of a view's products.
fn agreement(one: &Array2<f32>, other: &Array2<f32>) -> f32 {
    let (one, other) = (one.dot(&one.t()), other.dot(&other.t()));
    let pairs = one.rows().into_iter().zip(other.rows());
    let cosines = pairs.map(|(a, b)| a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt());
    cosines.sum::<f32>() / one.nrows() as f32
}

/// How far the classes lie apart, beside how far rows lie from their class's mean.
fn separation(seen: &Array2<f32>) -> f64 {
    let labels = rows(600).1;
    let (mut between, mut within) = (0.0, 0.0);
    let middle = seen.mean_axis(Axis(0)).unwrap();
    for class in 0..3 {
        let own: Vec<usize> = (0..600).filter(|&row| labels[row] == class).collect();
        let own = seen.select(Axis(0), &own);
        let mean = own.mean_axis(Axis(0)).unwrap();
        let square = |values: &Array1<f32>| f64::from(values.dot(values));
        between += square(&(&mean - &middle)) * own.nrows() as f64;
        within += own
            .rows()
            .into_iter()
            .map(|row| square(&(&row - &mean)))
            .sum::<f64>();
    }
    between / within
}

/// But for the rounding of what is sent, which shows most in rows near the middle and in
/// directions that hardly vary.
#[test]
fn any_partition_gives_the_same_directions() {
    let task = task(DIRECTIONS);
    let whole = seen(&task, &[(0..600).collect()], 100);
    let even = (0..4)
        .map(|at| (at..600).step_by(4).collect())
        .collect::<Vec<_>>();
    let by_class = (0..3)
        .map(|at| (at..600).step_by(3).collect())
        .collect::<Vec<_>>();
    let uneven = vec![(0..50).collect(), (50..200).collect(), (200..600).collect()];
    for (what, parts) in [("even", even), ("by class", by_class), ("uneven", uneven)] {
        let found = agreement(&whole, &seen(&task, &parts, 100));
        assert!(found > 0.97, "{what}: {found}");
    }
}

#[test]
fn learnt_directions_hold_the_classes_apart() {
    let learning = task(DIRECTIONS);
    let parts: Vec<Vec<usize>> = (0..3).map(|at| (at..600).step_by(3).collect()).collect();
    let learnt = separation(&seen(&learning, &parts, 100));
    // A device that may tell nothing leaves directions that are drawn.
    let drawn = separation(&seen(&learning, &parts, 0));
    assert!(learnt > 2.0 * drawn, "{learnt} beside {drawn}");
}

#[test]
fn columns_of_few_rows_are_left_out() {
    let task = task(DIRECTIONS);
    let (all, labels) = rows(600);
    let of = |part: Vec<usize>, directions| {
        let own: Vec<u16> = part.iter().map(|&row| labels[row]).collect();
        profile(&task, &all.select(Axis(0), &part), &own, directions)
    };
    let normaliser = |directions| {
        let large = (0..3).map(|at| of((at..500).step_by(3).collect(), 8));
        let small = of((500..600).collect(), directions);
        let profiles: Vec<Profile> = large.chain([small]).collect();
        learn_normaliser(&task, &profiles).unwrap().normaliser
    };
    assert_eq!(normaliser(13).width(), DIRECTIONS);
    // The last device's columns beyond those of the others change nothing.
    assert_eq!(normaliser(13), normaliser(12));
}
