//! Commands that ask a running coordinator for one thing.

use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use crate::admin::{AdminError, Client, Request, Response};

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
