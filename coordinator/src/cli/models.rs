//! `model list|lineage|influence`: released students and what they come from.

use common::ids::Version;
use common::model::Lineage;
use serde_json::json;

use super::failure::Failure;
use super::operate::{print_json, unexpected};
use super::status::reported;
use super::table::table;
use crate::admin::{Client, Request, Response};
use crate::status::format;
use crate::status::{Fault, FaultKind, Status, TaskStatus};

pub(super) fn list(client: &mut Client, task: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let Status { tasks, .. } = client.status()?;
    let is_wanted = |of: &&TaskStatus| {
        task.is_none_or(|name| of.name == name || of.task.to_string().starts_with(name))
    };
    let tasks: Vec<_> = tasks.iter().filter(is_wanted).collect();
    if let (Some(name), true) = (task, tasks.is_empty()) {
        let message = format!("no task {name:?}; `task list` shows all");
        let kind = FaultKind::NotFound;
        return Err(crate::admin::AdminError::from(Fault { kind, message }).into());
    }
    if as_json {
        let all: Vec<_> = tasks
            .iter()
            .map(|task| json!({ "task": task.task, "name": task.name, "releases": task.releases }))
            .collect();
        print_json(&all);
        return Ok(());
    }
    let mut table = table(&[
        "task",
        "version",
        "round",
        "bytes",
        "devices in it",
        "reported",
    ]);
    for task in tasks {
        for release in &task.releases {
            table.add_row([
                task.name.clone(),
                release.version.to_string(),
                release.round.to_string(),
                release.bytes.to_string(),
                release.lineage.to_string(),
                release.report.map_or_else(|| "-".to_owned(), reported),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

pub(super) fn lineage(
    client: &mut Client,
    task: Option<String>,
    version: Option<Version>,
    as_json: bool,
) -> Result<(), Failure> {
    let (version, devices) = match client.ask(&Request::Lineage { task, version })? {
        Response::Lineage { version, devices } => (version, devices),
        other => return Err(unexpected(&other)),
    };
    // What a release of many devices carries in place of their names.
    let mut names: Vec<_> = devices.iter().map(|one| one.device).collect();
    names.sort_unstable();
    let digest = Lineage::digest(&names);
    if as_json {
        print_json(&json!({ "version": version, "devices": devices, "digest": digest }));
        return Ok(());
    }
    println!(
        "student {version} is of {}, digest {digest}:",
        format::count(devices.len(), "device")
    );
    for device in devices {
        println!("  {} {}", device.device, device.label);
    }
    Ok(())
}

pub(super) fn influence(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    let devices = match client.ask(&Request::Influence { task })? {
        Response::Influence(devices) => devices,
        other => return Err(unexpected(&other)),
    };
    if as_json {
        print_json(&devices);
        return Ok(());
    }
    let mut table = table(&[
        "device",
        "rows",
        "worth to others",
        "error on others' rows",
        "without it",
        "on its own",
        "without it",
    ]);
    for one in devices {
        table.add_row([
            format::name(&one.device),
            one.rows.to_string(),
            format!("{:+.2} %", 100.0 * one.worth),
            format!("{:.4}", one.others_with),
            format!("{:.4}", one.others_without),
            format!("{:.4}", one.own_with),
            format!("{:.4}", one.own_without),
        ]);
    }
    println!("{table}");
    Ok(())
}
