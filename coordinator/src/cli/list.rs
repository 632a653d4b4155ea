//! Commands that show what a running coordinator knows.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use common::ids::{Time, Version};
use common::model::LineageDigest;
use serde_json::json;

use super::failure::Failure;
use super::operate::{print_json, unexpected};
use crate::admin::{
    Client, Fault, FaultKind, ReportSummary, Request, Response, RoundStatus, Status, StoreStatus,
    TaskStatus,
};
use crate::words;

pub(super) fn status(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let status = client.status()?;
    if as_json {
        print_json(&status);
        return Ok(());
    }
    let (all, connected) = status.members();
    println!(
        "coordinator {} at {}, up {}, {} of {} connected",
        status.program,
        status.address,
        seconds(status.now.since_ms(status.started)),
        connected,
        words::count(all, "device"),
    );
    if !status.storage_ok {
        println!("STORAGE FAILS: nothing is taken until it is mended; the log says why");
    }
    if let Some(store) = &status.store {
        println!("{}", stored(store));
    }
    if status.tasks.is_empty() {
        println!("no task yet; create one with `alambic-coordinator task create FILE`");
    }
    for task in &status.tasks {
        show_task(task, status.now);
    }
    Ok(())
}

fn stored(store: &StoreStatus) -> String {
    let mut line = format!(
        "log: records {} to {}",
        store.first,
        store.next.saturating_sub(1)
    );
    if store.next == store.first {
        line = format!("log: no records after {}", store.first);
    }
    if let Some(at) = store.snapshot {
        line += &format!(", newest snapshot at {at}");
    }
    if let (Some(all), Some(blobs)) = (store.bytes, store.blobs) {
        let all = words::bytes(all);
        line += &format!("; {all} of the disk, {blobs} blobs");
    }
    line
}

fn show_task(task: &TaskStatus, now: Time) {
    println!("\ntask {} ({})", task.name, task.task.short());
    match &task.round {
        Some(round) => show_round(round),
        None => println!("  no round is running"),
    }
    if let Some(last) = task.history.last() {
        println!(
            "  round {} {}, {} ago, after {}",
            last.round,
            last.outcome,
            seconds(now.since_ms(last.ended)),
            seconds(last.wall_ms),
        );
        let spans = last.phase_ms.iter();
        let spans: Vec<_> = spans
            .map(|(phase, ms)| format!("{phase} {}", seconds(*ms)))
            .collect();
        println!("    {}", spans.join(", "));
        if let Some(report) = last.report {
            println!("    {}", reported(report));
        }
    }
}

fn show_round(round: &RoundStatus) {
    let phase = round.phase.map_or("opening", common::round::Phase::name);
    println!(
        "  round {} in phase {phase} since its start {} ago",
        round.round,
        seconds(round.elapsed_ms)
    );
    if !round.participants.is_empty() {
        let needed = round
            .quorum
            .map(|quorum| format!(", {quorum} needed"))
            .unwrap_or_default();
        println!(
            "    {} of {} in{needed}",
            round.contributed.len(),
            words::count(round.participants.len(), "device")
        );
        if round
            .quorum
            .is_some_and(|quorum| quorum as usize > round.participants.len())
        {
            println!(
                "    too few take part for a student; connect more, or give it up: \
                 alambic-coordinator round cancel"
            );
        }
    }
    if !round.missing.is_empty() {
        let names: Vec<_> = round
            .missing
            .iter()
            .take(NAMES_MAX)
            .map(words::name)
            .collect();
        println!("    waiting for {}", names.join(", "));
    }
}

pub(super) fn tasks(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let Status { tasks, .. } = client.status()?;
    if as_json {
        let all: Vec<_> = tasks
            .iter()
            .map(|task| json!({ "task": task.task, "name": task.name }))
            .collect();
        print_json(&all);
        return Ok(());
    }
    let mut table = table(&["task", "hash", "points", "rounds", "newest student"]);
    for task in &tasks {
        let newest = task.releases.last();
        table.add_row([
            task.name.clone(),
            task.task.short(),
            task.points.to_string(),
            task.history
                .last()
                .map_or(0, |ended| ended.round.0)
                .to_string(),
            newest.map_or_else(|| "-".to_owned(), |release| release.version.to_string()),
        ]);
    }
    println!("{table}");
    Ok(())
}

pub(super) fn devices(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let Status { devices, .. } = client.status()?;
    if as_json {
        print_json(&devices);
        return Ok(());
    }
    if devices.is_empty() {
        println!("no device has joined; let one in with `alambic-coordinator token create`");
        return Ok(());
    }
    let mut table = table(&[
        "device",
        "label",
        "state",
        "up bytes",
        "down bytes",
        "handshakes",
    ]);
    for device in &devices {
        table.add_row([
            device.device.to_string(),
            device.label.clone(),
            super::members::state(device).to_owned(),
            device.uplink_bytes.to_string(),
            device.downlink_bytes.to_string(),
            device.handshake_bytes.to_string(),
        ]);
    }
    println!("{table}");
    Ok(())
}

pub(super) fn models(
    client: &mut Client,
    task: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
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
    let digest = LineageDigest::of(&names).hash;
    if as_json {
        print_json(&json!({ "version": version, "devices": devices, "digest": digest }));
        return Ok(());
    }
    println!(
        "student {version} is of {}, digest {digest}:",
        words::count(devices.len(), "device")
    );
    for device in devices {
        println!("  {} {}", device.device, device.label);
    }
    Ok(())
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

fn reported(report: ReportSummary) -> String {
    format!(
        "{:.1} % right on {} held-out rows of {}",
        100.0 * report.accuracy,
        report.rows,
        words::count(report.devices as usize, "device")
    )
}

pub(super) fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        60_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// Devices that are named one by one.
const NAMES_MAX: usize = 8;
