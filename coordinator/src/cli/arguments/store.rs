//! What may be typed about the store.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreCommand {
    /// Move log and blobs to another place, such as from sled to PostgreSQL
    ///
    /// No coordinator may run meanwhile. The copy is read as a whole and compared; then the first
    /// store is closed for good, so that the two cannot diverge. Keys and certificates stay in the
    /// state directory.
    #[command(after_help = "Examples:
  alambic-coordinator store copy --from /var/lib/alambic-coordinator --to coordinator-postgres.toml
  alambic-coordinator store copy --from coordinator-postgres.toml --to /var/lib/alambic-coordinator

A directory stands for the store in it, whatever its configuration says.")]
    Copy {
        /// A state directory, or the configuration that says where the store is
        #[arg(long, value_name = "DIR|CONFIG")]
        from: PathBuf,
        /// The same of the place to fill, which must hold no store
        #[arg(long, value_name = "DIR|CONFIG")]
        to: PathBuf,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}
