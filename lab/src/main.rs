//! `alambic-lab`: the laboratory's command line.

mod cli;

use clap::{Parser, Subcommand};

use cli::Failure;
use cli::attack::AttackArguments;
use cli::demo::DemoArguments;
use cli::distill::DistillArguments;
use cli::load::{BareSenderArguments, LoadArguments};
use cli::simulate::SimulateArguments;
use cli::split::SplitArguments;
use cli::survive::SurviveArguments;
use cli::sweep::SweepArguments;
use cli::task::TaskArguments;

/// Federated distillation on one machine: run a real fleet of processes and
/// see what it reaches.
#[derive(Debug, Parser)]
#[command(
    name = "alambic-lab",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  alambic-lab demo --keep
  alambic-lab simulate --data mydata.npz --report mydata.html
  alambic-lab distill --data digits --per-class 10 --out digits10.npz

Exit codes: 0 done, 1 failed, 2 usage or input is not valid, 4 denied,
5 not found, 6 a simulated round without a student, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a coordinator and many agents as processes, one round or more, and
    /// report the results
    Demo(DemoArguments),
    /// Run the same fleet in one process under a simulated clock, and count
    /// what it would send
    Simulate(SimulateArguments),
    /// Simulate every combination of settings that a file lists, and gather
    /// them in one table
    Sweep(SweepArguments),
    /// Distil one data set into a few points a class
    Distill(DistillArguments),
    /// Attack a simulated fleet: look for rows in what devices sent, or let
    /// devices lie, and report the effect
    Attack(AttackArguments),
    /// Inject faults into simulated fleets, one seed each, and check that their
    /// invariants hold
    Survive(SurviveArguments),
    /// Open thousands of sessions to a coordinator, send it contributions and
    /// fetch its release, and measure how it copes
    Load(LoadArguments),
    /// The bare quinn sender that `load` compares with
    #[command(hide = true)]
    BareSender(BareSenderArguments),
    /// Write what each device of such a fleet would hold into folders, to
    /// feed real agents
    Split(SplitArguments),
    /// Write a task for a device's data files
    Task(TaskArguments),
}

fn main() -> std::process::ExitCode {
    common::exit::program(|| run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    match cli.command {
        Command::Demo(arguments) => cli::demo::run(arguments),
        Command::Simulate(arguments) => cli::simulate::run(arguments),
        Command::Sweep(arguments) => cli::sweep::run(arguments),
        Command::Distill(arguments) => cli::distill::run(arguments),
        Command::Attack(arguments) => cli::attack::run(arguments),
        Command::Survive(arguments) => cli::survive::run(arguments),
        Command::Load(arguments) => cli::load::run(arguments),
        Command::BareSender(arguments) => cli::load::send_bare(arguments),
        Command::Split(arguments) => cli::split::run(arguments),
        Command::Task(arguments) => cli::task::run(arguments),
    }
}
