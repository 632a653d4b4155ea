//! Samples at any times, brought to one rate.

/// Even times that fit those of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Samples a second.
    pub(super) rate_hz: f64,
    /// How many there are.
    samples: usize,
    /// Whether the samples of the recording are those of the grid.
    is_even: bool,
}

impl Grid {
    /// The grid of rising times from 0 on, whose usual step is known: as many
    /// steps as the times show, lost samples included, evenly over the time
    /// that they last. The mean and not the median step, which a clock of
    /// milliseconds at 128 samples a second would make 8 ms.
    pub(super) fn of(times: &[f64], usual_step: f64) -> Self {
        let pairs = times.windows(2);
        let steps: f64 = pairs
            .map(|pair| ((pair[1] - pair[0]) / usual_step).round().max(1.0))
            .sum();
        let duration = times.last().copied().unwrap_or(0.0);
        let rate_hz = steps / duration;
        let place = |(at, time): (usize, &f64)| (time * rate_hz - at as f64).abs();
        let is_even = times.iter().enumerate().map(place).all(|off| off < JITTER);
        Self {
            rate_hz,
            samples: steps as usize + 1,
            is_even,
        }
    }

    /// Seconds from the first to the last sample.
    pub(super) fn duration(&self) -> f64 {
        (self.samples - 1) as f64 / self.rate_hz
    }

    /// Values on the grid, samples × channels. Times that are off by less
    /// than a quarter of a step are taken for jitter of the clock; lost
    /// samples, and those measured at other times, are interpolated linearly.
    pub(super) fn values<'a>(
        &self,
        times: &[f64],
        channels: usize,
        raw: impl Fn(usize) -> &'a [f32],
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.samples * channels);
        if self.is_even {
            (0..times.len()).for_each(|sample| values.extend_from_slice(raw(sample)));
            return values;
        }
        let mut before = 0;
        for sample in 0..self.samples {
            let time = sample as f64 / self.rate_hz;
            while before + 2 < times.len() && times[before + 1] <= time {
                before += 1;
            }
            let (from, to) = (times[before], times[before + 1]);
            let share = ((time - from) / (to - from)).clamp(0.0, 1.0) as f32;
            let (one, other) = (raw(before), raw(before + 1));
            let between = one.iter().zip(other);
            values.extend(between.map(|(one, other)| one + (other - one) * share));
        }
        values
    }
}

/// `length` samples at another rate, behind a low-pass filter that keeps what
/// both rates can tell: a sinc of 32 zero crossings on either side under a
/// Kaiser window (Smith, "Digital Audio Resampling", 2002; Kaiser 1974, β = 8),
/// flat up to 0.83 of half the lower rate and 80 dB down at 0.97 of it. Rates
/// that differ by less than one in a thousand are one. The recording goes on
/// beyond its ends as its first and its last sample.
///
/// Cost: about 64 multiplications a sample and channel, times the ratio of the
/// rates where the recording is the faster.
pub(super) fn resampled(
    values: &[f32],
    channels: usize,
    from_hz: f64,
    to_hz: f64,
    length: usize,
) -> Vec<f32> {
    let samples = values.len() / channels.max(1);
    let last = samples.saturating_sub(1) as isize;
    let at = |place: isize| {
        let start = place.clamp(0, last) as usize * channels;
        &values[start..start + channels]
    };
    let mut made = Vec::with_capacity(length * channels);
    if (from_hz / to_hz - 1.0).abs() < SAME_RATE {
        (0..length as isize).for_each(|sample| made.extend_from_slice(at(sample)));
        return made;
    }
    // Cycles a sample of the recording.
    let cutoff = 0.5 * CUTOFF * (to_hz / from_hz).min(1.0);
    let reach = CROSSINGS as f64 / (2.0 * cutoff);
    let kernel = Kernel::new();
    let mut sums = vec![0.0f64; channels];
    for sample in 0..length {
        let centre = sample as f64 * from_hz / to_hz;
        sums.iter_mut().for_each(|sum| *sum = 0.0);
        let mut weights = 0.0;
        let (first, end) = (
            (centre - reach).ceil() as isize,
            (centre + reach).floor() as isize,
        );
        for place in first..=end {
            let weight = kernel.at((place as f64 - centre).abs() * 2.0 * cutoff);
            weights += weight;
            for (sum, value) in sums.iter_mut().zip(at(place)) {
                *sum += weight * f64::from(*value);
            }
        }
        made.extend(sums.iter().map(|sum| (sum / weights) as f32));
    }
    made
}

/// Seconds that the filter reaches to either side where the lower of two rates
/// is this.
pub(super) fn reach_s(hz: f64) -> f64 {
    CROSSINGS as f64 / (CUTOFF * hz)
}

/// One side of the windowed sinc, at [`STEPS`] places a zero crossing.
struct Kernel(Vec<f64>);

impl Kernel {
    fn new() -> Self {
        let ends = CROSSINGS * STEPS;
        let at = |place: usize| {
            let x = place as f64 / STEPS as f64;
            let angle = std::f64::consts::PI * x;
            let sinc = if place == 0 { 1.0 } else { angle.sin() / angle };
            let inner = (1.0 - (place as f64 / ends as f64).powi(2)).max(0.0);
            sinc * bessel(BETA * inner.sqrt()) / bessel(BETA)
        };
        Self((0..=ends + 1).map(at).collect())
    }

    /// Its value at so many zero crossings from the middle.
    fn at(&self, crossings: f64) -> f64 {
        let place = crossings * STEPS as f64;
        let below = place as usize;
        match self.0.get(below..below + 2) {
            Some(&[one, other]) => one + (other - one) * (place - below as f64),
            _ => 0.0,
        }
    }
}

/// The modified Bessel function of the first kind and order zero, by its power
/// series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for order in 1..64 {
        term *= (x / 2.0 / f64::from(order)).powi(2);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// Steps by which a time may be off and be taken for jitter of the clock.
const JITTER: f64 = 0.25;
const SAME_RATE: f64 = 1e-3;
/// Of half the lower rate.
const CUTOFF: f64 = 0.9;
const CROSSINGS: usize = 32;
const STEPS: usize = 256;
const BETA: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn wave(hz: f64, rate: f64, samples: usize) -> Vec<f32> {
        let at = |sample: usize| (TAU * hz * sample as f64 / rate).sin() as f32;
        (0..samples).map(at).collect()
    }

    /// The largest difference from a wave, away from the ends.
    fn off(made: &[f32], hz: f64, rate: f64, size: f64) -> f64 {
        let expected = wave(hz, rate, made.len());
        let inner = made.len() / 4..made.len() * 3 / 4;
        let apart = inner.map(|at| (f64::from(made[at]) - size * f64::from(expected[at])).abs());
        apart.fold(0.0, f64::max)
    }

    #[test]
    fn resampling_keeps_what_both_rates_can_hold() {
        for (from, to) in [(200.0, 50.0), (50.0, 44.0), (100.0, 64.0), (40.0, 50.0)] {
            let samples = 40 * from as usize;
            let length = 40 * to as usize;
            let half = f64::min(from, to) / 2.0;
            let low = resampled(&wave(0.8 * half, from, samples), 1, from, to, length);
            let error = off(&low, 0.8 * half, to, 1.0);
            assert!(error < 2e-3, "{from} to {to}: {error}");
            if from > to {
                let high = resampled(&wave(1.02 * half, from, samples), 1, from, to, length);
                let left = off(&high, 0.0, to, 0.0);
                assert!(left < 1e-3, "{from} to {to}: {left}");
            }
            let level = resampled(&vec![7.0; samples], 1, from, to, length);
            assert!(level.iter().all(|value| (value - 7.0).abs() < 1e-5));
        }
    }

    #[test]
    fn a_clock_of_milliseconds_does_not_change_the_rate() {
        let times: Vec<f64> = (0..1280)
            .map(|at| (f64::from(at) * 1e3 / 128.0).round() / 1e3)
            .collect();
        let grid = Grid::of(&times, 0.008);
        assert!((grid.rate_hz - 128.0).abs() < 0.02, "{grid:?}");
        assert!(grid.is_even && grid.samples == 1280);
    }

    #[test]
    fn lost_samples_are_interpolated_between_their_neighbours() {
        let times = [0.0, 0.1, 0.2, 0.5, 0.6];
        let raw: Vec<[f32; 1]> = [[0.0], [1.0], [2.0], [5.0], [6.0]].to_vec();
        let grid = Grid::of(&times, 0.1);
        let values = grid.values(&times, 1, |sample| &raw[sample]);
        assert_eq!(values.len(), 7);
        let off = values
            .iter()
            .zip(0u8..)
            .map(|(value, at)| (value - f32::from(at)).abs());
        assert!(off.fold(0.0, f32::max) < 1e-5, "{values:?}");
    }
}
