//! A linear projection that a fleet makes together: few numbers a row in place
//! of a backbone's thousand.
//!
//! Devices send sums and counts alone. First, which features are hardly ever below
//! zero, as rectified and averaged ones are: their square root is taken, which keeps a
//! few strong ones from hiding the rest (Perronnin, Sánchez and Mensink, ECCV 2010).
//! Then mean and deviation of each feature and the mean of each class. Then, of rows z
//! standardised by the fleet's, Σ z(zᵀV) for up to five blocks of directions V, each
//! chosen from what came of those before (`common::math::subspace`). All add up over devices, so
//! that any partition gives the same but for the rounding of what is sent. The
//! projection is the discriminant directions (C + λ)⁻¹(μ_c − μ) (Fisher 1936; Friedman
//! 1989), and beside them principal components.

mod exchange;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand_distr::{Distribution as _, StandardNormal};

use common::math::linalg::LinalgError;
use common::math::quantise::{Layout, QuantiseError, QuantisedMatrix, Scheme};
use common::math::random::rng;
use common::math::subspace::{Subspace, class_means};
use common::wire::codec::encode;
use edge_agent::data::{Dataset as Rows, SplitRule};
use edge_agent::work::Privacy;

use self::exchange::{DEVIATION_BITS, MEAN_BITS, Products, Signs, Statistics};
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
    /// Bytes that a device may send in all: of them the projection takes what points
    /// do not need.
    pub uplink_bytes: u64,
    /// The task's seed.
    pub seed: u64,
}

/// How features of any kind become standard ones.
#[derive(Clone, Debug)]
struct Scales {
    /// Features whose square root is taken.
    roots: Vec<bool>,
    mean: Array1<f64>,
    deviation: Array1<f64>,
}

/// A projection, and what it cost.
#[derive(Clone, Debug)]
pub struct Projection {
    scales: Scales,
    /// Shape (features, directions), as published.
    directions: Array2<f64>,
    /// Discriminant ones among them.
    pub discriminants: usize,
    /// Columns of each block that devices were asked for.
    pub blocks: Vec<usize>,
    /// Bits of a value of the sums.
    pub bits: u8,
    /// Messages of each device, in bytes.
    pub sent: Vec<Vec<u64>>,
    /// Messages to each device, in bytes.
    pub published: Vec<u64>,
}

impl Projection {
    /// What the devices of a fleet make together of the rows that they learn
    /// from. Cost rows × features × columns of the blocks.
    ///
    /// No device tells of more directions than its policy allows, over all messages
    /// but mean and deviation, which count by themselves.
    ///
    /// # Errors
    /// If no device may say enough, or what they say cannot be decomposed.
    pub fn learn(data: &Dataset, setting: Setting<'_>) -> Result<Self, ProjectionError> {
        let mut fleet = Fleet::of(data, setting);
        let roots = fleet.roots()?;
        let classes = data.classes.len();
        let heard = fleet.statistics(&roots)?;
        let (mean, deviation) = pooled(&heard).ok_or_else(|| fleet.nobody())?;
        let scales = Scales {
            roots,
            mean,
            deviation,
        };
        fleet.publish_scales(&scales)?;
        let mut subspace = Subspace::of(class_means(
            told_classes(&heard),
            classes,
            scales.mean.view(),
            scales.deviation.view(),
        ));
        let (blocks, bits) = fleet.blocks(classes);
        for (at, &columns) in blocks.iter().enumerate() {
            let drawn = drawn((fleet.features, columns), setting.seed, at);
            let block = fleet.publish_block(&subspace.next(drawn.view())?)?;
            if let Some((told, products)) =
                fleet.products(&block, &scales, (bits, at, blocks.len()))?
            {
                subspace.add(&block.select(Axis(1), &told), &products);
            } else if at == 0 {
                return Err(fleet.nobody());
            }
        }
        let components = fleet.components(classes);
        let (directions, discriminants) = subspace.directions(classes, components)?;
        let directions = fleet.publish_block(&directions)?;
        Ok(Self {
            scales,
            directions,
            discriminants,
            blocks,
            bits,
            sent: fleet.sent,
            published: fleet.published,
        })
    }

    /// Features before and after.
    pub fn widths(&self) -> (usize, usize) {
        self.directions.dim()
    }

    /// The same data set in the few numbers. They have a range, as if they had been
    /// measured: what they are to each other is to stay as it is.
    pub fn apply(&self, data: &Dataset) -> Dataset {
        let part = |part: &Part| Part {
            inputs: self.rows(part.inputs.view()),
            ..part.clone()
        };
        Dataset {
            shape: vec![self.directions.ncols() as u32],
            range: Some([-RANGE, RANGE]),
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
            let standard = self.scales.standard(block);
            out.assign(&standard.dot(&self.directions).mapv(|value| value as f32));
        }
        out
    }
}

impl Scales {
    /// Rows (rows, features), standardised.
    fn standard(&self, rows: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut wide = rooted(rows, &self.roots).mapv(f64::from);
        wide -= &self.mean;
        wide /= &self.deviation;
        wide
    }
}

/// The devices, and what they said and heard.
struct Fleet<'a> {
    setting: Setting<'a>,
    features: usize,
    /// Rows that each device learns from.
    learnt: Vec<Rows>,
    /// Directions that each device may still tell.
    left: Vec<usize>,
    sent: Vec<Vec<u64>>,
    published: Vec<u64>,
}

impl<'a> Fleet<'a> {
    fn of(data: &Dataset, setting: Setting<'a>) -> Self {
        let learnt = { setting.parts.iter() }.map(|rows| training(&data.train, rows));
        let learnt: Vec<Rows> = learnt.collect();
        let privacy = setting.privacy;
        let left = |rows: &Rows| match rows.rows() as u64 {
            count if count < privacy.rows_min => 0,
            count => privacy.directions(count),
        };
        Self {
            features: data.train.inputs.ncols(),
            left: learnt.iter().map(left).collect(),
            sent: vec![Vec::new(); learnt.len()],
            published: Vec::new(),
            learnt,
            setting,
        }
    }

    fn nobody(&self) -> ProjectionError {
        ProjectionError::Nobody {
            features: self.features,
            rows_per_direction: self.setting.privacy.rows_per_direction,
        }
    }

    /// Devices that may say anything of their rows.
    fn speaking(&self) -> Vec<usize> {
        let privacy = self.setting.privacy;
        let speaks = |&device: &usize| {
            let rows = self.learnt[device].rows() as u64;
            rows >= privacy.rows_min && privacy.tells_means(rows)
        };
        (0..self.learnt.len()).filter(speaks).collect()
    }

    /// Features that no device has below zero in rows worth counting.
    fn roots(&mut self) -> Result<Vec<bool>, ProjectionError> {
        let mut roots: Option<Vec<bool>> = None;
        for device in self.speaking() {
            let rows = self.learnt[device].inputs();
            let signs = Signs::of(rows, self.setting.privacy.rows_min);
            self.sent[device].push(signs.bytes);
            roots = Some(match roots {
                Some(all) => { all.iter().zip(&signs.positive) }
                    .map(|(one, other)| *one && *other)
                    .collect(),
                None => signs.positive,
            });
        }
        let roots = roots.ok_or_else(|| self.nobody())?;
        self.published.push(roots.len().div_ceil(8) as u64);
        Ok(roots)
    }

    fn statistics(&mut self, roots: &[bool]) -> Result<Vec<Statistics>, ProjectionError> {
        let mut heard = Vec::new();
        for device in self.speaking() {
            let rows = &self.learnt[device];
            let seen = rooted(rows.inputs(), roots);
            let privacy = self.setting.privacy;
            let said = Statistics::of(seen.view(), rows.labels(), privacy, BITS_FINE)?;
            self.left[device] = self.left[device].saturating_sub(said.classes.len());
            self.sent[device].push(said.bytes);
            heard.push(said);
        }
        Ok(heard)
    }

    /// Columns of each block to ask for, and bits of a value. All hold as many, and where
    /// there are enough of them as many as there are discriminants, so that each block
    /// takes one more step towards all of them.
    fn blocks(&self, classes: usize) -> (Vec<usize>, u8) {
        let spent = { self.sent.iter() }.map(|sent| sent.iter().sum::<u64>());
        let spent = spent.max().unwrap_or(0) as f64;
        let room = |share: f64, bits: u8| {
            let column = self.features as f64 * f64::from(bits) / 8.0 + OVERHEAD;
            let bytes = share * self.setting.uplink_bytes as f64 / FRAMING - spent;
            (bytes / column).max(0.0) as usize
        };
        let discriminants = classes.saturating_sub(1).clamp(1, COLUMNS_MAX / 2);
        let values = (classes + COMPONENTS_MIN) as f64 + POINT_OVERHEAD;
        let needed = self.points() * values / self.setting.uplink_bytes.max(1) as f64;
        let share = (1.0 - needed).clamp(SHARE_MIN, SHARE_MAX);
        let (columns, bits) = match room(share, BITS_FINE) {
            columns if columns >= BLOCKS_MAX * discriminants => (columns, BITS_FINE),
            _ => (room(share, BITS_COARSE), BITS_COARSE),
        };
        let columns = columns.min(self.told_by_most()).min(self.features);
        let columns = columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
        let blocks = (columns / discriminants).clamp(BLOCKS_MIN.min(columns), BLOCKS_MAX);
        let more = |at: usize| usize::from(at < columns % blocks);
        (
            (0..blocks).map(|at| columns / blocks + more(at)).collect(),
            bits,
        )
    }

    /// Directions that the devices with half of all rows may tell, each of them: columns
    /// that some tell and others do not are sums over other rows.
    fn told_by_most(&self) -> usize {
        let rows = |device: &usize| self.learnt[*device].rows();
        let mut devices = self.speaking();
        devices.sort_by_key(|device| std::cmp::Reverse(self.left[*device]));
        let half = devices.iter().map(rows).sum::<usize>() / 2;
        let mut seen = 0;
        let mut told = devices.iter().map(|device| {
            seen += rows(device);
            (seen, self.left[*device])
        });
        told.find(|(seen, _)| *seen > half)
            .map_or(0, |(_, left)| left)
    }

    /// The products of all devices with a block, each column as the mean of the rows of
    /// those that told it, and which columns these are; none if nobody told any.
    fn products(
        &mut self,
        block: &Array2<f64>,
        scales: &Scales,
        (bits, at, blocks): (u8, usize, usize),
    ) -> Result<Option<ToldColumns>, ProjectionError> {
        let mut sum = Array2::<f64>::zeros(block.dim());
        let mut rows = vec![0u64; block.ncols()];
        for device in self.speaking() {
            // What later blocks are to tell is kept for them.
            let directions = self.left[device] / (blocks - at);
            if directions == 0 {
                continue;
            }
            let standard = scales.standard(self.learnt[device].inputs());
            let said = Products::of(standard.view(), block.view(), directions, bits)?;
            let Some(said) = said else { continue };
            self.left[device] -= said.columns.len();
            self.sent[device].push(said.bytes);
            for (&column, one) in said.columns.iter().zip(said.sums.columns()) {
                let mut sum = sum.column_mut(column as usize);
                sum += &one;
                rows[column as usize] += said.rows;
            }
        }
        let told: Vec<usize> = (0..rows.len()).filter(|&at| rows[at] > 0).collect();
        let mut mean = sum.select(Axis(1), &told);
        for (mut column, &at) in mean.columns_mut().into_iter().zip(&told) {
            column /= rows[at] as f64;
        }
        Ok((!told.is_empty()).then_some((told, mean)))
    }

    /// Principal components beside the discriminants: as many as leave bytes for a point
    /// for each few rows.
    fn components(&self, classes: usize) -> usize {
        let spent = { self.sent.iter() }.map(|sent| sent.iter().sum::<u64>());
        let spent = FRAMING * spent.max().unwrap_or(0) as f64;
        let left = (self.setting.uplink_bytes as f64 - spent).max(0.0);
        let values = left / self.points() - POINT_OVERHEAD - classes as f64;
        (values.max(0.0) as usize).clamp(COMPONENTS_MIN, COMPONENTS_MAX)
    }

    /// Points that the rows of a device in the mean make.
    fn points(&self) -> f64 {
        let rows: usize = self.learnt.iter().map(Rows::rows).sum();
        (rows / self.learnt.len().max(1) / ROWS_A_POINT).max(1) as f64
    }

    fn publish_scales(&mut self, scales: &Scales) -> Result<(), ProjectionError> {
        let one = |values: &Array1<f64>, bits| {
            let narrow = values.mapv(|value| value as f32).insert_axis(Axis(0));
            QuantisedMatrix::encode(narrow.view(), bits, Layout::Row, Scheme::Affine)
        };
        let mean = one(&scales.mean, MEAN_BITS)?.into_raw();
        let deviation = one(&scales.deviation.mapv(f64::ln), DEVIATION_BITS)?.into_raw();
        self.published.push(encode(&(mean, deviation)).len() as u64);
        Ok(())
    }

    /// Directions as they arrive at the devices.
    fn publish_block(&mut self, block: &Array2<f64>) -> Result<Array2<f64>, ProjectionError> {
        let narrow = block.mapv(|value| value as f32);
        let bits = DIRECTION_BITS;
        let told = QuantisedMatrix::encode(narrow.view(), bits, Layout::Column, Scheme::Symmetric)?;
        self.published.push(encode(told.as_raw()).len() as u64);
        Ok(told.decode().mapv(f64::from))
    }
}

/// What the rows that a device learns from are, as an agent splits them.
fn training(train: &Part, rows: &[usize]) -> Rows {
    let labels = rows.iter().map(|&row| Some(train.labels[row])).collect();
    let inputs = train.inputs.select(Axis(0), rows);
    let rows = Rows::new(inputs, labels).unwrap_or_else(|| Rows::empty(train.inputs.ncols()));
    rows.split(SplitRule::default()).without_copies().training
}

/// Rows with the square root of some features, with its sign.
fn rooted(rows: ArrayView2<'_, f32>, roots: &[bool]) -> Array2<f32> {
    let mut seen = rows.to_owned();
    for (mut column, _) in { seen.columns_mut().into_iter().zip(roots) }.filter(|(_, root)| **root)
    {
        column.mapv_inplace(|value| value.abs().sqrt().copysign(value));
    }
    seen
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

/// What was told of the classes, for [`class_means`].
fn told_classes(heard: &[Statistics]) -> impl Iterator<Item = (usize, f64, ArrayView1<'_, f64>)> {
    heard.iter().flat_map(|one| {
        let classes = one.classes.iter().zip(one.class_means.rows());
        classes.map(|((class, rows), mean)| (usize::from(*class), *rows as f64, mean))
    })
}

/// Independent normal columns, the same for everybody who knows the seed.
fn drawn(shape: (usize, usize), seed: u64, block: usize) -> Array2<f64> {
    let mut random = rng(seed, &format!("directions of block {block}"));
    Array2::from_shape_simple_fn(shape, || StandardNormal.sample(&mut random))
}

/// Packets and their frames take a few per cent.
const FRAMING: f64 = 1.05;
/// What comes with a column beside its values: scale, number, rows.
const OVERHEAD: f64 = 16.0;
/// Share of a device's bytes for the projection: what points do not need, within these.
const SHARE_MIN: f64 = 0.6;
const SHARE_MAX: f64 = 0.8;
/// Bits of the sums' values where bytes allow enough columns of them, and where not: with
/// 4 the rounding hides the smaller eigenvalues.
const BITS_FINE: u8 = 6;
const BITS_COARSE: u8 = 5;
/// Bits of a direction's values.
const DIRECTION_BITS: u8 = 8;
/// Fewest and most blocks of directions, one after the other.
const BLOCKS_MIN: usize = 3;
const BLOCKS_MAX: usize = 5;
/// Columns of all blocks, whatever the bytes.
const COLUMNS_MIN: usize = 4;
const COLUMNS_MAX: usize = 72;
/// Principal components beside the discriminants.
const COMPONENTS_MIN: usize = 20;
const COMPONENTS_MAX: usize = 60;
/// Rows that a point stands for, and its bytes beside the values.
const ROWS_A_POINT: usize = 12;
const POINT_OVERHEAD: f64 = 14.0;
/// Far beyond where any row is, in deviations of the discriminants.
const RANGE: f32 = 64.0;
/// Rows projected at once.
const BLOCK_ROWS: usize = 1_024;

/// The columns of a block that somebody told, and the mean product of each.
type ToldColumns = (Vec<usize>, Array2<f64>);

#[cfg(test)]
mod tests;
