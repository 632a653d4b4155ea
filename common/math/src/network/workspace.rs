//! The buffers of one forward and backward pass.

use super::Real;
use super::cnn::CnnBuffers;
use super::dense::DenseBuffers;

/// Memory that a pass writes to, made by [`super::Network::workspace`] and
/// used again by every batch. Belongs to the network that made it.
#[derive(Debug)]
pub struct Workspace<T: Real> {
    pub(super) dense: DenseBuffers<T>,
    /// None for a network without convolutions.
    pub(super) convolutional: Option<CnnBuffers<T>>,
}
