//! What devices say of their rows in a profile, from which a projection is made: sums
//! over rows alone.

use bincode::{Decode, Encode};
use math::liveness::heartbeat;
use math::quantise::{Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, Scheme};
use math::shape::{ShapeError, check_count};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::task::{LearntProjection, SKETCH_BITS};

/// A sketch as a peer may send it. Nothing is known about it.
///
/// Everything is told in deviations of the device's own features, which its profile
/// carries: of features with deviations σ and mean m, a class's mean μ as (μ − m)/σ,
/// and of its covariance C the products Cω as Cω/σ.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawSketch {
    /// Rows it describes.
    pub rows: u64,
    /// Classes whose means are told, rising, and how many rows stand behind each.
    pub classes: Vec<(u16, u64)>,
    /// Their means, shape (classes, features).
    pub class_means: RawQuantisedMatrix,
    /// The products with the first of the drawn directions, shape (columns, features).
    pub products: RawQuantisedMatrix,
}

/// A sketch that fits its task.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    raw: RawSketch,
    class_means: QuantisedMatrix,
    products: QuantisedMatrix,
}

/// Why a sketch was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SketchError {
    /// Lists of the wrong length.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Values that no encoder writes.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// More vectors than the task asks for.
    #[error("{got} {what}, the task asks for {max} at most")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many may.
        max: usize,
    },
    /// Classes that are out of order, unknown, or of more rows than there are.
    #[error("class {class} of {rows} rows is out of place")]
    Class {
        /// The class.
        class: u16,
        /// Its rows.
        rows: u64,
    },
    /// A value that no rows have.
    #[error("{what} {index} has the value {value}, rows give {max} at most")]
    Bound {
        /// Of what.
        what: &'static str,
        /// Which.
        index: usize,
        /// Its largest value.
        value: f32,
        /// What rows may give.
        max: f32,
    },
}

impl RawSketch {
    /// Of features (rows, features), the class of the first of them, and the deviation of
    /// each feature. Classes are told of `rows_min` rows or more, those with most rows
    /// first; of `directions` vectors in all they take half at most, products what is
    /// left. Cost rows × features × columns.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn of(
        (features, labels): (ArrayView2<'_, f32>, &[u16]),
        variance: &[f32],
        projection: &LearntProjection,
        (directions, rows_min): (usize, u64),
    ) -> Result<Self, QuantiseError> {
        let told = (directions / 2).min(projection.classes_max);
        let classes = largest(labels, rows_min.max(1), told);
        let columns = (directions - classes.len()).min(projection.columns_max);
        let drawn = projection.drawn();
        let drawn = drawn.slice(s![.., ..columns]);
        let rows = features.nrows().max(1) as f64;
        let mean = features.rows().into_iter();
        let mean = mean.fold(Array1::zeros(features.ncols()), |mut sum, row| {
            sum.zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
            sum
        });
        let mean: Array1<f64> = mean / rows;
        let mut class_means = Array2::zeros((classes.len(), features.ncols()));
        let mut products = Array2::<f64>::zeros((columns, features.ncols()));
        for (at, block) in features.axis_chunks_iter(Axis(0), BLOCK_ROWS).enumerate() {
            let apart = block.mapv(f64::from) - &mean;
            products += &apart.dot(&drawn).t().dot(&apart);
            for (row, label) in apart
                .rows()
                .into_iter()
                .zip(labels.iter().skip(at * BLOCK_ROWS))
            {
                if let Ok(place) = classes.binary_search_by_key(label, |(class, _)| *class) {
                    let mut sum = class_means.row_mut(place);
                    sum += &row;
                }
            }
            heartbeat();
        }
        let inverse = variance.iter().map(|&one| match f64::from(one).sqrt() {
            deviation if deviation > 0.0 => 1.0 / deviation,
            _ => 0.0,
        });
        let inverse = Array1::from_iter(inverse);
        for (mut sum, &(_, own)) in class_means.rows_mut().into_iter().zip(&classes) {
            sum *= &(&inverse / own as f64);
        }
        products *= &(inverse / rows);
        Ok(Self {
            rows: features.nrows() as u64,
            classes,
            class_means: sent(&class_means)?,
            products: sent(&products)?,
        })
    }
}

/// The classes of `rows_min` rows or more, `count` of them at most: those with most
/// rows, rising.
fn largest(labels: &[u16], rows_min: u64, count: usize) -> Vec<(u16, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for label in labels {
        *counts.entry(*label).or_insert(0u64) += 1;
    }
    let mut classes: Vec<(u16, u64)> = { counts.into_iter() }
        .filter(|(_, rows)| *rows >= rows_min)
        .collect();
    classes.sort_by_key(|(class, rows)| (std::cmp::Reverse(*rows), *class));
    classes.truncate(count);
    classes.sort_unstable();
    classes
}

fn sent(values: &Array2<f64>) -> Result<RawQuantisedMatrix, QuantiseError> {
    let narrow = values.mapv(|value| value as f32);
    let scheme = Scheme::Symmetric;
    Ok(QuantisedMatrix::encode(narrow.view(), SKETCH_BITS, Layout::Row, scheme)?.into_raw())
}

impl Sketch {
    /// Checks a raw sketch against what its task asks for, its number of classes, and
    /// against the profile it came with: its rows, and the variance of each feature.
    ///
    /// Values are bounded by what rows can give: n_c(μ_c − m)² ≤ nσ², and
    /// |Cω| ≤ σ·Σ|ω|σ by Cauchy and Schwarz.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(
        raw: RawSketch,
        projection: &LearntProjection,
        classes: usize,
        (rows, variance): (u64, &[f32]),
    ) -> Result<Self, SketchError> {
        let most = |what, got, max| match got <= max {
            true => Ok(()),
            false => Err(SketchError::Count { what, got, max }),
        };
        most("class means", raw.classes.len(), projection.classes_max)?;
        let columns = raw.products.rows as usize;
        most("products", columns, projection.columns_max)?;
        let mut next = 0;
        let mut left = raw.rows;
        for &(class, own) in &raw.classes {
            let fits = usize::from(class) < classes && u32::from(class) >= next;
            if !fits || own == 0 || own > left || raw.rows > rows {
                return Err(SketchError::Class { class, rows: own });
            }
            (next, left) = (u32::from(class) + 1, left - own);
        }
        let matrix = |what, raw: &RawQuantisedMatrix, rows: usize| {
            check_count(what, rows, raw.rows as usize)?;
            check_count("features", projection.features, raw.columns as usize)?;
            Ok::<_, SketchError>(QuantisedMatrix::try_from(raw.clone())?)
        };
        let class_means = matrix("class means", &raw.class_means, raw.classes.len())?;
        let products = matrix("products", &raw.products, columns)?;
        let share = |own: u64| (raw.rows as f64 / own as f64).sqrt();
        let bounds = raw.classes.iter().map(|&(_, own)| share(own));
        within("class mean", &class_means, bounds)?;
        let all: f64 = { variance.iter() }
            .map(|one| f64::from(one.max(0.0)).sqrt())
            .sum();
        within("product", &products, std::iter::repeat(all))?;
        Ok(Self {
            raw,
            class_means,
            products,
        })
    }

    /// Rows it describes.
    pub fn rows(&self) -> u64 {
        self.raw.rows
    }

    /// The classes whose means it tells.
    pub fn classes(&self) -> impl Iterator<Item = u16> {
        self.raw.classes.iter().map(|(class, _)| *class)
    }

    /// Their means in the device's deviations from its mean, shape (classes, features).
    pub fn class_means(&self) -> Array2<f32> {
        self.class_means.decode()
    }

    /// Products of its covariance with the first of the drawn directions, by its
    /// deviations, shape (columns, features).
    pub fn products(&self) -> Array2<f32> {
        self.products.decode()
    }

    /// How many products.
    pub fn columns(&self) -> usize {
        self.products.rows()
    }
}

fn within(
    what: &'static str,
    values: &QuantisedMatrix,
    bounds: impl Iterator<Item = f64>,
) -> Result<(), SketchError> {
    let decoded = values.decode();
    for ((index, row), bound) in decoded.rows().into_iter().enumerate().zip(bounds) {
        let value = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let max = (bound * (1.0 + SLACK)) as f32;
        if value > max {
            return Err(SketchError::Bound {
                what,
                index,
                value,
                max,
            });
        }
    }
    Ok(())
}

/// Rows that are summed at once.
const BLOCK_ROWS: usize = 256;
/// What rounding may add.
const SLACK: f64 = 0.05;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rand::Rng as _;

    use super::*;
    use crate::codec::{decode_blob, encode};
    use crate::profile::RawFeatureMoments;
    use crate::task::RawTask;
    use math::random::rng;

    const CLASSES: usize = 3;

    fn projection() -> LearntProjection {
        let text = format!(
            "name = \"t\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
             [features]\nstage = \"onnx\"\nmodel = \"{}\"\nwidth = 12\nbytes = 1000\n\
             directions = 6\nlearn_directions = true\n",
            "ab".repeat(32)
        );
        let task = RawTask::parse(&text).unwrap();
        task.learnt_projection().unwrap()
    }

    fn rows(count: usize, seed: u64) -> (Array2<f32>, Vec<u16>) {
        let mut random = rng(seed, "rows");
        let rows = Array2::from_shape_fn((count, 12), |(_, at)| {
            (at + 1) as f32 * random.random_range(-1.0..1.0) + 100.0 * at as f32
        });
        (rows, (0..count).map(|row| (row % CLASSES) as u16).collect())
    }

    fn told(count: usize, seed: u64, directions: usize) -> (RawSketch, RawFeatureMoments) {
        let (rows, labels) = rows(count, seed);
        let moments = RawFeatureMoments::of(rows.view()).unwrap();
        let raw = RawSketch::of(
            (rows.view(), &labels),
            &moments.variance,
            &projection(),
            (directions, 5),
        );
        (raw.unwrap(), moments)
    }

    fn check(raw: RawSketch, moments: &RawFeatureMoments) -> Result<Sketch, SketchError> {
        let rows = raw.rows;
        Sketch::check(raw, &projection(), CLASSES, (rows, &moments.variance))
    }

    proptest! {
        #[test]
        fn what_rows_give_is_taken_whole(count in 1usize..60, seed: u64, directions in 0usize..12) {
            let (raw, moments) = told(count, seed, directions);
            prop_assert_eq!(&decode_blob::<RawSketch>(&encode(&raw)).unwrap(), &raw);
            let sketch = check(raw, &moments).unwrap();
            let classes = sketch.classes().count();
            prop_assert!(classes <= directions / 2);
            prop_assert!(classes + sketch.columns() <= directions);
            prop_assert_eq!(sketch.rows(), count as u64);
        }
    }

    #[test]
    fn products_are_those_of_the_covariance() {
        let (rows, labels) = rows(50, 1);
        let (raw, moments) = told(50, 1, 9);
        let sketch = check(raw, &moments).unwrap();
        assert_eq!((sketch.classes().count(), sketch.columns()), (3, 6));
        let wide = rows.mapv(f64::from);
        let apart = &wide - &wide.mean_axis(Axis(0)).unwrap();
        let covariance = apart.t().dot(&apart) / 50.0;
        let drawn = projection().drawn();
        let deviation = covariance.diag().mapv(f64::sqrt);
        let expected = covariance.dot(&drawn.slice(s![.., ..6]));
        let products = sketch.products();
        for (column, found) in products.rows().into_iter().enumerate() {
            let most = found.iter().fold(0.0f32, |most, one| most.max(one.abs()));
            for (at, value) in found.iter().enumerate() {
                let expected = expected[[at, column]] / deviation[at];
                let gap = (f64::from(*value) - expected).abs();
                assert!(gap <= f64::from(most) / 60.0, "{column} {at}");
            }
        }
        let own = apart.rows().into_iter().zip(&labels);
        let own: Vec<f64> = { own.filter(|(_, label)| **label == 1) }
            .map(|(row, _)| row[4] / deviation[4])
            .collect();
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        assert!((f64::from(sketch.class_means()[[1, 4]]) - mean).abs() < 0.05);
    }

    #[test]
    fn what_no_rows_give_is_refused() {
        let (good, moments) = told(40, 2, 9);
        let refused = |change: &dyn Fn(&mut RawSketch)| {
            let mut raw = good.clone();
            change(&mut raw);
            check(raw, &moments).unwrap_err()
        };
        let class = |error| matches!(error, SketchError::Class { .. });
        assert!(class(refused(&|raw| raw.classes[0].0 = 1)));
        assert!(class(refused(&|raw| raw.classes[2].0 = 3)));
        assert!(class(refused(&|raw| raw.classes[1].1 = 0)));
        assert!(class(refused(&|raw| raw.classes[1].1 = 39)));
        assert!(matches!(
            refused(&|raw| raw.classes.push((3, 1))),
            SketchError::Count {
                what: "class means",
                got: 4,
                max: 3
            }
        ));
        assert!(matches!(
            refused(&|raw| raw.products.rows = 7),
            SketchError::Count {
                what: "products",
                got: 7,
                max: 6
            }
        ));
        assert!(matches!(
            refused(&|raw| raw.products.columns = 11),
            SketchError::Shape(_)
        ));
        assert!(matches!(
            refused(&|raw| raw.class_means.packed[0] = 255),
            SketchError::Quantise(_)
        ));
        for (what, change) in [
            (
                "product",
                (|raw| raw.products.scales[1] *= 1e3) as fn(&mut RawSketch),
            ),
            ("class mean", |raw| raw.class_means.scales[1] *= 1e3),
        ] {
            let error = refused(&change);
            let bound =
                matches!(error, SketchError::Bound { what: found, index: 1, .. } if found == what);
            assert!(bound, "{what}: {error}");
        }
    }
}
