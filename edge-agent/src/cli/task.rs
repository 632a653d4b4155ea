//! `task suggest`: a task file from the files of this device.

use std::path::PathBuf;

use super::{ExitCode, Failure};
use crate::config::Config;
use crate::data::suggest;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
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
  alambic-agent task suggest /srv/pump > pump.toml")]
    Suggest {
        /// The folder [default: data.folder]
        folder: Option<PathBuf>,
    },
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let Command::Suggest { folder } = &arguments.command;
    let folder = folder.as_deref().or(config.data.as_deref());
    let folder = folder.ok_or_else(|| {
        let message = "no data folder; name one, or set data.folder in agent.toml";
        Failure::new(ExitCode::Usage, message)
    })?;
    let text = suggest(folder, &config.mapping, &config.label_column);
    let text = text.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
    print!("{text}");
    Ok(())
}
