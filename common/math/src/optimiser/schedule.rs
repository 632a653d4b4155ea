//! How the learning rate changes with the steps.

use std::f64::consts::PI;

/// A factor on the learning rate, from the number of steps taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// Rises in a line over the warm-up, then falls along half a cosine to
    /// `floor` at the last step and stays there (Loshchilov and Hutter 2017,
    /// equation 5, without restarts).
    Cosine {
        /// Steps in all, the warm-up included.
        steps: u64,
        /// Steps of the warm-up; fewer than `steps`.
        warmup_steps: u64,
        /// The factor at the end, from 0 to 1.
        floor: f64,
    },
}

impl Schedule {
    /// A cosine to zero with no warm-up.
    pub fn cosine(steps: u64) -> Self {
        Self::Cosine {
            steps,
            warmup_steps: 0,
            floor: 0.0,
        }
    }

    /// The factor of the step after `step` others.
    pub fn factor(&self, step: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { warmup_steps, .. } if step < warmup_steps => {
                (step + 1) as f64 / warmup_steps as f64
            }
            Self::Cosine {
                steps,
                warmup_steps,
                floor,
            } => {
                let length = steps.saturating_sub(warmup_steps).max(1) as f64;
                let done = ((step - warmup_steps) as f64 / length).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_through_the_warm_up_and_falls_to_its_floor() {
        let schedule = Schedule::Cosine {
            steps: 110,
            warmup_steps: 10,
            floor: 0.1,
        };
        assert!((schedule.factor(0) - 0.1).abs() < 1e-12);
        assert!((schedule.factor(10) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(60) - 0.55).abs() < 1e-12);
        assert!((schedule.factor(110) - 0.1).abs() < 1e-12);
        assert!((schedule.factor(10_000) - 0.1).abs() < 1e-12);
    }
}
