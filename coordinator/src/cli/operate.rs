//! Commands that ask a running coordinator for one thing.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use crate::admin::{AdminError, Client, Request, Response};
use crate::config::Config;
use crate::status::TaskSummary;

pub(super) fn create_task(
    client: &mut Client,
    config: &Config,
    file: &Path,
    as_json: bool,
) -> Result<(), Failure> {
    let text = fs::read_to_string(file).map_err(|source| Failure::File {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let task = client.create_task(&text)?;
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
    Ok(())
}

pub(super) fn show_task(
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
        println!("{:#}", task.definition);
    }
    Ok(())
}

pub(super) fn cancel(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    expect_done(client, &Request::CancelRound { task })?;
    say(
        as_json,
        json!({ "done": "cancelled" }),
        "the round has ended without a student",
    );
    Ok(())
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

/// Says what was done: to scripts as JSON, to people in words.
pub(super) fn say(as_json: bool, done: Value, words: &str) {
    if as_json {
        print_json(&done);
    } else {
        println!("{words}");
    }
}

pub(super) fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => tracing::error!(%error, "not JSON"),
    }
}

pub(super) fn expect_done(client: &mut Client, request: &Request) -> Result<(), Failure> {
    match client.ask(request)? {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn unexpected(response: &Response) -> Failure {
    let shown = format!("{response:?}").chars().take(200).collect();
    AdminError::Answer(shown).into()
}
