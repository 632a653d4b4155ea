#![allow(clippy::unwrap_used)]
use ndarray::{ArrayView2, Axis, s};
use rand::Rng;

use super::*;
use common::math::random::rng;
use common::math::regression::{MomentSystem, data_term};
use common::summary::PointsFrame;
use common::task::RawTask;
use common::transfer::TransferSet;

const FEATURES: usize = 6;
const LAMBDA: f64 = 0.05;

fn task() -> Task {
    RawTask::parse(
        "name = \"t\"\n[input]\nshape = [6]\n[classes]\nnames = [\"a\", \"b\"]\n\
         [distillation]\nsupport = \"gradient\"",
    )
    .unwrap()
}

/// Rows whose class is a product of two features, and their centred targets.
fn rows() -> (Array2<f32>, Array2<f32>) {
    let mut random = rng(1, "rows");
    let x = Array2::from_shape_fn((600, FEATURES), |_| random.random_range(-1.0f32..1.0));
    let t = Array2::from_shape_fn((600, 2), |(row, class)| {
        let is_first = x[[row, 0]] * x[[row, 1]] > 0.0;
        if is_first == (class == 0) { 0.5 } else { -0.5 }
    });
    (x, t)
}

fn first_points() -> Points {
    let mut random = rng(2, "points");
    Points {
        inputs: Array2::from_shape_fn((16, FEATURES), |_| random.random_range(-1.0f32..1.0)),
        classes: (0..16).map(|point| point % 2).collect(),
        counts: vec![30; 16],
        spreads: vec![1.2; 16],
    }
}

fn decoded(raw: RawTransferSet) -> Points {
    let frame = PointsFrame {
        features: FEATURES,
        classes: 2,
        points_max: 16,
        cluster_size_min: 1,
    };
    TransferSet::check(raw, frame).unwrap().points
}

/// The teacher of all rows on these points, and the objective it minimises.
fn solved(points: &Points) -> (RawTeacher, f64) {
    let (x, t) = rows();
    let ntk = Ntk::new(2);
    let wide = points.inputs.mapv(f64::from);
    let (x, t) = (x.mapv(f64::from), t.mapv(f64::from));
    let system = MomentSystem::gather(&ntk, wide.view(), x.view(), t.view()).unwrap();
    let alpha = system.solve_absolute(LAMBDA, 0.0).unwrap().alpha;
    let fit = system.squared_error(alpha.view()).unwrap();
    let smooth = (&system.support.dot(&alpha) * &alpha).sum();
    let teacher = RawTeacher {
        depth: 2,
        alpha: alpha.iter().map(|&value| value as f32).collect(),
        temperature: 1.0,
        facts: TeacherFacts {
            lambda: LAMBDA,
            held_out_error: fit / 600.0,
            rows: 600,
            ..TeacherFacts::default()
        },
    };
    (teacher, 0.5 * fit + 0.5 * LAMBDA * smooth)
}

/// What devices with these many of the rows each send.
fn sent(points: &Points, teacher: &RawTeacher, sizes: &[usize]) -> Vec<Gradient> {
    let (x, t) = rows();
    let alpha = ArrayView2::from_shape((points.len(), 2), &teacher.alpha).unwrap();
    let mut from = 0;
    sizes
        .iter()
        .map(|&size| {
            let own = s![from..from + size, ..];
            from += size;
            let (x, t) = (x.slice(own), t.slice(own));
            let term = data_term(&Ntk::new(2), points.inputs.view(), alpha, x, t).unwrap();
            let raw = Gradient::to_raw(size as u64, term.d_support.view()).unwrap();
            Gradient::check(raw, points.len(), FEATURES).unwrap()
        })
        .collect()
}

const FLEET: [usize; 5] = [20, 300, 80, 150, 50];

fn relative(got: &Array2<f64>, expected: &Array2<f64>) -> f64 {
    let norm = |values: &Array2<f64>| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(got - expected)) / norm(expected)
}

#[test]
fn the_devices_gradients_sum_to_the_pooled_one_within_their_quantisation() {
    let points = first_points();
    let (teacher, _) = solved(&points);
    let (x, t) = rows();
    let alpha = ArrayView2::from_shape((16, 2), &teacher.alpha).unwrap();
    let pooled = data_term(
        &Ntk::new(2),
        points.inputs.view(),
        alpha,
        x.view(),
        t.view(),
    );
    let pooled = pooled.unwrap().d_support.mapv(f64::from);
    let summed = sum((16, FEATURES), &sent(&points, &teacher, &FLEET)).unwrap();
    let error = relative(&summed, &pooled);
    assert!(error < 0.02, "{error}");
    let without_one = sum((16, FEATURES), &sent(&points, &teacher, &FLEET)[1..]).unwrap();
    assert!(relative(&without_one, &pooled) > error);
}

/// The whole way of several rounds: what a fleet and one device with all rows
/// end up with.
fn moved(sizes: &[usize], rounds: usize) -> (Points, Vec<f64>) {
    let task = task();
    let mut points = first_points();
    let mut before: Option<Before> = None;
    let mut objectives = Vec::new();
    for _ in 0..rounds {
        let (teacher, objective) = solved(&points);
        objectives.push(objective);
        let gradients = sent(&points, &teacher, sizes);
        let next =
            refine_transfer_set(&task, &points, &teacher, before.as_ref(), &gradients).unwrap();
        before = Some(Before {
            inputs: points.inputs,
            facts: teacher.facts,
        });
        points = decoded(next);
    }
    objectives.push(solved(&points).1);
    (points, objectives)
}

#[test]
fn the_objective_falls_and_a_fleet_gets_as_far_as_pooled_rows_would() {
    let (federated, objectives) = moved(&FLEET, 10);
    let (pooled, alone) = moved(&[600], 10);
    let (first, last) = (objectives[0], objectives[10]);
    assert!(last < 0.8 * first, "{objectives:?}");
    assert!(objectives[1] < first, "{objectives:?}");
    assert!(
        (last - alone[10]).abs() < 0.03 * first,
        "{objectives:?} {alone:?}"
    );
    let start = first_points().inputs;
    let apart = relative(
        &(&federated.inputs - &start).mapv(f64::from),
        &(&pooled.inputs - &start).mapv(f64::from),
    );
    assert!(apart < 0.25, "{apart}");
    // What is not moved stays.
    assert_eq!(federated.classes, first_points().classes);
    assert_eq!(federated.counts, first_points().counts);
}

#[test]
fn the_order_of_devices_changes_no_bit() {
    let points = first_points();
    let (teacher, _) = solved(&points);
    let mut gradients = sent(&points, &teacher, &FLEET);
    let forwards = refine_transfer_set(&task(), &points, &teacher, None, &gradients).unwrap();
    gradients.reverse();
    let backwards = refine_transfer_set(&task(), &points, &teacher, None, &gradients).unwrap();
    assert_eq!(forwards, backwards);
}

#[test]
fn a_liar_moves_no_point_further_than_an_honest_device_could() {
    let points = first_points();
    let (teacher, _) = solved(&points);
    let mut gradients = sent(&points, &teacher, &FLEET);
    gradients[0].gradient.mapv_inplace(|value| -1e9 * value);
    let honest = sent(&points, &teacher, &FLEET);
    let after = decoded(refine_transfer_set(&task(), &points, &teacher, None, &gradients).unwrap());
    let reach = RATE * 1.2 / (FEATURES as f64).sqrt();
    for (one, other) in after.inputs.iter().zip(&points.inputs) {
        assert!(
            f64::from((one - other).abs()) <= reach + 0.01,
            "{one} {other}"
        );
    }
    // It is scaled down to some times the others, for its twenty rows.
    let with = sum((16, FEATURES), &gradients).unwrap();
    let without = sum((16, FEATURES), &honest).unwrap();
    let size = |sum: &Array2<f64>| sum.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!(
        size(&with) < 20.0 * size(&without),
        "{} {}",
        size(&with),
        size(&without)
    );
}

#[test]
fn a_move_that_made_the_teacher_worse_is_not_made_again() {
    let points = first_points();
    let (teacher, _) = solved(&points);
    let gradients = sent(&points, &teacher, &FLEET);
    let mut before = Before {
        inputs: &points.inputs + 0.1,
        facts: teacher.facts,
    };
    let next = |before: Option<&Before>| {
        refine_transfer_set(&task(), &points, &teacher, before, &gradients).unwrap()
    };
    assert_ne!(next(Some(&before)), next(None));
    before.facts.held_out_error = 0.5 * teacher.facts.held_out_error;
    assert_eq!(next(Some(&before)), next(None));
    let fewer = Before {
        inputs: points.inputs.select(Axis(0), &[0, 1]),
        facts: teacher.facts,
    };
    assert_eq!(next(Some(&fewer)), next(None));
}

#[test]
fn a_teacher_of_other_points_is_refused() {
    let points = first_points();
    let (mut teacher, _) = solved(&points);
    teacher.alpha.pop();
    let gradients = sent(&points, &solved(&points).0, &FLEET);
    assert!(matches!(
        refine_transfer_set(&task(), &points, &teacher, None, &gradients),
        Err(RefineError::Teacher {
            expected: 32,
            got: 31
        })
    ));
}
