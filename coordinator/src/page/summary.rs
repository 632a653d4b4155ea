//! How the fleet is, in a few words.

use common::round::Phase;
use maud::{Markup, html};

use super::alert::{Alert, alerts};
use super::delay::Delay;
use super::layout::{self, Tone, command, pill};
use super::rollouts;
use super::view::View;
use super::words;
use crate::rollout;
use crate::status::{OutcomeStatus, Status, TaskStatus};

/// The summary in one line, what happens in the next, and what to look at.
pub(super) fn show(view: &View) -> Markup {
    let status = &view.status;
    let alerts = alerts(view);
    let (all, connected) = status.members();
    let tone = alerts.first().map_or_else(
        || match all == 0 || status.tasks.is_empty() {
            true => Tone::Quiet,
            false => Tone::Good,
        },
        |worst| worst.tone,
    );
    html! {
        section class={ "hero " (tone.class()) } aria-label="Summary" {
            p class="lead" { (pill(tone, &head(&alerts, all, status))) }
            p { (happening(status, all, connected)) }
            @if !alerts.is_empty() {
                ul class="alerts" {
                    @for alert in &alerts {
                        li {
                            // A single one is the summary, just above.
                            @if alerts.len() > 1 { (pill(alert.tone, &alert.head)) " " }
                            span { (alert.text) @if let Some(text) = &alert.command { " " (command(text)) "." } } " "
                            a class="go" href=(alert.room) { (alert.link()) span class="unseen" { ": " (alert.head) } }
                        }
                    }
                }
            }
        }
    }
}

fn head(alerts: &[Alert], members: usize, status: &Status) -> String {
    match alerts {
        [only] => only.head.clone(),
        [worst, rest @ ..] if worst.tone == Tone::Bad => {
            format!("{}, and {} more to look at", worst.head, rest.len())
        }
        [_, ..] => format!("{} things want a look", alerts.len()),
        [] if members == 0 => "Waiting for devices".to_owned(),
        [] if status.tasks.is_empty() => "Waiting for a task".to_owned(),
        [] => "All is well".to_owned(),
    }
}

fn happening(status: &Status, all: usize, connected: usize) -> Markup {
    html! {
        @if !status.state_known {
            (layout::UNKNOWN)
        } @else if all == 0 {
            "No device has joined. Make a token with " (command("alambic-coordinator token create"))
            " and enrol one with it. "
        } @else if connected == all {
            @if all == 1 { "The only device is connected. " }
            @else { "All " (words::count(all, "device")) " are connected. " }
        } @else if connected == 0 {
            "No device is connected. "
        } @else {
            (words::part_are(connected, all, "device")) " connected. "
        }
        @for task in status.tasks.iter().filter(|task| task.archived.is_none()) {
            @match &task.round {
                Some(round) => {
                    @let delay = Delay::of(task, round, status);
                    "Round " (round.round) " of " strong { (task.name) } " "
                    (delay.map_or("is running", Delay::word))
                    @if let Some(phase) = round.phase {
                        @if delay.is_some() { " in its " (phase) " phase" } @else { ": " (doing(phase)) }
                        @if phase.gathers() && !round.participants.is_empty() {
                            ", " (words::part_are(round.contributed.len(), round.participants.len(), "device")) " in"
                        }
                    }
                    ". "
                }
                None => (last_round(task, status)),
            }
            (coming(task, status))
        }
    }
}

/// The student that is on its way to the devices, or waits to be sent.
fn coming(task: &TaskStatus, status: &Status) -> Markup {
    let rollout = task.rollout.as_ref();
    let running = rollout.filter(|rollout| rollout.standing == rollout::Standing::Running);
    html! {
        @if let Some(rollout) = running {
            "Student " (rollout.version) " is rolling out. "
            (rollouts::reach(rollout, task, status)) " "
            a class="go" href="/rollouts" { "Rollouts" } " "
        }
        @if let Some(waiting) = task.to_begin() {
            "Student " (waiting.version) " is offered to nobody until you begin: "
            (command(&format!("alambic-coordinator rollout start {}{}", waiting.version, layout::of_task(task, status)))) ". "
        }
    }
}

/// What happens in a phase, to someone who has never heard of it.
pub(super) fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Profile => "devices describe the scale of their data",
        Phase::Summarise => "devices send synthetic points",
        Phase::Contribute => "devices label the shared points",
        Phase::Solve => "the teacher is solved",
        Phase::Distil => "the student learns from the teacher",
        Phase::Release => "the student is signed",
        Phase::Report => "devices try the student",
    }
}

fn last_round(task: &TaskStatus, status: &Status) -> Markup {
    html! {
        @match task.history.last() {
            None => {
                "No round of " strong { (task.name) } " has run yet: "
                (command(&format!("alambic-coordinator round start{} --watch", layout::of_task(task, status)))) ". "
            }
            Some(ended) => {
                "Round " (ended.round) " of " strong { (task.name) } " "
                @match &ended.outcome {
                    OutcomeStatus::Completed { version } => {
                        "was completed " (words::ago(status.now, ended.ended))
                        " with student " (version)
                        @if let Some(report) = ended.report {
                            @if let Some(accuracy) = report.accuracy {
                                ", which is right on " (words::percent(accuracy)) " of what devices kept aside"
                            } @else {
                                ", which has " (report.reached()) " on what devices kept aside"
                            }
                        }
                        ". "
                    }
                    OutcomeStatus::QuorumNotMet { .. } => { "ended without a student for want of devices " (words::ago(status.now, ended.ended)) ". " }
                    OutcomeStatus::Failed { .. } => { "failed " (words::ago(status.now, ended.ended)) ". " }
                    OutcomeStatus::Cancelled => { "was cancelled " (words::ago(status.now, ended.ended)) ". " }
                }
            }
        }
    }
}
