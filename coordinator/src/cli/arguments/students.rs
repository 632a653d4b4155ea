//! What may be typed about students and how they reach devices.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use common::export::Format;
use common::ids::Version;

use super::values::{permille, soak_ms, version};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ModelCommand {
    /// List the released students
    #[command(after_help = "Example:\n  alambic-coordinator model list --task har")]
    List {
        /// Name or hash of the task; left out, those of all tasks
        #[arg(long)]
        task: Option<String>,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the devices whose contributions are in a student
    #[command(after_help = "Examples:
  alambic-coordinator model lineage
  alambic-coordinator model lineage 1.3 --json")]
    Lineage {
        /// Version, such as 1.3 [default: the newest]
        #[arg(value_parser = version, value_name = "EPOCH.NUMBER")]
        version: Option<Version>,
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what each device is worth to the others, measured on the others' rows
    #[command(after_help = "Example:
  alambic-coordinator model influence --json")]
    Influence {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a student for other programs: whole, from a raw input to probabilities
    #[command(after_help = "Examples:
  alambic-coordinator model export --out student.onnx
  alambic-coordinator model export --version 1.3 --out student.npz")]
    Export(Export),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RolloutCommand {
    /// Offer a held release stage by stage; it halts by itself if devices do not want it
    #[command(after_help = "Example:
  alambic-coordinator rollout start 1.7 --stages 1,10,50,100 --max-worse 2% --soak 30m

Releases are held back where `releases` under [rollout] in coordinator.toml says so.")]
    Start {
        /// Version, such as 1.7
        #[arg(value_parser = version, value_name = "EPOCH.NUMBER")]
        version: Version,
        /// Percent of the devices at each stage [default: as configured, 1,10,50,100]
        #[arg(long, value_delimiter = ',', value_name = "PERCENTS")]
        stages: Option<Vec<u8>>,
        /// Most devices of a stage that may not want it [default: as configured, 2%]
        #[arg(long, value_parser = permille, value_name = "SHARE")]
        max_worse: Option<u16>,
        /// How long a stage lasts at least, and a device uses it before it tries it once more
        /// [default: as configured, 30m]
        #[arg(long, value_parser = soak_ms, value_name = "TIME")]
        soak: Option<u64>,
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the newest rollout of each task: its stage, and what its devices found
    #[command(after_help = "Example:\n  alambic-coordinator rollout status")]
    Status {
        /// Name or hash of the task; all tasks if it is left out
        #[arg(long)]
        task: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Pause the rollout: no further device is offered the student
    #[command(after_help = "Example:\n  alambic-coordinator rollout pause")]
    Pause {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Resume a paused rollout
    #[command(after_help = "Example:\n  alambic-coordinator rollout resume")]
    Resume {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Abort the rollout; devices that use the student go on using it
    #[command(after_help = "Example:\n  alambic-coordinator rollout abort")]
    Abort {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Release an earlier student again, under a higher version, to every device at once
    #[command(after_help = "Example:
  alambic-coordinator rollout rollback        # to the student before the one on offer")]
    Rollback {
        /// The version whose weights come back [default: the student before the one on offer]
        #[arg(value_parser = version, value_name = "EPOCH.NUMBER")]
        version: Option<Version>,
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print both versions as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to export, and where to.
#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// onnx, npz, safetensors or c [default: what the file's name ends in]
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) format: Option<Format>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    /// Version, such as 1.3 [default: the newest]
    #[arg(long, value_parser = version, value_name = "EPOCH.NUMBER")]
    pub(in crate::cli) version: Option<Version>,
    /// Name or hash of the task; may be left out if there is one
    #[arg(long)]
    pub(in crate::cli) task: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Print what was written as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
