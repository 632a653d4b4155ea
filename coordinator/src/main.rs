//! The `alambic-coordinator` program.

use clap::Parser;
use coordinator::cli::{Arguments, run};

fn main() -> std::process::ExitCode {
    common::exit::program(|| run(Arguments::parse()))
}
