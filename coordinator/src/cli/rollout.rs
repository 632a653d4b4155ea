//! `rollout`: how released students reach the devices.

use common::ids::{Time, Version};
use serde_json::json;

use super::failure::Failure;
use super::list::seconds;
use super::operate::{expect_done, print_json, say, unexpected};
use crate::admin::{Client, Request, Response, RolloutStatus, TaskStatus};
use crate::rollout::{Order, Plan, Standing};
use crate::words::{self, name};

pub(super) fn start(
    client: &mut Client,
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
        eprintln!("next: alambic-coordinator rollout status");
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
    task: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let status = client.status()?;
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
    if tasks.is_empty() {
        println!("no task yet; create one with `alambic-coordinator task create FILE`");
    }
    for task in tasks {
        match &task.rollout {
            Some(rollout) => show(&task.name, rollout, status.now),
            None => println!("{}: no rollout yet", task.name),
        }
        let held: Vec<_> = task
            .held_back()
            .map(|version| version.to_string())
            .collect();
        if !held.is_empty() {
            println!("  not offered to everyone: {}", held.join(", "));
        }
    }
    Ok(())
}

fn show(task: &str, rollout: &RolloutStatus, now: Time) {
    println!(
        "{task}: student {}, {}",
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
        words::count(tally.devices as usize, "device"),
        tally.kept,
        tally.soaking,
        tally.untested,
        tally.worse,
        tally.silent
    );
    for unwanted in &rollout.unwanted_by {
        println!("  {}: {}", name(&unwanted.device), unwanted.trial);
    }
}

fn described(standing: &Standing) -> String {
    match standing {
        Standing::Running => "rolling out".to_owned(),
        Standing::Paused => "PAUSED".to_owned(),
        Standing::Completed => "offered to every device".to_owned(),
        Standing::Halted { worse, of } => {
            let (of, verb) = (
                words::count(*of as usize, "device"),
                words::do_not(*worse as usize),
            );
            format!("HALTED: {worse} of {of} {verb} want it")
        }
        Standing::Aborted => "aborted".to_owned(),
    }
}
