//! `task suggest`: a task file from the files of a device.

use std::path::PathBuf;

use edge_agent::data::{Mapping, suggest};

use super::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct TaskArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a task file that fits the tables, pictures or sounds of a folder
    ///
    /// Columns, units, classes and rates are those of the files; pictures and
    /// sounds lie in folders named as their classes. The comments in it say by
    /// which rules they were chosen. Read it before you use it.
    #[command(after_help = "Example:
  alambic-lab task suggest devices/pump-1 > devices/task.toml")]
    Suggest {
        /// The folder of one device
        folder: PathBuf,
        /// The column that holds the label
        #[arg(long, value_name = "COLUMN", default_value = "label")]
        label: String,
    },
}

pub(crate) fn run(arguments: TaskArguments) -> Result<(), Failure> {
    let Command::Suggest { folder, label } = arguments.command;
    let text = suggest(&folder, &Mapping::default(), &label)?;
    print!("{text}");
    Ok(())
}
