//! Students for other programs: whole, from a raw input to class
//! probabilities.
//!
//! A release becomes a [`graph::Graph`] of standard operators once: feature stage,
//! normaliser, network and softmax. [`onnx`] writes the graph for runtimes,
//! [`archive`] as arrays with a program that thirty lines of NumPy run. [`c`]
//! writes the same computation by hand, for machines without either.

pub mod archive;
pub mod c;
mod error;
mod exported;
mod format;
pub mod graph;
pub mod onnx;
mod protobuf;

pub use error::ExportError;
pub use exported::Exported;
pub use format::{Format, export};
