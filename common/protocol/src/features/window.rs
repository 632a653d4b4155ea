//! The window stage: statistics, spectra and correlations of a window of a
//! multi-channel signal.

use std::f64::consts::PI;
use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::extractor::{Definition, Extractor};
use super::{FeatureError, FeatureStage, InputShape, Modality, StageTables, WindowTables};
use crate::limits::FEATURES_MAX;

/// The stage.
pub(super) struct WindowStage;

impl Definition for WindowStage {
    fn stage(&self) -> FeatureStage {
        FeatureStage::window()
    }

    fn name(&self) -> &'static str {
        "window"
    }

    fn told(&self) -> &'static str {
        "Statistics, spectra and correlations of a window of samples × channels, of 8 samples or more."
    }

    fn version(&self) -> Option<u16> {
        Some(VERSION)
    }

    /// A series too short for its spectrum to say much is a list: over four
    /// devices power demand of 24 hours is told apart 96.5 % as a list and
    /// 85.7 % as a window, vowels of 25 samples in 12 channels 98.3 and 92.1 %.
    fn suits(&self, shape: &InputShape, modality: Modality) -> bool {
        modality == Modality::Series && shape.sides()[0] >= LONG
    }

    fn reason(&self, _: Modality) -> &'static str {
        "a long series of channels is a window"
    }

    fn lifted(&self) -> Option<FeatureStage> {
        Some(FeatureStage::lifted_window())
    }
}

/// What computes the features of windows of one shape.
///
/// Where the channels come in threes (a vector sensor's axes), the Euclidean
/// norm of each three joins them as one more channel, which does not depend
/// on how the sensor is turned. Then, of each channel:
///
/// | features | of |
/// |---|---|
/// | mean, root mean square | the values |
/// | log standard deviation, log interquartile range | the values |
/// | log mean absolute difference | neighbours in time |
/// | mean crossings | share of steps across the mean |
/// | skewness, log kurtosis | the standardised values |
/// | log energy of 10 bands | the Hann-windowed spectrum without its mean, bands of equal width in log(1 + frequency) |
/// | spectral entropy | the same, as a share of the largest possible |
/// | autocorrelation | at 1/32, 1/16, 1/8 and 1/4 of the length |
///
/// and the correlation of every pair of channels. Chosen on HAR by holding
/// out people of the training part: levels that repeat the mean (extremes,
/// quartiles) made unseen people worse, logarithms of energies and
/// correlations with the norms better.
///
/// Logarithms and quotients have small floors, so that every feature of a
/// constant channel is finite; a signal should be in units in which 0.001 is
/// below its noise.
#[derive(Clone)]
pub(super) struct Window {
    steps: usize,
    channels: usize,
    fft: Arc<dyn RealToComplex<f64>>,
    taper: Vec<f64>,
    power_scale: f64,
    bands: Vec<(usize, f64)>,
    lags: [usize; LAGS.len()],
}

/// Working memory for one row.
struct Scratch {
    /// Channels × time: first the values, then the standardised values.
    signal: Array2<f64>,
    sorted: Vec<f64>,
    tapered: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    power: Vec<f64>,
    fft: Vec<Complex<f64>>,
}

impl Window {
    /// Prepares for windows of time × channels. Errors: another rank, fewer
    /// steps than [`STEPS_MIN`], or too many features.
    pub(super) fn new(shape: &InputShape) -> Result<Self, FeatureError> {
        let refused = || {
            let takes = format!("inputs of time x channels with at least {STEPS_MIN} steps");
            FeatureError::unfit(FeatureStage::window(), takes, shape)
        };
        let &[steps, channels] = shape.sides() else {
            return Err(refused());
        };
        if steps < STEPS_MIN {
            return Err(refused());
        }
        let taper: Vec<f64> = (0..steps)
            .map(|step| 0.5 - 0.5 * (2.0 * PI * step as f64 / steps as f64).cos())
            .collect();
        let taper_energy: f64 = taper.iter().map(|weight| weight * weight).sum();
        let window = Self {
            steps,
            channels,
            fft: RealFftPlanner::new().plan_fft_forward(steps),
            taper,
            power_scale: 1.0 / (taper_energy * steps as f64),
            bands: band_edges(steps / 2),
            lags: LAGS.map(|share| (steps / share).max(1)),
        };
        // More than this and even the pairs alone are too many.
        if channels > FEATURES_MAX || window.features() > FEATURES_MAX {
            let takes = format!("channels that give at most {FEATURES_MAX} features");
            return Err(FeatureError::unfit(FeatureStage::window(), takes, shape));
        }
        Ok(window)
    }

    fn norms(&self) -> usize {
        if self.channels.is_multiple_of(3) {
            self.channels / 3
        } else {
            0
        }
    }

    fn all_channels(&self) -> usize {
        self.channels + self.norms()
    }

    fn row(&self, row: ArrayView1<'_, f32>, scratch: &mut Scratch, out: &mut Vec<f64>) {
        for (index, &value) in row.iter().enumerate() {
            scratch.signal[(index % self.channels, index / self.channels)] = f64::from(value);
        }
        for norm in 0..self.norms() {
            for step in 0..self.steps {
                let square: f64 = (0..3)
                    .map(|axis| scratch.signal[(3 * norm + axis, step)].powi(2))
                    .sum();
                scratch.signal[(self.channels + norm, step)] = square.sqrt();
            }
        }
        for channel in 0..self.all_channels() {
            self.channel(channel, scratch, out);
        }
        // Every channel is standardised by now.
        for one in 0..self.all_channels() {
            for other in one + 1..self.all_channels() {
                let product = scratch.signal.row(one).dot(&scratch.signal.row(other));
                out.push(product / self.steps as f64);
            }
        }
    }

    /// Appends the features of one channel, and standardises it.
    fn channel(&self, channel: usize, scratch: &mut Scratch, out: &mut Vec<f64>) {
        let count = self.steps as f64;
        let mut values = scratch.signal.row_mut(channel);
        let mean = values.sum() / count;
        let rms = (values.dot(&values) / count).sqrt();
        let jerk = pairs(values.view(), 1)
            .map(|(a, b)| (b - a).abs())
            .sum::<f64>()
            / (count - 1.0);
        values -= mean;
        let square = values.dot(&values);
        let deviation = (square / count).sqrt();
        let crossings = pairs(values.view(), 1).filter(|(a, b)| a * b < 0.0).count();
        for (sorted, &value) in scratch.sorted.iter_mut().zip(&values) {
            *sorted = value;
        }
        scratch.sorted.sort_unstable_by(f64::total_cmp);
        let iqr = quantile(&scratch.sorted, 0.75) - quantile(&scratch.sorted, 0.25);
        let autocorrelations = self.lags.map(|lag| {
            let product: f64 = pairs(values.view(), lag).map(|(a, b)| a * b).sum();
            product / (square + FLOOR)
        });
        for ((tapered, value), weight) in scratch.tapered.iter_mut().zip(&values).zip(&self.taper) {
            *tapered = value * weight;
        }
        values /= deviation + FLOOR;
        let skewness = values.iter().map(|z| z.powi(3)).sum::<f64>() / count;
        let kurtosis = values.iter().map(|z| z.powi(4)).sum::<f64>() / count;
        out.extend([
            mean,
            rms,
            (deviation + DEVIATION_FLOOR).ln(),
            (iqr + FLOOR).ln(),
            (jerk + FLOOR).ln(),
            crossings as f64 / (count - 1.0),
            skewness,
            kurtosis.ln_1p(),
        ]);
        self.spectrum(scratch, out);
        out.extend(autocorrelations);
    }

    /// Appends band energies and entropy of the tapered signal.
    fn spectrum(&self, scratch: &mut Scratch, out: &mut Vec<f64>) {
        let Scratch {
            tapered,
            spectrum,
            power,
            fft,
            ..
        } = scratch;
        // The buffers were made by this very plan, so their lengths fit.
        let transformed = self.fft.process_with_scratch(tapered, spectrum, fft);
        debug_assert!(transformed.is_ok(), "buffers of another length");
        for (power, bin) in power.iter_mut().zip(&spectrum[1..]) {
            *power = bin.norm_sqr() * self.power_scale;
        }
        let total: f64 = power.iter().sum::<f64>() + TOTAL_FLOOR;
        let entropy: f64 = power
            .iter()
            .map(|power| power / total)
            .map(|share| -share * (share + SHARE_FLOOR).ln())
            .sum();
        let largest = (power.len() as f64).ln();
        // From here on `power` is cumulative.
        let mut sum = 0.0;
        for power in power.iter_mut() {
            sum += *power;
            *power = sum;
        }
        let below = |&(bin, share): &(usize, f64)| {
            let lower = if bin == 0 { 0.0 } else { power[bin - 1] };
            lower + share * (power[bin] - lower)
        };
        for edges in self.bands.windows(2) {
            let energy = (below(&edges[1]) - below(&edges[0])).max(0.0);
            out.push((energy + POWER_FLOOR).ln());
        }
        out.push(entropy / largest);
    }
}

impl Extractor for Window {
    /// Features of one window.
    fn features(&self) -> usize {
        let all = self.all_channels();
        all * CHANNEL_FEATURES + all * (all - 1) / 2
    }

    fn tables(&self) -> Option<StageTables> {
        Some(StageTables::Window(WindowTables {
            steps: self.steps,
            channels: self.channels,
            norms: self.norms(),
            taper: self.taper.clone(),
            power_scale: self.power_scale,
            band_edges: self.bands.clone(),
            lags: self.lags.to_vec(),
            floor: FLOOR,
            deviation_floor: DEVIATION_FLOOR,
            power_floor: POWER_FLOOR,
            total_floor: TOTAL_FLOOR,
            share_floor: SHARE_FLOOR,
            lifted: false,
        }))
    }

    /// What each feature is.
    fn names(&self) -> Vec<String> {
        let mut channels: Vec<String> =
            (0..self.channels).map(|c| format!("channel {c}")).collect();
        for first in (0..self.channels).step_by(3).take(self.norms()) {
            channels.push(format!("norm of channels {first} to {}", first + 2));
        }
        let mut kinds: Vec<String> = SINGLES.iter().map(ToString::to_string).collect();
        kinds.extend((0..BANDS).map(|band| format!("log energy of band {band}")));
        kinds.push("spectral entropy".to_owned());
        kinds.extend(LAGS.iter().map(|lag| format!("autocorrelation at 1/{lag}")));
        let mut names = Vec::with_capacity(self.features());
        for channel in &channels {
            names.extend(kinds.iter().map(|kind| format!("{channel}: {kind}")));
        }
        for (index, one) in channels.iter().enumerate() {
            for other in &channels[index + 1..] {
                names.push(format!("{one}, {other}: correlation"));
            }
        }
        names
    }

    /// Features of finite rows of the right length.
    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut features = Array2::zeros((rows.nrows(), self.features()));
        let mut scratch = Scratch {
            signal: Array2::zeros((self.all_channels(), self.steps)),
            sorted: vec![0.0; self.steps],
            tapered: self.fft.make_input_vec(),
            spectrum: self.fft.make_output_vec(),
            power: vec![0.0; self.steps / 2],
            fft: self.fft.make_scratch_vec(),
        };
        let mut values = Vec::with_capacity(self.features());
        for (row, mut out) in rows.axis_iter(Axis(0)).zip(features.axis_iter_mut(Axis(0))) {
            values.clear();
            self.row(row, &mut scratch, &mut values);
            for (out, &value) in out.iter_mut().zip(&values) {
                *out = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            }
        }
        features
    }
}

/// Edges of the bands as (bin, share of that bin below the edge), equal steps
/// in log(1 + bin) over `bins` bins without the constant one. An edge may cut
/// a bin, so that no band is empty however short the window is.
fn band_edges(bins: usize) -> Vec<(usize, f64)> {
    let width = (bins as f64 + 1.0).ln() / BANDS as f64;
    (0..=BANDS)
        .map(|edge| {
            let position = ((width * edge as f64).exp() - 1.0).min(bins as f64);
            let bin = (position as usize).min(bins - 1);
            (bin, position - bin as f64)
        })
        .collect()
}

/// Values `lag` steps apart.
fn pairs(values: ArrayView1<'_, f64>, lag: usize) -> impl Iterator<Item = (f64, f64)> {
    (lag..values.len()).map(move |step| (values[step - lag], values[step]))
}

/// Linear interpolation between order statistics.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let index = position as usize;
    let next = sorted[(index + 1).min(sorted.len() - 1)];
    sorted[index] + (position - index as f64) * (next - sorted[index])
}

/// The version of what this file computes.
pub(super) const VERSION: u16 = 1;
/// Fewest steps of a window.
const STEPS_MIN: usize = 8;
/// Steps from which on a series is a window by default.
const LONG: usize = 32;
/// Bands of the spectrum.
const BANDS: usize = 10;
/// Autocorrelation lags, as one over their share of the window.
const LAGS: [usize; 4] = [32, 16, 8, 4];
/// Features of a channel before its spectrum.
const SINGLES: [&str; 8] = [
    "mean",
    "root mean square",
    "log standard deviation",
    "log interquartile range",
    "log mean absolute difference",
    "mean crossings",
    "skewness",
    "log kurtosis",
];
const CHANNEL_FEATURES: usize = SINGLES.len() + BANDS + 1 + LAGS.len();
/// Amplitudes below this are noise.
const FLOOR: f64 = 1e-3;
const DEVIATION_FLOOR: f64 = 1e-4;
const POWER_FLOOR: f64 = 1e-8;
const TOTAL_FLOOR: f64 = 1e-6;
const SHARE_FLOOR: f64 = 1e-9;

#[cfg(test)]
mod tests;
