//! The agent's program.

use std::process::ExitCode;

use clap::Parser as _;
use edge_agent::cli::Cli;

fn main() -> ExitCode {
    common::blas_threads::begin_with_one_thread();
    common::pipe::end_with_its_reader();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code as u8)
        }
    }
}
