//! Differential privacy of released sums: exact integer noise, and what a number
//! of releases costs together.
//!
//! Everything is stated in zero-concentrated differential privacy (zCDP; Bun &
//! Steinke 2016): noise of standard deviation σ on a sum that one row changes by
//! at most Δ in the Euclidean norm costs ρ = Δ²/(2σ²), and costs add up.

mod accounting;
mod discrete_gaussian;

pub use accounting::{delta_of, epsilon_of, rho_of, sigma_of};
pub use discrete_gaussian::{DiscreteGaussian, SIGMA_MAX};
