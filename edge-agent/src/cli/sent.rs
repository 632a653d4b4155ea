//! `sent`: everything that left the device.

use std::time::{Duration, UNIX_EPOCH};

use common::ids::BlobHash;

use super::{ExitCode, Failure};
use crate::config::Config;
use crate::driver::local::LEDGER;
use crate::ledger::{Entry, LedgerError, Outcome, entries_in, payload_in};
use crate::state::StateDir;

/// Show everything that left this device.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent sent list
  alambic-agent sent show 3f9c --raw > contribution.bin")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// One line for each contribution that left, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One contribution
    Show {
        /// The beginning of its hash, as the list shows it
        hash: String,
        /// Write the very bytes that left to standard output
        #[arg(long)]
        raw: bool,
    },
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let folder = StateDir::at(&config.state).file(LEDGER);
    let entries = entries_in(&folder).map_err(of_ledger)?;
    match &arguments.command {
        Command::List { json: true } => println!("{}", super::to_json(&entries)?),
        Command::List { json: false } => list(&entries),
        Command::Show { hash, raw } => {
            let entry = find(&entries, hash)?;
            let payload = payload_in(&folder, entry.blob).map_err(of_ledger)?;
            show(&entry, payload, *raw)?;
        }
    }
    Ok(())
}

fn list(entries: &[Entry]) {
    if entries.is_empty() {
        println!("nothing has left this device");
    }
    for entry in entries {
        println!(
            "{}  {}…  round {:>4}  {:<8} {:>8} rows {:>9} bytes  {}",
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(entry.time.0)),
            entry.blob.short(),
            entry.round,
            entry.kind.name(),
            entry.rows,
            entry.bytes,
            outcome(entry)
        );
    }
}

fn show(entry: &Entry, payload: Option<Vec<u8>>, raw: bool) -> Result<(), Failure> {
    if raw {
        let gone = || Failure::new(ExitCode::NotFound, "its bytes are no longer kept");
        let bytes = payload.ok_or_else(gone)?;
        let written = std::io::Write::write_all(&mut std::io::stdout().lock(), &bytes);
        return written.map_err(|error| {
            Failure::new(ExitCode::Failed, format!("cannot write the bytes: {error}"))
        });
    }
    println!("{}", super::to_json(entry)?);
    if payload.is_none() {
        eprintln!("its bytes are no longer kept");
    }
    Ok(())
}

fn find(entries: &[Entry], hash: &str) -> Result<Entry, Failure> {
    let mut found: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.blob.to_string().starts_with(&hash.to_lowercase()))
        .collect();
    found.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    let blobs: std::collections::BTreeSet<BlobHash> = found.iter().map(|one| one.blob).collect();
    match (found.first(), blobs.len()) {
        (Some(entry), 1) => Ok(**entry),
        (None, _) => {
            let message = format!("nothing that left has a hash that begins with {hash:?}");
            let advice = "`alambic-agent sent list` shows what left";
            Err(Failure::new(ExitCode::NotFound, message).advise(advice))
        }
        (_, many) => {
            let message = format!("{many} contributions have hashes that begin with {hash:?}");
            Err(Failure::new(ExitCode::Usage, message).advise("give more of the hash"))
        }
    }
}

fn outcome(entry: &Entry) -> String {
    match entry.outcome {
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Refused { reason } => format!("refused: {reason}"),
    }
}

fn of_ledger(error: LedgerError) -> Failure {
    Failure::new(ExitCode::Failed, error.to_string()).advise(error.advice())
}
