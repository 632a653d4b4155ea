//! Adam with optional clipping and decoupled weight decay.

use super::{OptimiserError, Schedule, require};
use crate::kernel::Real;

/// What an [`Adam`] optimiser can be told.
///
/// | name | default | range |
/// |---|---|---|
/// | `learning_rate` | 1e-3 | positive |
/// | `beta1` | 0.9 | 0 up to 1, without 1 |
/// | `beta2` | 0.999 | 0 up to 1, without 1 |
/// | `epsilon` | 1e-8 | positive |
/// | `weight_decay` | 0 | 0 or more |
/// | `gradient_norm_max` | none | positive |
/// | `schedule` | constant | warm-up shorter than the whole, floor 0 to 1 |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamParams {
    /// The step size where the schedule's factor is 1.
    pub learning_rate: f64,
    /// How much of the mean gradient a step keeps.
    pub beta1: f64,
    /// How much of the mean squared gradient a step keeps.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
    /// Each step shrinks every parameter by this times the learning rate
    /// (Loshchilov and Hutter 2019, algorithm 2).
    pub weight_decay: f64,
    /// A gradient with a longer Euclidean norm is scaled down to this one.
    pub gradient_norm_max: Option<f64>,
    /// How the learning rate changes.
    pub schedule: Schedule,
}

impl Default for AdamParams {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            gradient_norm_max: None,
            schedule: Schedule::Constant,
        }
    }
}

/// [`AdamParams`] that were found to lie in their ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamSettings(AdamParams);

impl AdamParams {
    /// Holds every setting against its range.
    ///
    /// # Errors
    /// The first setting that lies outside, and what is allowed.
    pub fn check(self) -> Result<AdamSettings, OptimiserError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let fraction = |value: f64| (0.0..1.0).contains(&value);
        let above_zero = "a positive number";
        let rate = self.learning_rate;
        require(positive(rate), "learning_rate", rate, above_zero)?;
        let below_one = "0 up to 1, without 1";
        require(fraction(self.beta1), "beta1", self.beta1, below_one)?;
        require(fraction(self.beta2), "beta2", self.beta2, below_one)?;
        require(positive(self.epsilon), "epsilon", self.epsilon, above_zero)?;
        let decay = self.weight_decay;
        let allowed = "0 or more";
        require(
            decay == 0.0 || positive(decay),
            "weight_decay",
            decay,
            allowed,
        )?;
        if let Some(norm) = self.gradient_norm_max {
            require(positive(norm), "gradient_norm_max", norm, above_zero)?;
        }
        if let Schedule::Cosine {
            steps,
            warmup_steps,
            floor,
        } = self.schedule
        {
            let shorter = warmup_steps < steps;
            let allowed = "fewer than the schedule's steps";
            require(shorter, "warmup_steps", warmup_steps as f64, allowed)?;
            require((0.0..=1.0).contains(&floor), "floor", floor, "0 to 1")?;
        }
        Ok(AdamSettings(self))
    }
}

/// Adam (Kingma and Ba 2015, algorithm 1) over one flat run of parameters.
/// Holds two numbers a parameter; a step costs about a dozen operations each.
#[derive(Clone, Debug)]
pub struct Adam<T: Real = f32> {
    settings: AdamParams,
    steps: u64,
    mean: Vec<T>,
    square: Vec<T>,
}

impl<T: Real> Adam<T> {
    /// An optimiser for `parameters` parameters.
    pub fn new(settings: AdamSettings, parameters: usize) -> Self {
        Self {
            settings: settings.0,
            steps: 0,
            mean: vec![T::zero(); parameters],
            square: vec![T::zero(); parameters],
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.settings.learning_rate * self.settings.schedule.factor(self.steps)
    }

    /// Moves `parameters` one step against `gradient`, which is scaled in
    /// place if it is clipped.
    ///
    /// # Panics
    /// If either is not as long as the optimiser was made for.
    pub fn step(&mut self, parameters: &mut [T], gradient: &mut [T]) {
        assert_eq!(parameters.len(), self.mean.len(), "parameters");
        assert_eq!(gradient.len(), self.mean.len(), "gradient");
        if let Some(norm_max) = self.settings.gradient_norm_max {
            clip(gradient, norm_max);
        }
        let rate = self.learning_rate();
        self.steps += 1;
        let AdamParams { beta1, beta2, .. } = self.settings;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let correction = (1.0 - beta2.powi(power)).sqrt();
        let size = T::of(rate / (1.0 - beta1.powi(power)));
        let root = T::of(1.0 / correction);
        let epsilon = T::of(self.settings.epsilon);
        let keep = T::of(1.0 - rate * self.settings.weight_decay);
        let (keep1, add1) = (T::of(beta1), T::of(1.0 - beta1));
        let (keep2, add2) = (T::of(beta2), T::of(1.0 - beta2));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((value, &g), (mean, square)) in parameters.iter_mut().zip(&*gradient).zip(moments) {
            *mean = keep1 * *mean + add1 * g;
            *square = keep2 * *square + add2 * g * g;
            *value = keep * *value - size * *mean / (square.sqrt() * root + epsilon);
        }
    }
}

/// Scales a gradient down to the given Euclidean norm if it is longer.
fn clip<T: Real>(gradient: &mut [T], norm_max: f64) {
    let square = |sum: f64, &g: &T| sum + g.wide() * g.wide();
    let norm = gradient.iter().fold(0.0, square).sqrt();
    if norm > norm_max {
        let scale = T::of(norm_max / norm);
        gradient.iter_mut().for_each(|g| *g *= scale);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn first_step_is_the_learning_rate_against_the_sign() {
        let mut adam = Adam::<f64>::new(AdamParams::default().check().unwrap(), 2);
        let mut parameters = [1.0, 1.0];
        adam.step(&mut parameters, &mut [0.3, -40.0]);
        assert!((parameters[0] - 0.999).abs() < 1e-9);
        assert!((parameters[1] - 1.001).abs() < 1e-9);
    }

    #[test]
    fn a_quadratic_reaches_its_minimum() {
        let params = AdamParams {
            learning_rate: 0.1,
            schedule: Schedule::cosine(500),
            gradient_norm_max: Some(1.0),
            ..AdamParams::default()
        };
        let mut adam = Adam::<f32>::new(params.check().unwrap(), 2);
        let mut at = [5.0, -3.0];
        for _ in 0..500 {
            let mut gradient = [at[0] - 1.0, 10.0 * (at[1] - 2.0)];
            adam.step(&mut at, &mut gradient);
        }
        assert!((at[0] - 1.0).abs() < 1e-2 && (at[1] - 2.0).abs() < 1e-2);
    }

    #[test]
    fn weight_decay_shrinks_without_any_gradient() {
        let params = AdamParams {
            weight_decay: 0.1,
            ..AdamParams::default()
        };
        let mut adam = Adam::<f64>::new(params.check().unwrap(), 1);
        let mut parameters = [2.0];
        adam.step(&mut parameters, &mut [0.0]);
        assert!((parameters[0] - 2.0 * (1.0 - 1e-4)).abs() < 1e-12);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let mut gradient = [3.0_f64, 4.0];
        clip(&mut gradient, 1.0);
        assert!((gradient[0] - 0.6).abs() < 1e-12 && (gradient[1] - 0.8).abs() < 1e-12);
        clip(&mut gradient, 2.0);
        assert!((gradient[0] - 0.6).abs() < 1e-12);
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let refused = |change: fn(&mut AdamParams)| {
            let mut params = AdamParams::default();
            change(&mut params);
            params.check().unwrap_err().key
        };
        assert_eq!(refused(|p| p.learning_rate = f64::NAN), "learning_rate");
        assert_eq!(refused(|p| p.beta1 = 1.0), "beta1");
        assert_eq!(refused(|p| p.beta2 = -0.1), "beta2");
        assert_eq!(refused(|p| p.epsilon = 0.0), "epsilon");
        assert_eq!(refused(|p| p.weight_decay = -1.0), "weight_decay");
        assert_eq!(
            refused(|p| p.gradient_norm_max = Some(0.0)),
            "gradient_norm_max"
        );
        assert_eq!(
            refused(|p| p.schedule = Schedule::cosine(0)),
            "warmup_steps"
        );
    }
}
