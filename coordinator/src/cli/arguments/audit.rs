//! What may be typed about the record.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Check that no record of the log was changed, moved or left out
    #[command(after_help = "Examples:
  alambic-coordinator audit verify
  alambic-coordinator audit verify audit.jsonl       # an export; needs no coordinator")]
    Verify {
        /// An export to check instead of the running coordinator's log
        file: Option<PathBuf>,
        /// Print what was checked as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the log, one JSON object a line
    #[command(after_help = "Example:\n  alambic-coordinator audit export --out audit.jsonl")]
    Export {
        /// The file to write, which must not exist [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Number of the first record [default: the oldest kept]
        #[arg(long, value_name = "NUMBER")]
        from: Option<u64>,
    },
}
