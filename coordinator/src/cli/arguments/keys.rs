//! What may be typed about authority and release keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use common::trust::keys::KeyId;

use super::values::key_id;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuthorityCommand {
    /// Show the trusted authorities, and which devices still hold certificates of the older one
    #[command(after_help = "Example:\n  alambic-coordinator ca show --json")]
    Show {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Create the next authority; no device has to join again (restart the coordinator afterwards)
    #[command(after_help = "Examples:
  alambic-coordinator ca rotate && systemctl restart alambic-coordinator
  alambic-coordinator ca show          # until every device has renewed
  alambic-coordinator ca retire && systemctl restart alambic-coordinator")]
    Rotate {
        /// Have every device renew its certificate at the restart rather than over time, for
        /// instance because the authority's key was stolen
        #[arg(long)]
        renew_now: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop trusting the previous authority (restart the coordinator afterwards)
    #[command(
        after_help = "Example:\n  alambic-coordinator ca retire && systemctl restart alambic-coordinator"
    )]
    Retire {
        /// Have every device renew once more at the restart and drop the previous authority, for
        /// instance because that one's key was stolen
        #[arg(long)]
        renew_now: bool,
        /// Even if devices still hold its certificates; these have to join again
        #[arg(long)]
        force: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Show the trust root: its number, its expiry, the root key and the release keys
    #[command(after_help = "Example:\n  alambic-coordinator key show --json")]
    Show {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a key in a file, such as the next root key on an offline machine
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
        /// Revoke the key in use as well; what it signed is signed again at the restart
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        root: RootKey,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a release key that is not in use (restart the coordinator afterwards)
    #[command(
        after_help = "Example:\n  alambic-coordinator key revoke 0123456789abcdef0123456789abcdef"
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
    /// Replace the root key by another one (restart the coordinator afterwards)
    #[command(after_help = "Examples:
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
    /// Move the root key out of the state directory, to an offline place
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
pub(in crate::cli) struct RootKey {
    /// File of the root key [default: root-key.pem in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root_key: Option<PathBuf>,
}
