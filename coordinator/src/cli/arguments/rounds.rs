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
        /// Archive another task of this name
        #[arg(long, conflicts_with = "alongside")]
        replace: bool,
        /// Have both, where another task of this name is at work
        #[arg(long)]
        alongside: bool,
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
    /// Put a task away: its round ends, which loses nothing, and no other begins; its students
    /// stay, and devices go on with theirs
    #[command(after_help = "Example:\n  alambic-coordinator task archive har")]
    Archive {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an archived task out again: it goes on where it was
    #[command(after_help = "Example:\n  alambic-coordinator task unarchive har")]
    Unarchive {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete an archived task: its contributions, teachers and students. Devices keep the
    /// student they have, and the log keeps what happened
    #[command(after_help = "Example:\n  alambic-coordinator task delete har --yes")]
    Delete {
        /// Name, hash or beginning of the hash
        task: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
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
