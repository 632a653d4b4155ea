//! `alambic-lab`: the laboratory's command line.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::Failure;
use cli::demo::DemoArguments;
use cli::simulate::SimulateArguments;
use cli::split::SplitArguments;

/// Federated distillation on one machine: run a real fleet of processes and
/// see what it reaches.
#[derive(Debug, Parser)]
#[command(name = "alambic-lab", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a coordinator and many agents as processes, one round or more, and
    /// show what came of it
    Demo(DemoArguments),
    /// Run the same fleet in one process under a simulated clock, and count
    /// what it would send
    Simulate(SimulateArguments),
    /// Write what each device of such a fleet would hold into folders, to
    /// feed real agents
    Split(SplitArguments),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    match cli.command {
        Command::Demo(arguments) => cli::demo::run(arguments),
        Command::Simulate(arguments) => cli::simulate::run(arguments),
        Command::Split(arguments) => cli::split::run(arguments),
    }
}
