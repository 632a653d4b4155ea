//! Pure mathematics: kernels, regression, networks, clustering, quantisation.

pub mod blas;
pub mod cluster;
pub mod exact;
pub mod kernel;
pub mod linalg;
pub mod network;
pub mod optimiser;
pub mod quantise;
pub mod random;
pub mod regression;
