//! `key`: the keys that sign releases, and the root key.

use std::path::Path;

use common::trust::clock::Clock;
use serde_json::json;

use super::arguments::KeyCommand;
use super::failure::Failure;
use super::operate::{print_json, say};
use crate::identity::{ROOT_KEY, TrustRootFile, create_key};

pub(super) fn run(state: &Path, command: KeyCommand) -> Result<(), Failure> {
    let now = Clock::system().now();
    if let KeyCommand::Create { out, json } = command {
        let key = create_key(&out)?;
        let told = json!({ "key": key.id().to_string(), "out": out, "done": "created" });
        let words = format!("key {} is in {}", key.id(), out.display());
        say(json, told, &words);
        return Ok(());
    }
    let mut file = TrustRootFile::open(state, now)?;
    match command {
        KeyCommand::Create { .. } => {}
        KeyCommand::Show { json } => show(&file, json),
        KeyCommand::Rotate { revoke, root, json } => {
            let before = file.signer().id();
            let next = file.rotate(root.root_key.as_deref(), revoke, now)?.id();
            let then = match revoke {
                true => "is believed no more; what it signed is signed again then".to_owned(),
                false => format!("stays believed until `key revoke {before}`"),
            };
            let told = json!({
                "key": next.to_string(),
                "before": before.to_string(),
                "revoked": revoke,
                "done": "rotated",
            });
            let words =
                format!("releases are signed by {next} from the next start on\n{before} {then}");
            say(json, told, &words);
        }
        KeyCommand::Revoke { key, root, json } => {
            file.revoke(key, root.root_key.as_deref(), now)?;
            let told = json!({ "key": key.to_string(), "done": "revoked" });
            let words = format!("{key} is believed no more, from the coordinator's next start on");
            say(json, told, &words);
        }
        KeyCommand::Renew { root, json } => {
            file.renew(root.root_key.as_deref(), now)?;
            let (number, ends) = (file.trust_root().number, file.trust_root().expires);
            let told = json!({ "charter": number, "expires": ends, "done": "renewed" });
            say(
                json,
                told,
                &format!("trust root {number} ends {}", date(ends.0)),
            );
        }
        KeyCommand::RotateRoot { next, root, json } => {
            let root_path = root.root_key.as_deref();
            let id = file.rotate_root(root_path, next.as_deref(), now)?.id();
            let told = json!({ "root": id.to_string(), "done": "rotated" });
            let words = format!(
                "the root key is {id} from the coordinator's next start on\n\
                 keep the old one until every device has connected once"
            );
            say(json, told, &words);
        }
        KeyCommand::Offline { out, json } => {
            file.take_root_away(&out)?;
            let place = out.display();
            let words = format!(
                "the root key is in {place} and nowhere else\n\
                 `key rotate`, `revoke` and `renew` need it: --root-key {place}"
            );
            say(json, json!({ "out": out, "done": "moved" }), &words);
        }
    }
    Ok(())
}

fn show(file: &TrustRootFile<'_>, as_json: bool) {
    let (trust_root, signer) = (file.trust_root(), file.signer());
    let keys = trust_root.release_keys.iter();
    if as_json {
        let keys: Vec<_> = keys
            .map(
                |key| json!({ "id": key.id().to_string(), "public": key, "signs": *key == signer }),
            )
            .collect();
        print_json(&json!({
            "charter": trust_root.number,
            "issued": trust_root.issued,
            "expires": trust_root.expires,
            "root": trust_root.root.id().to_string(),
            "root_here": file.has_root(),
            "release_keys": keys,
        }));
        return;
    }
    println!(
        "trust root   {}, ends {}",
        trust_root.number,
        date(trust_root.expires.0)
    );
    let place = match file.has_root() {
        true => format!("here ({ROOT_KEY}); `key offline` takes it away"),
        false => "kept elsewhere".to_owned(),
    };
    println!("root key     {}, {place}", trust_root.root.id());
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
