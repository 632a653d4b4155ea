//! Alerts about a task: its rounds, contributions, students and rollout.

use super::{Alert, ONE_DEVICE};
use crate::page::delay::Delay;
use crate::page::fleet::NOTHING;
use crate::page::layout::{self, Tone};
use crate::page::words;
use crate::rollout;
use crate::status::{
    AbsenceReason, DeviceName, OddKind, OutcomeStatus, ReportSummary, RoundStatus, Status,
    TaskStatus,
};

pub(super) fn of_round(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    if let Some(round) = &task.round
        && let Some(delay) = Delay::of(task, round, status)
    {
        let head = format!("Round {} of {} {}", round.round, task.name, delay.word());
        found.push(Alert::new(Tone::Warn, head, delay.told(), "/rounds"));
    }
}

pub(super) fn of_task(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let name = &task.name;
    let mut add = |tone, head: String, text: String, room| {
        found.push(Alert::new(tone, head, text, room));
    };
    // A standing task's next round opens at once, and waits longer.
    let waits = |round: &RoundStatus| round.standing.is_none();
    if !task.round.as_ref().is_some_and(waits)
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
    if let Some((newest, best)) = fall(task) {
        add(
            Tone::Warn,
            format!("The newest student of {name} is worse"),
            format!("On the devices' rows it has {newest}; an earlier one {best}."),
            "/students",
        );
    }
    of_withheld(found, task);
    of_excluded(found, task);
    of_unheard(found, task);
    of_odd(found, task);
    of_verdict(found, task, status);
    of_rollout(found, task, status);
}

/// What devices say of the newest student: all is not well with one that they
/// do not want, that is worse, or that nobody could judge.
fn of_verdict(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let Some(newest) = task.releases.last() else {
        return;
    };
    let (name, version, evaluations) = (&task.name, newest.version, task.evaluations);
    let rollback = format!(
        "alambic-coordinator rollout rollback{}",
        layout::of_task(task, status)
    );
    let is_rolling = task
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.version == version);
    if evaluations.worse > 0 && !is_rolling {
        let judged = evaluations.soaking + evaluations.kept + evaluations.worse;
        let who = words::do_not(evaluations.worse as usize, judged as usize, "device");
        let (tone, what, more) = match (evaluations.is_unwanted(), newest.held) {
            (true, true) => (
                Tone::Bad,
                "is halted",
                " It is offered to nobody any more. For the one before it on all devices:",
            ),
            (true, false) => (
                Tone::Bad,
                "is refused",
                " For the one before it on all devices:",
            ),
            (false, _) => (
                Tone::Warn,
                "is refused by some",
                " If more follow, for the one before it:",
            ),
        };
        let head = format!("Student {version} of {name} {what}");
        let text = format!("{who} want it.{more}");
        found.push(Alert::new(tone, head, text, "/students").with(rollback.clone()));
    }
    if let Some(report) = newest.report
        && let Some(previous) = report.reached_before()
        && report.worse
    {
        let head = format!("Student {version} of {name} is worse");
        let text = format!(
            "On the devices' rows it has {}, the one before it {}, which is more than chance. For \
             that one on all devices:",
            report.reached(),
            previous,
        );
        found.push(Alert::new(Tone::Bad, head, text, "/students").with(rollback));
    }
    let is_judged =
        newest.report.is_some() || evaluations.soaking + evaluations.kept + evaluations.worse > 0;
    let is_of_last = task.history.last().is_some_and(
        |last| matches!(last.outcome, OutcomeStatus::Completed { version: of } if of == version),
    );
    if task.round.is_none() && is_of_last && !is_judged && !newest.held {
        let head = format!("Nobody could judge student {version} of {name}");
        let text = "No device has tried it on labelled rows that it kept aside. Until one does, \
                    nobody knows what it is good for.";
        found.push(Alert::new(Tone::Warn, head, text, "/students"));
    }
}

/// Devices that give nothing though nobody keeps it back: all is not well
/// with a fleet that learns from a few of them.
fn of_withheld(found: &mut Vec<Alert>, task: &TaskStatus) {
    let faults = task.withheld.iter().filter(|one| one.reason.is_a_fault());
    let faults: Vec<_> = faults.collect();
    // Those that said no reason, in the newest round.
    let said = |device: &DeviceName| task.withheld.iter().any(|one| one.device == *device);
    let absent = task
        .history
        .last()
        .into_iter()
        .flat_map(|ended| &ended.absent);
    let silent =
        absent.filter(|absent| absent.why == AbsenceReason::Abstained && !said(&absent.device));
    let silent: Vec<_> = silent.collect();
    let name = |device: &DeviceName| match device.label.as_str() {
        "" => device.device.short(),
        label => label.to_owned(),
    };
    let count = faults.len() + silent.len();
    let first = match (faults.first(), silent.first()) {
        (Some(first), _) => format!("{}: {}", name(&first.device), first.text),
        (None, Some(first)) => format!("{} does not say why", name(&first.device)),
        (None, None) => return,
    };
    let head = match count {
        1 => format!("A device gives nothing to {}, or less", task.name),
        count => format!("{count} devices give nothing to {}, or less", task.name),
    };
    let text = match count {
        1 => format!("{first}."),
        _ => format!("The first is {first}."),
    };
    let room = match (faults.as_slice(), silent.as_slice()) {
        ([only], []) => format!("{ONE_DEVICE}{}", only.device.device),
        (_, []) => format!("/?state={NOTHING}#devices"),
        _ => "/rounds".to_owned(),
    };
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// Devices whose contributions were left out, for what they say against all
/// others. That is an attack, a fault of a sensor or of its labels, or data
/// of a kind that no other device has: a person has to tell.
fn of_excluded(found: &mut Vec<Alert>, task: &TaskStatus) {
    let mut devices: Vec<_> = task.excluded.iter().collect();
    devices.dedup_by_key(|one| one.device.device);
    let Some(first) = devices.first() else {
        return;
    };
    let name = match first.device.label.as_str() {
        "" => first.device.device.short(),
        label => label.to_owned(),
    };
    let (head, text, room) = match devices.len() {
        1 => (
            match first.why.is_of_a_part() {
                true => format!("Samples of {name} are left out of {}", task.name),
                false => format!("{name} is left out of {}", task.name),
            },
            format!("Its {}: {}.", first.kind, first.text),
            format!("{ONE_DEVICE}{}", first.device.device),
        ),
        count => (
            format!("{count} devices are left out of {}", task.name),
            format!("The first is {name}, its {}: {}.", first.kind, first.text),
            "/rounds".to_owned(),
        ),
    };
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// Devices whose data is unlike the others': a sensor in another unit teaches
/// wrongly without a word. That one device alone speaks of a class is no alarm
/// by itself.
fn of_odd(found: &mut Vec<Alert>, task: &TaskStatus) {
    let alarming: Vec<_> = { task.odd.iter() }
        .filter(|one| one.kind != OddKind::Alone)
        .collect();
    let Some(first) = alarming.first() else {
        return;
    };
    let name = match first.device.label.as_str() {
        "" => first.device.device.short(),
        label => label.to_owned(),
    };
    let head = match alarming.len() {
        1 => format!("Odd data in {}: {name}", task.name),
        many => format!("Odd data in {}: {many} findings", task.name),
    };
    let text = format!(
        "{name}: {}. `alambic-agent data check` on the device shows its columns; units and scales \
         stand under [data] in its agent.toml.",
        first.text()
    );
    let room = format!("{ONE_DEVICE}{}", first.device.device);
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// A class that no device has rows enough to speak of: whoever sees it gets
/// another class for an answer, and no held-out row says so.
fn of_unheard(found: &mut Vec<Alert>, task: &TaskStatus) {
    if task.unheard.is_empty() {
        return;
    }
    let head = format!(
        "No device speaks of {} in {}",
        crate::status::format::names(&task.unheard),
        task.name
    );
    let text = "Students never answer it, and their accuracy does not count it. A device says \
                nothing of a class with fewer rows than its policy asks for.";
    found.push(Alert::new(Tone::Warn, head, text, "/students"));
}

fn of_rollout(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let Some(rollout) = task.rollout.as_ref().filter(|_| task.instead().is_none()) else {
        return;
    };
    let (name, which) = (&task.name, layout::of_task(task, status));
    let mut add = |tone, how: &str, text: String, verb: &str| {
        let head = format!("The rollout of {name} {} {how}", rollout.version);
        let command = format!("alambic-coordinator rollout {verb}{which}");
        found.push(Alert::new(tone, head, text, "/rollouts").with(command));
    };
    match &rollout.standing {
        rollout::Standing::Halted { worse, of } => {
            let who = words::do_not(*worse as usize, *of as usize, "device");
            let text = format!("{who} want the student. For the one before it on all devices:");
            add(Tone::Bad, "has halted", text, "rollback");
        }
        rollout::Standing::Paused => {
            let text = "No further device is offered it. To go on:".to_owned();
            add(Tone::Warn, "is paused", text, "resume");
        }
        _ => {}
    }
}

/// What the newest student that was tried reaches and what the best did, if
/// that is a tenth more, or its error a tenth less.
pub(in crate::page) fn fall(task: &TaskStatus) -> Option<(String, String)> {
    let reports = task.releases.iter().filter_map(|one| one.report);
    // The more the better: of errors their inverse.
    let worth = |report: &ReportSummary| {
        let error = report
            .error
            .map(|error| 1.0 / error.rmse.max(f64::MIN_POSITIVE));
        report.accuracy.or(error)
    };
    let measured: Vec<(f64, ReportSummary)> = reports
        .filter_map(|report| Some((worth(&report)?, report)))
        .collect();
    let best = measured
        .iter()
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let newest = measured.last()?;
    (newest.0 < 0.9 * best.0).then(|| (newest.1.reached(), best.1.reached()))
}
