#![allow(clippy::unwrap_used)]

use crate::shape::ShapeError;
use ndarray::{Array1, Array2, Axis, array, concatenate};
use rand::Rng;

use super::forward::Arc;
use super::simd::Work;
use super::*;
use crate::linalg::symmetric_eigen;
use crate::random::rng;

fn points(rows: usize, columns: usize, stream: &str) -> Array2<f64> {
    let mut rng = rng(7, stream);
    Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
}

fn single(x: &Array2<f64>) -> Array2<f32> {
    x.mapv(|value| value as f32)
}

/// The recursion entry by entry, as the module's page writes it.
fn plain(ntk: &Ntk, x: &Array1<f64>, z: &Array1<f64>) -> f64 {
    let (w, b) = (ntk.weight_variance(), ntk.bias_variance());
    let d = x.len() as f64;
    let (mut qx, mut qz) = (w * x.dot(x) / d + b, w * z.dot(z) / d + b);
    let mut s = w * x.dot(z) / d + b;
    let mut theta = s;
    for _ in 0..ntk.depth() {
        let g = (qx * qz).sqrt();
        let c = (s / g).clamp(-1.0, 1.0);
        let angle = std::f64::consts::PI - c.acos();
        let kappa0 = angle / std::f64::consts::PI;
        let kappa1 = ((1.0 - c * c).sqrt() + angle * c) / std::f64::consts::PI;
        s = w / 2.0 * g * kappa1 + b;
        theta = s + w / 2.0 * kappa0 * theta;
        (qx, qz) = (w / 2.0 * qx + b, w / 2.0 * qz + b);
    }
    theta
}

fn relative(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let norm = |x: &Array2<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b).max(1e-300)
}

fn kernels() -> [Ntk; 5] {
    let odd = NtkParams {
        depth: 2,
        weight_variance: 1.3,
        bias_variance: 0.2,
    }
    .check()
    .unwrap();
    [Ntk::new(0), Ntk::new(1), Ntk::new(2), Ntk::new(4), odd]
}

/// Central differences of `f` in every entry of `x`.
fn differences(x: &Array2<f64>, f: impl Fn(&Array2<f64>) -> f64) -> Array2<f64> {
    let mut x = x.clone();
    let mut out = Array2::zeros(x.raw_dim());
    for i in 0..x.nrows() {
        for j in 0..x.ncols() {
            let here = x[[i, j]];
            let step = 1e-5;
            x[[i, j]] = here + step;
            let up = f(&x);
            x[[i, j]] = here - step;
            out[[i, j]] = (up - f(&x)) / (2.0 * step);
            x[[i, j]] = here;
        }
    }
    out
}

#[test]
fn matrix_follows_the_recursion() {
    let (x, z) = (points(9, 5, "x"), points(300, 5, "z"));
    for ntk in kernels() {
        let k = ntk.matrix(x.view(), z.view()).unwrap();
        for ((i, j), &value) in k.indexed_iter() {
            let expected = plain(&ntk, &x.row(i).to_owned(), &z.row(j).to_owned());
            assert!(
                (value - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                "{value} {expected}"
            );
        }
    }
}

#[test]
fn f32_is_within_its_documented_error_of_f64() {
    for (rows, columns, width) in [(40, 37, 784), (70, 300, 6), (5, 1, 3)] {
        let (x, z) = (
            single(&points(rows, width, "x")),
            single(&points(columns, width, "z")),
        );
        let (wide_x, wide_z) = (x.mapv(f64::from), z.mapv(f64::from));
        for ntk in kernels() {
            let k = ntk.matrix(x.view(), z.view()).unwrap().mapv(f64::from);
            let expected = ntk.matrix(wide_x.view(), wide_z.view()).unwrap();
            let (dx, dz) = (ntk.diagonal(wide_x.view()), ntk.diagonal(wide_z.view()));
            for ((i, j), value) in k.indexed_iter() {
                let error = (value - expected[[i, j]]).abs() / (dx[i] * dz[j]).sqrt();
                assert!(error <= 1e-5, "{error:e} at depth {}", ntk.depth());
            }
        }
    }
}

#[test]
fn f32_arc_cosine_kernels_are_within_4e7_of_f64() {
    for i in 0..=2_000_000_i32 {
        let c = ((i - 1_000_000) as f64 / 1e6) as f32;
        let (a, b) = (Arc::<f32>::of(c), Arc::<f64>::of(f64::from(c)));
        assert!(
            (f64::from(a.kappa0) - b.kappa0).abs() <= 2e-7,
            "kappa 0 at {c}"
        );
        assert!(
            (f64::from(a.kappa1()) - b.kappa1()).abs() <= 4e-7,
            "kappa 1 at {c}"
        );
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let (x, z) = (single(&points(20, 1, "x")), single(&points(21, 1, "z")));
    let ntk = Ntk::new(3);
    let expected = ntk.matrix(x.view(), z.view()).unwrap();
    let (x_norms, z_norms) = (Norms::of(&ntk, x.view()), Norms::of(&ntk, z.view()));
    let mut k = ntk.dots(x.view(), z.view());
    let values = k.as_slice_mut().unwrap();
    Forward {
        ntk: &ntk,
        values,
        columns: 21,
        x: &x_norms,
        rows: 0..20,
        z: &z_norms,
        upper_only: false,
    }
    .run();
    assert_eq!(k, expected);
}

#[test]
fn symmetric_is_the_matrix_with_an_exact_diagonal() {
    let s = points(290, 4, "s");
    for ntk in kernels() {
        let k = ntk.symmetric(s.view());
        assert_eq!(k, k.t());
        assert_eq!(k.diag(), ntk.diagonal(s.view()));
        assert!(relative(&k, &ntk.matrix(s.view(), s.view()).unwrap()) <= 1e-8);
        let s = single(&s);
        let k = ntk.symmetric(s.view());
        assert_eq!(k, k.t());
        assert_eq!(k.diag(), ntk.diagonal(s.view()));
    }
}

#[test]
fn the_kernel_is_positive_semi_definite() {
    let s = points(40, 3, "s");
    for ntk in kernels() {
        let (values, _) = symmetric_eigen(ntk.symmetric(s.view()).view()).unwrap();
        assert!(
            values[0] >= -1e-10 * values[39],
            "least eigenvalue {}",
            values[0]
        );
    }
}

#[test]
fn blocks_together_are_the_matrix() {
    let (x, z) = (points(23, 6, "x"), points(11, 6, "z"));
    let ntk = Ntk::new(2);
    let expected = ntk.matrix(x.view(), z.view()).unwrap();
    for step in [0, 1, 5, 23, 1000] {
        let mut parts = Vec::new();
        ntk.for_each_block(x.view(), z.view(), step, |block, rows| {
            assert_eq!(block.nrows(), rows.len());
            parts.push(block.to_owned());
        })
        .unwrap();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        assert!(relative(&concatenate(Axis(0), &views).unwrap(), &expected) <= 1e-14);
    }
}

#[test]
fn any_memory_layout_gives_the_same_kernel() {
    let (x, z) = (points(12, 6, "x"), points(9, 6, "z"));
    let ntk = Ntk::new(1);
    let expected = ntk.matrix(x.view(), z.view()).unwrap();
    let turned = x.t().to_owned();
    let spread = Array2::from_shape_fn((9, 12), |(i, j)| z[[i, j / 2]]);
    let k = ntk.matrix(turned.t(), spread.slice(s![.., ..;2])).unwrap();
    assert!(relative(&k, &expected) <= 1e-14);
}

#[test]
fn gradient_of_the_matrix_agrees_with_finite_differences() {
    let (x, z) = (points(7, 3, "x"), points(5, 3, "z"));
    let gamma = points(7, 5, "gamma");
    for ntk in kernels() {
        let gradient = ntk.backward(x.view(), z.view(), gamma.clone()).unwrap();
        let expected = differences(&z, |z| {
            (&ntk.matrix(x.view(), z.view()).unwrap() * &gamma).sum()
        });
        let error = relative(&gradient, &expected);
        assert!(error <= 1e-6, "{error:e} at depth {}", ntk.depth());
    }
}

#[test]
fn symmetric_gradient_agrees_with_finite_differences() {
    let (s, gamma) = (points(6, 3, "s"), points(6, 6, "gamma"));
    for ntk in kernels() {
        let gradient = ntk.backward_symmetric(s.view(), &gamma).unwrap();
        let expected = differences(&s, |s| (&ntk.symmetric(s.view()) * &gamma).sum());
        let error = relative(&gradient, &expected);
        assert!(error <= 1e-6, "{error:e} at depth {}", ntk.depth());
    }
}

#[test]
fn f32_gradient_is_near_the_f64_one() {
    let (x, z, gamma) = (
        points(300, 20, "x"),
        points(270, 20, "z"),
        points(300, 270, "gamma"),
    );
    for ntk in kernels() {
        let expected = ntk.backward(x.view(), z.view(), gamma.clone()).unwrap();
        let gradient = ntk
            .backward(single(&x).view(), single(&z).view(), single(&gamma))
            .unwrap();
        let error = relative(&gradient.mapv(f64::from), &expected);
        assert!(error <= 1e-5, "{error:e} at depth {}", ntk.depth());
    }
}

#[test]
fn equal_and_opposite_points_give_numbers() {
    let x: Array2<f64> = array![
        [1.0, 2.0],
        [-1.0, -2.0],
        [0.0, 0.0],
        [1e-30, 0.0],
        [1e15, 1e15]
    ];
    for bias_variance in [0.0, 0.01] {
        for depth in [0, 1, 2, 5] {
            let ntk = NtkParams {
                depth,
                bias_variance,
                ..NtkParams::default()
            }
            .check()
            .unwrap();
            let gamma = Array2::ones((5, 5));
            assert!(
                ntk.matrix(x.view(), x.view())
                    .unwrap()
                    .iter()
                    .all(|v| v.is_finite())
            );
            assert!(ntk.symmetric(x.view()).iter().all(|v| v.is_finite()));
            assert!(
                ntk.backward(x.view(), x.view(), gamma.clone())
                    .unwrap()
                    .iter()
                    .all(|v| v.is_finite())
            );
            assert!(
                ntk.backward_symmetric(x.view(), &gamma)
                    .unwrap()
                    .iter()
                    .all(|v| v.is_finite())
            );
            let (x, gamma) = (single(&x), single(&gamma));
            assert!(
                ntk.matrix(x.view(), x.view())
                    .unwrap()
                    .iter()
                    .all(|v| v.is_finite())
            );
            assert!(
                ntk.backward(x.view(), x.view(), gamma)
                    .unwrap()
                    .iter()
                    .all(|v| v.is_finite())
            );
        }
    }
}

#[test]
fn gradient_at_coinciding_points_is_the_smooth_part() {
    let x = points(6, 3, "x");
    let z = x.slice(s![1..4, ..]).to_owned();
    let gamma = points(6, 3, "gamma");
    let ntk = Ntk::new(2);
    let gradient = ntk.backward(x.view(), z.view(), gamma.clone()).unwrap();
    // Central differences see the cusp from both sides, where it cancels.
    let expected = differences(&z, |z| {
        (&ntk.matrix(x.view(), z.view()).unwrap() * &gamma).sum()
    });
    assert!(relative(&gradient, &expected) <= 1e-6);
}

#[test]
fn a_nan_stays_with_its_point() {
    let (mut x, z) = (points(4, 3, "x"), points(5, 3, "z"));
    x[[2, 1]] = f64::NAN;
    let k = Ntk::new(2).matrix(x.view(), z.view()).unwrap();
    assert!(k.row(2).iter().all(|value| value.is_nan()));
    assert!(
        [0, 1, 3]
            .iter()
            .all(|&i| k.row(i).iter().all(|value| value.is_finite()))
    );
}

#[test]
fn points_of_different_width_are_refused() {
    let (x, z) = (points(4, 3, "x"), points(5, 2, "z"));
    let ntk = Ntk::new(1);
    let expected = KernelError::Shape(ShapeError::count("features of a point", 3, 2));
    assert_eq!(ntk.matrix(x.view(), z.view()), Err(expected.clone()));
    assert_eq!(
        ntk.for_each_block(x.view(), z.view(), 2, |_, _| unreachable!()),
        Err(expected.clone())
    );
    assert_eq!(
        ntk.backward(x.view(), z.view(), Array2::zeros((4, 5))),
        Err(expected)
    );
    let shape = KernelError::Shape(ShapeError::new("gradient", &[4, 4], &[4, 5]));
    assert_eq!(
        ntk.backward(x.view(), x.view(), Array2::zeros((4, 5))),
        Err(shape.clone())
    );
    assert_eq!(
        ntk.backward_symmetric(x.view(), &Array2::zeros((4, 5))),
        Err(shape)
    );
}

#[test]
fn empty_sets_give_empty_kernels() {
    let (none, some, flat) = (
        Array2::<f32>::zeros((0, 3)),
        single(&points(4, 3, "x")),
        Array2::<f32>::zeros((2, 0)),
    );
    let ntk = Ntk::new(2);
    assert_eq!(ntk.matrix(none.view(), some.view()).unwrap().dim(), (0, 4));
    assert_eq!(ntk.matrix(some.view(), none.view()).unwrap().dim(), (4, 0));
    assert_eq!(ntk.symmetric(none.view()).dim(), (0, 0));
    assert_eq!(
        ntk.backward(some.view(), none.view(), Array2::zeros((4, 0)))
            .unwrap()
            .dim(),
        (0, 3)
    );
    assert!(
        ntk.matrix(flat.view(), flat.view())
            .unwrap()
            .iter()
            .all(|value| value.is_finite())
    );
}

#[test]
fn parameters_out_of_range_are_refused() {
    let params = NtkParams::default();
    let bad = NtkParams {
        weight_variance: 0.0,
        ..params
    };
    assert_eq!(bad.check(), Err(KernelError::WeightVariance(0.0)));
    let bad = NtkParams {
        bias_variance: -1.0,
        ..params
    };
    assert_eq!(bad.check(), Err(KernelError::BiasVariance(-1.0)));
    assert!(
        NtkParams {
            bias_variance: f64::NAN,
            ..params
        }
        .check()
        .is_err()
    );
    assert_eq!(params.check(), Ok(Ntk::new(1)));
}
