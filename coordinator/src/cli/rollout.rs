//! `rollout`: how released students reach the devices.

use common::ids::{Time, Version};
use serde_json::json;

use super::failure::Failure;
use super::operate::{expect_done, print_json, say, unexpected};
use super::status::{nothing, of_task};
use super::table::seconds;
use crate::admin::{Client, Request, Response};
use crate::config::Config;
use crate::rollout::{Order, Plan, Standing};
use crate::status::format::{self, name};
use crate::status::{RolloutStatus, TaskStatus};

pub(super) fn start(
    client: &mut Client,
    config: &Config,
    task: Option<String>,
    version: Version,
    plan: Plan,
    as_json: bool,
) -> Result<(), Failure> {
    let first = plan.stages.first().copied().unwrap_or(100);
    let told = json!({ "version": version, "plan": plan, "done": "started" });
    let order = Order::Start { version, plan };
    expect_done(client, &Request::Rollout { task, order })?;
    let words = format!("student {version} is offered to {first} % of the devices, one at least");
    say(as_json, told, &words);
    if !as_json {
        eprintln!(
            "next: alambic-coordinator rollout status{}",
            config.state_option()
        );
    }
    Ok(())
}

pub(super) fn pause(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    let order = Order::Pause;
    expect_done(client, &Request::Rollout { task, order })?;
    let words = "the rollout is paused; `rollout resume` goes on";
    say(as_json, json!({ "done": "paused" }), words);
    Ok(())
}

pub(super) fn resume(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    let order = Order::Resume;
    expect_done(client, &Request::Rollout { task, order })?;
    let words = "the rollout goes on; its stage's soak begins anew";
    say(as_json, json!({ "done": "resumed" }), words);
    Ok(())
}

pub(super) fn abort(
    client: &mut Client,
    task: Option<String>,
    as_json: bool,
) -> Result<(), Failure> {
    let order = Order::Abort;
    expect_done(client, &Request::Rollout { task, order })?;
    let words = "the rollout is over; devices that use the student go on doing so: `rollout \
                 rollback` brings them back";
    say(as_json, json!({ "done": "aborted" }), words);
    Ok(())
}

pub(super) fn rollback(
    client: &mut Client,
    task: Option<String>,
    version: Option<Version>,
    as_json: bool,
) -> Result<(), Failure> {
    match client.ask(&Request::ReRelease { task, version })? {
        Response::ReReleased { from, version } if as_json => {
            print_json(&json!({ "from": from, "version": version }));
        }
        Response::ReReleased { from, version } => {
            println!("student {from} is released again as {version}, to every device");
        }
        other => return Err(unexpected(&other)),
    }
    Ok(())
}

pub(super) fn status(
    client: &mut Client,
    config: &Config,
    task: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let (status, more) = (client.status()?, config.state_option());
    let is_wanted = |of: &&TaskStatus| {
        task.is_none_or(|name| of.name == name || of.task.to_string().starts_with(name))
    };
    let tasks: Vec<_> = status.tasks.iter().filter(is_wanted).collect();
    if as_json {
        let all = tasks
            .iter()
            .map(|task| json!({ "task": task.task, "name": task.name, "rollout": task.rollout }));
        print_json(&all.collect::<Vec<_>>());
        return Ok(());
    }
    if let Some(line) = nothing(&status) {
        println!("{line}");
    }
    for task in tasks {
        let more = of_task(task, &status, &more);
        match &task.rollout {
            Some(rollout) => show(task, rollout, status.now, &more),
            None => println!("{}: no rollout yet", task.name),
        }
        let begin = task.to_begin().map(|release| release.version);
        let held = task.held_back().filter(|version| Some(*version) != begin);
        let held: Vec<_> = held.map(|version| version.to_string()).collect();
        if !held.is_empty() {
            println!("  never offered to everyone: {}", held.join(", "));
        }
        if let Some(version) = begin {
            println!(
                "  {version} is offered to nobody yet: alambic-coordinator rollout start {version}{more}"
            );
        }
    }
    Ok(())
}

fn show(task: &TaskStatus, rollout: &RolloutStatus, now: Time, more: &str) {
    if let Some(instead) = task.instead() {
        println!(
            "{}: student {} is over: every device is offered {} instead",
            task.name, rollout.version, instead.version
        );
        return;
    }
    println!(
        "{}: student {}, {}",
        task.name,
        rollout.version,
        described(&rollout.standing)
    );
    println!(
        "  stage {} of {} ({} % of the devices), for {}; a stage soaks {}",
        rollout.stage,
        rollout.plan.stages.len(),
        rollout.percent,
        seconds(now.since_ms(rollout.since)),
        seconds(rollout.plan.soak_ms),
    );
    let tally = rollout.tally;
    println!(
        "  {}: {} keep it, {} soak it, {} cannot judge it, {} do not want it, {} silent",
        format::count(tally.devices as usize, "device"),
        tally.kept,
        tally.soaking,
        tally.untested,
        tally.worse,
        tally.silent
    );
    for unwanted in &rollout.unwanted_by {
        println!("  {}: {}", name(&unwanted.device), unwanted.evaluation);
    }
    if let Some(order) = order(&rollout.standing) {
        println!("  {order}{more}");
    }
}

/// What an operator may say to a rollout that stands there.
fn order(standing: &Standing) -> Option<&'static str> {
    match standing {
        Standing::Running | Standing::Completed => None,
        Standing::Paused => Some("to go on: alambic-coordinator rollout resume"),
        Standing::Halted { .. } | Standing::Aborted => {
            Some("the student before it, for all: alambic-coordinator rollout rollback")
        }
    }
}

/// Where a rollout stands, for a terminal.
pub(super) fn described(standing: &Standing) -> String {
    match standing {
        Standing::Running => "rolling out".to_owned(),
        Standing::Paused => "PAUSED".to_owned(),
        Standing::Completed => "offered to every device".to_owned(),
        Standing::Halted { worse, of } => {
            let (of, verb) = (
                format::count(*of as usize, "device"),
                format::do_not(*worse as usize),
            );
            format!("HALTED: {worse} of {of} {verb} want it")
        }
        Standing::Aborted => "aborted".to_owned(),
    }
}
