//! `config`: what the configuration is and where each value came from.

mod keys;

use common::settings::{self, Layers};

use crate::config::{Config, Flags};
use keys::KEYS;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  alambic-agent config check --explain")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check file, environment and flags; exit code 2 if something is not valid
    #[command(after_help = "Examples:
  alambic-agent config check
  alambic-agent config check --explain --config ./agent.toml")]
    Check {
        /// Print each value and where it came from
        #[arg(long)]
        explain: bool,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

/// The configuration fits: it was loaded before this is called.
pub(super) fn run(config: &Config, layers: &Layers<'_, Flags>, arguments: &Arguments) {
    let Command::Check { explain, json } = arguments.command;
    settings::check(KEYS, config, layers, explain, json);
}

/// Every key with its default, as Markdown.
pub fn reference(defaults: &Config) -> String {
    settings::reference(KEYS, defaults)
}

#[cfg(test)]
mod tests;
