//! What both sides of Alambic share, under one name.
//!
//! The code lives in five crates that build on one another in one direction,
//! which their manifests hold: [`math`] knows no protocol; `protocol`, what is
//! said and signed, knows no network and no disk; [`transport`] carries it;
//! `host` holds what a program needs of its machine; and [`export`] writes students for
//! other programs.

pub use export;
pub use math::{self, liveness};
pub use net as transport;

pub use protocol::{
    blocks, contribution, delta, evaluation, feature_weights, features, gradient, host_port, human,
    ids, labels, landmarks, limits, model, moments, novelty, profile, report, round, scales,
    sketch, stage_trial, summary, task, teacher, transfer, trust, weights, wire, withheld,
};

pub use host::{
    blas_threads, config, exit, health, http, log, npz, ownership, path_text, pipe, program_pages,
    reference, service, settings, signals,
};
