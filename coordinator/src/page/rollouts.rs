//! How released students reach the devices.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::layout::{self, Tone, command, pill, tile};
use super::route::Query;
use super::view::View;
use super::words;
use crate::admin::{RolloutStatus, TaskStatus};
use crate::rollout::Standing;

pub(super) fn render(view: &View, _: &Query) -> Markup {
    html! {
        h1 { "Rollouts" }
        p { "A held student is offered to a few devices first. Each tries it on its own rows, before it uses it and once more after the soak, and says whether it keeps it." }
        @if view.status.tasks.is_empty() { (layout::no_task()) }
        @for task in &view.status.tasks {
            section aria-label={ "Task " (task.name) } {
                (layout::task(task))
                @match &task.rollout {
                    Some(rollout) => (one(rollout, view)),
                    None => p class="hint" { "No rollout yet: every student was offered to every device at once, or is held. See " code { "[rollout]" } " in coordinator.toml." },
                }
                (held(task))
            }
        }
    }
}

fn one(rollout: &RolloutStatus, view: &View) -> Markup {
    let (standing_tone, word) = standing(&rollout.standing);
    let tally = rollout.tally;
    let number = |devices: u32| words::number(u64::from(devices));
    let tone = |some: u32, tone| if some > 0 { tone } else { Tone::Quiet };
    html! {
        p { "Student " strong { (rollout.version) } " " (pill(standing_tone, word)) }
        (stages(rollout))
        dl class="tiles" {
            (tile("Keep it", &number(tally.kept), format!("{} more cannot judge it", number(tally.untested)), tone(tally.kept, Tone::Good)))
            (tile("Soak it", &number(tally.soaking), format!("use it, and judge it once more; {} said nothing yet", number(tally.silent)), Tone::Quiet))
            (tile("Do not want it", &number(tally.worse), format!("of {}", words::count(tally.devices as usize, "device")), tone(tally.worse, Tone::Bad)))
        }
        p class="quiet" {
            "The stage began " (words::ago(view.status.now, rollout.since))
            ", and lasts " (words::span(rollout.plan.soak_ms)) " at least. " (next(&rollout.standing))
        }
        @if !rollout.unwanted_by.is_empty() {
            h3 { "Devices that do not want it" }
            ul class="names" {
                @for found in &rollout.unwanted_by {
                    li { a class="plain" href={ "/device?id=" (found.device.device) } { (words::name(&found.device)) } " " span class="quiet" { (found.trial) } }
                }
            }
        }
    }
}

/// The stages in a row: those that are over, the one it is at, those to come.
fn stages(rollout: &RolloutStatus) -> Markup {
    let at = rollout.stage.saturating_sub(1);
    let here = match &rollout.standing {
        Standing::Running => ("now", "now"),
        Standing::Completed => ("over", "over"),
        Standing::Paused => ("now", "paused here"),
        Standing::Halted { .. } => ("bad", "halted here"),
        Standing::Aborted => ("now", "given up here"),
    };
    html! {
        ol class="stages" aria-label="Stages" {
            @for (stage, percent) in rollout.plan.stages.iter().enumerate() {
                @let (class, word) = match stage.cmp(&at) {
                    Ordering::Less => ("over", "over"),
                    Ordering::Equal => here,
                    Ordering::Greater => ("later", "later"),
                };
                li class=(class) aria-current=[(stage == at).then_some("step")] {
                    strong { (percent) "\u{a0}%" } " " span class="quiet" { (word) }
                }
            }
        }
    }
}

/// What an operator can do now.
fn next(standing: &Standing) -> Markup {
    html! {
        @match standing {
            Standing::Running => { "To stop it for a while: " (command("alambic-coordinator rollout pause")) "." },
            Standing::Paused => { "To go on: " (command("alambic-coordinator rollout resume")) "; to give it up: " (command("alambic-coordinator rollout abort")) "." },
            Standing::Halted { .. } | Standing::Aborted => {
                "Devices that use it already go on doing so: " (command("alambic-coordinator rollout rollback"))
                " gives all of them the student before it."
            },
            Standing::Completed => { "To take it back: " (command("alambic-coordinator rollout rollback")) "." },
        }
    }
}

/// A word for where a rollout stands.
pub(super) fn standing(standing: &Standing) -> (Tone, &'static str) {
    match standing {
        Standing::Running => (Tone::Good, "rolling out"),
        Standing::Paused => (Tone::Warn, "paused"),
        Standing::Completed => (Tone::Good, "with everyone"),
        Standing::Halted { .. } => (Tone::Bad, "halted"),
        Standing::Aborted => (Tone::Warn, "aborted"),
    }
}

fn held(task: &TaskStatus) -> Markup {
    let held: Vec<_> = task.held_back().collect();
    html! {
        @if !held.is_empty() {
            p {
                "Not offered to every device: "
                @for (at, version) in held.iter().enumerate() {
                    @if at > 0 { ", " }
                    (version)
                }
                ". " (command("alambic-coordinator rollout start VERSION")) " begins a rollout."
            }
        }
    }
}
