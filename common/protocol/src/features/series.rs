//! The series stage: how strongly fixed cosine filters answer in each stretch
//! of a multi-channel signal.

use std::f64::consts::PI;
use std::fmt;

use bincode::{Decode, Encode};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use super::extractor::{Definition, Drawing, Extractor, Filters, Parameters};
use super::patches::{VALUE_MAX, cells, noise, noise_share};
use super::{FeatureError, FeatureStage, FilterTables, InputShape, Modality, StageTables};
use crate::limits::FEATURES_MAX;

/// Parameters of the series stage, written `32x12x2`: steps of a stretch that
/// a filter sees, filters, cells along time.
///
/// | parameter | allowed | left out |
/// |---|---|---|
/// | `size` | 4 to 128, at most the steps | a quarter of the steps, at most 32 |
/// | `filters` | 1 to size − 1 | 12, or size − 1 |
/// | `grid` | 1 to the places of a filter | 2 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct SeriesPlan {
    /// Steps that a filter sees.
    pub size: u8,
    /// Filters; each gives two features a cell and channel.
    pub filters: u8,
    /// Cells along time.
    pub grid: u8,
}

/// The stage.
pub(super) struct SeriesStage;

impl Definition for SeriesStage {
    fn stage(&self) -> FeatureStage {
        FeatureStage::series(None)
    }

    fn name(&self) -> &'static str {
        "series"
    }

    fn told(&self) -> &'static str {
        "Answers of fixed filters in stretches of a window of samples × channels, of 16 samples or more: waveforms rather than spectra."
    }

    fn version(&self) -> Option<u16> {
        Some(VERSION)
    }

    fn parameters(&self) -> Option<Parameters> {
        Some(Parameters {
            example: "32x12x2",
            told: "size, filters and grid",
            read: |text| SeriesPlan::parse(text).map(|plan| FeatureStage::series(Some(plan))),
        })
    }

    fn reason(&self, _: Modality) -> &'static str {
        "a convolution needs neighbours: a long series is seen in eight stretches"
    }

    fn under_convolution(&self, shape: &InputShape, modality: Modality) -> Option<FeatureStage> {
        let long = modality == Modality::Series && shape.sides()[0] >= STEPS_MIN;
        long.then_some(FeatureStage::series(Some(FINE)))
    }
}

/// What computes the series features of windows of one shape.
///
/// Every stretch of `size` steps that lies within the window is projected on
/// the first non-constant atoms of the DCT-II (Ahmed, Natarajan & Rao 1974),
/// each of unit norm. The positive and the negative part of every projection
/// are averaged over the stretches that begin in a cell, and the square root
/// taken: how strongly each frequency band answers, and to which side. The
/// mean of each channel over the cell's steps joins them, since no atom sees
/// the level. Nothing is learnt, so nothing about the filters travels.
///
/// Features are ordered by cell, channel, then positive parts, negative
/// parts, mean: an image of one row, which a 1-D convolution can stand on.
#[derive(Clone, Debug)]
pub(super) struct Series {
    steps: usize,
    channels: usize,
    plan: SeriesPlan,
    /// Filters × size.
    filters: Array2<f32>,
}

impl SeriesPlan {
    /// What is used where a task names no parameters.
    fn of_steps(steps: usize) -> Self {
        let size = (steps / 4).clamp(usize::from(SIZE_MIN), 32) as u8;
        Self {
            size,
            filters: 12.min(size - 1),
            grid: 2,
        }
    }

    /// Reads `32x12x2`, exactly as it is written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('x').map(str::parse);
        let plan = Self {
            size: numbers.next()?.ok()?,
            filters: numbers.next()?.ok()?,
            grid: numbers.next()?.ok()?,
        };
        (plan.to_string() == text).then_some(plan)
    }

    fn fits(self, steps: usize) -> bool {
        let size = usize::from(self.size);
        (SIZE_MIN..=SIZE_MAX).contains(&self.size)
            && size <= steps
            && (1..self.size).contains(&self.filters)
            && (1..=steps - size + 1).contains(&usize::from(self.grid))
    }
}

impl fmt::Display for SeriesPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.size, self.filters, self.grid)
    }
}

impl Series {
    /// Prepares for windows of time × channels. Errors: another rank, fewer
    /// than [`STEPS_MIN`] steps, parameters that do not fit, or too many
    /// features.
    pub(super) fn new(shape: &InputShape, plan: Option<SeriesPlan>) -> Result<Self, FeatureError> {
        let stage = FeatureStage::series(plan);
        let refused = || {
            let takes = format!("inputs of time x channels with at least {STEPS_MIN} steps");
            FeatureError::unfit(stage, takes, shape)
        };
        let &[steps, channels] = shape.sides() else {
            return Err(refused());
        };
        if steps < STEPS_MIN {
            return Err(refused());
        }
        let plan = plan.unwrap_or_else(|| SeriesPlan::of_steps(steps));
        let unfit = || {
            let takes = format!(
                "windows for which (size x filters x grid) size is 4 to 128 and at most the \
                 steps, filters 1 to size - 1, grid at most the places of a filter, and features \
                 at most {FEATURES_MAX}"
            );
            FeatureError::unfit(FeatureStage::series(Some(plan)), takes, shape)
        };
        if !plan.fits(steps) {
            return Err(unfit());
        }
        let series = Self {
            steps,
            channels,
            plan,
            filters: filters(usize::from(plan.size), usize::from(plan.filters)),
        };
        if channels > FEATURES_MAX || series.features() > FEATURES_MAX {
            return Err(unfit());
        }
        Ok(series)
    }

    /// Features of a cell and channel.
    fn part<'o>(&self, cell: usize, channel: usize, out: &'o mut [f32]) -> &'o mut [f32] {
        let each = 2 * usize::from(self.plan.filters) + 1;
        &mut out[(cell * self.channels + channel) * each..][..each]
    }

    /// Roots of the means of positive and of negative parts in each cell, without `noise`.
    fn pool(&self, answers: ArrayView2<'_, f32>, noise: f32, channel: usize, out: &mut [f32]) {
        let filters = usize::from(self.plan.filters);
        let grid = usize::from(self.plan.grid);
        for (cell, places) in cells(answers.nrows(), grid).enumerate() {
            let share = 1.0 / places.len() as f32;
            let part = self.part(cell, channel, out);
            let (positive, negative) = part.split_at_mut(filters);
            for place in places {
                for (filter, &answer) in answers.row(place).iter().enumerate() {
                    positive[filter] += (answer - noise).max(0.0) * share;
                    negative[filter] += (-answer - noise).max(0.0) * share;
                }
            }
            for value in part[..2 * filters].iter_mut() {
                *value = value.sqrt();
            }
        }
    }

    fn means(&self, row: ArrayView1<'_, f32>, channel: usize, out: &mut [f32]) {
        let last = 2 * usize::from(self.plan.filters);
        for (cell, steps) in cells(self.steps, usize::from(self.plan.grid)).enumerate() {
            let share = 1.0 / steps.len() as f32;
            let sum: f32 = steps
                .map(|step| {
                    row[step * self.channels + channel].clamp(-VALUE_MAX, VALUE_MAX) * share
                })
                .sum();
            self.part(cell, channel, out)[last] = sum;
        }
    }
}

impl Extractor for Series {
    /// Features of one window: (2 · filters + 1) · channels · grid.
    fn features(&self) -> usize {
        let each = 2 * usize::from(self.plan.filters) + 1;
        each * self.channels * usize::from(self.plan.grid)
    }

    /// Height, width and channels as an image of one row.
    fn layout(&self) -> Option<[usize; 3]> {
        let each = 2 * usize::from(self.plan.filters) + 1;
        Some([1, usize::from(self.plan.grid), each * self.channels])
    }

    fn tables(&self) -> Option<StageTables> {
        let size = usize::from(self.plan.size);
        let grid = usize::from(self.plan.grid);
        Some(StageTables::Filters(FilterTables {
            image: [1, self.steps, self.channels],
            kernel: [1, size],
            margin: [0, 0],
            filters: self.filters.clone(),
            rows: cells(1, 1).collect(),
            columns: cells(self.steps - size + 1, grid).collect(),
            means: cells(self.steps, grid).collect(),
            value_max: VALUE_MAX,
            noise: noise_share(size),
        }))
    }

    /// Those of one channel are both signs, and the mean.
    fn drawing(&self) -> Drawing {
        Drawing::Filters(Filters {
            weights: self.filters.clone(),
            sides: [1, usize::from(self.plan.size)],
            together: 2 * self.filters.nrows() + 1,
        })
    }

    /// What each feature is.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.features());
        for cell in 0..self.plan.grid {
            for channel in 0..self.channels {
                let place = format!("cell {cell}: channel {channel}");
                for sign in ["positive", "negative"] {
                    let of_sign = |filter| format!("{place}: filter {filter} {sign}");
                    names.extend((0..self.plan.filters).map(of_sign));
                }
                names.push(format!("{place}: mean"));
            }
        }
        names
    }

    /// Features of finite rows of the right length, finite themselves. Values
    /// beyond ±10²⁵ count as that.
    ///
    /// Takes O(steps · channels · size · filters) a row, and memory for the
    /// stretches of one channel.
    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let size = usize::from(self.plan.size);
        let places = self.steps - size + 1;
        let mut features = Array2::zeros((rows.nrows(), self.features()));
        let mut stretches = Array2::zeros((places, size));
        let mut answers = Array2::zeros((places, self.filters.nrows()));
        let mut out = vec![0f32; self.features()];
        let share = noise_share(size);
        for (row, mut to) in rows.axis_iter(Axis(0)).zip(features.axis_iter_mut(Axis(0))) {
            out.fill(0.0);
            for channel in 0..self.channels {
                let value = |step: usize| {
                    let value: f32 = row[step * self.channels + channel];
                    value.clamp(-VALUE_MAX, VALUE_MAX)
                };
                for (place, mut stretch) in stretches.axis_iter_mut(Axis(0)).enumerate() {
                    for (offset, to) in stretch.iter_mut().enumerate() {
                        *to = value(place + offset);
                    }
                }
                general_mat_mul(1.0, &stretches, &self.filters.t(), 0.0, &mut answers);
                let noise = noise(row, channel, self.channels, share);
                self.pool(answers.view(), noise, channel, &mut out);
                self.means(row, channel, &mut out);
            }
            for (to, &value) in to.iter_mut().zip(&out) {
                *to = value;
            }
        }
        features
    }
}

/// The first `count` non-constant atoms, count × size.
fn filters(size: usize, count: usize) -> Array2<f32> {
    let mut filters = Array2::zeros((count, size));
    for (index, mut filter) in filters.axis_iter_mut(Axis(0)).enumerate() {
        let wave =
            |step: usize| (PI * (step as f64 + 0.5) * (index + 1) as f64 / size as f64).cos();
        let norm = (0..size).map(|step| wave(step).powi(2)).sum::<f64>().sqrt();
        for (step, to) in filter.iter_mut().enumerate() {
            *to = (wave(step) / norm) as f32;
        }
    }
    filters
}

/// The version of what this file computes.
pub(super) const VERSION: u16 = 1;
/// Fewest steps of a window.
const STEPS_MIN: usize = 16;
/// Stretches fine enough for a convolution along time.
const FINE: SeriesPlan = SeriesPlan {
    size: 16,
    filters: 6,
    grid: 8,
};
const SIZE_MIN: u8 = 4;
const SIZE_MAX: u8 = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn series(steps: usize, channels: usize, plan: Option<SeriesPlan>) -> Series {
        Series::new(&InputShape::new(vec![steps, channels]).unwrap(), plan).unwrap()
    }

    #[test]
    fn a_wave_answers_in_its_own_band_and_channel() {
        let series = series(64, 2, None);
        let frequency = 4.0;
        let row = Array2::from_shape_fn((1, 128), |(_, at)| {
            let step = (at / 2) as f64;
            let wave = (PI * (step + 0.5) * frequency / 16.0).cos() as f32;
            if at % 2 == 0 { wave } else { 0.0 }
        });
        let features = series.compute(row.view());
        let [_, cells, each] = series.layout().unwrap();
        assert_eq!((cells, each), (2, 50));
        let first = features.row(0);
        let strongest = (0..12).max_by(|&a, &b| first[a].total_cmp(&first[b]));
        assert_eq!(strongest, Some(3));
        assert!(first.iter().skip(25).take(25).all(|&value| value == 0.0));
    }

    #[test]
    fn the_level_is_in_the_means_alone() {
        let series = series(32, 1, None);
        let flat = series.compute(Array2::from_elem((1, 32), 3.0).view());
        let each = series.layout().unwrap()[2];
        for (at, &value) in flat.row(0).iter().enumerate() {
            let expected = if at % each == each - 1 { 3.0 } else { 0.0 };
            let tolerance = if expected == 0.0 { 0.0 } else { 2e-3 };
            assert!(
                (value - expected).abs() <= tolerance,
                "feature {at} is {value}"
            );
        }
        assert_eq!(series.names().len(), series.features());
    }

    #[test]
    fn a_flat_window_has_no_answers_at_any_level() {
        for plan in ["4x3x2", "16x12x2", "32x31x1", "128x40x1", "128x127x2"] {
            let series = series(160, 1, SeriesPlan::parse(plan));
            let each = series.layout().unwrap()[2];
            for level in [0.1, 0.7, 3.3, 16.0, 255.0, 1013.25, -77.7] {
                let flat = series.compute(Array2::from_elem((1, 160), level).view());
                for (at, &value) in flat.row(0).iter().enumerate() {
                    let is_mean = at % each == each - 1;
                    assert!(
                        is_mean || value == 0.0,
                        "{plan}, {level}: feature {at} is {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_values_give_finite_features() {
        let series = series(32, 1, None);
        let row = Array2::from_shape_fn((1, 32), |(_, at)| [f32::MAX, f32::MIN][at % 2]);
        assert!(
            series
                .compute(row.view())
                .iter()
                .all(|value| value.is_finite())
        );
    }

    #[test]
    fn shapes_and_plans_that_do_not_fit_are_refused() {
        let shape = |sides: &[usize]| InputShape::new(sides.to_vec()).unwrap();
        for sides in [&[64][..], &[8, 2], &[28, 28, 1]] {
            assert!(matches!(
                Series::new(&shape(sides), None),
                Err(FeatureError::Unfit { .. })
            ));
        }
        for (size, filters, grid) in [(65, 4, 2), (3, 2, 2), (16, 16, 2), (16, 4, 50), (16, 4, 0)] {
            let plan = SeriesPlan {
                size,
                filters,
                grid,
            };
            assert!(matches!(
                Series::new(&shape(&[64, 2]), Some(plan)),
                Err(FeatureError::Unfit { stage, .. }) if stage == FeatureStage::series(Some(plan))
            ));
        }
    }
}
