//! Commands that ask a running coordinator for one thing.

use std::fs;
use std::path::Path;

use common::ids::DeviceId;
use serde::Serialize;
use serde_json::json;

use super::failure::Failure;
use crate::admin::{AdminError, Client, Request, Response, TaskSummary};
use crate::config::{Config, STATE_DEFAULT};

pub(super) fn create_token(
    client: &mut Client,
    ttl_ms: u64,
    uses: u32,
    as_json: bool,
) -> Result<(), Failure> {
    match client.ask(&Request::CreateToken { ttl_ms, uses })? {
        Response::Token {
            token,
            expires,
            uses,
        } if as_json => {
            print_json(&json!({ "token": token, "expires": expires, "uses": uses }));
        }
        Response::Token { token, .. } => {
            println!("{token}");
            eprintln!(
                "shown this once; it admits {uses} device(s). On the device:\n  \
                 alambic-agent enrol --coordinator HOST:PORT --token TOKEN"
            );
        }
        other => return Err(unexpected(&other)),
    }
    Ok(())
}

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
            state_option(config),
            task.name
        );
    } else {
        println!("task {} {} exists already", task.name, task.task);
    }
    Ok(())
}

/// ` --state FOLDER` where it is not the usual one, for the next command.
fn state_option(config: &Config) -> String {
    if config.state == Path::new(STATE_DEFAULT) {
        String::new()
    } else {
        format!(" --state {}", config.state.display())
    }
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

pub(super) fn cancel(client: &mut Client, task: Option<String>) -> Result<(), Failure> {
    expect_done(client, &Request::CancelRound { task })?;
    println!("the round has ended without a student");
    Ok(())
}

pub(super) fn revoke(client: &mut Client, device: DeviceId) -> Result<(), Failure> {
    expect_done(client, &Request::RevokeDevice { device })?;
    println!("device {device} is revoked; its key can never join again");
    Ok(())
}

pub(super) fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => tracing::error!(%error, "not JSON"),
    }
}

fn expect_done(client: &mut Client, request: &Request) -> Result<(), Failure> {
    match client.ask(request)? {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(response: &Response) -> Failure {
    let shown = format!("{response:?}").chars().take(200).collect();
    AdminError::Answer(shown).into()
}
