//! `key`: the keys that sign releases, and the root key.

use std::path::Path;

use common::trust::clock::Clock;
use serde_json::json;

use super::arguments::KeyCommand;
use super::failure::Failure;
use super::operate::print_json;
use crate::serve::{CharterFile, ROOT_KEY, create_key};

pub(super) fn run(state: &Path, command: KeyCommand) -> Result<(), Failure> {
    let now = Clock::system().now();
    if let KeyCommand::Create { out } = command {
        let key = create_key(&out)?;
        println!("key {} is in {}", key.id(), out.display());
        return Ok(());
    }
    let mut file = CharterFile::open(state, now)?;
    match command {
        KeyCommand::Create { .. } => {}
        KeyCommand::Show { json } => show(&file, json),
        KeyCommand::Rotate { revoke, root } => {
            let before = file.signer().id();
            let next = file.rotate(root.root_key.as_deref(), revoke, now)?;
            println!(
                "releases are signed by {} from the next start on",
                next.id()
            );
            if revoke {
                println!("{before} is believed no more; what it signed is signed again then");
            } else {
                println!("{before} stays believed until `key revoke {before}`");
            }
        }
        KeyCommand::Revoke { key, root } => {
            file.revoke(key, root.root_key.as_deref(), now)?;
            println!("{key} is believed no more, from the coordinator's next start on");
        }
        KeyCommand::Renew { root } => {
            file.renew(root.root_key.as_deref(), now)?;
            let charter = file.charter();
            println!(
                "charter {} ends {}",
                charter.number,
                date(charter.expires.0)
            );
        }
        KeyCommand::RotateRoot { next, root } => {
            let root_path = root.root_key.as_deref();
            let id = file.rotate_root(root_path, next.as_deref(), now)?.id();
            println!("the root key is {id} from the coordinator's next start on");
            println!("keep the old one until every device has connected once");
        }
        KeyCommand::Offline { out } => {
            file.take_root_away(&out)?;
            println!("the root key is in {} and nowhere else", out.display());
            println!(
                "`key rotate`, `revoke` and `renew` need it: --root-key {}",
                out.display()
            );
        }
    }
    Ok(())
}

fn show(file: &CharterFile<'_>, as_json: bool) {
    let (charter, signer) = (file.charter(), file.signer());
    let keys = charter.release_keys.iter();
    if as_json {
        let keys: Vec<_> = keys
            .map(
                |key| json!({ "id": key.id().to_string(), "public": key, "signs": *key == signer }),
            )
            .collect();
        print_json(&json!({
            "charter": charter.number,
            "issued": charter.issued,
            "expires": charter.expires,
            "root": charter.root.id().to_string(),
            "root_here": file.has_root(),
            "release_keys": keys,
        }));
        return;
    }
    println!(
        "charter      {}, ends {}",
        charter.number,
        date(charter.expires.0)
    );
    let place = match file.has_root() {
        true => format!("here ({ROOT_KEY}); `key offline` takes it away"),
        false => "kept elsewhere".to_owned(),
    };
    println!("root key     {}, {place}", charter.root.id());
    for key in keys {
        let role = if *key == signer { "signs" } else { "believed" };
        println!("release key  {}  {role}", key.id());
    }
}

fn date(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.chars().take(10).collect()
}
