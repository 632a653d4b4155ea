//! Commands about tasks.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::confirm::confirmed;
use super::failure::Failure;
use super::operate::{expect_done, print_json, say, unexpected};
use crate::admin::{AdminError, Client, Request, Response};
use crate::config::Config;
use crate::status::{Fault, FaultKind, Namesake, Status, TaskSummary, format};

pub(super) fn create(
    client: &mut Client,
    config: &Config,
    file: &Path,
    namesake: Namesake,
    as_json: bool,
) -> Result<(), Failure> {
    let text = fs::read_to_string(file).map_err(|source| Failure::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let task = client.create_task_beside(&text, namesake)?;
    if as_json {
        print_json(&task);
    } else if task.created {
        println!("created task {} {}", task.name, task.task);
        eprintln!(
            "next: alambic-coordinator round start{} --task {} --watch",
            config.state_option(),
            task.name
        );
    } else {
        println!("task {} {} exists already", task.name, task.task);
    }
    if let Some(warning) = &task.warning {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

pub(super) fn show(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    let task: TaskSummary = match client.ask(&Request::Task { task })? {
        Response::Task(task) => task,
        other => return Err(unexpected(&other)),
    };
    if as_json {
        print_json(&task);
    } else {
        println!("task {} {}", task.name, task.task);
        println!("{}", members(&client.status()?, &task));
        println!("{:#}", task.definition);
    }
    Ok(())
}

/// Which devices it is for, and how many there are.
fn members(status: &Status, task: &TaskSummary) -> String {
    let Some(of_it) = status.tasks.iter().find(|one| one.task == task.task) else {
        return String::new();
    };
    let (all, connected) = status.members_of(of_it);
    let devices = format!("{}, {connected} connected", format::count(all, "device"));
    match of_it.groups.as_slice() {
        [] => format!("for all devices: {devices}"),
        groups => format!("for {}: {devices}", groups.join(", ")),
    }
}

pub(super) fn relearn(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    expect_done(client, &Request::Relearn { task })?;
    say(
        as_json,
        json!({ "done": "relearn" }),
        "the next round learns normaliser and transfer set anew, from the devices that are \
         connected then; `alambic-coordinator round start` begins it, a standing task's begins by \
         itself and learns from the devices that come",
    );
    Ok(())
}

pub(super) fn archive(
    client: &mut Client,
    task: Option<String>,
    away: bool,
    as_json: bool,
) -> Result<(), Failure> {
    expect_done(client, &Request::ArchiveTask { task, away })?;
    let (done, words) = match away {
        true => (
            "archived",
            "the task is archived: it has no round until `alambic-coordinator task unarchive`; \
             devices keep its student",
        ),
        false => ("unarchived", "the task goes on where it was"),
    };
    say(as_json, json!({ "done": done }), words);
    Ok(())
}

pub(super) fn delete(
    client: &mut Client,
    task: String,
    yes: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let question = format!("delete task {task} with its contributions, teachers and students?");
    if !yes && !confirmed(&question)? {
        let message = "nothing was done; to delete a task from a script, add --yes";
        return Err(AdminError::from(Fault::new(FaultKind::Invalid, message)).into());
    }
    let blobs = match client.ask(&Request::DeleteTask { task: task.clone() })? {
        Response::Forgotten { blobs } => blobs,
        other => return Err(unexpected(&other)),
    };
    let text = format!(
        "task {task} is deleted, and {} of it; devices keep the student they have",
        format::count(blobs, "blob")
    );
    say(as_json, json!({ "done": "deleted", "blobs": blobs }), &text);
    Ok(())
}
