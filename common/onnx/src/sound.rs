//! Sound on its way into a model.

/// Samples at another rate: each is a sum of the 32 nearest of the coarser
/// grid under a Hann-windowed sinc that keeps what both rates can hold.
pub fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let ratio = f64::from(from) / f64::from(to);
    let cutoff = (1.0 / ratio).min(1.0);
    let reach = HALF_TAPS / cutoff;
    let count = (samples.len() as f64 / ratio).round().max(1.0) as usize;
    let of = |at: usize| {
        let centre = at as f64 * ratio;
        let low = (centre - reach).ceil().max(0.0) as usize;
        let high = ((centre + reach).floor() as usize).min(samples.len() - 1);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (index, &sample) in samples.iter().enumerate().take(high + 1).skip(low) {
            let away = index as f64 - centre;
            let weight = sinc(away * cutoff) * hann(away / reach);
            sum += weight * f64::from(sample);
            weights += weight;
        }
        // At the ends a part of the window is missing.
        let whole = 1.0 / cutoff;
        let scale = if weights.abs() > 0.5 * whole {
            weights
        } else {
            whole
        };
        (sum / scale) as f32
    };
    (0..count).map(of).collect()
}

/// Sound in the middle of `length` samples, with silence around it.
pub(crate) fn centred(samples: &[f32], length: usize) -> Vec<f32> {
    if samples.len() >= length {
        return samples.to_vec();
    }
    let before = (length - samples.len()) / 2;
    let mut padded = vec![0.0; before];
    padded.extend_from_slice(samples);
    padded.resize(length, 0.0);
    padded
}

/// Where windows of `window` begin in `length`, `step` apart, the last at the
/// end.
pub(crate) fn starts(length: usize, window: usize, step: usize) -> Vec<usize> {
    let last = length.saturating_sub(window);
    let mut starts: Vec<usize> = (0..=last).step_by(step.max(1)).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 {
        1.0
    } else {
        angle.sin() / angle
    }
}

fn hann(x: f64) -> f64 {
    let half = (std::f64::consts::FRAC_PI_2 * x.clamp(-1.0, 1.0)).cos();
    half * half
}

/// Samples of the coarser grid on each side.
const HALF_TAPS: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, samples: usize) -> Vec<f32> {
        let turn = 2.0 * std::f64::consts::PI * hertz / f64::from(rate);
        (0..samples)
            .map(|at| (at as f64 * turn).sin() as f32)
            .collect()
    }

    #[test]
    fn a_tone_is_the_same_tone_at_another_rate() {
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (16_000, 8_000)] {
            let found = resampled(&tone(440.0, from, from as usize / 4), from, to);
            let expected = tone(440.0, to, found.len());
            let middle = 200..found.len() - 200;
            let worst = middle.map(|at| (found[at] - expected[at]).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 0.01, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        let found = resampled(&tone(7_000.0, 16_000, 4_000), 16_000, 8_000);
        let middle = &found[100..found.len() - 100];
        assert!(middle.iter().all(|value| value.abs() < 0.02));
    }

    #[test]
    fn windows_reach_the_end() {
        assert_eq!(starts(10, 4, 3), [0, 3, 6]);
        assert_eq!(starts(11, 4, 3), [0, 3, 6, 7]);
        assert_eq!(starts(3, 4, 3), [0]);
        assert_eq!(centred(&[1.0, 1.0], 5), [0.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
