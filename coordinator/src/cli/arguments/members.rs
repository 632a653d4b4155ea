//! What may be typed about who belongs to the fleet: tokens and devices.

use clap::{Subcommand, ValueEnum};
use common::trust::token::TokenId;

use super::values::duration_ms;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Create a token that lets devices join
    #[command(after_help = "Example:\n  alambic-coordinator token create --ttl 1h --uses 10")]
    Create {
        /// How long it is valid: a number and s, m, h or d
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
        /// Print the token and its expiry as JSON
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
    /// Revoke a token; devices that joined with it stay
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
pub(in crate::cli) enum ApproveBy {
    /// The token is enough.
    Auto,
    /// An operator approves each device.
    Manual,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeviceCommand {
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
    /// Admit a device that waits for approval
    #[command(after_help = "Example:\n  alambic-coordinator device approve 01234567")]
    Approve {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Reject a device that waits for approval
    #[command(after_help = "Example:\n  alambic-coordinator device deny 01234567")]
    Deny {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the name of a device that people read
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
    /// Revoke a device, delete its contributions, and learn again without them
    ///
    /// The next round asks the others again for whatever depended on its
    /// contributions. Until that round's student is released, the device's
    /// status says partial. Backups and earlier students on devices are not
    /// changed.
    #[command(after_help = "Example:\n  alambic-coordinator device forget 01234567")]
    Forget {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print what was deleted as JSON
        #[arg(long)]
        json: bool,
    },
    /// Clear a device's strikes and protocol violations, and end its quarantine
    ///
    /// For a device that had a fault and was repaired. What it did stays in the audit log; it is
    /// asked again from the next phase on.
    #[command(after_help = "Example:\n  alambic-coordinator device pardon 01234567")]
    Pardon {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a device's key for good, and end its session at once
    #[command(after_help = "Example:
  alambic-coordinator device revoke 'pump 7' --reason 'left on a train'")]
    Revoke {
        /// The device: its id, the first digits of it, or its name
        device: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}
