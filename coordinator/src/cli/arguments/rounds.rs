//! What may be typed about tasks and rounds.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TaskCommand {
    /// Create a task from its file; the same file again is the same task
    #[command(after_help = "Example:\n  alambic-coordinator task create configs/task-har.toml")]
    Create {
        /// The task file (TOML)
        file: PathBuf,
        /// Print the task as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the settings of a task
    #[command(after_help = "Example:\n  alambic-coordinator task show har")]
    Show {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the next round learn the normaliser and the transfer set again, for instance after a
    /// device was revoked; no device has to join again
    #[command(after_help = "Example:\n  alambic-coordinator task relearn har")]
    Relearn {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all tasks
    #[command(after_help = "Example:\n  alambic-coordinator task list")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RoundCommand {
    /// Start a round
    #[command(after_help = "Example:\n  alambic-coordinator round start --task har --watch")]
    Start {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Show its progress, wait for its end, and exit with 6 if too few devices took part
        #[arg(long)]
        watch: bool,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show the round in progress: who is in, who is missing and why
    #[command(after_help = "Examples:
  alambic-coordinator round watch
  alambic-coordinator round watch --once --json

Ctrl-C ends it; the round goes on.")]
    Watch {
        /// Name or hash of the task; all tasks if it is left out
        #[arg(long)]
        task: Option<String>,
        /// Show it once and end
        #[arg(long)]
        once: bool,
        /// Print JSON, one array of tasks a line whenever something changed
        #[arg(long)]
        json: bool,
    },
    /// End the round in progress without a student
    #[command(after_help = "Example:\n  alambic-coordinator round cancel --task har")]
    Cancel {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}
