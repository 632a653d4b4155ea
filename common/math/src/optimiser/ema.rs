//! A moving average of the parameters.

use super::{OptimiserError, require};
use crate::kernel::Real;

/// The exponential moving average of parameters over steps. The decay rises
/// from 0.1 to its value over the first steps, so that the random start is
/// soon forgotten.
#[derive(Clone, Debug)]
pub struct Ema<T: Real = f32> {
    decay: f64,
    steps: u64,
    average: Vec<T>,
}

impl<T: Real> Ema<T> {
    /// An average that starts at `parameters`. `decay` is how much of the
    /// average a step keeps, 0 up to 1, without 1.
    ///
    /// # Errors
    /// If the decay lies outside.
    pub fn new(decay: f64, parameters: &[T]) -> Result<Self, OptimiserError> {
        let allowed = "0 up to 1, without 1";
        require((0.0..1.0).contains(&decay), "decay", decay, allowed)?;
        Ok(Self {
            decay,
            steps: 0,
            average: parameters.to_vec(),
        })
    }

    /// Takes in the parameters after one more step.
    ///
    /// # Panics
    /// If there are more or fewer than at the start.
    pub fn update(&mut self, parameters: &[T]) {
        assert_eq!(parameters.len(), self.average.len(), "parameters");
        let ramp = (1 + self.steps) as f64 / (10 + self.steps) as f64;
        let take = T::of(1.0 - self.decay.min(ramp));
        self.steps += 1;
        for (average, &value) in self.average.iter_mut().zip(parameters) {
            *average += take * (value - *average);
        }
    }

    /// The average so far.
    pub fn average(&self) -> &[T] {
        &self.average
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_average_of_a_constant_is_that_constant() {
        let mut ema = Ema::new(0.99, &[0.0_f64]).unwrap();
        for _ in 0..2000 {
            ema.update(&[3.0]);
        }
        assert!((ema.average()[0] - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_decay_of_one_is_refused() {
        assert_eq!(Ema::new(1.0, &[0.0_f32]).unwrap_err().key, "decay");
    }
}
