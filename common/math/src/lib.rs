//! Kernels, regression, networks, clustering, quantisation, exact sums and noise.
//!
//! Nothing here knows a task, a message or a peer, and nothing does I/O.

pub mod blas;
pub mod cluster;
pub mod density;
pub mod exact;
pub mod kernel;
pub mod last_layer;
pub mod linalg;
pub mod liveness;
pub mod network;
pub mod optimiser;
pub mod privacy;
pub mod quantise;
pub mod random;
pub mod regression;
pub mod shape;
pub mod subspace;
