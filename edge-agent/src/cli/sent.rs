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
    /// List the contributions that were sent, oldest first
    #[command(after_help = "Example:\n  alambic-agent sent list --json | jq '[.[].bytes] | add'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one contribution
    #[command(after_help = "Examples:
  alambic-agent sent show 3f9c
  alambic-agent sent show 3f9c --raw > contribution.bin")]
    Show {
        /// The beginning of its hash, as the list shows it
        hash: String,
        /// Write the exact bytes that were sent to standard output
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let folder = StateDir::at(&config.state).file(LEDGER);
    let entries = entries_in(&folder).map_err(of_ledger)?;
    match &arguments.command {
        Command::List { json: true } => println!("{}", super::to_json(&entries)?),
        Command::List { json: false } => list(&entries),
        Command::Show { hash, raw, json } => {
            let entry = find(&entries, hash)?;
            let payload = payload_in(&folder, entry.blob).map_err(of_ledger)?;
            match (raw, json) {
                (true, _) => write_raw(payload)?,
                (_, true) => println!("{}", super::to_json(&entry)?),
                (_, false) => show(&entry, payload.is_some()),
            }
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
            at(entry),
            entry.blob.short(),
            entry.round,
            entry.kind.name(),
            entry.rows,
            entry.bytes,
            outcome(entry)
        );
    }
}

fn write_raw(payload: Option<Vec<u8>>) -> Result<(), Failure> {
    let gone = || Failure::new(ExitCode::NotFound, "its bytes are no longer kept");
    let bytes = payload.ok_or_else(gone)?;
    std::io::Write::write_all(&mut std::io::stdout().lock(), &bytes)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write the bytes: {error}")))
}

fn show(entry: &Entry, is_kept: bool) {
    println!("hash      {}", entry.blob);
    println!("answered  {}", at(entry));
    println!("task      {}", entry.task);
    println!("round     {}, phase {}", entry.round, entry.phase);
    println!("kind      {}", entry.kind.name());
    println!("rows      {}", entry.rows);
    println!("bytes     {}", entry.bytes);
    println!("outcome   {}", outcome(entry));
    println!(
        "payload   {}",
        match is_kept {
            true => "kept; `--raw` writes it",
            false => "no longer kept",
        }
    );
}

fn at(entry: &Entry) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(entry.time.0))
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
