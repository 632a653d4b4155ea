//! The window stage, in double precision as devices compute it.

use protocol::features::WindowTables;

use super::{Attribute, Builder, INPUT, Numbers, spectrum};
use crate::error::ExportError;

/// Features, rows × features, of the input.
pub(super) fn lower(builder: &mut Builder, tables: &WindowTables) -> Result<String, ExportError> {
    let (steps, all) = (tables.steps, tables.channels + tables.norms);
    let signal = channels(builder, tables);
    let count = steps as f64;

    let mean = mean(builder, &signal, count);
    let square = builder.add("Mul", &[&signal, &signal]);
    let square = self::mean(builder, &square, count);
    let strength = builder.add("Sqrt", &[&square]);
    let jump = neighbours(builder, &signal, steps, 1);
    let jump = builder.add("Sub", &[&jump[1], &jump[0]]);
    let jump = builder.add("Abs", &[&jump]);
    let jump = self::mean(builder, &jump, count - 1.0);
    let jump = log_above(builder, &jump, tables.floor);

    let centred = builder.add("Sub", &[&signal, &mean]);
    let square = builder.add("Mul", &[&centred, &centred]);
    let square = builder.sum(&square, 2);
    let number = builder.double(count);
    let variance = builder.add("Div", &[&square, &number]);
    let deviation = builder.add("Sqrt", &[&variance]);
    let log_deviation = log_above(builder, &deviation, tables.deviation_floor);
    let quartiles = quartiles(builder, &centred, steps);
    let quartiles = log_above(builder, &quartiles, tables.floor);
    let crossings = neighbours(builder, &centred, steps, 1);
    let crossings = builder.add("Mul", &[&crossings[0], &crossings[1]]);
    let zero = builder.double(0.0);
    let crossings = builder.add("Less", &[&crossings, &zero]);
    let crossings = cast(builder, &crossings, DOUBLE);
    let crossings = self::mean(builder, &crossings, count - 1.0);

    let floor = builder.double(tables.floor);
    let divisor = builder.add("Add", &[&deviation, &floor]);
    let standard = builder.add("Div", &[&centred, &divisor]);
    let second = builder.add("Mul", &[&standard, &standard]);
    let third = builder.add("Mul", &[&second, &standard]);
    let skewness = self::mean(builder, &third, count);
    let fourth = builder.add("Mul", &[&second, &second]);
    let kurtosis = self::mean(builder, &fourth, count);
    let kurtosis = log_above(builder, &kurtosis, 1.0);

    let [bands, entropy] = spectra(builder, tables, &centred, all)?;

    let divisor = builder.add("Add", &[&square, &floor]);
    let lagged = tables.lags.iter().map(|&lag| {
        let pair = neighbours(builder, &centred, steps, lag);
        let product = builder.add("Mul", &[&pair[0], &pair[1]]);
        let product = builder.sum(&product, 2);
        builder.add("Div", &[&product, &divisor])
    });
    let lagged: Vec<String> = lagged.collect();

    let mut each = vec![
        &mean,
        &strength,
        &log_deviation,
        &quartiles,
        &jump,
        &crossings,
        &skewness,
        &kurtosis,
        &bands,
        &entropy,
    ];
    each.extend(&lagged);
    let each: Vec<&str> = each.into_iter().map(String::as_str).collect();
    let features = builder.concat(&each, 2);
    let width = 9 + tables.band_edges.len() - 1 + tables.lags.len();
    let mut features = builder.reshape(&features, &[-1, (all * width) as i64]);
    if all > 1 {
        let turned = builder.transpose(&standard, &[0, 2, 1]);
        let products = builder.add("MatMul", &[&standard, &turned]);
        let products = builder.add("Div", &[&products, &number]);
        let products = builder.reshape(&products, &[-1, (all * all) as i64]);
        let pairs = (0..all).flat_map(|one| (one + 1..all).map(move |other| one * all + other));
        let pairs: Vec<i64> = pairs.map(|place| place as i64).collect();
        let pairs = builder.gather(&products, &pairs, 1);
        features = builder.concat(&[&features, &pairs], 1);
    }
    let (low, high) = (
        builder.double(f64::from(f32::MIN)),
        builder.double(f64::from(f32::MAX)),
    );
    let features = builder.add("Max", &[&features, &low]);
    let features = builder.add("Min", &[&features, &high]);
    Ok(cast(builder, &features, SINGLE))
}

/// Channels and norms by time: rows × channels × steps.
fn channels(builder: &mut Builder, tables: &WindowTables) -> String {
    let [steps, channels, norms] =
        [tables.steps, tables.channels, tables.norms].map(|side| side as i64);
    let window = builder.reshape(INPUT, &[-1, steps, channels]);
    let window = cast(builder, &window, DOUBLE);
    let signal = builder.transpose(&window, &[0, 2, 1]);
    if norms == 0 {
        return signal;
    }
    let square = builder.add("Mul", &[&signal, &signal]);
    let square = builder.reshape(&square, &[-1, norms, 3, steps]);
    let square = builder.sum(&square, 2);
    let square = builder.reshape(&square, &[-1, norms, steps]);
    let lengths = builder.add("Sqrt", &[&square]);
    builder.concat(&[&signal, &lengths], 1)
}

/// Log energies of the bands, and the entropy of the spectrum.
fn spectra(
    builder: &mut Builder,
    tables: &WindowTables,
    centred: &str,
    channels: usize,
) -> Result<[String; 2], ExportError> {
    let steps = tables.steps;
    let bins = steps / 2;
    let taper = builder.keep("stage.taper", &[steps], Numbers::F64(tables.taper.clone()));
    let tapered = builder.add("Mul", &[centred, &taper]);
    let parts = spectrum::lower(builder, &tapered, channels, steps)?;
    let [real, imaginary] = parts.map(|part| builder.add("Mul", &[&part, &part]));
    let power = builder.add("Add", &[&real, &imaginary]);
    let scale = builder.double(tables.power_scale);
    let power = builder.add("Mul", &[&power, &scale]);

    let total = builder.sum(&power, 2);
    let floor = builder.double(tables.total_floor);
    let total = builder.add("Add", &[&total, &floor]);
    let share = builder.add("Div", &[&power, &total]);
    let log = log_above(builder, &share, tables.share_floor);
    let information = builder.add("Mul", &[&share, &log]);
    let information = builder.sum(&information, 2);
    let largest = builder.double(-(bins as f64).ln());
    let entropy = builder.add("Div", &[&information, &largest]);

    let bands = tables.band_edges.len() - 1;
    let mut shares = vec![0.0; bins * bands];
    for (band, edges) in tables.band_edges.windows(2).enumerate() {
        for bin in 0..bins {
            // How much of this bin lies below an edge.
            let below = |(edge, share): (usize, f64)| match bin.cmp(&edge) {
                std::cmp::Ordering::Less => 1.0,
                std::cmp::Ordering::Equal => share,
                std::cmp::Ordering::Greater => 0.0,
            };
            shares[bin * bands + band] = below(edges[1]) - below(edges[0]);
        }
    }
    let shares = builder.keep("stage.bands", &[bins, bands], Numbers::F64(shares));
    let energies = builder.add("MatMul", &[&power, &shares]);
    Ok([log_above(builder, &energies, tables.power_floor), entropy])
}

/// The distance of the quartiles, which is linear in the sorted values.
fn quartiles(builder: &mut Builder, values: &str, steps: usize) -> String {
    let most = builder.integers(&[steps as i64]);
    let ascending = [
        ("axis", Attribute::Integer(2)),
        ("largest", Attribute::Integer(0)),
    ];
    let sorted = builder.with("TopK", &[values, &most], &ascending);
    let mut weights = vec![0.0; steps];
    for (sign, share) in [(1.0, 0.75), (-1.0, 0.25)] {
        let position = share * (steps - 1) as f64;
        let index = position as usize;
        let beyond = position - index as f64;
        weights[index] += sign * (1.0 - beyond);
        weights[(index + 1).min(steps - 1)] += sign * beyond;
    }
    let weights = builder.constant(&[steps, 1], Numbers::F64(weights));
    builder.add("MatMul", &[&sorted, &weights])
}

/// Values and those `lag` steps later.
fn neighbours(builder: &mut Builder, values: &str, steps: usize, lag: usize) -> [String; 2] {
    [
        builder.slice(values, [0, (steps - lag) as i64], 2),
        builder.slice(values, [lag as i64, steps as i64], 2),
    ]
}

/// The sum over time by a count.
fn mean(builder: &mut Builder, values: &str, count: f64) -> String {
    let sum = builder.sum(values, 2);
    let count = builder.double(count);
    builder.add("Div", &[&sum, &count])
}

fn log_above(builder: &mut Builder, values: &str, floor: f64) -> String {
    let floor = builder.double(floor);
    let raised = builder.add("Add", &[values, &floor]);
    builder.add("Log", &[&raised])
}

fn cast(builder: &mut Builder, values: &str, to: i64) -> String {
    builder.with("Cast", &[values], &[("to", Attribute::Integer(to))])
}

/// ONNX's numbers of element types.
const SINGLE: i64 = 1;
const DOUBLE: i64 = 11;
