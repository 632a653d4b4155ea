//! What a device says of its rows, from which a shared projection is made:
//! sums alone, which add up over devices.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::seq::SliceRandom as _;
use rand_distr::{Distribution as _, StandardNormal};

use common::math::quantise::{Layout, QuantiseError, QuantisedMatrix, Scheme};
use common::math::random::rng;
use common::wire::codec::encode;

/// Mean and deviation of each feature of a device's rows, as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    pub(super) rows: u64,
    pub(super) mean: Array1<f64>,
    pub(super) deviation: Array1<f64>,
    pub(super) bytes: u64,
}

/// Columns of Σ z(zᵀΩ) over a device's standardised rows z, and the sum of the
/// rows of each class, as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    pub(super) rows: u64,
    /// Which columns of Ω.
    pub(super) columns: Vec<u32>,
    /// Shape (features, columns).
    pub(super) products: Array2<f64>,
    /// Classes that are spoken of, and their rows.
    pub(super) classes: Vec<(u16, u64)>,
    /// Shape (classes spoken of, features).
    pub(super) class_sums: Array2<f64>,
    pub(super) bytes: u64,
}

/// What a sketch is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Seeded, shape (features, columns).
    pub(super) omega: ArrayView2<'a, f64>,
    /// Bits a value.
    pub(super) bits: u8,
    /// Directions that the device may tell.
    pub(super) directions: usize,
    /// Fewest rows of a class that is spoken of.
    pub(super) rows_min: u64,
    /// The device's own seed.
    pub(super) seed: u64,
}

impl Statistics {
    /// Of rows (rows, features).
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn of(rows: ArrayView2<'_, f32>) -> Result<Self, QuantiseError> {
        let wide = rows.mapv(f64::from);
        let width = rows.ncols();
        let mean = wide
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(width));
        let deviation = match rows.nrows() {
            0 => Array1::zeros(width),
            _ => wide.std_axis(Axis(0), 0.0),
        };
        let one = |values: &Array1<f64>| {
            let narrow = values.mapv(|value| value as f32).insert_axis(Axis(0));
            QuantisedMatrix::encode(narrow.view(), MEAN_BITS, Layout::Row, Scheme::Affine)
        };
        let (mean, deviation) = (one(&mean)?, one(&deviation)?);
        let sent = (rows.nrows() as u64, mean.as_raw(), deviation.as_raw());
        let bytes = encode(&(sent.0, sent.1.clone(), sent.2.clone())).len() as u64;
        let arrives = |sent: &QuantisedMatrix| sent.decode().row(0).mapv(f64::from);
        Ok(Self {
            rows: sent.0,
            mean: arrives(&mean),
            deviation: arrives(&deviation).mapv(|value| value.max(0.0)),
            bytes,
        })
    }
}

impl Sketch {
    /// Of standardised rows (rows, features) and the class of each; none if
    /// fewer directions may be told than one.
    ///
    /// Each class's sum is a direction of its own rows, and each column one of
    /// all rows. Where not all columns may be told, the device's seed chooses.
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn of(
        rows: ArrayView2<'_, f64>,
        labels: &[Option<u16>],
        terms: &Terms<'_>,
    ) -> Result<Option<Self>, QuantiseError> {
        let mut counts = std::collections::BTreeMap::new();
        for label in labels.iter().flatten() {
            *counts.entry(*label).or_insert(0u64) += 1;
        }
        let classes: Vec<(u16, u64)> = counts
            .into_iter()
            .filter(|(_, rows)| *rows >= terms.rows_min)
            .take(terms.directions / 2)
            .collect();
        let left = terms.directions - classes.len().min(terms.directions);
        let mut columns: Vec<u32> = (0..terms.omega.ncols() as u32).collect();
        if left < columns.len() {
            columns.shuffle(&mut rng(terms.seed, "columns of a sketch"));
            columns.truncate(left);
            columns.sort_unstable();
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let chosen: Vec<usize> = columns.iter().map(|&column| column as usize).collect();
        let omega = terms.omega.select(Axis(1), &chosen);
        let products = rows.t().dot(&rows.dot(&omega));
        let mut class_sums = Array2::zeros((classes.len(), rows.ncols()));
        for (mut sum, (class, _)) in class_sums.rows_mut().into_iter().zip(&classes) {
            for (row, label) in rows.rows().into_iter().zip(labels) {
                if *label == Some(*class) {
                    sum += &row;
                }
            }
        }
        let narrow = |values: &Array2<f64>, layout| {
            let narrow = values.mapv(|value| value as f32);
            QuantisedMatrix::encode(narrow.view(), terms.bits, layout, Scheme::Symmetric)
        };
        let products = narrow(&products, Layout::Column)?;
        let class_sums = narrow(&class_sums, Layout::Row)?;
        let sent = (
            rows.nrows() as u64,
            columns.clone(),
            products.as_raw().clone(),
            classes.clone(),
            class_sums.as_raw().clone(),
        );
        Ok(Some(Self {
            rows: sent.0,
            bytes: encode(&sent).len() as u64,
            columns,
            products: products.decode().mapv(f64::from),
            classes,
            class_sums: class_sums.decode().mapv(f64::from),
        }))
    }
}

/// Independent normal columns, the same for everybody who knows the seed;
/// shape (features, columns).
pub(super) fn omega(features: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut random = rng(seed, "omega of a sketch");
    Array2::from_shape_simple_fn((features, columns), || StandardNormal.sample(&mut random))
}

/// Bits of a mean or deviation.
pub(super) const MEAN_BITS: u8 = 8;
