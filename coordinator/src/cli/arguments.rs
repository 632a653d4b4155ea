//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use common::ids::Version;
use common::trust::keys::{KeyError, KeyId};
use common::trust::token::TokenId;

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
        /// Address and TCP port of the web page and the metrics, or off [default: 127.0.0.1:4480]
        #[arg(long, value_name = "IP:PORT|off")]
        page: Option<String>,
    },
    /// Join tokens for new devices
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator token create --ttl 1h --uses 10
  alambic-coordinator token list"
    )]
    Token(TokenCommand),
    /// The fleet's certificate authority
    #[command(
        subcommand,
        name = "ca",
        after_help = "Examples:
  alambic-coordinator ca show
  alambic-coordinator ca rotate && systemctl restart alambic-coordinator"
    )]
    Authority(AuthorityCommand),
    /// What the fleet learns
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator task create configs/task-har.toml
  alambic-coordinator task list"
    )]
    Task(TaskCommand),
    /// Rounds of learning
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator round start --watch
  alambic-coordinator round watch
  alambic-coordinator round cancel"
    )]
    Round(RoundCommand),
    /// What is going on
    #[command(after_help = "Examples:
  alambic-coordinator status
  alambic-coordinator status --json | jq '.devices[] | select(.connected | not) | .label'")]
    Status {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Devices of the fleet
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator device list
  alambic-coordinator device show 'pump 7'
  alambic-coordinator device revoke 01234567 --reason 'left on a train'"
    )]
    Device(DeviceCommand),
    /// The record of all that happened
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator audit verify
  alambic-coordinator audit export --out audit.jsonl"
    )]
    Audit(AuditCommand),
    /// Released students
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator model list
  alambic-coordinator model export --format npz --out student.npz"
    )]
    Model(ModelCommand),
    /// How released students reach the devices
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator rollout start 1.7 --stages 1,10,50,100 --soak 30m
  alambic-coordinator rollout status"
    )]
    Rollout(RolloutCommand),
    /// The keys that sign releases, and the root key that vouches for them
    #[command(
        subcommand,
        after_help = "Examples:
  alambic-coordinator key show
  alambic-coordinator key rotate && systemctl restart alambic-coordinator"
    )]
    Key(KeyCommand),
    /// The configuration
    #[command(
        subcommand,
        after_help = "Example:
  alambic-coordinator config check --explain"
    )]
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
    /// Make a state directory out of a backup, or only check one
    ///
    /// The backup is checked as a whole before anything is written. The
    /// directory that --state names must be empty or missing; what is released
    /// from it is above all that the backup knows.
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
        /// The group its devices join
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        /// Whether each device waits for `device approve`
        #[arg(long, value_enum, default_value_t = ApproveBy::Auto)]
        approve: ApproveBy,
        /// Print token and end as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all tokens; their secrets are not kept
    #[command(after_help = "Example:\n  alambic-coordinator token list --json")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token back; devices that joined by it stay
    #[command(after_help = "Example:\n  alambic-coordinator token revoke 0123456789abcdef")]
    Revoke {
        /// The token's id, as `token list` shows it
        token: TokenId,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Who lets a device in that shows a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ApproveBy {
    /// The token is enough.
    Auto,
    /// An operator approves each device.
    Manual,
}

#[derive(Debug, Subcommand)]
pub(super) enum AuthorityCommand {
    /// Show the authorities that are believed, and which devices hold the older one's certificates
    #[command(after_help = "Example:\n  alambic-coordinator ca show --json")]
    Show {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the next authority; no device has to join again (restart the coordinator afterwards)
    #[command(after_help = "Example:
  alambic-coordinator ca rotate && systemctl restart alambic-coordinator
  alambic-coordinator ca show          # until every device has renewed
  alambic-coordinator ca retire && systemctl restart alambic-coordinator")]
    Rotate {
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Believe the authority before this one no more (restart the coordinator afterwards)
    #[command(
        after_help = "Example:\n  alambic-coordinator ca retire && systemctl restart alambic-coordinator"
    )]
    Retire {
        /// Also if devices still hold its certificates; they have to join again then
        #[arg(long)]
        force: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Show the charter: its number, its end, the root key and the release keys
    #[command(after_help = "Example:\n  alambic-coordinator key show --json")]
    Show {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key in a file, such as the next root key on a machine that is never online
    #[command(after_help = "Example:\n  alambic-coordinator key create --out /media/safe/root.pem")]
    Create {
        /// The file to write, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign releases with a new key from now on (restart the coordinator afterwards)
    #[command(after_help = "Examples:
  alambic-coordinator key rotate && systemctl restart alambic-coordinator
  alambic-coordinator key rotate --revoke      # the old one was stolen

Devices learn of it when they connect again, which they do after the restart.")]
    Rotate {
        /// Believe the key in use no more; what it signed is signed again at the restart
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        root: RootKey,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Believe a release key no more that is not in use (restart the coordinator afterwards)
    #[command(
        after_help = "Example:\n  alambic-coordinator key revoke 0123456789abcdef --root-key /media/safe/root.pem"
    )]
    Revoke {
        /// The key's id, as `key show` shows it
        #[arg(value_parser = key_id, value_name = "KEY")]
        key: KeyId,
        #[command(flatten)]
        root: RootKey,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign the same keys for another three years (restart the coordinator afterwards)
    #[command(
        after_help = "Example:\n  alambic-coordinator key renew --root-key /media/safe/root.pem"
    )]
    Renew {
        #[command(flatten)]
        root: RootKey,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Hand the root key's part over to another key (restart the coordinator afterwards)
    #[command(after_help = "Example:
  alambic-coordinator key create --out /media/safe/next.pem
  alambic-coordinator key rotate-root --root-key /media/safe/root.pem --next /media/safe/next.pem")]
    RotateRoot {
        /// File of the next root key, as `key create` makes it [default: a new one in the state
        /// directory]
        #[arg(long, value_name = "FILE")]
        next: Option<PathBuf>,
        #[command(flatten)]
        root: RootKey,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the root key out of the state directory, to a place that is never online
    #[command(
        after_help = "Example:\n  alambic-coordinator key offline --out /media/safe/root.pem"
    )]
    Offline {
        /// The file to write, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where the root key is.
#[derive(Debug, Args)]
pub(super) struct RootKey {
    /// File of the root key [default: root-key.pem in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(super) root_key: Option<PathBuf>,
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
    #[command(after_help = "Example:\n  alambic-coordinator task show har")]
    Show {
        /// Name, hash or beginning of the hash; may be left out if there is one task
        task: Option<String>,
        /// Print it as JSON
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

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// List the devices that joined
    #[command(after_help = "Example:\n  alambic-coordinator device list")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one device
    #[command(after_help = "Example:\n  alambic-coordinator device show 01234567")]
    Show {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a device that waits for approval in
    #[command(after_help = "Example:\n  alambic-coordinator device approve 01234567")]
    Approve {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn a device that waits for approval away
    #[command(after_help = "Example:\n  alambic-coordinator device deny 01234567")]
    Deny {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a device another name for people
    #[command(after_help = "Example:\n  alambic-coordinator device label 01234567 'pump 7'")]
    Label {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// The name; an empty one takes it away
        label: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a device, delete what it contributed, and learn anew without it
    ///
    /// The next round asks the others again for what stood on its
    /// contributions. Until that round's student is released, the device's
    /// status says partial. Backups and the devices' own copies of earlier
    /// students are not reached.
    #[command(after_help = "Example:\n  alambic-coordinator device forget 01234567")]
    Forget {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was deleted as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a device's strikes and breaches back, and end its quarantine
    ///
    /// For a device that was built wrong and is mended. What it did stays in
    /// the audit log; it is asked again from the next phase on.
    #[command(after_help = "Example:\n  alambic-coordinator device pardon 01234567")]
    Pardon {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Believe a device's key no more, for good, and end its session at once
    #[command(after_help = "Example:
  alambic-coordinator device revoke 'pump 7' --reason 'left on a train'")]
    Revoke {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
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

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
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
    /// Write a student's weights for other programs
    #[command(
        after_help = "Example:\n  alambic-coordinator model export --format npz --out student.npz"
    )]
    Export(Export),
}

#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
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
    /// Show the newest rollout of each task: its stage, and how its devices fare
    #[command(after_help = "Example:\n  alambic-coordinator rollout status")]
    Status {
        /// Name or hash of the task; all tasks if it is left out
        #[arg(long)]
        task: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Offer it to no further device until it is resumed
    #[command(after_help = "Example:\n  alambic-coordinator rollout pause")]
    Pause {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Go on after a pause
    #[command(after_help = "Example:\n  alambic-coordinator rollout resume")]
    Resume {
        /// Name or hash of the task; may be left out if there is one
        #[arg(long)]
        task: Option<String>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// End it; devices that use the student go on doing so
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
  alambic-coordinator rollout rollback        # to the student before the newest rollout")]
    Rollback {
        /// The version whose weights come back [default: the one before the newest rollout's]
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

/// `90s`, `15m`, `1h`, `7d`, in milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    crate::config::duration_ms(text)
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            format!("expected a number and s, m, h or d, such as 90s or 1h, got {text:?}")
        })
}

/// The same, or none at all.
fn soak_ms(text: &str) -> Result<u64, String> {
    crate::config::duration_ms(text)
        .ok_or_else(|| format!("expected a number and s, m, h or d, such as 30m, got {text:?}"))
}

fn permille(text: &str) -> Result<u16, String> {
    crate::config::permille(text)
        .ok_or_else(|| format!("expected a share of the devices such as 2%, got {text:?}"))
}

fn key_id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|error: KeyError| error.to_string())
}

fn version(text: &str) -> Result<Version, String> {
    text.parse()
        .map_err(|error| format!("{error}, got {text:?}"))
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
