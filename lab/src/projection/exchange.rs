//! What a device says of its rows, from which a shared projection is made: sums
//! and counts alone, which add up over devices.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use common::math::quantise::{Layout, QuantiseError, QuantisedMatrix, Scheme};
use common::wire::codec::encode;
use edge_agent::work::Privacy;

/// Which features of a device's rows are hardly ever below zero: in fewer rows than
/// any count may describe.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    pub(super) positive: Vec<bool>,
    pub(super) bytes: u64,
}

/// Mean and deviation of each feature of a device's rows, and the mean of each class
/// beside them, as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    pub(super) rows: u64,
    pub(super) mean: Array1<f64>,
    pub(super) deviation: Array1<f64>,
    /// Classes that are spoken of, and their rows.
    pub(super) classes: Vec<(u16, u64)>,
    /// Shape (classes spoken of, features).
    pub(super) class_means: Array2<f64>,
    pub(super) bytes: u64,
}

/// Columns of Σ z(zᵀV) over a device's standardised rows z, as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Products {
    pub(super) rows: u64,
    /// Which columns of V.
    pub(super) columns: Vec<u32>,
    /// Shape (features, columns).
    pub(super) sums: Array2<f64>,
    pub(super) bytes: u64,
}

impl Signs {
    /// Of rows (rows, features).
    pub(super) fn of(rows: ArrayView2<'_, f32>, rows_min: u64) -> Self {
        let rare = |column: ndarray::ArrayView1<'_, f32>| {
            (column.iter().filter(|value| **value < 0.0).count() as u64) < rows_min
        };
        let positive: Vec<bool> = rows.columns().into_iter().map(rare).collect();
        let packed: Vec<u8> = { positive.chunks(8) }
            .map(|bits| {
                { bits.iter().enumerate() }.fold(0, |sum, (at, bit)| sum | u8::from(*bit) << at)
            })
            .collect();
        Self {
            bytes: encode(&packed).len() as u64,
            positive,
        }
    }
}

impl Statistics {
    /// Of rows (rows, features) and the class of each. Each class is a direction of
    /// its own rows: no more of them are told than half of what the policy allows,
    /// and none of fewer rows than it allows.
    ///
    /// Deviations travel as logarithms, and class means in deviations of the device
    /// from its mean, so that features of any scale arrive alike.
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn of(
        rows: ArrayView2<'_, f32>,
        labels: &[Option<u16>],
        privacy: Privacy,
        bits: u8,
    ) -> Result<Self, QuantiseError> {
        let wide = rows.mapv(f64::from);
        let width = rows.ncols();
        let mean = { wide.mean_axis(Axis(0)) }.unwrap_or_else(|| Array1::zeros(width));
        let deviation = match rows.nrows() {
            0 => Array1::zeros(width),
            _ => wide.std_axis(Axis(0), 0.0),
        };
        let most = deviation.iter().copied().fold(0.0, f64::max);
        let logs = deviation.mapv(|one| (one.max(DEVIATION_MIN * most) + f64::MIN_POSITIVE).ln());
        let one = |values: &Array1<f64>, bits| {
            let narrow = values.mapv(|value| value as f32).insert_axis(Axis(0));
            QuantisedMatrix::encode(narrow.view(), bits, Layout::Row, Scheme::Affine)
        };
        let (told_mean, told_logs) = (one(&mean, MEAN_BITS)?, one(&logs, DEVIATION_BITS)?);
        let mean = told_mean.decode().row(0).mapv(f64::from);
        let deviation = told_logs.decode().row(0).mapv(|log| f64::from(log).exp());
        let classes = classes(labels, privacy, rows.nrows() as u64);
        let mut apart = Array2::zeros((classes.len(), width));
        for (mut sum, (class, count)) in apart.rows_mut().into_iter().zip(&classes) {
            let members = wide.rows().into_iter().zip(labels);
            for (row, _) in members.filter(|(_, label)| **label == Some(*class)) {
                sum += &row;
            }
            sum /= *count as f64;
            sum -= &mean;
            sum /= &deviation;
        }
        let narrow = apart.mapv(|value| value as f32);
        let apart = QuantisedMatrix::encode(narrow.view(), bits, Layout::Row, Scheme::Symmetric)?;
        let sent = (
            rows.nrows() as u64,
            told_mean.as_raw().clone(),
            told_logs.as_raw().clone(),
            classes.clone(),
            apart.as_raw().clone(),
        );
        Ok(Self {
            rows: sent.0,
            class_means: apart.decode().mapv(f64::from) * &deviation + &mean,
            mean,
            deviation,
            classes,
            bytes: encode(&sent).len() as u64,
        })
    }
}

/// The classes that a device may speak of, with their rows.
fn classes(labels: &[Option<u16>], privacy: Privacy, rows: u64) -> Vec<(u16, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for label in labels.iter().flatten() {
        *counts.entry(*label).or_insert(0u64) += 1;
    }
    let mut classes: Vec<(u16, u64)> = { counts.into_iter() }
        .filter(|(_, count)| *count >= privacy.rows_min)
        .collect();
    classes.sort_by_key(|(class, count)| (std::cmp::Reverse(*count), *class));
    classes.truncate(privacy.directions(rows) / 2);
    classes.sort_unstable();
    classes
}

impl Products {
    /// Of standardised rows (rows, features) along `block` (features, columns); none if
    /// no direction may be told. Where not all columns may be told, it is the first, which
    /// matter most.
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn of(
        rows: ArrayView2<'_, f64>,
        block: ArrayView2<'_, f64>,
        directions: usize,
        bits: u8,
    ) -> Result<Option<Self>, QuantiseError> {
        let mut columns: Vec<u32> = (0..block.ncols() as u32).collect();
        columns.truncate(directions);
        if columns.is_empty() {
            return Ok(None);
        }
        let chosen: Vec<usize> = columns.iter().map(|&column| column as usize).collect();
        let sums = rows.t().dot(&rows.dot(&block.select(Axis(1), &chosen)));
        let narrow = sums.mapv(|value| value as f32);
        let sums = QuantisedMatrix::encode(narrow.view(), bits, Layout::Column, Scheme::Symmetric)?;
        let sent = (rows.nrows() as u64, columns.clone(), sums.as_raw().clone());
        Ok(Some(Self {
            rows: sent.0,
            bytes: encode(&sent).len() as u64,
            columns,
            sums: sums.decode().mapv(f64::from),
        }))
    }
}

/// Bits of a mean, and of the logarithm of a deviation.
pub(super) const MEAN_BITS: u8 = 12;
pub(super) const DEVIATION_BITS: u8 = 8;
/// A deviation below this share of the largest travels as this share.
const DEVIATION_MIN: f64 = 1e-4;
