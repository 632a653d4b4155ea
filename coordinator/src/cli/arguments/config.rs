//! What may be typed about the configuration.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Check file, environment and flags; exit code 2 if something is not valid
    #[command(after_help = "Examples:
  alambic-coordinator config check
  alambic-coordinator config check --explain --config ./coordinator.toml")]
    Check {
        /// Print each value and where it came from
        #[arg(long)]
        explain: bool,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}
