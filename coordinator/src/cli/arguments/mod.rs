//! What may be typed: a file a noun.

mod audit;
mod backbones;
mod config;
mod gateways;
mod keys;
mod members;
mod rounds;
mod store;
mod students;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::Flags;
use crate::gateway::config::GatewayFlags;

pub(super) use audit::AuditCommand;
pub(super) use backbones::BackboneCommand;
pub(super) use config::ConfigCommand;
pub(super) use gateways::GatewayCommand;
pub(super) use keys::{AuthorityCommand, KeyCommand};
pub(super) use members::{ApproveBy, DeviceCommand, TokenCommand};
pub(super) use rounds::{RoundCommand, TaskCommand};
pub(super) use store::StoreCommand;
pub(super) use students::{Export, ModelCommand, RolloutCommand};

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

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 unreachable, 4 denied,
5 not found, 6 quorum not met, 7 verification failed."
)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Over the options that every command takes, which follow its own.
const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Args)]
struct Common {
    /// Configuration file [default: coordinator.toml in the state directory, or
    /// /etc/alambic/coordinator.toml if no state directory is named]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory [default: /var/lib/alambic-coordinator]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Socket of the running coordinator [default: admin.sock in the state directory]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// What is logged to stderr: error, warn, info, debug, trace, also by module
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILTER")]
    log: Option<String>,
    /// Log one JSON object a line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a state directory: authority, certificates, release key, configuration
    #[command(after_help = "Examples:
  alambic-coordinator init --state /var/lib/alambic-coordinator
  alambic-coordinator init --if-missing      # before each start of a container")]
    Init {
        /// IP address to name in the server's certificate; may be repeated
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<String>,
        /// Succeed and change nothing if the state directory was made before
        #[arg(long, conflicts_with = "json")]
        if_missing: bool,
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
        /// Address and TCP port of the web page and the metrics, or off [default: 127.0.0.1:4480]
        #[arg(long, value_name = "IP:PORT|off")]
        page: Option<String>,
    },
    /// Create, list and revoke join tokens for new devices
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator token create --ttl 1h --uses 10
  alambic-coordinator token list"
    )]
    Token(TokenCommand),
    /// Show and rotate the fleet's certificate authority
    #[command(
        subcommand,
        name = "ca",
        after_help = "Examples:
  alambic-coordinator ca show
  alambic-coordinator ca rotate && systemctl restart alambic-coordinator"
    )]
    Authority(AuthorityCommand),
    /// Create and show tasks: what the fleet learns
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator task create configs/task-har.toml
  alambic-coordinator task list"
    )]
    Task(TaskCommand),
    /// Add, list and remove frozen models that tasks send their inputs through
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator backbone add efficientnet-lite0.onnx
  alambic-coordinator backbone list"
    )]
    Backbone(BackboneCommand),
    /// Start, watch and cancel rounds
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator round start --watch
  alambic-coordinator round watch
  alambic-coordinator round cancel"
    )]
    Round(RoundCommand),
    /// Show the state of the coordinator, its tasks and its devices
    #[command(after_help = "Examples:
  alambic-coordinator status
  alambic-coordinator status --json | jq '.devices[] | select(.connected | not) | .label'")]
    Status {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// List, approve and revoke devices
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator device list
  alambic-coordinator device show 'pump 7'
  alambic-coordinator device revoke 01234567 --reason 'left on a train'"
    )]
    Device(DeviceCommand),
    /// Run a gateway near many devices, and manage a fleet's gateways
    ///
    /// A gateway ends the sessions of the devices near it and passes them on over one
    /// connection to the coordinator; blobs that all devices fetch cross it once.
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator gateway token                       # on the coordinator
  alambic-coordinator gateway enrol --coordinator fleet.example:4433 --token alambic1...
  alambic-coordinator gateway run                         # on the gateway's host"
    )]
    Gateway(GatewayCommand),
    /// Verify and export the log, the record of everything that happened
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator audit verify
  alambic-coordinator audit export --out audit.jsonl"
    )]
    Audit(AuditCommand),
    /// List and export released students
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator model list
  alambic-coordinator model export --out student.onnx"
    )]
    Model(ModelCommand),
    /// Control how released students reach the devices
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator rollout start 1.7 --stages 1,10,50,100 --soak 30m
  alambic-coordinator rollout status"
    )]
    Rollout(RolloutCommand),
    /// Manage the keys that sign releases, and the root key that vouches for them
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator key show
  alambic-coordinator key rotate && systemctl restart alambic-coordinator"
    )]
    Key(KeyCommand),
    /// Check the configuration
    #[command(
        subcommand,
        after_help = "Example:
  alambic-coordinator config check --explain"
    )]
    Config(ConfigCommand),
    /// Move log and blobs to another store
    #[command(
        subcommand,
        after_help = "Example:
  alambic-coordinator store copy --from /var/lib/alambic-coordinator --to coordinator-postgres.toml"
    )]
    Store(StoreCommand),
    /// Check the coordinator for problems, and say how to solve them
    ///
    /// Clock, certificate, UDP port, disk, permissions, the BLAS kernels, and the
    /// database if the store is in one.
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
    /// Write the whole state into one file: log, blobs, keys, configuration
    ///
    /// The coordinator may run meanwhile; the backup ends where its log ended
    /// at the beginning. The file is readable by its owner only, and holds the
    /// fleet's keys.
    #[command(after_help = "Examples:
  alambic-coordinator backup --out /backup/alambic.tar
  alambic-coordinator restore --from /backup/alambic.tar --verify    # is it whole?

Run it as the coordinator's user, such as by
runuser -u alambic-coordinator -- alambic-coordinator backup --out FILE")]
    Backup {
        /// The file to write, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Print what was written as JSON
        #[arg(long)]
        json: bool,
    },
    /// Restore a state directory from a backup, or only check one
    ///
    /// The backup is checked as a whole before anything is written. The directory that --state
    /// names must be empty or missing; what is released from it gets a higher version than any in
    /// the backup.
    #[command(after_help = "Examples:
  alambic-coordinator restore --from alambic.tar --verify    # only check the file
  alambic-coordinator restore --from alambic.tar --state /var/lib/alambic-coordinator --verify

Never start the lost coordinator again beside the restored one.")]
    Restore {
        /// The backup
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Without --state, only check the backup; with it, also read all that was restored again
        #[arg(long)]
        verify: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

impl Arguments {
    /// What the flags say of the configuration.
    pub(super) fn flags(&self) -> Flags {
        let common = &self.common;
        let (listen, page, addresses) = match &self.command {
            Command::Serve { listen, page } => (listen.clone(), page.clone(), Vec::new()),
            Command::Init { addresses, .. } => (None, None, addresses.clone()),
            _ => (None, None, Vec::new()),
        };
        Flags {
            config: common.config.clone(),
            listen,
            page,
            state: common.state.clone(),
            admin_socket: common.admin_socket.clone(),
            log: common.log.clone(),
            log_json: common.log_json,
            addresses,
        }
    }
}

impl Arguments {
    /// What the flags say of a gateway's configuration.
    pub(super) fn gateway_flags(&self) -> GatewayFlags {
        let common = &self.common;
        let (coordinator, listen, metrics) = match &self.command {
            Command::Gateway(GatewayCommand::Run {
                coordinator,
                listen,
                metrics,
            }) => (coordinator.clone(), listen.clone(), metrics.clone()),
            _ => (None, None, None),
        };
        GatewayFlags {
            config: common.config.clone(),
            state: common.state.clone(),
            coordinator,
            listen,
            metrics,
            log: common.log.clone(),
            log_json: common.log_json,
        }
    }
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
}
