//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use common::ids::{DeviceId, Version};

use crate::config::Flags;

/// The coordinator of a fleet that learns together: it gathers what devices
/// distil from their data, solves one teacher, and releases a signed student
/// that every device can run.
#[derive(Debug, Parser)]
#[command(
    name = "alambic-coordinator",
    version,
    after_help = "Examples:
  alambic-coordinator init --state ./state
  alambic-coordinator serve --state ./state
  alambic-coordinator token create --state ./state --uses 10
  alambic-coordinator task create --state ./state configs/task-har.toml
  alambic-coordinator round start --state ./state --watch

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 no coordinator
answers, 4 denied, 5 not found, 6 quorum not met, 7 verification failed."
)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file [default: coordinator.toml in the state directory, or
    /// /etc/alambic/coordinator.toml if no state directory is named]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory [default: /var/lib/alambic-coordinator]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Socket of the running coordinator [default: admin.sock in the state directory]
    #[arg(long, global = true, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// What is logged to stderr: error, warn, info, debug, trace, also by module
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Log one JSON object a line
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a state directory: authority, certificates, release key, configuration
    #[command(
        after_help = "Example:\n  alambic-coordinator init --state /var/lib/alambic-coordinator"
    )]
    Init {
        /// IP address to name in the server's certificate; may be repeated
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<String>,
        /// Print what was made as JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve devices until interrupted
    #[command(after_help = "Example:\n  alambic-coordinator serve --listen 0.0.0.0:4433")]
    Serve {
        /// Address and UDP port for devices [default: 0.0.0.0:4433]
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<String>,
    },
    /// Join tokens for new devices
    #[command(subcommand)]
    Token(TokenCommand),
    /// What the fleet learns
    #[command(subcommand)]
    Task(TaskCommand),
    /// Rounds of learning
    #[command(subcommand)]
    Round(RoundCommand),
    /// What is going on
    Status {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Devices of the fleet
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Released students
    #[command(subcommand)]
    Model(ModelCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look for what stands in the coordinator's way, and say what to do
    ///
    /// Clock, certificate, UDP port, disk, permissions and the BLAS kernels.
    /// Changes nothing; the coordinator may run meanwhile. Exit code 1 if
    /// something does not work.
    #[command(after_help = "Example:\n  alambic-coordinator doctor --json")]
    Doctor {
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  alambic-coordinator completions bash > /etc/bash_completion.d/alambic-coordinator"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual {
        /// The folder
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check file, environment and flags; exit code 2 if they do not fit
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

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token that lets devices join
    #[command(after_help = "Example:\n  alambic-coordinator token create --ttl 1h --uses 10")]
    Create {
        /// How long it is honoured: a number and s, m, h or d
        #[arg(long, default_value = "1h", value_parser = duration_ms, value_name = "TIME")]
        ttl: u64,
        /// How many devices it admits
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
        /// Print token and end as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Create a task from its file; the same file again is the same task
    #[command(after_help = "Example:\n  alambic-coordinator task create configs/task-har.toml")]
    Create {
        /// The task file (TOML)
        file: PathBuf,
        /// Print the task as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a task fixes
    Show {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all tasks
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RoundCommand {
    /// Begin a round
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
    /// End the round in progress without a student
    Cancel {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// List the devices that joined
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Believe a device's key no more, for good
    Revoke {
        /// The device's id, as `device list` shows it
        device: DeviceId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// List the released students
    List {
        /// Name or hash of the task; left out, those of all tasks
        #[arg(long)]
        task: Option<String>,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a student's weights for other programs
    #[command(
        after_help = "Example:\n  alambic-coordinator model export --format npz --out student.npz"
    )]
    Export(Export),
}

/// What to export, and where to.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Format of the file
    #[arg(long, value_enum)]
    pub(super) format: ExportFormat,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Version, such as 1.3 [default: the newest]
    #[arg(long, value_parser = version, value_name = "EPOCH.NUMBER")]
    pub(super) version: Option<Version>,
    /// Name or hash of the task; may be left out if there is one
    #[arg(long)]
    pub(super) task: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Print what was written as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a student can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// For PyTorch, JAX and others.
    Safetensors,
    /// For NumPy.
    Npz,
}

impl Arguments {
    /// What the flags say of the configuration.
    pub(super) fn flags(&self) -> Flags {
        let common = &self.common;
        let (listen, addresses) = match &self.command {
            Command::Serve { listen } => (listen.clone(), Vec::new()),
            Command::Init { addresses, .. } => (None, addresses.clone()),
            _ => (None, Vec::new()),
        };
        Flags {
            config: common.config.clone(),
            listen,
            state: common.state.clone(),
            admin_socket: common.admin_socket.clone(),
            log: common.log.clone(),
            log_json: common.log_json,
            addresses,
        }
    }
}

/// `90s`, `15m`, `1h`, `7d`, in milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    let expected =
        || format!("expected a number and s, m, h or d, such as 90s or 1h, got {text:?}");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    number
        .checked_mul(seconds * 1_000)
        .filter(|ms| *ms > 0)
        .ok_or_else(expected)
}

fn version(text: &str) -> Result<Version, String> {
    let parsed = text.split_once('.').and_then(|(epoch, number)| {
        Some(Version {
            epoch: epoch.parse().ok()?,
            number: number.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| format!("expected EPOCH.NUMBER, such as 1.3, got {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration_ms("90s"), Ok(90_000));
        assert_eq!(duration_ms("1h"), Ok(3_600_000));
        assert_eq!(duration_ms("7d"), Ok(7 * 86_400_000));
        for wrong in ["", "5", "h", "-1h", "1w", "0s", "1é"] {
            assert!(duration_ms(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn versions_are_epoch_and_number() {
        assert_eq!(
            version("2.7"),
            Ok(Version {
                epoch: 2,
                number: 7
            })
        );
        assert!(version("2").is_err());
        assert!(version("2.x").is_err());
    }
}
