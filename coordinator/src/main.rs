//! The `alambic-coordinator` program.

use clap::Parser;
use coordinator::cli::{Arguments, run};

fn main() -> std::process::ExitCode {
    common::blas_threads::begin_with_one_thread();
    common::exit::program(|| run(Arguments::parse()))
}
