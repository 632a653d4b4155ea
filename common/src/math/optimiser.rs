//! optimiser
