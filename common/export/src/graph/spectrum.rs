//! The discrete Fourier transform as matrix products.

use std::f64::consts::PI;

use super::{Builder, MATRIX_VALUES_MAX, Numbers};
use crate::error::ExportError;

/// Real and imaginary parts of bins 1 to `steps` / 2 of signals (rows, channels,
/// steps), each of that shape with bins in place of steps.
///
/// Short signals are multiplied with one matrix. Longer ones, steps = a·b, are
/// cut into a times b (Bailey 1990, the four-step method): with n = b·i + j and k = p + a·q,
/// X(k) = Σⱼ w(j·p / steps) w(j·q / b) Σᵢ x(n) w(i·p / a), where
/// w(t) = exp(−2πi·t). That needs matrices of a² and b² values only.
pub(super) fn lower(
    builder: &mut Builder,
    signal: &str,
    channels: usize,
    steps: usize,
) -> Result<[String; 2], ExportError> {
    let bins = steps / 2;
    let a = factor(steps);
    if steps <= SHORT || a == 1 {
        if steps * bins > MATRIX_VALUES_MAX {
            return Err(too_large(steps));
        }
        let turn = |step: usize, bin: usize| angle(step * (bin + 1), steps);
        return Ok([f64::cos as Wave, f64::sin].map(|wave| {
            let matrix = matrix(builder, [steps, bins], |step, bin| wave(turn(step, bin)));
            builder.add("MatMul", &[signal, &matrix])
        }));
    }
    let b = steps / a;
    if b * b > MATRIX_VALUES_MAX {
        return Err(too_large(steps));
    }
    let [channels, rows, columns] = [channels, a, b].map(|side| side as i64);
    let cut = builder.reshape(signal, &[-1, channels, rows, columns]);
    // Over i, from the left.
    let first = [f64::cos as Wave, f64::sin].map(|wave| {
        let matrix = matrix(builder, [a, a], |p, i| wave(angle(i * p, a)));
        builder.add("MatMul", &[&matrix, &cut])
    });
    // Turned by j·p / steps.
    let [cosine, sine] = [f64::cos as Wave, f64::sin]
        .map(|wave| matrix(builder, [a, b], |p, j| wave(angle(j * p, steps))));
    let turned = product(builder, "Mul", &first, [&cosine, &sine]);
    // Over j, from the right.
    let [cosine, sine] = [f64::cos as Wave, f64::sin]
        .map(|wave| matrix(builder, [b, b], |j, q| wave(angle(j * q, b))));
    let transformed = product(builder, "MatMul", &turned, [&cosine, &sine]);
    Ok(transformed.map(|part| {
        let by_bin = builder.transpose(&part, &[0, 1, 3, 2]);
        let flat = builder.reshape(&by_bin, &[-1, channels, steps as i64]);
        builder.slice(&flat, [1, bins as i64 + 1], 2)
    }))
}

type Wave = fn(f64) -> f64;

/// Complex numbers times complex numbers.
fn product(
    builder: &mut Builder,
    operator: &'static str,
    [real, imaginary]: &[String; 2],
    [cosine, sine]: [&str; 2],
) -> [String; 2] {
    let plain = builder.add(operator, &[real, cosine]);
    let crossed = builder.add(operator, &[imaginary, sine]);
    let real_part = builder.add("Sub", &[&plain, &crossed]);
    let plain = builder.add(operator, &[real, sine]);
    let crossed = builder.add(operator, &[imaginary, cosine]);
    [real_part, builder.add("Add", &[&plain, &crossed])]
}

fn matrix(builder: &mut Builder, shape: [usize; 2], value: impl Fn(usize, usize) -> f64) -> String {
    let [rows, columns] = shape;
    let values = (0..rows * columns).map(|at| value(at / columns, at % columns));
    builder.constant(&shape, Numbers::F64(values.collect()))
}

fn too_large(steps: usize) -> ExportError {
    let max = MATRIX_VALUES_MAX;
    ExportError::Spectrum { steps, max }
}

/// −2π · turns / whole, reduced before it is rounded.
fn angle(turns: usize, whole: usize) -> f64 {
    -2.0 * PI * (turns % whole) as f64 / whole as f64
}

/// The largest factor that is not above the square root.
fn factor(steps: usize) -> usize {
    let mut largest = 1;
    let mut candidate = 1;
    while candidate * candidate <= steps {
        if steps.is_multiple_of(candidate) {
            largest = candidate;
        }
        candidate += 1;
    }
    largest
}

/// Up to this many steps one matrix is smaller than all that it replaces.
const SHORT: usize = 256;
