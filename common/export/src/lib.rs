//! Students for other programs: whole, from a raw input to class
//! probabilities.
//!
//! A release becomes a [`graph::Graph`] of standard operators once: feature stage,
//! normaliser, network and softmax. [`onnx`] writes the graph for runtimes,
//! [`archive`] as arrays with a program that thirty lines of NumPy run.

pub mod archive;
mod error;
mod format;
pub mod graph;
pub mod onnx;
mod protobuf;

pub use error::ExportError;
pub use format::{Exported, Format, export};
