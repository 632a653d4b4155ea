//! How released students reach the devices.

use std::cmp::Ordering;

use common::ids::Time;
use maud::{Markup, html};

use super::layout::{self, Tone, command, pill, tile};
use super::route::Query;
use super::view::View;
use super::words;
use crate::rollout::Standing;
use crate::status::{RolloutStatus, Status, TaskStatus};

pub(super) fn render(view: &View, _: &Query) -> Markup {
    let status = &view.status;
    html! {
        h1 { "Rollouts" }
        p { "A student is offered to a few devices first, then to more. Each tries it on its own rows, before it uses it and once more after a while (the soak), and says whether it keeps it." }
        @if status.tasks.is_empty() { (layout::no_task(status)) }
        @for task in &status.tasks {
            section aria-label={ "Task " (task.name) } {
                (layout::task(task))
                (to_begin(task, status))
                @match &task.rollout {
                    Some(rollout) => (one(rollout, task, status)),
                    None if task.to_begin().is_none() => p class="hint" { "No rollout yet: every student was offered to every device at once. For a few devices first, set " code { "releases" } " under " code { "[rollout]" } " in coordinator.toml." },
                    None => {}
                }
                (never_offered(task))
            }
        }
    }
}

fn one(rollout: &RolloutStatus, task: &TaskStatus, status: &Status) -> Markup {
    let (tone_of_it, word) = standing(rollout, task);
    let tally = rollout.tally;
    let number = |devices: u32| words::number(u64::from(devices));
    let more = |devices: u32, what: &str| match devices {
        0 => String::new(),
        some => format!("{} more {what}", number(some)),
    };
    let trying = match tally.silent {
        0 => "and judge it once more after the soak".to_owned(),
        some => format!(
            "and judge it after the soak; {} said nothing yet",
            number(some)
        ),
    };
    let tone = |some: u32, tone| if some > 0 { tone } else { Tone::Quiet };
    html! {
        p { "Student " strong { (rollout.version) } " " (pill(tone_of_it, word)) }
        p { (told(rollout, task, status)) }
        (stages(rollout))
        @if task.instead().is_none() {
            dl class="tiles" {
                (tile("Keep it", &number(tally.kept), more(tally.untested, "cannot judge it"), tone(tally.kept, Tone::Good)))
                (tile("Evaluating it", &number(tally.soaking), trying, Tone::Quiet))
                (tile("Do not want it", &number(tally.worse), format!("of {}", words::count(tally.devices as usize, "device")), tone(tally.worse, Tone::Bad)))
            }
            p class="quiet" {
                "The stage began " (words::ago(status.now, rollout.since))
                ", and lasts " (words::span(rollout.plan.soak_ms)) " at least. "
            }
        }
        @if !rollout.unwanted_by.is_empty() {
            h3 { "Devices that do not want it" }
            ul class="names" {
                @for found in &rollout.unwanted_by {
                    li { a class="plain" href={ "/device?id=" (found.device.device) } { (words::name(&found.device)) } " " span class="quiet" { (found.evaluation) } }
                }
            }
        }
    }
}

/// Who has the student and who has another, what comes next and when, and what
/// an operator can do.
fn told(rollout: &RolloutStatus, task: &TaskStatus, status: &Status) -> Markup {
    let order = |verb: &str| {
        let which = layout::of_task(task, status);
        command(&format!("alambic-coordinator rollout {verb}{which}"))
    };
    if let Some(instead) = task.instead() {
        return html! { "It is over: every device is offered student " (instead.version) " instead." };
    }
    html! {
        (reach(rollout, task, status)) " "
        @match &rollout.standing {
            Standing::Running => { (next(rollout, status.now)) " To stop it for a while: " (order("pause")) "." },
            Standing::Paused => { "No further device is offered it. To go on: " (order("resume")) "; to give it up: " (order("abort")) "." },
            Standing::Halted { .. } => { "Too many devices do not want it. For the student before it on all devices: " (order("rollback")) "." },
            Standing::Aborted => { "Those that use it go on doing so. For the student before it on all devices: " (order("rollback")) "." },
            Standing::Completed => { "To take it back: " (order("rollback")) "." },
        }
    }
}

/// To how many devices it is offered, and what the others have.
pub(super) fn reach(rollout: &RolloutStatus, task: &TaskStatus, status: &Status) -> String {
    let (all, _) = status.members_of(task);
    let (some, all) = (rollout.tally.devices as usize, all);
    if rollout.percent >= 100 || some >= all {
        return "Every device is offered it.".to_owned();
    }
    let others = match task.offered() {
        Some(before) => format!("the others have student {}", before.version),
        None => "the others have none yet".to_owned(),
    };
    let offered = words::part_are(some, all, "device");
    format!("{offered} offered it, {others}.")
}

/// What a rollout that runs waits for.
pub(super) fn next(rollout: &RolloutStatus, now: Time) -> String {
    let tally = rollout.tally;
    let soaked = rollout.since.after_ms(rollout.plan.soak_ms);
    let then = match rollout.plan.stages.get(rollout.stage) {
        Some(percent) => format!("it is offered to {percent}\u{a0}% of them"),
        None => "it is complete".to_owned(),
    };
    let undecided = (tally.soaking + tally.silent) as usize;
    match soaked.since_ms(now) {
        _ if tally.devices == 0 => {
            "It waits for a device of this stage: none is connected.".to_owned()
        }
        0 if tally.kept + tally.untested == 0 => {
            format!("It goes on by itself: once a device says that it keeps it, {then}.")
        }
        0 => {
            let decided = words::verb(undecided, "device", "decide");
            format!("It goes on by itself: once {decided}, or before long without, {then}.")
        }
        left => {
            let left = words::span(left);
            format!(
                "It goes on by itself: in {left} at the earliest {then}, unless devices do not \
                 want it."
            )
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
    let to_come = match &rollout.standing {
        Standing::Running | Standing::Paused => "later",
        _ => "not reached",
    };
    html! {
        ol class="stages" aria-label="Stages" {
            @for (stage, percent) in rollout.plan.stages.iter().enumerate() {
                @let (class, word) = match stage.cmp(&at) {
                    Ordering::Less => ("over", "over"),
                    Ordering::Equal => here,
                    Ordering::Greater => ("later", to_come),
                };
                li class=(class) aria-current=[(stage == at).then_some("step")] {
                    strong { (percent) "\u{a0}%" } " " span class="quiet" { (word) }
                }
            }
        }
    }
}

/// A word for where a rollout stands.
fn standing(rollout: &RolloutStatus, task: &TaskStatus) -> (Tone, &'static str) {
    match task.instead() {
        Some(_) => (Tone::Quiet, "replaced"),
        None => word(&rollout.standing),
    }
}

/// The same as it was when it came to stand there.
pub(super) fn word(standing: &Standing) -> (Tone, &'static str) {
    match standing {
        Standing::Running => (Tone::Good, "rolling out"),
        Standing::Paused => (Tone::Warn, "paused"),
        Standing::Completed => (Tone::Good, "with everyone"),
        Standing::Halted { .. } => (Tone::Bad, "halted"),
        Standing::Aborted => (Tone::Warn, "given up"),
    }
}

/// A student that waits for an operator.
pub(super) fn to_begin(task: &TaskStatus, status: &Status) -> Markup {
    html! {
        @if let Some(waiting) = task.to_begin() {
            p {
                "Student " strong { (waiting.version) } " is offered to nobody yet. To begin: "
                (command(&format!("alambic-coordinator rollout start {}{}", waiting.version, layout::of_task(task, status)))) "."
            }
        }
    }
}

/// Students that never were offered to everyone, and will not be.
fn never_offered(task: &TaskStatus) -> Markup {
    let begin = task.to_begin().map(|release| release.version);
    let past = task.held_back().filter(|version| Some(*version) != begin);
    let past: Vec<_> = past.map(|version| version.to_string()).collect();
    html! {
        @if !past.is_empty() {
            p class="quiet" { "Never offered to every device: " (past.join(", ")) "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::fleet::tests::fleet;
    use crate::rollout::Tally;
    use crate::status::fixtures::{release, rolling, task};

    /// A fleet of eight with a student on all devices and one that is held.
    fn shown(rollout: Option<RolloutStatus>, more: &[(u64, u64)]) -> String {
        let mut view = fleet(8);
        let more = more
            .iter()
            .map(|(number, round)| release(*number, *round, false));
        let releases = [release(1, 1, false), release(2, 2, true)];
        let releases = releases.into_iter().chain(more);
        view.status.tasks = vec![task(releases.collect(), rollout)];
        view.status.now = Time(60_001);
        let shown = render(&view, &Query::default()).into_string();
        // Commands without the marks by which they break.
        let parts = shown.split('<').filter_map(|part| part.split_once('>'));
        parts.map(|(_, text)| text).collect()
    }

    #[test]
    fn a_rollout_shows_its_devices_and_next_step() {
        let tally = Tally {
            devices: 2,
            soaking: 2,
            ..Tally::default()
        };
        let running = RolloutStatus {
            tally,
            ..rolling(2, Standing::Running)
        };
        let text = shown(Some(running.clone()), &[]);
        for part in [
            "2 of 8\u{a0}devices are offered it, the others have student 1.1.",
            "in 29\u{a0}min at the earliest it is offered to 10\u{a0}% of them",
            "alambic-coordinator rollout pause.",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("rollout start"), "{text}");
        let paused = RolloutStatus {
            standing: Standing::Paused,
            ..running
        };
        let text = shown(Some(paused), &[]);
        assert!(
            text.contains("To go on: alambic-coordinator rollout resume;"),
            "{text}"
        );
        assert!(!text.contains("by itself"), "{text}");
    }

    #[test]
    fn a_student_that_is_held_is_begun_by_its_own_version() {
        let text = shown(None, &[]);
        assert!(
            text.contains("To begin: alambic-coordinator rollout start 1.2."),
            "{text}"
        );
    }

    #[test]
    fn a_rollout_that_was_rolled_back_wants_nothing_any_more() {
        let halted = rolling(2, Standing::Halted { worse: 1, of: 1 });
        let text = shown(Some(halted.clone()), &[]);
        assert!(
            text.contains("alambic-coordinator rollout rollback."),
            "{text}"
        );
        let text = shown(Some(halted), &[(3, 1)]);
        assert!(
            text.contains("every device is offered student 1.3 instead"),
            "{text}"
        );
        assert!(!text.contains("alambic-coordinator"), "{text}");
    }
}
