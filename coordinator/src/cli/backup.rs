//! `backup` and `restore`: the whole state as one file, and back.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use common::trust::clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::authority::of_this;
use super::failure::Failure;
use super::operate::print_json;
use crate::admin::{AdminError, Client};
use crate::backup::{
    self, Archive, BackupError, Contents, PieceName, StoreCopy, Written, state_files,
};
use crate::config::{Config, Flags};
use crate::status::format;
use crate::store::{DatabaseMetrics, OpenedStore, StoreError, StoreSettings};

/// Writes a backup: from the running coordinator, or from the store itself
/// where none runs.
pub(super) fn backup(config: &Config, out: &Path, as_json: bool) -> Result<(), Failure> {
    let mut source = Source::open(config)?;
    let (files, left) = state_files(&config.state, config.file.as_deref())?;
    for name in left {
        eprintln!(
            "left out: {} is no key and no configuration",
            config.state.join(name).display()
        );
    }
    let contents = source.contents()?;
    let bar = progress(
        contents.records() + contents.blobs + contents.documents,
        "{pos} of {len} parts",
    );
    let mut archive = Archive::create(out, &contents, Clock::system().now())?;
    for file in &files {
        archive.state_file(file)?;
    }
    while let Some((name, bytes)) = source.next()? {
        archive.piece(&name, &bytes)?;
        match name {
            PieceName::Log(from) => bar.set_position(from.0 - contents.first),
            _ => bar.set_position((bar.position() + 1).max(contents.records())),
        }
    }
    let written = archive.finish()?;
    bar.finish_and_clear();
    say_written(&written, as_json);
    Ok(())
}

/// Restores a backup into the state directory, or only checks it where none
/// is named.
pub(super) fn restore(
    config: &Config,
    from: &Path,
    only_check: bool,
    verify: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let length = std::fs::metadata(from).map_or(0, |facts| facts.len());
    if only_check {
        let bar = progress(length, "{bytes} of {total_bytes} checked");
        let checked = backup::check(from, &mut |read| bar.set_position(read))?;
        bar.finish_and_clear();
        if as_json {
            print_json(&checked);
        } else {
            say_checked(&checked);
        }
        return Ok(());
    }
    let bar = progress(2 * length, "{bytes} of {total_bytes} checked and written");
    let restored = backup::restore(from, &config.state, &mut |read| bar.set_position(read))?;
    if verify {
        bar.set_message("reading it again");
        backup::verify(&restored)?;
    }
    bar.finish_and_clear();
    if as_json {
        print_json(&json!({ "restored": restored, "verified": verify }));
        return Ok(());
    }
    println!(
        "restored {} as of {} UTC",
        restored.state.display(),
        format::instant(restored.made)
    );
    println!(
        "  log       {} records to {}, epoch {}",
        restored.next, restored.hash, restored.epoch
    );
    println!("  blobs     {}", restored.blobs);
    println!("  manifest  {}", restored.manifest);
    if verify {
        println!("  verified  the chain of the log, every blob, the keys");
    }
    let file = restored.state.join(crate::state_dir::FILE_NAME);
    println!("next: look through {}", file.display());
    if keeps_a_database(&file) {
        println!(
            "it names a database; restored is a store of sled. Into an empty database it goes by"
        );
        println!(
            "  alambic-coordinator store copy --from {} --to {}",
            restored.state.display(),
            file.display()
        );
    }
    println!("then {}", super::to_serve(&restored.state));
    Ok(())
}

/// Whether this configuration has the store in a database.
fn keeps_a_database(file: &Path) -> bool {
    let flags = Flags {
        config: Some(file.to_owned()),
        ..Flags::default()
    };
    let config = Config::resolve(&flags, |_| None);
    config.is_ok_and(|config| config.store != StoreSettings::Sled)
}

/// Where the store is read.
enum Source {
    /// By the coordinator that has it open.
    Running(Box<Client>),
    /// Here: no coordinator runs.
    Idle(Box<OpenedStore>, Option<StoreCopy>),
}

impl Source {
    fn open(config: &Config) -> Result<Self, Failure> {
        match Client::connect(&config.admin_socket) {
            Ok(mut client) => {
                of_this(config, &client.status()?)?;
                Ok(Self::Running(Box::new(client)))
            }
            Err(unreachable @ AdminError::Unreachable { .. }) => {
                let place = config.store_place();
                if place.settings == StoreSettings::Sled {
                    let path = place.sled_folder();
                    let Ok(facts) = std::fs::metadata(&path) else {
                        return Err(unreachable.into());
                    };
                    // Opening it makes files, which its owner has to be able
                    // to use afterwards.
                    if facts.uid() != rustix::process::geteuid().as_raw() {
                        return Err(AdminError::Denied { path }.into());
                    }
                }
                match place.open_here(&DatabaseMetrics::default()) {
                    Ok(store) => Ok(Self::Idle(Box::new(store), None)),
                    // It runs, but answers elsewhere.
                    Err(StoreError::Locked { .. }) => Err(unreachable.into()),
                    Err(error) => Err(BackupError::from(error).into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn contents(&mut self) -> Result<Contents, Failure> {
        match self {
            Self::Running(client) => Ok(client.copy_store()?),
            Self::Idle(store, copy) => {
                let begun = StoreCopy::begin(store.as_store())?;
                Ok(copy.insert(begun).contents().clone())
            }
        }
    }

    fn next(&mut self) -> Result<Option<(PieceName, Vec<u8>)>, Failure> {
        match self {
            Self::Running(client) => Ok(client.next_piece()?),
            Self::Idle(store, Some(copy)) => Ok(copy.next(store.as_store())?),
            Self::Idle(_, None) => Ok(None),
        }
    }
}

fn say_written(written: &Written, as_json: bool) {
    if as_json {
        return print_json(written);
    }
    println!(
        "wrote {} ({}): {}, {}",
        written.out.display(),
        format::bytes(written.bytes),
        format::count(written.records as usize, "record"),
        format::count(written.blobs as usize, "blob")
    );
    println!("manifest {}", written.manifest);
    println!("it holds the fleet's keys: keep it as safe as the state directory");
}

fn say_checked(checked: &backup::Checked) {
    let store = &checked.store;
    println!(
        "{} holds together: made {} UTC by version {}",
        checked.from.display(),
        format::instant(checked.made),
        checked.program
    );
    println!(
        "  log       {} records to {}, epoch {}",
        store.records(),
        store.hash,
        store.epoch
    );
    println!(
        "  blobs     {}, each with the hash in its name",
        store.blobs
    );
    println!(
        "  files     {}, keys and certificates belong together",
        checked.files
    );
    println!("  manifest  {}", checked.manifest);
}

/// A bar on standard error where someone looks on, and nothing elsewhere.
pub(super) fn progress(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The template is constant and names only known fields.
    if let Ok(style) = ProgressStyle::with_template(&format!("{{wide_bar}} {template} {{msg}}")) {
        bar.set_style(style);
    }
    bar
}
