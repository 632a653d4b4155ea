#![allow(clippy::unwrap_used)]

use crate::shape::ShapeError;
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rand::Rng;

use super::*;
use crate::kernel::Ntk;
use crate::random::rng;

const LAMBDA: f64 = 1e-3;
const RHO: f64 = 1e-6;

fn points(rows: usize, columns: usize, stream: &str) -> Array2<f64> {
    let mut rng = rng(11, stream);
    Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
}

/// Targets that a kernel can learn: smooth in x, one column a class.
fn targets(x: ArrayView2<'_, f64>, classes: usize) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), classes), |(i, c)| {
        (x.row(i).sum() + c as f64).sin()
    })
}

fn relative(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let norm = |x: &Array2<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b).max(1e-300)
}

fn differences(x: &Array2<f64>, f: impl Fn(&Array2<f64>) -> f64) -> Array2<f64> {
    let mut x = x.clone();
    let mut out = Array2::zeros(x.raw_dim());
    let places: Vec<_> = x.indexed_iter().map(|(place, _)| place).collect();
    for place in places {
        let here = x[place];
        let step = 1e-5;
        x[place] = here + step;
        let up = f(&x);
        x[place] = here - step;
        out[place] = (up - f(&x)) / (2.0 * step);
        x[place] = here;
    }
    out
}

/// One data set, its transfer set, and ten devices that share the rows out
/// unevenly, sorted by a target, so that no device is like another.
fn fleet() -> (
    Ntk,
    Array2<f64>,
    Array2<f64>,
    Array2<f64>,
    Vec<MomentSystem>,
) {
    let (ntk, points_, x) = (Ntk::new(2), points(40, 6, "s"), points(400, 6, "x"));
    let mut order: Vec<usize> = (0..400).collect();
    order.sort_by(|&a, &b| x.row(a).sum().total_cmp(&x.row(b).sum()));
    let x = x.select(Axis(0), &order);
    let t = targets(x.view(), 3);
    let edges = [0, 1, 3, 30, 60, 61, 160, 250, 251, 380, 400];
    let devices = edges
        .windows(2)
        .map(|edge| {
            let rows = s![edge[0]..edge[1], ..];
            MomentSystem::gather(&ntk, points_.view(), x.slice(rows), t.slice(rows)).unwrap()
        })
        .collect();
    (ntk, points_, x, t, devices)
}

fn total(devices: &[MomentSystem]) -> MomentSystem {
    let mut total = devices[0].clone();
    for device in &devices[1..] {
        total.add(device).unwrap();
    }
    total
}

#[test]
fn any_partition_gives_the_pooled_solution() {
    let (ntk, points, x, t, devices) = fleet();
    let pooled = MomentSystem::gather(&ntk, points.view(), x.view(), t.view()).unwrap();
    let pooled = pooled.solve(LAMBDA, RHO).unwrap();
    let joined = total(&devices).solve(LAMBDA, RHO).unwrap();
    assert_eq!(joined.jitter, 0.0);
    let error = relative(&joined.alpha, &pooled.alpha);
    assert!(error <= 1e-8, "{error:e}");
}

#[test]
fn the_solution_minimises_the_objective_it_names() {
    let (ntk, points, x, t, devices) = fleet();
    let solution = total(&devices).solve(LAMBDA, RHO).unwrap();
    let k = ntk.matrix(x.view(), points.view()).unwrap();
    let support = ntk.symmetric(points.view());
    let a = &solution.alpha;
    let gradient =
        k.t().dot(&(k.dot(a) - &t)) + support.dot(a) * solution.lambda + a * solution.rho;
    let scale = k.t().dot(&t);
    assert!(relative(&(&gradient + &scale), &scale) <= 1e-9);
}

#[test]
fn squared_error_from_moments_is_the_one_on_the_rows() {
    let (ntk, points, x, t, devices) = fleet();
    let alpha = total(&devices).solve(LAMBDA, RHO).unwrap().alpha;
    let residual = ntk.matrix(x.view(), points.view()).unwrap().dot(&alpha) - &t;
    let expected: f64 = residual.iter().map(|value| value * value).sum();
    let got: f64 = devices
        .iter()
        .map(|device| device.squared_error(alpha.view()).unwrap())
        .sum();
    assert!((got - expected).abs() <= 1e-9 * t.iter().map(|v| v * v).sum::<f64>());
}

#[test]
fn the_chosen_ridge_is_the_best_on_held_out_groups() {
    let (ntk, points, x, t, _) = fleet();
    let mut noise = rng(3, "noise");
    let t = t.mapv(|value| value + noise.random_range(-2.0..2.0));
    let groups: Vec<_> = (0..4)
        .map(|k| {
            let rows = s![k..;4, ..];
            MomentSystem::gather(&ntk, points.view(), x.slice(rows), t.slice(rows)).unwrap()
        })
        .collect();
    let lambdas = [1e-8, 1e-5, 1e-3, 1e-1, 1e2];
    let choice = choose_ridge(&groups, &lambdas, RHO).unwrap();
    let best = choice.errors.iter().copied().fold(f64::INFINITY, f64::min);
    let index = lambdas
        .iter()
        .position(|&lambda| lambda == choice.lambda)
        .unwrap();
    assert_eq!(choice.errors[index], best);
    // With this much noise both ends of the range do worse.
    assert!(index > 0 && index < 4, "{choice:?}");
    // The error of one candidate, computed on the rows themselves.
    let mut expected = 0.0;
    for k in 0..4 {
        let rest: Vec<_> = groups
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != k)
            .map(|(_, g)| g.clone())
            .collect();
        let alpha = total(&rest).solve(lambdas[2], RHO).unwrap().alpha;
        let held = s![k..;4, ..];
        let residual = ntk
            .matrix(x.slice(held), points.view())
            .unwrap()
            .dot(&alpha)
            - t.slice(held);
        expected += residual.iter().map(|value| value * value).sum::<f64>();
    }
    assert!((choice.errors[2] - expected / 1200.0).abs() <= 1e-9 * expected);
}

#[test]
fn a_device_left_out_is_a_device_that_never_came() {
    let (_, _, _, _, devices) = fleet();
    let sum = total(&devices);
    let whole = sum.solve(LAMBDA, RHO).unwrap();
    for (i, solution) in leave_one_out(&sum, &devices, &whole).enumerate() {
        let others: Vec<_> = devices
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, d)| d.clone())
            .collect();
        let expected = total(&others)
            .solve_absolute(whole.lambda, whole.rho)
            .unwrap();
        assert!(relative(&solution.unwrap().alpha, &expected.alpha) <= 1e-8);
    }
}

#[test]
fn f32_moments_solve_to_nearly_the_same_predictions() {
    let (ntk, points, x, t, devices) = fleet();
    let single = |x: &Array2<f64>| x.mapv(|value| value as f32);
    let system = MomentSystem::gather(
        &ntk,
        single(&points).view(),
        single(&x).view(),
        single(&t).view(),
    )
    .unwrap();
    let alpha = system.solve(LAMBDA, RHO).unwrap().alpha;
    let expected = total(&devices).solve(LAMBDA, RHO).unwrap().alpha;
    let k = ntk.matrix(x.view(), points.view()).unwrap();
    let error = relative(&k.dot(&alpha), &k.dot(&expected));
    assert!(error <= 1e-3, "{error:e}");
}

#[test]
fn a_system_of_no_rows_answers_zero() {
    let s = points(8, 3, "s");
    let solution = MomentSystem::empty(&Ntk::new(1), s.view(), 2)
        .solve_absolute(1e-3, 0.0)
        .unwrap();
    assert!(solution.alpha.iter().all(|value| *value == 0.0));
}

#[test]
fn repeated_points_solve_with_a_reported_jitter() {
    let s = points(6, 3, "s");
    let s = concatenate![Axis(0), s, s];
    let x = points(50, 3, "x");
    let t = targets(x.view(), 2);
    let solution = MomentSystem::gather(&Ntk::new(1), s.view(), x.view(), t.view())
        .unwrap()
        .solve(0.0, 0.0)
        .unwrap();
    assert!(solution.alpha.iter().all(|value| value.is_finite()));
    assert!(solution.jitter <= 1e-6);
}

#[test]
fn kernel_ridge_reaches_its_targets() {
    let x = points(30, 4, "x");
    let t = targets(x.view(), 2);
    let k = Ntk::new(2).symmetric(x.view());
    let alpha = kernel_ridge(k.view(), t.view(), 1e-9).unwrap();
    assert!(relative(&k.dot(&alpha), &t) <= 1e-4);
}

#[test]
fn kip_gradients_agree_with_finite_differences() {
    let (s, y, x) = (points(6, 4, "s"), points(6, 3, "y"), points(25, 4, "x"));
    let t = targets(x.view(), 3);
    for depth in [1, 3] {
        let ntk = Ntk::new(depth);
        let loss = |s: &Array2<f64>, y: &Array2<f64>| {
            kip_loss_and_gradient(&ntk, s.view(), y.view(), x.view(), t.view(), 1e-2)
                .unwrap()
                .loss
        };
        let step =
            kip_loss_and_gradient(&ntk, s.view(), y.view(), x.view(), t.view(), 1e-2).unwrap();
        let error = relative(&step.d_support, &differences(&s, |s| loss(s, &y)));
        assert!(error <= 1e-6, "points, depth {depth}: {error:e}");
        let error = relative(&step.d_labels, &differences(&y, |y| loss(&s, y)));
        assert!(error <= 1e-6, "labels, depth {depth}: {error:e}");
    }
}

#[test]
fn kip_loss_is_half_the_mean_squared_error() {
    let (s, y, x) = (points(6, 4, "s"), points(6, 3, "y"), points(25, 4, "x"));
    let t = targets(x.view(), 3);
    let ntk = Ntk::new(1);
    let step = kip_loss_and_gradient(&ntk, s.view(), y.view(), x.view(), t.view(), 1e-2).unwrap();
    let alpha = kernel_ridge(ntk.symmetric(s.view()).view(), y.view(), 1e-2).unwrap();
    let residual = ntk.matrix(x.view(), s.view()).unwrap().dot(&alpha) - &t;
    let expected = 0.5 * residual.iter().map(|v| v * v).sum::<f64>() / 75.0;
    assert!((step.loss - expected).abs() <= 1e-12);
    let single = |x: &Array2<f64>| x.mapv(|value| value as f32);
    let (s32, y32, x32, t32) = (single(&s), single(&y), single(&x), single(&t));
    let near =
        kip_loss_and_gradient(&ntk, s32.view(), y32.view(), x32.view(), t32.view(), 1e-2).unwrap();
    assert!(relative(&near.d_support.mapv(f64::from), &step.d_support) <= 1e-3);
    assert!(relative(&near.d_labels.mapv(f64::from), &step.d_labels) <= 1e-3);
}

#[test]
fn data_term_does_not_depend_on_blocks() {
    let (ntk, s, x) = (Ntk::new(1), points(4, 3, "s"), points(5000, 3, "x"));
    let (t, alpha) = (targets(x.view(), 2), points(4, 2, "alpha"));
    let term = data_term(&ntk, s.view(), alpha.view(), x.view(), t.view()).unwrap();
    let k = ntk.matrix(x.view(), s.view()).unwrap();
    let residual = k.dot(&alpha) - &t;
    let loss = 0.5 * residual.iter().map(|v| v * v).sum::<f64>();
    assert!((term.loss - loss).abs() <= 1e-10 * loss);
    assert!(relative(&term.d_alpha, &k.t().dot(&residual)) <= 1e-10);
    let gradient = ntk
        .backward(x.view(), s.view(), residual.dot(&alpha.t()))
        .unwrap();
    assert!(relative(&term.d_support, &gradient) <= 1e-10);
}

#[test]
fn wrong_shapes_and_numbers_are_refused() {
    let ntk = Ntk::new(1);
    let (s, x, t) = (points(4, 3, "s"), points(9, 3, "x"), points(9, 2, "t"));
    let short = t.slice(s![..8, ..]);
    let shape = RegressionError::Shape(ShapeError::new("targets", &[9, 2], &[8, 2]));
    assert_eq!(
        MomentSystem::gather(&ntk, s.view(), x.view(), short),
        Err(shape.clone())
    );
    assert_eq!(
        data_term(&ntk, s.view(), points(4, 2, "a").view(), x.view(), short),
        Err(shape)
    );
    let mut bad = x.clone();
    bad[[3, 1]] = f64::NAN;
    let refused = MomentSystem::gather(&ntk, s.view(), bad.view(), t.view());
    assert_eq!(refused, Err(RegressionError::NonFinite { what: "inputs" }));
    let mut system = MomentSystem::gather(&ntk, s.view(), x.view(), t.view()).unwrap();
    let ridge = RegressionError::Ridge {
        name: "lambda",
        value: -1.0,
    };
    assert_eq!(system.solve(-1.0, 0.0), Err(ridge));
    assert_eq!(
        choose_ridge(std::slice::from_ref(&system), &[1.0], 0.0),
        Err(RegressionError::Groups(1))
    );
    let two = [system.clone(), system.clone()];
    assert_eq!(
        choose_ridge(&two, &[], 0.0),
        Err(RegressionError::NoCandidate)
    );
    system.gram[[0, 1]] = f64::INFINITY;
    assert_eq!(
        system.solve(1e-3, 0.0),
        Err(RegressionError::NonFinite { what: "gram" })
    );
}
