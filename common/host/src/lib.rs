//! What both programs need of the machine they run on: the service manager,
//! signals, standard output, files, local HTTP and NumPy archives.

pub mod blas_threads;
pub mod config;
pub mod exit;
pub mod health;
pub mod http;
pub mod log;
pub mod npz;
pub mod ownership;
pub mod path_text;
pub mod pipe;
pub mod program_pages;
pub mod reference;
pub mod service;
pub mod settings;
pub mod signals;
