//! What may be typed about frozen models.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BackboneCommand {
    /// Add a model in ONNX, and print the hash by which a task names it
    #[command(after_help = "Example:\n  alambic-coordinator backbone add efficientnet-lite0.onnx")]
    Add {
        /// The model
        file: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the models
    #[command(after_help = "Example:\n  alambic-coordinator backbone list")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a model that no task needs
    #[command(after_help = "Example:\n  alambic-coordinator backbone remove 3f1c9a20")]
    Remove {
        /// Hash, its first digits, or the name of its file
        model: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}
