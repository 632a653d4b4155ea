//! A device's summary under differential privacy: noisy sums of its rows, by
//! class and cell, in place of the centres that k-means finds.
//!
//! Every row is brought to the norm √features by the normaliser, so one row
//! changes the sum of its cell by at most that. To all sums at once, with their
//! row counts beside them, integer noise is added ([`DiscreteGaussian`]), and
//! what follows (means, spreads, which cells are told of) is computed from noisy
//! sums alone. Nothing else of the rows is looked at: no minimum of rows decides
//! before the noise.
//!
//! A quarter of what may be spent goes to one sum a class. If the rows that it
//! shows are many beside the noise, the rest goes to steps of k-means within the
//! classes (as in Su et al. 2016), whose first centres are drawn around the
//! noisy means; else it goes to the same sums again, and the two are joined by
//! their precisions, as if all had been spent at once.

use std::collections::HashSet;

use ndarray::{Array2, Axis};
use rand::Rng;

use common::math::privacy::{DiscreteGaussian, SIGMA_MAX, sigma_of};
use common::profile::RawProfile;
use common::round::{Kind, Phase};
use common::scales::Scales;
use common::summary::Points;
use common::task::Task;
use common::wire::codec::encode;
use common::wire::messages::Call;

use super::{Built, Entry, Work, WorkError};

/// Numbers of sums are multiples of this share of a row's norm.
const GRID: f64 = (1u64 << 16) as f64;
/// How much a row counts beside its numbers: its count is so much of its norm.
const COUNT_WEIGHT: f64 = 0.5;
/// A cell is told of if its rows are so many times the noise of their count.
const COUNT_NOISES: f64 = 2.0;
/// Share of a profile in what is spent on profile and summary together.
const PROFILE_SHARE: f64 = 0.02;
/// Share of the first sums in what is spent on the summary.
const FIRST_SHARE: f64 = 0.25;
/// Steps of k-means.
const STEPS: usize = 2;
/// The noise of a cell's mean, as a share of a row's norm, that cells are made
/// as small for.
const CELL_NOISE: f64 = 0.5;
/// Fewest cells a class, in the mean, for which k-means is worth its steps.
const CELLS_MIN: f64 = 3.0;

/// What an answer to a call of this phase costs of `rho`, the cost in zCDP of
/// profile and summary together; none for what a device does not tell under
/// differential privacy.
pub fn private_cost(task: &Task, phase: Phase, rho: f64) -> Option<f64> {
    let classes = task.target().is_class();
    match phase {
        Phase::Profile if !task.learns_normaliser() && classes => Some(PROFILE_SHARE * rho),
        Phase::Summarise if classes => Some((1.0 - PROFILE_SHARE) * rho),
        _ => None,
    }
}

impl Work<'_> {
    /// The answer to a call of a phase that has a [`private_cost`], with noise
    /// that costs `cost`. `self.rows` are all rows of the device: what is a copy
    /// of another counts once.
    ///
    /// # Errors
    /// If the call's context is incomplete, the data does not fit the task, or
    /// the noise is wider than can be drawn.
    pub fn private_answer(
        &self,
        call: &Call,
        cost: f64,
        random: &mut impl Rng,
    ) -> Result<Built, WorkError> {
        match call.phase {
            Phase::Profile => self.private_profile(cost, random),
            Phase::Summarise => self.private_summary(call, cost, random),
            phase => Err(WorkError::NotACall(phase)),
        }
    }

    /// How many rows there are, and nothing else.
    fn private_profile(&self, cost: f64, random: &mut impl Rng) -> Result<Built, WorkError> {
        let noise = Noise::of(cost)?;
        let rows = (self.distinct_rows().len() as f64 * GRID) as i64 + noise.draw(random);
        let rows = (rows as f64 / GRID).round();
        if rows < self.privacy.rows_min as f64 {
            return Ok(NOTHING);
        }
        let profile = RawProfile {
            rows: rows as u64,
            class_counts: vec![0; self.task.classes()],
            moments: None,
        };
        Ok(one(Entry::of(Kind::Profile, &profile, profile.rows)))
    }

    fn private_summary(
        &self,
        call: &Call,
        cost: f64,
        random: &mut impl Rng,
    ) -> Result<Built, WorkError> {
        let scales = Scales::read(
            self.task,
            self.blob(call, call.context.normaliser, "normaliser")?,
        )?;
        let rows = self.labelled_rows(&scales)?;
        let budget = &self.task.definition().budget;
        let points_max = budget.points_per_device.max(1) as usize;
        let size_min = budget.cluster_size_min.max(self.privacy.cluster_size_min);
        let size_min = f64::from(super::SAMPLE_ROWS_MEAN * size_min);
        let points = rows.summarise(self.task.classes(), cost, points_max, size_min, random)?;
        if points.is_empty() {
            return Ok(NOTHING);
        }
        let told = points.counts.iter().map(|&count| u64::from(count)).sum();
        Ok(one(Entry {
            kind: Kind::Summary,
            bytes: encode(&points.to_raw(budget.bits)?),
            rows: told,
        }))
    }

    /// Rows that are no exact copy of an earlier one, label included.
    fn distinct_rows(&self) -> Vec<usize> {
        let mut seen = HashSet::new();
        let mut bytes = Vec::new();
        let rows = 0..self.rows.labels.len();
        rows.filter(|&row| {
            bytes.clear();
            for value in self.rows.inputs.row(row) {
                bytes.extend_from_slice(&(value + 0.0).to_le_bytes());
            }
            bytes.extend(
                self.rows.labels[row]
                    .map_or(u32::MAX, u32::from)
                    .to_le_bytes(),
            );
            seen.insert(*blake3::hash(&bytes).as_bytes())
        })
        .collect()
    }

    fn labelled_rows(&self, scales: &Scales) -> Result<Rows, WorkError> {
        let classes = self.task.classes();
        let known =
            |row: &usize| self.rows.labels[*row].is_some_and(|label| usize::from(label) < classes);
        let chosen: Vec<usize> = self.distinct_rows().into_iter().filter(known).collect();
        let labels = chosen.iter().filter_map(|&row| self.rows.labels[row]);
        let labels: Vec<usize> = labels.map(usize::from).collect();
        let width = self.task.features();
        let mut inputs = Array2::zeros((chosen.len(), width));
        let blocks = inputs.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS);
        for (mut block, chosen) in blocks.zip(chosen.chunks(BLOCK_ROWS)) {
            let raw = self.rows.stage_inputs().select(Axis(0), chosen);
            let mut computed = self.task.features_of(raw.view())?;
            scales.normaliser.apply_in_place(&mut computed)?;
            block.assign(&computed);
            common::liveness::heartbeat();
        }
        // Of norm 1 from here on, whatever the normaliser left.
        for mut row in inputs.rows_mut() {
            let norm = row
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>()
                .sqrt();
            // A little longer, for what rounding to single precision adds.
            let longest = (norm.max((width as f64).sqrt()) * (1.0 + 1e-6)) as f32;
            row.mapv_inplace(|value| {
                if value.is_finite() {
                    value / longest
                } else {
                    0.0
                }
            });
        }
        Ok(Rows { inputs, labels })
    }
}

/// Labelled rows of norm 1 at most.
struct Rows {
    inputs: Array2<f32>,
    labels: Vec<usize>,
}

/// Noisy sums: cells × features in units of a row's norm, and rows of each.
struct Sums {
    sums: Array2<f64>,
    rows: Vec<f64>,
    /// Variance of each number of `sums`.
    variance: f64,
}

/// A cell: its class and its centre.
struct Cell {
    class: usize,
    centre: Vec<f64>,
}

impl Rows {
    fn summarise(
        &self,
        classes: usize,
        cost: f64,
        points_max: usize,
        size_min: f64,
        random: &mut impl Rng,
    ) -> Result<Points, WorkError> {
        let features = self.inputs.ncols();
        let first = self.sums(classes, &self.labels, FIRST_SHARE * cost, random)?;
        let rest = (1.0 - FIRST_SHARE) * cost;
        let step = Noise::of(rest / STEPS as f64)?;
        let cells = first.cells(features, size_min, points_max, step, random);
        let speaking = first.speaking(size_min).count();
        if (cells.len() as f64) < CELLS_MIN * speaking.max(1) as f64 {
            let again = self.sums(classes, &self.labels, rest, random)?;
            let classes: Vec<usize> = (0..classes).collect();
            return Ok(first
                .joined(&again)
                .points(&classes, features, size_min, points_max));
        }
        let mut cells = cells;
        for at in 1..=STEPS {
            let nearest = self.nearest(&cells);
            let sums = self.sums(cells.len(), &nearest, rest / STEPS as f64, random)?;
            let classes: Vec<usize> = cells.iter().map(|cell| cell.class).collect();
            if at == STEPS {
                return Ok(sums.points(&classes, features, size_min, points_max));
            }
            sums.move_centres(&mut cells, size_min);
        }
        Ok(Points::none(features))
    }

    /// Sums of the rows of each cell, at this cost: each row is in one.
    fn sums(
        &self,
        cells: usize,
        of: &[usize],
        cost: f64,
        random: &mut impl Rng,
    ) -> Result<Sums, WorkError> {
        let noise = Noise::of(cost)?;
        // A row and its weighted count have norm 1 together, rounded down.
        let length = (1.0 + COUNT_WEIGHT * COUNT_WEIGHT).sqrt();
        let (value, count) = (GRID / length, (GRID * COUNT_WEIGHT / length).floor());
        let mut sums = Array2::<i64>::zeros((cells, self.inputs.ncols()));
        let mut counts = vec![0i64; cells];
        for (row, &cell) in self.inputs.rows().into_iter().zip(of) {
            let Some(rows) = counts.get_mut(cell) else {
                continue; // of a class without a cell
            };
            *rows += count as i64;
            for (sum, &one) in sums.row_mut(cell).iter_mut().zip(row) {
                *sum += (f64::from(one) * value).trunc() as i64;
            }
        }
        let sums = sums.mapv(|sum| (sum + noise.draw(random)) as f64 / value);
        let rows = counts
            .iter()
            .map(|sum| (sum + noise.draw(random)) as f64 / count);
        Ok(Sums {
            sums,
            rows: rows.collect(),
            variance: (noise.sigma() / value).powi(2),
        })
    }

    /// The cell of each row: the nearest of its class.
    fn nearest(&self, cells: &[Cell]) -> Vec<usize> {
        let rows = self.inputs.rows().into_iter().zip(&self.labels);
        rows.map(|(row, &label)| {
            let of_class = cells
                .iter()
                .enumerate()
                .filter(|(_, cell)| cell.class == label);
            let distance = |cell: &Cell| {
                let pairs = row.iter().zip(&cell.centre);
                pairs
                    .map(|(&value, centre)| (f64::from(value) - centre).powi(2))
                    .sum::<f64>()
            };
            let found = of_class.map(|(at, cell)| (at, distance(cell)));
            found
                .min_by(|one, other| one.1.total_cmp(&other.1))
                .map_or(usize::MAX, |best| best.0)
        })
        .collect()
    }
}

impl Sums {
    /// Cells with enough rows to be told of, more than noise alone would make.
    fn speaking(&self, size_min: f64) -> impl Iterator<Item = usize> + '_ {
        let size_min = size_min.max(COUNT_NOISES * self.variance.sqrt() / COUNT_WEIGHT);
        (0..self.rows.len()).filter(move |&cell| self.rows[cell] >= size_min)
    }

    /// As many cells a class as its rows can fill without the noise of `step`
    /// being much of what is told; their centres lie around its mean.
    fn cells(
        &self,
        features: usize,
        size_min: f64,
        points_max: usize,
        step: Noise,
        random: &mut impl Rng,
    ) -> Vec<Cell> {
        let noise = step.sigma() / GRID * (features as f64).sqrt();
        let size = (noise / CELL_NOISE).max(size_min);
        let wanted = |class: usize| (self.rows[class] / size).max(1.0);
        let all: f64 = self.speaking(size_min).map(wanted).sum();
        let share = (points_max as f64 / all.max(1.0)).min(1.0);
        let mut cells = Vec::new();
        for class in self.speaking(size_min) {
            let mean = self.sums.row(class).mapv(|sum| sum / self.rows[class]);
            let inner: f64 = mean.dot(&mean) - self.noise_of(class);
            let spread = ((1.0 - inner).max(0.05) / features as f64).sqrt();
            let many = (wanted(class) * share).floor().max(1.0) as usize;
            for _ in 0..many {
                let away = |&mean: &f64| mean + spread * SQRT_3 * random.random_range(-1.0..1.0);
                let centre = mean.iter().map(away).collect();
                cells.push(Cell { class, centre });
            }
        }
        cells
    }

    /// ‖noise‖² of a cell's mean, as expected.
    fn noise_of(&self, cell: usize) -> f64 {
        self.sums.ncols() as f64 * self.variance / self.rows[cell].powi(2)
    }

    fn move_centres(&self, cells: &mut [Cell], size_min: f64) {
        for cell in self.speaking(size_min) {
            let sums = self.sums.row(cell);
            cells[cell].centre = sums.iter().map(|sum| sum / self.rows[cell]).collect();
        }
    }

    /// Both, weighted by their precisions.
    fn joined(&self, other: &Self) -> Self {
        let both = self.variance + other.variance;
        let (own, others) = (other.variance / both, self.variance / both);
        Self {
            sums: &self.sums * own + &other.sums * others,
            rows: self
                .rows
                .iter()
                .zip(&other.rows)
                .map(|(a, b)| own * a + others * b)
                .collect(),
            variance: self.variance * other.variance / both,
        }
    }

    /// The cells with enough rows as points, the largest `points_max` of them;
    /// `classes` names the class of each cell.
    fn points(
        &self,
        classes: &[usize],
        features: usize,
        size_min: f64,
        points_max: usize,
    ) -> Points {
        let mut told: Vec<usize> = self.speaking(size_min).collect();
        told.sort_by(|&one, &other| self.rows[other].total_cmp(&self.rows[one]));
        told.truncate(points_max);
        told.sort_unstable();
        let mut points = Points::none(features);
        let mut inputs = Array2::zeros((told.len(), features));
        let norm = (features as f64).sqrt();
        for (mut input, &cell) in inputs.rows_mut().into_iter().zip(&told) {
            let mean = self.sums.row(cell).mapv(|sum| sum / self.rows[cell]);
            let square = mean.dot(&mean);
            // Means of rows lie within the ball that rows lie on.
            let factor = norm / square.sqrt().max(1.0);
            input.assign(&mean.mapv(|value| (value * factor) as f32));
            let within = (1.0 - (square - self.noise_of(cell)).clamp(0.0, 1.0)).sqrt();
            points.classes.push(classes[cell] as u16);
            points.counts.push(self.rows[cell].round() as u32);
            points.spreads.push((within * norm) as f32);
        }
        points.inputs = inputs;
        points
    }
}

/// Noise on sums in multiples of 1/[`GRID`] of a row's norm.
#[derive(Clone, Copy)]
struct Noise(DiscreteGaussian);

impl Noise {
    /// At a cost in zCDP, for sums that a row changes by its norm at most.
    fn of(cost: f64) -> Result<Self, WorkError> {
        let sigma = (sigma_of(cost) * GRID).ceil();
        let fits = sigma.is_finite() && sigma <= SIGMA_MAX as f64;
        let gaussian = fits.then(|| DiscreteGaussian::new(sigma as u64)).flatten();
        gaussian.map(Self).ok_or(WorkError::Noise)
    }

    fn draw(self, random: &mut impl Rng) -> i64 {
        self.0.draw(random)
    }

    fn sigma(self) -> f64 {
        self.0.sigma() as f64
    }
}

const NOTHING: Built = Built {
    entries: Vec::new(),
    partial: true,
    why: None,
};

fn one(entry: Entry) -> Built {
    Built {
        entries: vec![entry],
        ..Built::default()
    }
}

/// Rows whose features are computed at once.
const BLOCK_ROWS: usize = 256;
/// Uniform numbers of this reach have the variance one.
const SQRT_3: f64 = 1.732_050_807_568_877_2;

#[cfg(test)]
mod tests;
