//! A linear projection that a fleet makes together: few numbers a row in place
//! of a backbone's thousand.
//!
//! Devices send sums alone: mean and deviation of each feature, then, of rows
//! standardised by those of the fleet, Σ z(zᵀΩ) for a seeded Ω and the sum of
//! each class. The first is a sketch of the covariance C (Halko, Martinsson and
//! Tropp, SIAM Review 2011) whose largest eigenpairs follow in one pass by
//! Nyström's C ≈ Y(ΩᵀY)⁻¹Yᵀ; it adds up over devices, so that any partition
//! gives the same but for the rounding of what is sent. The projection is the
//! discriminant directions C⁻¹(μ_c − μ) (Fisher 1936), C being its largest
//! eigenpairs and an even rest, and beside them the principal components.

mod sketch;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use common::math::linalg::{LinalgError, top_eigenpairs};
use common::math::quantise::{Layout, QuantiseError, QuantisedMatrix, Scheme};
use common::wire::codec::encode;
use edge_agent::data::{Dataset as Rows, SplitRule};
use edge_agent::work::Privacy;

use self::sketch::{MEAN_BITS, Sketch, Statistics, Terms, omega};
use crate::data::{Dataset, Part};

/// Why no projection could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// No device may say enough of its rows.
    #[error(
        "no device has rows enough to make a projection of {features} features together: \
         {rows_per_direction} for each direction that is told"
    )]
    Nobody {
        /// Features.
        features: usize,
        /// Rows for each direction, by the devices' policy.
        rows_per_direction: u32,
    },
    /// A value is not finite.
    #[error("a sketch cannot be sent: {0}")]
    Quantise(#[from] QuantiseError),
    /// The sketch cannot be decomposed.
    #[error("the sketch cannot be decomposed: {0}")]
    Linear(#[from] LinalgError),
}

/// What a projection is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Rows of each device.
    pub parts: &'a [Vec<usize>],
    /// The devices' policy.
    pub privacy: Privacy,
    /// Bytes that a device may spend on it.
    pub uplink_bytes: u64,
    /// The task's seed.
    pub seed: u64,
}

/// A projection, and what it cost.
#[derive(Clone, Debug)]
pub struct Projection {
    mean: Array1<f64>,
    deviation: Array1<f64>,
    /// Shape (features, directions), as published.
    directions: Array2<f64>,
    /// Discriminant ones among them.
    pub discriminants: usize,
    /// Columns of the sketch, and bits of its values.
    pub sketch: (usize, u8),
    /// Messages of each device, in bytes.
    pub sent: Vec<Vec<u64>>,
    /// Messages to each device, in bytes.
    pub published: Vec<u64>,
}

impl Projection {
    /// What the devices of a fleet make together of the rows that they learn
    /// from. Cost rows × features × columns of the sketch.
    ///
    /// # Errors
    /// If no device may say enough, or what they say cannot be decomposed.
    pub fn learn(data: &Dataset, setting: Setting<'_>) -> Result<Self, ProjectionError> {
        let features = data.train.inputs.ncols();
        let nobody = || ProjectionError::Nobody {
            features,
            rows_per_direction: setting.privacy.rows_per_direction,
        };
        let learnt: Vec<Rows> = setting
            .parts
            .iter()
            .map(|rows| training(&data.train, rows))
            .collect();
        let mut sent = vec![Vec::new(); learnt.len()];
        let mut heard = Vec::new();
        for (rows, sent) in learnt.iter().zip(&mut sent) {
            let count = rows.rows() as u64;
            if count >= setting.privacy.rows_min && setting.privacy.tells_means(count) {
                let statistics = Statistics::of(rows.inputs())?;
                sent.push(statistics.bytes);
                heard.push(statistics);
            }
        }
        let (mean, deviation) = pooled(&heard).ok_or_else(nobody)?;
        let classes = data.classes.len();
        let room = |bits: u8| {
            let value = f64::from(bits) / 8.0;
            let one = features as f64 * value + OVERHEAD;
            let fixed = 2.0 * (features as f64 * f64::from(MEAN_BITS) / 8.0 + OVERHEAD);
            let left = setting.uplink_bytes as f64 / FRAMING - fixed - classes as f64 * one;
            (left / one).max(0.0) as usize
        };
        let bits = match room(BITS_FINE) >= COLUMNS_FINE {
            true => BITS_FINE,
            false => BITS_COARSE,
        };
        let columns = room(bits).clamp(COLUMNS_MIN, COLUMNS_MAX).min(features);
        let omega = omega(features, columns, setting.seed);
        let mut sum = Sum::none(features, columns, classes);
        for (index, (rows, sent)) in learnt.iter().zip(&mut sent).enumerate() {
            let count = rows.rows() as u64;
            if count < setting.privacy.rows_min {
                continue;
            }
            let standard = standardised(rows.inputs(), &mean, &deviation);
            let terms = Terms {
                omega: omega.view(),
                bits,
                directions: setting.privacy.directions(count),
                rows_min: setting.privacy.rows_min,
                seed: setting.seed ^ index as u64,
            };
            if let Some(sketch) = Sketch::of(standard.view(), rows.labels(), &terms)? {
                sent.push(sketch.bytes);
                sum.add(&sketch);
            }
        }
        let (directions, discriminants) = sum.directions(&omega).ok_or_else(nobody)??;
        let narrow = directions.mapv(|value| value as f32);
        let coded =
            QuantisedMatrix::encode(narrow.view(), MEAN_BITS, Layout::Column, Scheme::Symmetric)?;
        let told = [&mean, &deviation].map(|values| {
            let narrow = values.mapv(|value| value as f32).insert_axis(Axis(0));
            QuantisedMatrix::encode(narrow.view(), MEAN_BITS, Layout::Row, Scheme::Affine)
        });
        let [told_mean, told_deviation] = told;
        let scales = encode(&(told_mean?.into_raw(), told_deviation?.into_raw()));
        Ok(Self {
            directions: coded.decode().mapv(f64::from),
            published: vec![scales.len() as u64, encode(coded.as_raw()).len() as u64],
            mean,
            deviation,
            discriminants,
            sketch: (columns, bits),
            sent,
        })
    }

    /// Features before and after.
    pub fn widths(&self) -> (usize, usize) {
        self.directions.dim()
    }

    /// The same data set in the few numbers.
    pub fn apply(&self, data: &Dataset) -> Dataset {
        let part = |part: &Part| Part {
            inputs: self.rows(part.inputs.view()),
            ..part.clone()
        };
        Dataset {
            shape: vec![self.directions.ncols() as u32],
            range: None,
            offset: None,
            sound_rate: None,
            train: std::sync::Arc::new(part(&data.train)),
            test: part(&data.test),
            ..data.clone()
        }
    }

    /// Rows (rows, features) in the few numbers.
    fn rows(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = Array2::zeros((rows.nrows(), self.directions.ncols()));
        let blocks = rows.axis_chunks_iter(Axis(0), BLOCK_ROWS);
        for (block, mut out) in blocks.zip(out.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS)) {
            let standard = standardised(block, &self.mean, &self.deviation);
            out.assign(&standard.dot(&self.directions).mapv(|value| value as f32));
        }
        out
    }
}

/// What the rows that a device learns from are, as an agent splits them.
fn training(train: &Part, rows: &[usize]) -> Rows {
    let labels = rows.iter().map(|&row| Some(train.labels[row])).collect();
    let inputs = train.inputs.select(Axis(0), rows);
    let rows = Rows::new(inputs, labels).unwrap_or_else(|| Rows::empty(train.inputs.ncols()));
    rows.split(SplitRule::default()).without_copies().training
}

/// Mean and deviation of all rows; none of no rows. A feature that does not
/// vary has a deviation of 1.
fn pooled(heard: &[Statistics]) -> Option<(Array1<f64>, Array1<f64>)> {
    let rows: f64 = heard.iter().map(|one| one.rows as f64).sum();
    let width = heard.first()?.mean.len();
    let (mut mean, mut square) = (Array1::zeros(width), Array1::zeros(width));
    for one in heard {
        let share = one.rows as f64 / rows;
        mean += &(&one.mean * share);
        square += &((&one.mean * &one.mean + &one.deviation * &one.deviation) * share);
    }
    let variance: Array1<f64> = square - &mean * &mean;
    let largest = variance.iter().copied().fold(0.0, f64::max);
    let deviation = variance.mapv(|value| match value > 1e-8 * largest {
        true => value.sqrt(),
        false => 1.0,
    });
    Some((mean, deviation))
}

fn standardised(
    rows: ArrayView2<'_, f32>,
    mean: &Array1<f64>,
    deviation: &Array1<f64>,
) -> Array2<f64> {
    let mut wide = rows.mapv(f64::from);
    wide -= mean;
    wide /= deviation;
    wide
}

/// Sums over devices.
struct Sum {
    products: Array2<f64>,
    /// Rows behind each column.
    column_rows: Vec<u64>,
    class_sums: Array2<f64>,
    class_rows: Vec<u64>,
}

type Directions = (Array2<f64>, usize);

impl Sum {
    fn none(features: usize, columns: usize, classes: usize) -> Self {
        Self {
            products: Array2::zeros((features, columns)),
            column_rows: vec![0; columns],
            class_sums: Array2::zeros((classes, features)),
            class_rows: vec![0; classes],
        }
    }

    fn add(&mut self, sketch: &Sketch) {
        for (column, product) in sketch.columns.iter().zip(sketch.products.columns()) {
            let mut sum = self.products.column_mut(*column as usize);
            sum += &product;
            self.column_rows[*column as usize] += sketch.rows;
        }
        for ((class, rows), one) in sketch.classes.iter().zip(sketch.class_sums.rows()) {
            let mut sum = self.class_sums.row_mut(usize::from(*class));
            sum += &one;
            self.class_rows[usize::from(*class)] += rows;
        }
    }

    /// Orthonormal directions (features, directions): discriminants first, and
    /// how many those are; none if nobody said anything.
    fn directions(&self, omega: &Array2<f64>) -> Option<Result<Directions, LinalgError>> {
        let told: Vec<usize> = (0..self.column_rows.len())
            .filter(|&column| self.column_rows[column] > 0)
            .collect();
        if told.is_empty() {
            return None;
        }
        let mut y = self.products.select(Axis(1), &told);
        for (mut column, &at) in y.columns_mut().into_iter().zip(&told) {
            column /= self.column_rows[at] as f64;
        }
        Some(self.decomposed(&y, &omega.select(Axis(1), &told)))
    }

    fn decomposed(&self, y: &Array2<f64>, omega: &Array2<f64>) -> Result<Directions, LinalgError> {
        let features = y.nrows();
        let (values, vectors) = nystrom(y, omega)?;
        // Standardised features have a trace of one each.
        let rest =
            (features as f64 - values.sum()) / features.saturating_sub(values.len()).max(1) as f64;
        let rest = rest
            .max(1e-3 * values.first().copied().unwrap_or(1.0))
            .max(1e-9);
        let known: Vec<usize> = (0..self.class_rows.len())
            .filter(|&class| self.class_rows[class] > 0)
            .collect();
        let mut means = self.class_sums.select(Axis(0), &known);
        for (mut mean, &class) in means.rows_mut().into_iter().zip(&known) {
            mean /= self.class_rows[class] as f64;
        }
        let middle = means
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(features));
        let means = (&means - &middle).reversed_axes();
        let within = vectors.t().dot(&means);
        let scaled = &within / &values.mapv(|value| value.max(rest)).insert_axis(Axis(1));
        let discriminants = vectors.dot(&scaled) + (&means - &vectors.dot(&within)) / rest;
        let wanted = known.len().saturating_sub(1);
        let first = orthonormal(&discriminants, wanted);
        let count = first.ncols();
        let all = concatenate![Axis(1), first, vectors];
        let room = count + vectors.ncols();
        Ok((orthonormal(&all, room), count))
    }
}

/// Largest eigenpairs of the matrix of which `y` is the product with `omega`,
/// as values and columns, largest first.
fn nystrom(
    y: &Array2<f64>,
    omega: &Array2<f64>,
) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
    let core = omega.t().dot(y);
    let core = (&core + &core.t()) / 2.0;
    let (values, vectors) = top_eigenpairs(core.view(), core.nrows())?;
    let least = 1e-6 * values.first().copied().unwrap_or(0.0).max(1e-12);
    let kept = values
        .iter()
        .take_while(|value| **value > least)
        .count()
        .max(1);
    let roots = values
        .slice(s![..kept])
        .mapv(|value| value.max(least).sqrt());
    let factor = y.dot(&(&vectors.slice(s![.., ..kept]) / &roots));
    let (values, turned) = top_eigenpairs(factor.t().dot(&factor).view(), kept)?;
    let scales = values.mapv(|value| value.max(least * least).sqrt());
    Ok((values, factor.dot(&(&turned / &scales))))
}

/// At most `count` orthonormal columns that span the first of these, by
/// Gram–Schmidt, twice for each; what a column adds less than a thousandth of
/// its length is left out.
fn orthonormal(columns: &Array2<f64>, count: usize) -> Array2<f64> {
    let mut kept: Vec<Array1<f64>> = Vec::new();
    for column in columns.columns() {
        if kept.len() == count {
            break;
        }
        let length = column.dot(&column).sqrt();
        let mut left = column.to_owned();
        for _ in 0..2 {
            for one in &kept {
                let along = one.dot(&left);
                left.scaled_add(-along, one);
            }
        }
        let new = left.dot(&left).sqrt();
        if new > 1e-3 * length && new > 0.0 {
            kept.push(left / new);
        }
    }
    let mut out = Array2::zeros((columns.nrows(), kept.len()));
    for (mut target, column) in out.columns_mut().into_iter().zip(&kept) {
        target.assign(column);
    }
    out
}

/// Packets and their frames take a few per cent.
const FRAMING: f64 = 1.05;
/// What comes with a column or row beside its values: scale, offset, number,
/// count.
const OVERHEAD: f64 = 16.0;
/// Bits of a sketch's values where bytes allow this many columns of them, and
/// where not: the errors of devices average out.
const BITS_FINE: u8 = 6;
const COLUMNS_FINE: usize = 24;
const BITS_COARSE: u8 = 4;
/// Columns of a sketch, whatever the bytes.
const COLUMNS_MIN: usize = 4;
const COLUMNS_MAX: usize = 48;
/// Rows projected at once.
const BLOCK_ROWS: usize = 1_024;

#[cfg(test)]
mod tests;
