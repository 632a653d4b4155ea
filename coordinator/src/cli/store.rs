//! `store copy`: log and blobs at another place.

use std::path::Path;

use serde_json::json;

use super::backup::progress;
use super::failure::Failure;
use super::operate::print_json;
use crate::backup;
use crate::config::{Config, Flags};
use crate::identity::SERVER_CERTIFICATE;
use crate::state_dir::STATE_DEFAULT;
use crate::store::{StorePlace, StoreSettings};

/// Copies a store, compares and closes the first.
pub(super) fn copy(from: &Path, to: &Path, as_json: bool) -> Result<(), Failure> {
    let (from, to) = (place(from)?, place(to)?);
    let bar = progress(0, "{pos} of {len} parts copied and compared");
    let relocated = backup::relocate(&from, &to, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    for place in [&from, &to] {
        // What root made there is its owner's.
        if let Err(error) = common::ownership::hand_over(&place.state) {
            let state = place.state.display();
            eprintln!(
                "warning: {state} holds files of root's, which a service cannot read: {error}"
            );
        }
    }
    if as_json {
        print_json(&json!({ "copied": relocated }));
        return Ok(());
    }
    println!("copied {} to {}", relocated.from, relocated.to);
    println!(
        "  log       records {} to {}, last {}, epoch {}",
        relocated.first, relocated.next, relocated.hash, relocated.epoch
    );
    println!("  blobs     {}", relocated.blobs);
    println!("  documents {}", relocated.documents);
    println!("  compared  the chain of the log, every blob, every document");
    println!(
        "the first store is closed for good; next: start the coordinator with {}",
        match &to.settings {
            StoreSettings::Sled => "store.kind = \"sled\"",
            StoreSettings::Postgres(_) => "the configuration that names the database",
        }
    );
    Ok(())
}

/// What a path on the command line stands for. Of the environment only the
/// password counts: all else would be said of both places at once.
fn place(path: &Path) -> Result<StorePlace, Failure> {
    if path.is_dir() {
        return Ok(StorePlace {
            state: path.to_owned(),
            settings: StoreSettings::Sled,
        });
    }
    let flags = Flags {
        config: Some(path.to_owned()),
        ..Flags::default()
    };
    let variable = |name: &str| match name {
        "ALAMBIC_STORE_PASSWORD" => std::env::var(name).ok(),
        _ => None,
    };
    let mut place = Config::resolve(&flags, variable)?.store_place();
    // A file in a state directory that names none is of that directory.
    let folder = path.parent().filter(|folder| {
        place.state == Path::new(STATE_DEFAULT) && folder.join(SERVER_CERTIFICATE).exists()
    });
    if let Some(folder) = folder {
        place.state = folder.to_owned();
    }
    Ok(place)
}
