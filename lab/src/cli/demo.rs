//! `alambic-lab demo`.

use std::path::PathBuf;

use clap::Args;

use lab::data::{Asked, Partition};
use lab::demo::{self, Choose, DemoOptions};
use lab::progress::Progress;
use lab::simulate::suited;

use super::{Failure, is_stdout, write_json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab demo
  alambic-lab demo --dataset digits --partition dirichlet:0.1 --agents 10
  alambic-lab demo --dataset mydata.npz --partition shards:2 --agents 20 --rounds 3 --json out.json
  alambic-lab demo --keep")]
pub(crate) struct DemoArguments {
    /// har, digits, or an NPZ file with X_train, y_train, X_test, y_test
    #[arg(long, default_value = "har", value_name = "NAME|FILE")]
    dataset: String,
    /// What rows are labelled with: class or number
    #[arg(long, default_value = "class", value_parser = super::labelled)]
    target: Asked,
    /// natural, iid, group, dirichlet:ALPHA or shards:CLASSES [default: natural
    /// where the data says whose rows they are, group where it says which belong
    /// together, else dirichlet:0.1]
    #[arg(long)]
    partition: Option<Partition>,
    /// Devices; ignored for natural
    #[arg(long, default_value_t = 21, value_parser = super::at_least_one)]
    agents: usize,
    /// Rounds; the points are spread over them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Points of the shared transfer set in all
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    points: u32,
    /// Let the coordinator plan what 100 kB a device are spent on, from the
    /// devices and rows of the first profiles; feature stage and student are
    /// those that `simulate` chooses
    #[arg(long, conflicts_with_all = ["points", "rounds"])]
    auto_budget: bool,
    /// Seed of partition, task and baselines
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave the fleet running until Ctrl-C, to look around
    #[arg(long)]
    keep: bool,
    /// Keep the fleet's state in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Skip the baselines: pooled data, and each device alone
    #[arg(long)]
    no_baselines: bool,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// Runs it and shows what came of it.
pub(crate) fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let options = DemoOptions {
        dataset: arguments.dataset,
        target: arguments.target,
        partition: arguments.partition,
        agents: arguments.agents,
        rounds: arguments.rounds,
        points: arguments.points,
        auto_budget: arguments.auto_budget.then_some(suited as Choose),
        seed: arguments.seed,
        keep: arguments.keep,
        folder: arguments.folder,
        no_baselines: arguments.no_baselines,
    };
    demo::watch_signals();
    let mut progress = Progress::new(false);
    let result = demo::run(&options, &mut progress);
    progress.finish();
    let result = result?;
    let to_stdout = arguments.json.as_deref().is_some_and(is_stdout);
    if let Some(path) = &arguments.json {
        write_json(path, &result.outcome)?;
    }
    if !to_stdout {
        print!("{}", demo::render(&result));
    }
    if let Some(fleet) = result.fleet {
        fleet.wait_interrupted();
        eprintln!("stopping the fleet");
        fleet.stop();
    }
    Ok(())
}
