//! The agent's program.

use clap::Parser as _;
use edge_agent::cli::Cli;

fn main() -> std::process::ExitCode {
    common::blas_threads::begin_with_one_thread();
    common::exit::program(|| Cli::parse().run())
}
