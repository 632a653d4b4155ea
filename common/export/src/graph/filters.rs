//! Stages of fixed filters: patches of images and stretches of series.

use std::ops::Range;

use protocol::features::FilterTables;

use super::normaliser::cut;
use super::{Attribute, Builder, INPUT, Numbers};

/// Features, rows × features, of the input.
pub(super) fn lower(builder: &mut Builder, tables: &FilterTables) -> String {
    let [height, width, channels] = tables.image.map(|side| side as i64);
    let [tall, wide] = tables.kernel;
    let filters = tables.filters.nrows();
    let (rows, columns) = (tables.rows.len() as i64, tables.columns.len() as i64);
    let signs = 2 * filters as i64;

    let image = builder.reshape(INPUT, &[-1, height, width, channels]);
    let image = cut(builder, &image, tables.value_max);
    let planes = builder.transpose(&image, &[0, 3, 1, 2]);
    // Every channel is an image of its own to the filters.
    let single = builder.reshape(&planes, &[-1, 1, height, width]);
    let weights = Numbers::F32(tables.filters.iter().copied().collect());
    let weights = builder.keep("stage.filters", &[filters, 1, tall, wide], weights);
    let [above, left] = tables.margin.map(|side| side as i64);
    let window = [
        (
            "kernel_shape",
            Attribute::Integers(vec![tall as i64, wide as i64]),
        ),
        ("pads", Attribute::Integers(vec![above, left, above, left])),
    ];
    let answers = builder.with("Conv", &[&single, &weights], &window);
    let negative = builder.add("Neg", &[&answers]);
    let both = builder.concat(&[&answers, &negative], 1);
    let noise = noise(builder, &single, tables);
    let above = builder.add("Sub", &[&both, &noise]);
    let parts = builder.add("Relu", &[&above]);
    let answered = |cells: &[Range<usize>]| cells.last().map_or(0, |cell| cell.end);
    let by_column = share(&tables.columns, answered(&tables.columns));
    let by_column = builder.constant(&by_column.0, Numbers::F32(by_column.1));
    let pooled = builder.add("MatMul", &[&parts, &by_column]);
    let by_row = share(&tables.rows, answered(&tables.rows));
    let by_row = builder.constant(&by_row.0, Numbers::F32(by_row.1));
    let by_row = builder.transpose(&by_row, &[1, 0]);
    let pooled = builder.add("MatMul", &[&by_row, &pooled]);
    let strengths = builder.add("Sqrt", &[&pooled]);
    let mut cells = builder.reshape(&strengths, &[-1, channels, signs, rows, columns]);
    let mut each = signs;
    if !tables.means.is_empty() {
        let by_column = share(&tables.means, tables.image[1]);
        let by_column = builder.constant(&by_column.0, Numbers::F32(by_column.1));
        let means = builder.add("MatMul", &[&planes, &by_column]);
        let means = builder.reshape(&means, &[-1, channels, 1, rows, columns]);
        cells = builder.concat(&[&cells, &means], 2);
        each += 1;
    }
    let cells = builder.transpose(&cells, &[0, 3, 4, 1, 2]);
    builder.reshape(&cells, &[-1, rows * columns * channels * each])
}

/// What counts as rounding in the answers of every channel: rows × 1 × 1 × 1.
fn noise(builder: &mut Builder, single: &str, tables: &FilterTables) -> String {
    let [height, width, _] = tables.image.map(|side| side as i64);
    let sizes = builder.add("Abs", &[single]);
    let whole = [
        ("kernel_shape", Attribute::Integers(vec![height, width])),
        ("strides", Attribute::Integers(vec![1, 1])),
    ];
    let largest = builder.with("MaxPool", &[&sizes], &whole);
    let share = builder.single(tables.noise);
    builder.add("Mul", &[&largest, &share])
}

/// The matrix that averages over each of some ranges: places × ranges.
fn share(ranges: &[Range<usize>], places: usize) -> ([usize; 2], Vec<f32>) {
    let mut matrix = vec![0.0; places * ranges.len()];
    for (at, range) in ranges.iter().enumerate() {
        for place in range.clone() {
            matrix[place * ranges.len() + at] = 1.0 / range.len() as f32;
        }
    }
    ([places, ranges.len()], matrix)
}
