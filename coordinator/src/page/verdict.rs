//! How the fleet is, in a few words, and what wants a person's eye.

use common::ids::Time;
use common::round::Phase;
use maud::{Markup, html};

use super::layout::{Tone, pill};
use super::view::{Health, View};
use super::words;
use crate::admin::{DeviceStatus, OutcomeStatus, Standing, Status, TaskStatus};
use crate::rollout;

const DAY_MS: u64 = 24 * 3_600_000;
/// With a larger share of the members away, the fleet is not well.
const AWAY_BAD: f64 = 0.4;
/// Up to this share away, nobody has to look: phones sleep.
const AWAY_USUAL: f64 = 0.1;
/// A device's certificate is renewed from half of its 30 days on.
const DEVICE_DAYS_MIN: u64 = 7;
const SERVER_DAYS_MIN: u64 = 14;

/// Something that wants a person's eye, and the room to look in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concern {
    pub(super) tone: Tone,
    /// A few words, such as `Storage fails`.
    pub(super) head: String,
    /// What it means and what to do.
    pub(super) text: String,
    pub(super) room: &'static str,
}

impl Concern {
    /// What following it shows.
    fn link(&self) -> &'static str {
        match self.room {
            "/rounds" => "Rounds",
            "/students" => "Students",
            "/rollouts" => "Rollouts",
            "/certificates" => "Certificates",
            "/health" => "Health",
            _ => "Show them",
        }
    }
}

/// What wants an eye, the worst first.
pub(super) fn concerns(view: &View) -> Vec<Concern> {
    let mut found = Vec::new();
    of_coordinator(&mut found, &view.status, &view.health);
    for task in &view.status.tasks {
        of_task(&mut found, task);
    }
    of_devices(&mut found, &view.status);
    found.sort_by_key(|concern| std::cmp::Reverse(concern.tone));
    found
}

fn of_coordinator(found: &mut Vec<Concern>, status: &Status, health: &Health) {
    let mut add = |tone, head: &str, text: String, room| {
        let head = head.to_owned();
        found.push(Concern {
            tone,
            head,
            text,
            room,
        });
    };
    if !status.storage_ok {
        let text =
            "Nothing is taken from devices until it is mended; the coordinator's log says why.";
        add(Tone::Bad, "Storage fails", text.to_owned(), "/health");
    }
    if let (Some(free), Some(total)) = (health.disk_free, health.disk_total) {
        let share = free as f64 / total.max(1) as f64;
        let tone = match share {
            share if share < 0.03 => Some(Tone::Bad),
            share if share < 0.10 => Some(Tone::Warn),
            _ => None,
        };
        if let Some(tone) = tone {
            let text = format!("{} are free.", words::bytes(free));
            add(tone, "The disk is nearly full", text, "/health");
        }
    }
    for (what, ends, mend) in [
        (
            "server's",
            health.certificate_ends,
            "Restart the coordinator.",
        ),
        (
            "authority's",
            health.authority.and_then(|one| one.ends),
            "Exchange it: alambic-coordinator ca rotate",
        ),
        (
            "release keys'",
            health.charter.as_ref().map(|one| one.expires),
            "Renew them: alambic-coordinator key renew",
        ),
    ] {
        let Some(ends) = ends else { continue };
        let Some(tone) = ending(ends, status.now, SERVER_DAYS_MIN) else {
            continue;
        };
        let head = match tone {
            Tone::Bad => format!("The {what} certificate is over"),
            _ => format!("The {what} certificate ends soon"),
        };
        let text = format!("{} left. {mend}", words::span(ends.since_ms(status.now)));
        add(tone, &head, text, "/certificates");
    }
}

/// Whether an end is near enough to speak of.
pub(super) fn ending(ends: Time, now: Time, days_min: u64) -> Option<Tone> {
    match ends.since_ms(now) {
        0 => Some(Tone::Bad),
        left if left < days_min * DAY_MS => Some(Tone::Warn),
        _ => None,
    }
}

fn of_task(found: &mut Vec<Concern>, task: &TaskStatus) {
    let name = &task.name;
    let mut add = |tone, head: String, text: String, room| {
        found.push(Concern {
            tone,
            head,
            text,
            room,
        });
    };
    if task.round.is_none()
        && let Some(last) = task.history.last()
    {
        match &last.outcome {
            OutcomeStatus::Failed { phase, cause } => add(
                Tone::Bad,
                format!("The last round of {name} failed"),
                format!("In the {phase} phase: {cause}."),
                "/rounds",
            ),
            OutcomeStatus::QuorumNotMet { phase, got, needed } => add(
                Tone::Warn,
                format!("The last round of {name} had too few devices"),
                format!("{got} of the {needed} needed answered in the {phase} phase."),
                "/rounds",
            ),
            _ => {}
        }
    }
    if let Some(rollout) = &task.rollout {
        match &rollout.standing {
            rollout::Standing::Halted { worse, of } => add(
                Tone::Bad,
                format!("The rollout of {name} {} has halted", rollout.version),
                format!(
                    "{} want the student.",
                    words::do_not(*worse as usize, *of as usize, "device")
                ),
                "/rollouts",
            ),
            rollout::Standing::Paused => add(
                Tone::Warn,
                format!("The rollout of {name} {} is paused", rollout.version),
                "No further device is offered it.".to_owned(),
                "/rollouts",
            ),
            _ => {}
        }
    }
    if let Some((newest, best)) = fall(task) {
        add(
            Tone::Warn,
            format!("The newest student of {name} is worse"),
            format!(
                "It answers {} of the devices' rows right; an earlier one {}.",
                words::percent(newest),
                words::percent(best)
            ),
            "/students",
        );
    }
}

/// What the newest student that was tried reaches and what the best did, if
/// that is a tenth more.
pub(super) fn fall(task: &TaskStatus) -> Option<(f64, f64)> {
    let reports = task.releases.iter().filter_map(|one| one.report);
    let accuracies: Vec<f64> = reports.map(|report| report.accuracy).collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let newest = *accuracies.last()?;
    (newest < 0.9 * best).then_some((newest, best))
}

fn of_devices(found: &mut Vec<Concern>, status: &Status) {
    let count = |is: &dyn Fn(&DeviceStatus) -> bool| {
        status.devices.iter().filter(|device| is(device)).count()
    };
    let mut add = |tone, head: String, text: &str, room| {
        let text = text.to_owned();
        found.push(Concern {
            tone,
            head,
            text,
            room,
        });
    };
    let (all, connected) = status.members();
    let away = all - connected;
    let share = away as f64 / all.max(1) as f64;
    if share >= AWAY_USUAL {
        let text = "They keep their student, and what they have to say.";
        match share > AWAY_BAD {
            true => add(
                Tone::Bad,
                format!("{} of {} away", away, words::are(all, "device")),
                "A network's fault more often than the devices'.",
                "/?state=away",
            ),
            false => add(
                Tone::Warn,
                format!("{} away", words::are(away, "device")),
                text,
                "/?state=away",
            ),
        }
    }
    let waiting = count(&|one| one.standing == Standing::Waiting);
    if waiting > 0 {
        let head = format!("{} for approval", words::verb(waiting, "device", "wait"));
        add(
            Tone::Warn,
            head,
            "Let them in with alambic-coordinator device approve ID.",
            "/?state=waiting",
        );
    }
    let struck = count(&|one| one.strikes > 0 && !one.revoked);
    if struck > 0 {
        let head = format!("{} sent what was refused", words::count(struck, "device"));
        let text = "For a fault no honest device makes: update the device, or revoke it.";
        add(Tone::Warn, head, text, "/?state=refused");
    }
    let ends = |one: &DeviceStatus| {
        one.standing == Standing::Member
            && one
                .expires
                .is_some_and(|end| ending(end, status.now, DEVICE_DAYS_MIN).is_some())
    };
    let ending = count(&ends);
    if ending > 0 {
        let head = format!("Certificates of {} end", words::count(ending, "device"));
        let text = "Within a week, or are over. They renew when the devices connect.";
        add(Tone::Warn, head, text, "/certificates");
    }
}

/// The verdict in one line, what happens in the next, and what to look at.
pub(super) fn show(view: &View) -> Markup {
    let status = &view.status;
    let concerns = concerns(view);
    let (all, connected) = status.members();
    let tone = concerns.first().map_or_else(
        || match all == 0 || status.tasks.is_empty() {
            true => Tone::Quiet,
            false => Tone::Good,
        },
        |worst| worst.tone,
    );
    html! {
        section class={ "hero " (tone.class()) } aria-label="Verdict" {
            p class="lead" { (pill(tone, &head(&concerns, all, status))) }
            p { (happening(status, all, connected)) }
            @if !concerns.is_empty() {
                ul class="concerns" {
                    @for concern in &concerns {
                        li {
                            // A single one is the verdict, just above.
                            @if concerns.len() > 1 { (pill(concern.tone, &concern.head)) " " }
                            span { (concern.text) } " "
                            a class="go" href=(concern.room) { (concern.link()) span class="unseen" { ": " (concern.head) } }
                        }
                    }
                }
            }
        }
    }
}

fn head(concerns: &[Concern], members: usize, status: &Status) -> String {
    match concerns {
        [only] => only.head.clone(),
        [worst, rest @ ..] if worst.tone == Tone::Bad => {
            format!("{}, and {} more to look at", worst.head, rest.len())
        }
        [_, ..] => format!("The fleet works; {} things want a look", concerns.len()),
        [] if members == 0 => "Waiting for devices".to_owned(),
        [] if status.tasks.is_empty() => "Waiting for a task".to_owned(),
        [] => "All is well".to_owned(),
    }
}

fn happening(status: &Status, all: usize, connected: usize) -> Markup {
    html! {
        @if all == 0 {
            "No device has joined. Make a token with " code { "alambic-coordinator token create" }
            " and enrol one with it. "
        } @else if connected == all {
            @if all == 1 { "The only device is connected. " }
            @else { "All " (words::count(all, "device")) " are connected. " }
        } @else {
            (words::number(connected as u64)) " of " (words::count(all, "device")) " are connected. "
        }
        @for task in &status.tasks {
            @match &task.round {
                Some(round) => {
                    "Round " (round.round) " of " strong { (task.name) } " is running"
                    @if let Some(phase) = round.phase {
                        ": " (doing(phase))
                        @if phase.gathers() {
                            ", " (round.contributed.len()) " of " (round.participants.len()) " are in"
                        }
                    }
                    ". "
                }
                None => (last_round(task, status)),
            }
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
                code { "alambic-coordinator round start --watch" } ". "
            }
            Some(ended) => {
                "Round " (ended.round) " of " strong { (task.name) } " "
                @match &ended.outcome {
                    OutcomeStatus::Completed { version } => {
                        "was completed " (words::ago(status.now, ended.ended))
                        " with student " (version)
                        @if let Some(report) = ended.report {
                            ", which is right on " (words::percent(report.accuracy)) " of what devices kept aside"
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
