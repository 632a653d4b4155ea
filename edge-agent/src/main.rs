//! The agent's program.

use clap::Parser as _;
use edge_agent::cli::Cli;

fn main() -> std::process::ExitCode {
    common::exit::program(|| Cli::parse().run())
}
