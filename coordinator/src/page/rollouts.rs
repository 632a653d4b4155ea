//! How released students reach the devices.

use maud::{Markup, html};

use super::layout::{self, Tone, pill, tile};
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
                h2 { (task.name) " " code class="quiet" { (task.task.short()) } }
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
    let (tone, word) = standing(&rollout.standing);
    let tally = rollout.tally;
    let worse = if tally.worse > 0 {
        Tone::Bad
    } else {
        Tone::Quiet
    };
    let stages = rollout.plan.stages.len();
    html! {
        p { "Student " strong { (rollout.version) } " " (pill(tone, word)) }
        dl class="tiles" {
            (tile("Stage", &format!("{} of {stages}", rollout.stage), &format!("{} % of the devices", rollout.percent), Tone::Quiet))
            (tile("Keep it", &tally.kept.to_string(), &format!("{} cannot judge it", tally.untested), Tone::Good))
            (tile("Soak it", &tally.soaking.to_string(), &format!("{} have said nothing", tally.silent), Tone::Quiet))
            (tile("Do not want it", &tally.worse.to_string(), &format!("of {} devices", tally.devices), worse))
        }
        p class="quiet" {
            "The stage began " (words::ago(view.status.now, rollout.since)) ". Stages: "
            @for (at, percent) in rollout.plan.stages.iter().enumerate() {
                @if at > 0 { ", " }
                @if at + 1 == rollout.stage { strong { (percent) " %" } } @else { (percent) " %" }
            }
            "."
        }
        @if !rollout.unwanted_by.is_empty() {
            h3 { "Devices that do not want it" }
            ul class="names" {
                @for found in &rollout.unwanted_by {
                    li { (words::name(&found.device)) " " span class="quiet" { (found.trial) } }
                }
            }
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
    let held: Vec<_> = task.releases.iter().filter(|one| one.held).collect();
    html! {
        @if !held.is_empty() {
            p {
                "Not offered to every device: "
                @for (at, release) in held.iter().enumerate() {
                    @if at > 0 { ", " }
                    (release.version)
                }
                ". " code { "alambic-coordinator rollout start VERSION" } " begins a rollout."
            }
        }
    }
}
