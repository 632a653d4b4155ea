//! Tables of the feature stage.

use std::f64::consts::PI;
use std::ops::Range;

use protocol::features::{FilterTables, StageTables, WindowTables};

use super::writer::Writer;

/// Writes what computes the features; floats of working memory for it.
pub(super) fn write(writer: &mut Writer, tables: &StageTables) -> usize {
    match tables {
        StageTables::Raw | StageTables::Lifted => {
            writer.raw(include_str!("raw.c"));
            0
        }
        StageTables::Filters(tables) => {
            filters(writer, tables);
            0
        }
        StageTables::Window(tables) => window(writer, tables),
    }
}

fn filters(writer: &mut Writer, tables: &FilterTables) {
    let [height, width, channels] = tables.image;
    for (name, value) in [
        ("HEIGHT", height),
        ("WIDTH", width),
        ("CHANNELS", channels),
        ("TALL", tables.kernel[0]),
        ("WIDE", tables.kernel[1]),
        ("MARGIN_Y", tables.margin[0]),
        ("MARGIN_X", tables.margin[1]),
        ("FILTERS", tables.filters.nrows()),
        ("ROWS", tables.rows.len()),
        ("COLUMNS", tables.columns.len()),
    ] {
        writer.define(name, value);
    }
    writer.define_float("VALUE_MAX", tables.value_max);
    writer.define_float("NOISE", tables.noise);
    let weights: Vec<f32> = tables.filters.iter().copied().collect();
    writer.floats("filters", &weights);
    writer.integers("int", "row_edges", &edges(&tables.rows));
    writer.integers("int", "column_edges", &edges(&tables.columns));
    if !tables.means.is_empty() {
        writer.raw("#define MEANS\n");
        writer.integers("int", "mean_edges", &edges(&tables.means));
    }
    writer.raw(include_str!("filters.c"));
    writer.define(
        "STAGE(input, features, work)",
        "features_of(input, features)",
    );
}

/// Where neighbouring ranges begin, and where the last one ends.
fn edges(ranges: &[Range<usize>]) -> Vec<i64> {
    let ends = ranges.last().map(|range| range.end as i64);
    ranges
        .iter()
        .map(|range| range.start as i64)
        .chain(ends)
        .collect()
}

fn window(writer: &mut Writer, tables: &WindowTables) -> usize {
    let (steps, bins) = (tables.steps, tables.steps / 2);
    let all = tables.channels + tables.norms;
    let bands = tables.band_edges.len() - 1;
    for (name, value) in [
        ("STEPS", steps),
        ("BINS", bins),
        ("CHANNELS", tables.channels),
        ("ALL", all),
        ("BANDS", bands),
        ("LAGS", tables.lags.len()),
    ] {
        writer.define(name, value);
    }
    for (name, value) in [
        ("FLOOR", tables.floor),
        ("DEVIATION_FLOOR", tables.deviation_floor),
        ("POWER_FLOOR", tables.power_floor),
        ("TOTAL_FLOOR", tables.total_floor),
        ("SHARE_FLOOR", tables.share_floor),
        ("POWER_SCALE", tables.power_scale),
        ("LOG_BINS", (bins as f64).ln()),
    ] {
        writer.define_float(name, value as f32);
    }
    if tables.lifted {
        writer.raw("#define LIFTED\n");
    }
    if steps.is_power_of_two() {
        writer.raw("#define POWER_OF_TWO\n");
    }
    let wave = |wave: fn(f64) -> f64| -> Vec<f64> {
        let turn = |step| 2.0 * PI * step as f64 / steps as f64;
        (0..steps).map(|step| wave(turn(step))).collect()
    };
    writer.doubles("cosine", &wave(f64::cos));
    writer.doubles("sine", &wave(f64::sin));
    writer.doubles("taper", &tables.taper);
    let integers = |values: &mut dyn Iterator<Item = usize>| -> Vec<i64> {
        values.map(|value| value as i64).collect()
    };
    writer.integers("int", "lags", &integers(&mut tables.lags.iter().copied()));
    let bins_of = integers(&mut tables.band_edges.iter().map(|edge| edge.0));
    writer.integers("int", "edge_bin", &bins_of);
    let shares: Vec<f64> = tables.band_edges.iter().map(|edge| edge.1).collect();
    writer.doubles("edge_share", &shares);
    writer.raw(include_str!("log.c"));
    writer.raw(include_str!("window.c"));
    writer.define(
        "STAGE(input, features, work)",
        "features_of(input, features, work)",
    );
    all * steps + 2 * steps + bins
}
