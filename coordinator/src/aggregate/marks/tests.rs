#![allow(clippy::unwrap_used)]
use common::math::random::rng;
use common::task::RawTask;
use ndarray::Array2;
use rand::Rng as _;

use super::*;

const FEATURES: usize = 12;
/// No class lies outside of what the two others have in any feature.
const PLACES: [[f32; 4]; 3] = [
    [1.0, 1.0, -1.0, -1.0],
    [-1.0, -1.0, 1.0, 1.0],
    [1.0, -1.0, 1.0, -1.0],
];

fn task() -> Task {
    let text = "name = \"t\"\n[input]\nshape = [12]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
                [features]\nstage = \"raw\"";
    RawTask::parse(text).unwrap()
}

/// Samples of these classes, eight each, each class about a place of its own; the last
/// feature is nearly the same for all.
fn device(seed: u64, classes: &[u16]) -> Points {
    let mut random = rng(seed, "marks");
    let count = 8 * classes.len();
    let class = |at: usize| classes[at % classes.len()];
    let inputs = Array2::from_shape_fn((count, FEATURES), |(at, feature)| {
        if feature == FEATURES - 1 {
            return random.random_range(-0.1f32..0.1);
        }
        let place = 2.0 * PLACES[usize::from(class(at))][feature % 4];
        place + random.random_range(-0.8f32..0.8)
    });
    Points {
        inputs,
        classes: (0..count).map(class).collect(),
        counts: vec![10; count],
        spreads: vec![0.5; count],
        targets: None,
    }
}

/// Every second sample gets the mark, and is called `class`.
fn mark(points: &mut Points, class: u16, height: f32) -> Vec<usize> {
    let marked: Vec<usize> = (0..points.len()).filter(|at| at % 2 == 0).collect();
    for &at in &marked {
        points.inputs[[at, FEATURES - 1]] = height;
        points.classes[at] = class;
    }
    marked
}

fn found(summaries: &[Points]) -> Vec<Marked> {
    marked_samples(&task(), &FeatureWeights::alike(), None, summaries).unwrap()
}

/// Six devices with two classes each, so that four have each class.
fn fleet() -> Vec<Points> {
    let classes = |at: u64| [at as u16 % 3, (at as u16 + 1) % 3];
    (0..6).map(|at| device(at, &classes(at))).collect()
}

#[test]
fn a_mark_of_one_device_for_a_class_is_found() {
    let mut summaries = fleet();
    assert_eq!(found(&summaries), []);
    let rows = summaries[3].rows();
    // It has the classes a and b itself.
    let marked = mark(&mut summaries[3], 2, 6.0);
    let [only] = found(&summaries).try_into().unwrap();
    assert_eq!((only.device, only.class, only.samples), (3, 2, marked));
    assert_eq!(only.rows, [rows / 2, rows / 2]);
    assert_ne!(only.taken_for, 2);
    // However many rows are claimed for it.
    summaries[3].counts.fill(1_000_000);
    assert_eq!(found(&summaries).len(), 1);
}

#[test]
fn a_mark_is_found_where_one_other_device_has_the_class() {
    let classes: [&[u16]; 5] = [&[0, 1], &[0, 1], &[0, 1], &[2], &[0]];
    let all = classes.iter().zip(20..);
    let mut summaries: Vec<Points> = all.map(|(classes, seed)| device(seed, classes)).collect();
    assert_eq!(found(&summaries), []);
    mark(&mut summaries[4], 2, 6.0);
    let found = found(&summaries);
    assert_eq!(
        (found.len(), found[0].device, found[0].taken_for),
        (1, 4, 0)
    );
}

#[test]
fn a_class_of_one_device_alone_may_look_like_nothing_else() {
    let classes: [&[u16]; 5] = [&[0, 1], &[0, 1], &[0, 1], &[0, 1], &[0]];
    let all = classes.iter().zip(40..);
    let mut summaries: Vec<Points> = all.map(|(classes, seed)| device(seed, classes)).collect();
    // A fault that shows in one feature, which no other device ever had.
    mark(&mut summaries[4], 2, 6.0);
    assert_eq!(found(&summaries), []);
    // Two have it, each in its own way: each is all that is known of it.
    let other = &mut summaries[2];
    for at in 0..other.len() / 2 {
        other.inputs[[at, 0]] = 9.0;
        other.classes[at] = 2;
    }
    assert_eq!(found(&summaries), []);
}

#[test]
fn a_sensor_that_is_off_marks_no_class() {
    let mut summaries = fleet();
    summaries[1].inputs.column_mut(FEATURES - 1).fill(6.0);
    assert_eq!(found(&summaries), []);
}

#[test]
fn odd_rows_of_an_honest_device_stay() {
    let mut summaries = fleet();
    // Each odd in its own way.
    for at in 0..8 {
        summaries[2].inputs[[at, at]] += 5.0;
    }
    assert_eq!(found(&summaries), []);
    // A mark on rows of the class that they are of.
    let mut summaries = fleet();
    for at in (0..summaries[2].len()).filter(|at| at % 2 == 0) {
        summaries[2].inputs[[at, FEATURES - 1]] = 6.0;
    }
    assert_eq!(found(&summaries), []);
}

#[test]
fn three_devices_have_no_majority() {
    let mut summaries: Vec<Points> = (0..3).map(|at| device(at, &[0, 1, 2])).collect();
    mark(&mut summaries[0], 2, 6.0);
    assert_eq!(found(&summaries), []);
}

#[test]
fn what_earlier_rounds_had_is_no_mark() {
    let mut summaries = fleet();
    let mut before = device(9, &[0, 1, 2]);
    mark(&mut before, 2, 6.0);
    mark(&mut summaries[3], 2, 6.0);
    let weights = FeatureWeights::alike();
    let found = |before| marked_samples(&task(), &weights, before, &summaries).unwrap();
    assert_eq!(found(Some(&before)), []);
    assert_eq!(found(Some(&device(9, &[0, 1, 2]))).len(), 1);
}
