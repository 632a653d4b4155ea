//! What brings features to one scale.

use protocol::features::{NormaliserParts, QuantileTransform};

use super::{Builder, Numbers};

/// Scaled features, rows × features, of features of that shape.
pub(super) fn lower(builder: &mut Builder, parts: &NormaliserParts<'_>, features: &str) -> String {
    let rows = scaled(builder, parts, features);
    to_one_length(builder, parts, rows)
}

/// The same of features of which NaN is missing, and becomes the mean: 0 once scaled.
pub(super) fn lower_with_gaps(
    builder: &mut Builder,
    parts: &NormaliserParts<'_>,
    features: &str,
) -> String {
    let missing = builder.add("IsNaN", &[features]);
    let zero = builder.single(0.0);
    let filled = builder.add("Where", &[&missing, &zero, features]);
    let rows = scaled(builder, parts, &filled);
    let rows = builder.add("Where", &[&missing, &zero, &rows]);
    to_one_length(builder, parts, rows)
}

fn scaled(builder: &mut Builder, parts: &NormaliserParts<'_>, features: &str) -> String {
    let width = parts.mean.len();
    let bent = match parts.transforms.is_empty() {
        true => features.to_owned(),
        false => transforms(builder, parts.transforms, width, features),
    };
    let tells = |scale: f32| scale > 0.0;
    let row = |values: Vec<f32>| Numbers::F32(values);
    let mean = builder.keep("normaliser.mean", &[width], row(parts.mean.to_vec()));
    let scale = { parts.scale.iter() }
        .map(|&scale| if tells(scale) { scale } else { 1.0 })
        .collect();
    let scale = builder.keep("normaliser.scale", &[width], row(scale));
    let factor = { parts.scale.iter() }
        .map(|&scale| if tells(scale) { parts.factor } else { 0.0 })
        .collect();
    let factor = builder.keep("normaliser.factor", &[width], row(factor));
    let apart = builder.add("Sub", &[&bent, &mean]);
    let scaled = builder.add("Div", &[&apart, &scale]);
    let cut = cut(builder, &scaled, parts.clip);
    builder.add("Mul", &[&cut, &factor])
}

/// Each row by its own norm to norm √features, if the normaliser has that.
fn to_one_length(builder: &mut Builder, parts: &NormaliserParts<'_>, rows: String) -> String {
    let width = parts.mean.len();
    if !parts.unit_norm {
        return rows;
    }
    let square = builder.add("Mul", &[&rows, &rows]);
    let square = builder.sum(&square, 1);
    let least = builder.single(SQUARE_MIN);
    let square = builder.add("Max", &[&square, &least]);
    let features = builder.single(width as f32);
    let ratio = builder.add("Div", &[&features, &square]);
    let ratio = builder.add("Sqrt", &[&ratio]);
    builder.add("Mul", &[&rows, &ratio])
}

/// Values cut at ±`most`.
pub(super) fn cut(builder: &mut Builder, input: &str, most: f32) -> String {
    let (low, high) = (builder.single(-most), builder.single(most));
    let above = builder.add("Max", &[input, &low]);
    builder.add("Min", &[&above, &high])
}

/// Features of which some are bent. A transform is its lowest level and, for each piece between two
/// knots, the part of the piece that lies below the value, times its slope.
fn transforms(
    builder: &mut Builder,
    transforms: &[QuantileTransform],
    width: usize,
    features: &str,
) -> String {
    let pieces = transforms
        .iter()
        .map(|transform| transform.points().0.len() - 1)
        .max();
    let pieces = pieces.unwrap_or(0);
    let [mut from, mut length, mut slope] = [const { Vec::new() }; 3];
    for transform in transforms {
        let (knots, levels) = transform.points();
        for piece in 0..pieces {
            let (Some(pair), Some(rise)) =
                (knots.get(piece..piece + 2), levels.get(piece..piece + 2))
            else {
                // Transforms with fewer pieces end in some that add nothing.
                from.push(0.0);
                length.push(0.0);
                slope.push(0.0);
                continue;
            };
            let apart = f64::from(pair[1]) - f64::from(pair[0]);
            from.push(pair[0]);
            length.push(apart as f32);
            slope.push((f64::from(rise[1] - rise[0]) / apart) as f32);
        }
    }
    let shape = [transforms.len(), pieces];
    let from = builder.keep("transforms.knot", &shape, Numbers::F32(from));
    let length = builder.keep("transforms.length", &shape, Numbers::F32(length));
    let slope = builder.keep("transforms.slope", &shape, Numbers::F32(slope));
    let lowest = transforms
        .iter()
        .map(|transform| transform.points().1[0])
        .collect();
    let lowest = builder.keep(
        "transforms.level",
        &[transforms.len()],
        Numbers::F32(lowest),
    );
    let places: Vec<i64> = transforms
        .iter()
        .map(|transform| transform.feature() as i64)
        .collect();
    let values = builder.gather(features, &places, 1);
    let values = builder.reshape(&values, &[-1, transforms.len() as i64, 1]);
    let beyond = builder.add("Sub", &[&values, &from]);
    let zero = builder.single(0.0);
    let beyond = builder.add("Max", &[&beyond, &zero]);
    let within = builder.add("Min", &[&beyond, &length]);
    let risen = builder.add("Mul", &[&within, &slope]);
    let risen = builder.sum(&risen, 2);
    let risen = builder.reshape(&risen, &[-1, transforms.len() as i64]);
    let bent = builder.add("Add", &[&risen, &lowest]);
    // The bent columns stand behind all columns, from where they are taken.
    let both = builder.concat(&[features, &bent], 1);
    let mut order: Vec<i64> = (0..width as i64).collect();
    for (at, transform) in transforms.iter().enumerate() {
        order[transform.feature()] = (width + at) as i64;
    }
    builder.gather(&both, &order, 1)
}

/// Rows of a smaller squared norm are as good as zero.
const SQUARE_MIN: f32 = 1e-30;
