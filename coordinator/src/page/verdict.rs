//! How the fleet is, in a few words, and what wants a person's eye.

use common::round::Phase;
use maud::{Markup, html};

use super::delay::Delay;
use super::expiry::Holder;
use super::layout::{Tone, command, pill};
use super::view::{Health, View};
use super::words;
use crate::admin::{DeviceStatus, OutcomeStatus, Standing, Status, TaskStatus};
use crate::rollout;

/// With a larger share of the members away, the fleet is not well.
const AWAY_BAD: f64 = 0.4;
/// Up to this share away, nobody has to look: phones sleep.
const AWAY_USUAL: f64 = 0.1;

/// Something that wants a person's eye, and the room to look in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concern {
    pub(super) tone: Tone,
    /// A few words, such as `Storage fails`.
    pub(super) head: String,
    /// What it means and what to do.
    pub(super) text: String,
    /// What to type for that.
    pub(super) command: Option<&'static str>,
    pub(super) room: &'static str,
}

impl Concern {
    fn new(
        tone: Tone,
        head: impl Into<String>,
        text: impl Into<String>,
        room: &'static str,
    ) -> Self {
        Self {
            tone,
            head: head.into(),
            text: text.into(),
            command: None,
            room,
        }
    }

    fn with(self, command: &'static str) -> Self {
        Self {
            command: Some(command),
            ..self
        }
    }

    /// What following it shows.
    fn link(&self) -> &'static str {
        match self.room {
            "/rounds" => "Rounds",
            "/students" => "Students",
            "/rollouts" => "Rollouts",
            "/certificates" => "Certificates",
            "/health" => "Health",
            _ => "Show which",
        }
    }
}

/// What wants an eye, the worst first.
pub(super) fn concerns(view: &View) -> Vec<Concern> {
    let mut found = Vec::new();
    of_coordinator(&mut found, &view.status, &view.health);
    for task in &view.status.tasks {
        of_round(&mut found, task, &view.status);
        of_task(&mut found, task);
    }
    of_devices(&mut found, &view.status);
    found.sort_by_key(|concern| std::cmp::Reverse(concern.tone));
    found
}

fn of_coordinator(found: &mut Vec<Concern>, status: &Status, health: &Health) {
    if !status.storage_ok {
        let text =
            "Nothing is taken from devices until it is mended; the coordinator's log says why.";
        found.push(Concern::new(Tone::Bad, "Storage fails", text, "/health"));
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
            found.push(Concern::new(
                tone,
                "The disk is nearly full",
                text,
                "/health",
            ));
        }
    }
    let authority = health.authority.and_then(|one| one.ends);
    let charter = health.charter.as_ref().map(|one| one.expires);
    for (what, holder, ends, mend, command) in [
        (
            "server's certificate",
            Holder::Server,
            health.certificate_ends,
            "A restart of the coordinator renews it.",
            None,
        ),
        (
            "fleet authority",
            Holder::Authority,
            authority,
            "Exchange it:",
            Some("alambic-coordinator ca rotate"),
        ),
        (
            "charter of release keys",
            Holder::Charter,
            charter,
            "Renew it:",
            Some("alambic-coordinator key renew"),
        ),
    ] {
        let Some(ends) = ends else { continue };
        let Some(tone) = holder.ending(ends, status.now) else {
            continue;
        };
        let (head, text) = match ends.since_ms(status.now) {
            0 => (format!("The {what} is over"), mend.to_owned()),
            left => (
                format!("The {what} ends soon"),
                format!("{} left. {mend}", words::span(left)),
            ),
        };
        let concern = Concern::new(tone, head, text, "/certificates");
        found.push(Concern { command, ..concern });
    }
}

fn of_round(found: &mut Vec<Concern>, task: &TaskStatus, status: &Status) {
    if let Some(round) = &task.round
        && let Some(delay) = Delay::of(task, round, status)
    {
        let head = format!("Round {} of {} {}", round.round, task.name, delay.word());
        found.push(Concern::new(Tone::Warn, head, delay.told(), "/rounds"));
    }
}

fn of_task(found: &mut Vec<Concern>, task: &TaskStatus) {
    let name = &task.name;
    let mut add = |tone, head: String, text: String, room| {
        found.push(Concern::new(tone, head, text, room));
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

/// How it is that so many of the members are connected, unless that is usual.
pub(super) fn away(connected: usize, all: usize) -> Option<Tone> {
    let away = all.saturating_sub(connected);
    match away as f64 / all.max(1) as f64 {
        share if share < AWAY_USUAL => None,
        // One device of two or three is no reason for an alarm.
        share if share <= AWAY_BAD || (away == 1 && all > 1) => Some(Tone::Warn),
        _ => Some(Tone::Bad),
    }
}

fn of_devices(found: &mut Vec<Concern>, status: &Status) {
    let count = |is: &dyn Fn(&DeviceStatus) -> bool| {
        status.devices.iter().filter(|device| is(device)).count()
    };
    let (all, connected) = status.members();
    let missing = all - connected;
    if let Some(tone) = away(connected, all) {
        let head = match (missing, all) {
            (1, 1) => "The only device is away".to_owned(),
            _ if connected == 0 => format!("All {} are away", words::count(all, "device")),
            _ => format!("{} away", words::part_are(missing, all, "device")),
        };
        let text = match (tone, missing) {
            (Tone::Bad, 2..) => "More often the network's fault than the devices'.",
            (_, 1) => "It keeps its student, and what it has to say.",
            _ => "They keep their student, and what they have to say.",
        };
        found.push(Concern::new(tone, head, text, "/?state=away#devices"));
    }
    let waiting = count(&|one| one.standing == Standing::Waiting);
    if waiting > 0 {
        let head = format!("{} for approval", words::verb(waiting, "device", "wait"));
        let text = if waiting == 1 {
            "Let it in:"
        } else {
            "Let them in:"
        };
        let room = "/?state=waiting#devices";
        let concern = Concern::new(Tone::Warn, head, text, room);
        found.push(concern.with("alambic-coordinator device approve ID"));
    }
    let struck = count(&|one| one.strikes > 0 && !one.revoked);
    if struck > 0 {
        let head = format!("{} sent what was refused", words::count(struck, "device"));
        let text = "For a fault no honest device makes: update the device, or revoke it.";
        let room = "/?state=refused#devices";
        found.push(Concern::new(Tone::Warn, head, text, room));
    }
    let ends = |one: &DeviceStatus| {
        let end = one.expires.filter(|_| one.standing == Standing::Member);
        end.is_some_and(|end| Holder::Device.ending(end, status.now).is_some())
    };
    let ending = count(&ends);
    if ending > 0 {
        let head = match ending {
            1 => "The certificate of 1\u{a0}device ends".to_owned(),
            _ => format!("The certificates of {} end", words::count(ending, "device")),
        };
        let text = "Within a week, or are over. Devices renew theirs when they connect.";
        found.push(Concern::new(Tone::Warn, head, text, "/certificates"));
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
                            span { (concern.text) @if let Some(text) = concern.command { " " (command(text)) "." } } " "
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
        [_, ..] => format!("{} things want a look", concerns.len()),
        [] if members == 0 => "Waiting for devices".to_owned(),
        [] if status.tasks.is_empty() => "Waiting for a task".to_owned(),
        [] => "All is well".to_owned(),
    }
}

fn happening(status: &Status, all: usize, connected: usize) -> Markup {
    html! {
        @if all == 0 {
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
        @for task in &status.tasks {
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
                (command("alambic-coordinator round start --watch")) ". "
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

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::fleet::tests::fleet;

    #[test]
    fn one_device_of_two_is_a_warning_in_its_own_numbers() {
        let told = |view: &View| concerns(view).remove(0);
        let mut view = fleet(2);
        let one = told(&view);
        assert_eq!(one.head, "1 of 2\u{a0}devices is away");
        assert_eq!(one.tone, Tone::Warn);
        view.status.devices[1].connected = false;
        let all = told(&view);
        assert_eq!(all.head, "All 2\u{a0}devices are away");
        assert_eq!(all.tone, Tone::Bad);
        assert_eq!(told(&fleet(1)).head, "The only device is away");
        assert_eq!(away(20, 21), None);
    }
}
