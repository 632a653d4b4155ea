//! Speed of the kernel, of a KIP step, of a student's training and of the
//! moments against the matrix products inside them, on one BLAS thread.
//!
//! Before criterion's own figures it prints each ratio, of processor time in
//! runs that take turns so that both sides meet the same machine, and a checksum
//! of what was computed. `ALAMBIC_BENCH_TINY` set to anything makes all sizes tiny.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use math::blas;
use math::kernel::Ntk;
use math::network::{Batch, Mlp, MlpShape, Trainer};
use math::optimiser::{Adam, AdamParams};
use math::random::rng;
use math::regression::{MomentSystem, kip_loss_and_gradient};
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rand::Rng;

/// Sizes of one run.
struct Sizes {
    rows: usize,
    points: usize,
    width: usize,
    kip_rows: usize,
    kip_points: usize,
    classes: usize,
    rounds: usize,
}

const FULL: Sizes = Sizes {
    rows: 10_000,
    points: 1_000,
    width: 784,
    kip_rows: 5_000,
    kip_points: 100,
    classes: 10,
    rounds: 7,
};
const TINY: Sizes = Sizes {
    rows: 50,
    points: 20,
    width: 16,
    kip_rows: 40,
    kip_points: 10,
    classes: 3,
    rounds: 2,
};

fn sizes() -> Sizes {
    if std::env::var_os("ALAMBIC_BENCH_TINY").is_some() {
        TINY
    } else {
        FULL
    }
}

fn points(rows: usize, width: usize, stream: &str) -> Array2<f32> {
    let mut rng = rng(1, stream);
    Array2::from_shape_fn((rows, width), |_| rng.random_range(-1.0..1.0))
}

/// A product alone, as the work it is compared with does it.
fn product(a: &Array2<f32>, b: &Array2<f32>, out: &mut Array2<f32>) {
    general_mat_mul(1.0, a, &b.t(), 0.0, out);
}

/// Time that this thread has had a processor to itself, where the kernel
/// counts it; else wall time. On a machine that others use too, only this
/// compares.
fn busy(start: Instant) -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = counted.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Least time of each of two pieces of work over rounds that take turns.
fn race(rounds: usize, mut whole: impl FnMut(), mut inside: impl FnMut()) -> (Duration, Duration) {
    let origin = Instant::now();
    let time = |work: &mut dyn FnMut()| {
        let start = busy(origin);
        work();
        busy(origin).saturating_sub(start)
    };
    let mut least = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        least.0 = least.0.min(time(&mut whole));
        least.1 = least.1.min(time(&mut inside));
    }
    least
}

fn report(name: &str, (whole, inside): (Duration, Duration), flops: f64, checksum: f64) {
    println!(
        "{name}: {:.2} ms, products alone {:.2} ms at {:.1} Gflop/s, ratio {:.3}, checksum {checksum:.6e}",
        whole.as_secs_f64() * 1e3,
        inside.as_secs_f64() * 1e3,
        flops / inside.as_secs_f64() / 1e9,
        whole.as_secs_f64() / inside.as_secs_f64(),
    );
}

fn kernel(c: &mut Criterion) {
    let sizes = sizes();
    let (x, s) = (
        points(sizes.rows, sizes.width, "x"),
        points(sizes.points, sizes.width, "s"),
    );
    let ntk = Ntk::new(2);
    let mut out = Array2::zeros((sizes.rows, sizes.points));
    let mut sum = 0.0;
    let whole = || {
        let mut total = 0.0_f64;
        let k = ntk
            .matrix(x.view(), s.view())
            .expect("both are of one width");
        total += k
            .iter()
            .step_by(97)
            .map(|&value| f64::from(value))
            .sum::<f64>();
        sum = black_box(total);
    };
    let times = race(sizes.rounds, whole, || product(&x, &s, black_box(&mut out)));
    let flops = 2.0 * (sizes.rows * sizes.points * sizes.width) as f64;
    report("kernel matrix, depth 2", times, flops, sum);

    let blocks = || {
        let mut total = 0.0_f64;
        ntk.for_each_block(x.view(), s.view(), 256, |block, _| {
            total += f64::from(block[[0, 0]])
        })
        .expect("both are of one width");
        sum = black_box(total);
    };
    let times = race(sizes.rounds, blocks, || {
        product(&x, &s, black_box(&mut out))
    });
    report("kernel in blocks of 256 rows, depth 2", times, flops, sum);

    let mut group = c.benchmark_group("kernel");
    group.sample_size(10);
    group.bench_function("matrix", |b| b.iter(|| ntk.matrix(x.view(), s.view())));
    group.finish();
}

fn kip(c: &mut Criterion) {
    let sizes = sizes();
    let (x, s) = (
        points(sizes.kip_rows, sizes.width, "x"),
        points(sizes.kip_points, sizes.width, "s"),
    );
    let (t, y) = (
        points(sizes.kip_rows, sizes.classes, "t"),
        points(sizes.kip_points, sizes.classes, "y"),
    );
    let ntk = Ntk::new(1);
    let step = || {
        kip_loss_and_gradient(&ntk, s.view(), y.view(), x.view(), t.view(), 1e-4)
            .expect("shapes fit")
    };
    let settings = AdamParams::default().check().expect("defaults are valid");
    let mut adam = [s.len(), y.len()].map(|length| Adam::<f32>::new(settings, length));
    let mut moving = [s.clone(), y.clone()];
    let mut out = Array2::zeros((sizes.kip_rows, sizes.kip_points));
    let mut back = Array2::zeros(s.raw_dim());
    let mut sum = 0.0;
    let whole = || {
        let [points, labels] = &mut moving;
        let found =
            kip_loss_and_gradient(&ntk, points.view(), labels.view(), x.view(), t.view(), 1e-4)
                .expect("shapes fit");
        let gradients = [found.d_support, found.d_labels];
        for ((adam, values), mut gradient) in adam.iter_mut().zip(&mut moving).zip(gradients) {
            let (values, gradient) = (values.as_slice_mut(), gradient.as_slice_mut());
            if let (Some(values), Some(gradient)) = (values, gradient) {
                adam.step(values, gradient);
            }
        }
        sum = black_box(found.loss);
    };
    let inside = || {
        product(&x, &s, black_box(&mut out));
        general_mat_mul(1.0, &out.t(), &x, 0.0, black_box(&mut back));
    };
    let times = race(sizes.rounds * 5, whole, inside);
    let flops = 4.0 * (sizes.kip_rows * sizes.kip_points * sizes.width) as f64;
    report("kip step with adam, depth 1", times, flops, sum);

    let mut group = c.benchmark_group("kip");
    group.sample_size(10);
    group.bench_function("gradient", |b| b.iter(step));
    group.finish();
}

fn moments(c: &mut Criterion) {
    let sizes = sizes();
    let (x, s) = (
        points(sizes.rows, sizes.width, "x"),
        points(sizes.points, sizes.width, "s"),
    );
    let t = points(sizes.rows, sizes.classes, "t");
    let ntk = Ntk::new(2);
    let gather = || MomentSystem::gather(&ntk, s.view(), x.view(), t.view()).expect("shapes fit");
    let mut out = Array2::zeros((sizes.rows, sizes.points));
    let mut gram = Array2::zeros((sizes.points, sizes.points));
    let mut sum = 0.0;
    let whole = || sum = black_box(gather()).gram.diag().sum();
    let inside = || {
        product(&x, &s, black_box(&mut out));
        general_mat_mul(1.0, &out.t(), &out, 0.0, black_box(&mut gram));
    };
    let times = race(sizes.rounds.min(3), whole, inside);
    let flops = 2.0 * (sizes.rows * sizes.points * (sizes.width + sizes.points)) as f64;
    report("moments, depth 2", times, flops, sum);

    let mut group = c.benchmark_group("moments");
    group.sample_size(10);
    group.bench_function("gather", |b| b.iter(gather));
    group.finish();
}

/// Steps of a student of 784-200-10 on batches of 256, against the products
/// inside them: three for each layer, less the gradient in the inputs.
fn student(_: &mut Criterion) {
    let sizes = sizes();
    let (batch, hidden) = (sizes.kip_points.max(16) * 256 / 100, 2 * sizes.kip_points);
    let shape = MlpShape {
        inputs: sizes.width,
        hidden: vec![hidden],
        outputs: sizes.classes,
    };
    let mut network = Mlp::<f32>::new(shape, &mut rng(1, "student")).expect("the shape is valid");
    let settings = AdamParams::default().check().expect("defaults are valid");
    let mut trainer = Trainer::new(&network, settings, batch);
    let x = points(batch, sizes.width, "x");
    let t = points(batch, sizes.classes, "t").mapv(|value| value.abs() / sizes.classes as f32);
    let steps = 10;
    let mut loss = 0.0;
    let whole = || {
        for _ in 0..steps {
            let pairs = Batch {
                inputs: x.view(),
                targets: t.view(),
            };
            loss = trainer.step(&mut network, pairs, 1.0).expect("finite");
        }
    };
    let (one, two) = (
        points(hidden, sizes.width, "one"),
        points(sizes.classes, hidden, "two"),
    );
    let (mut h, mut z) = (Array2::zeros((batch, hidden)), Array2::zeros(t.raw_dim()));
    let (mut d_one, mut d_two) = (Array2::zeros(one.raw_dim()), Array2::zeros(two.raw_dim()));
    let mut d_h = Array2::zeros(h.raw_dim());
    let inside = || {
        for _ in 0..steps {
            product(&x, &one, &mut h);
            product(&h, &two, &mut z);
            general_mat_mul(1.0, &z.t(), &h, 0.0, &mut d_two);
            general_mat_mul(1.0, &z, &two, 0.0, &mut d_h);
            general_mat_mul(1.0, &d_h.t(), &x, 0.0, black_box(&mut d_one));
        }
    };
    let times = race(sizes.rounds * 5, whole, inside);
    let wide = 4 * batch * sizes.width * hidden + 6 * batch * hidden * sizes.classes;
    report(
        "student training, ten steps",
        times,
        (steps * wide) as f64,
        loss,
    );
}

fn machine(_: &mut Criterion) {
    blas::pin_to_one_thread();
    println!("BLAS kernels: {}", blas::kernel_name());
}

criterion_group!(benches, machine, kernel, kip, student, moments);
criterion_main!(benches);
