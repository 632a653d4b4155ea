//! Commands about frozen models.

use std::fs;
use std::path::Path;

use common::ids::BlobHash;
use common::limits::BLOB_BYTES_MAX;
use serde_json::json;

use super::failure::Failure;
use super::operate::{print_json, say, unexpected};
use super::table::table;
use crate::admin::{AdminError, Client, Request, Response};
use crate::status::{Fault, FaultKind, format};

pub(super) fn add(client: &mut Client, file: &Path, as_json: bool) -> Result<(), Failure> {
    let bytes = fs::read(file).map_err(|source| Failure::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > BLOB_BYTES_MAX {
        let message = format!(
            "{} has {} bytes, models for devices may have {BLOB_BYTES_MAX}",
            file.display(),
            bytes.len()
        );
        return Err(AdminError::from(Fault::new(FaultKind::Invalid, message)).into());
    }
    let name = file.file_name().unwrap_or_default();
    let added = client.add_backbone(&name.to_string_lossy(), &bytes)?;
    debug_assert_eq!(added.model, BlobHash::of(&bytes));
    if as_json {
        print_json(&added);
        return Ok(());
    }
    println!("{}", added.model);
    eprintln!(
        "{} is here. A task names it:\n  [features]\n  stage = \"onnx\"\n  model = \"{}\"",
        added.name, added.model
    );
    Ok(())
}

pub(super) fn list(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let all = match client.ask(&Request::ListBackbones)? {
        Response::Backbones(all) => all,
        other => return Err(unexpected(&other)),
    };
    if as_json {
        print_json(&all);
        return Ok(());
    }
    if all.is_empty() {
        println!("no model is here; add one with `alambic-coordinator backbone add FILE`");
        return Ok(());
    }
    let mut table = table(&["model", "file", "bytes", "added"]);
    for file in &all {
        table.add_row([
            file.model.to_string(),
            file.name.clone(),
            file.bytes.to_string(),
            format::instant(file.added),
        ]);
    }
    println!("{table}");
    Ok(())
}

pub(super) fn remove(client: &mut Client, model: String, as_json: bool) -> Result<(), Failure> {
    let blobs = match client.ask(&Request::RemoveBackbone { model })? {
        Response::Forgotten { blobs } => blobs,
        other => return Err(unexpected(&other)),
    };
    let words = "the model is removed; devices remove theirs when they start the next time";
    say(as_json, json!({ "done": "removed", "blobs": blobs }), words);
    Ok(())
}
