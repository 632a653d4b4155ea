//! The `alambic-coordinator` program.

use std::process::ExitCode;

use clap::Parser;
use coordinator::cli::{Arguments, run};

fn main() -> ExitCode {
    common::blas_threads::begin_with_one_thread();
    common::pipe::end_with_its_reader();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
