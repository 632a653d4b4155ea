//! The number type that parameters are held in.

use ndarray::NdFloat;

/// A float a network can be computed in: `f32` on devices and servers, `f64`
/// where gradients are held against finite differences.
pub trait Real: NdFloat {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// This value, widened.
    fn to_real64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn to_real64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn to_real64(self) -> f64 {
        self
    }
}
