//! The fleet: one sentence that says how it is, and every device.

mod devices;

use common::ids::Time;
use maud::{Markup, html};

use super::alert;
use super::delay::Delay;
use super::layout::{self, Tone, tile};
use super::route::Query;
use super::summary;
use super::view::View;
use super::words;
use crate::rollout;
use crate::status::{
    DeviceStatus, OutcomeStatus, ReleaseStatus, ReportSummary, Standing, Status, TaskStatus, format,
};
use devices::devices;

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let status = &view.status;
    html! {
        h1 class="unseen" { "Fleet" }
        (summary::show(view))
        @if status.state_known && (!status.devices.is_empty() || !status.tasks.is_empty()) {
            dl class="tiles" {
                (connected_tile(status))
                (gateways_tile(status))
                @for task in &status.tasks { (task_tiles(task, status)) }
                (last_contribution(status))
            }
        }
        @if status.tasks.is_empty() { (layout::no_task(status)) }
        @if status.state_known && !status.devices.is_empty() { (devices(status, query)) }
    }
}

fn connected_tile(status: &Status) -> Markup {
    let (all, connected) = status.members();
    let others = status.devices.len() - all;
    let mut details = Vec::new();
    if connected < all {
        details.push(format!("{} away", words::number((all - connected) as u64)));
    }
    if others > 0 {
        details.push(format!("{} more not members", words::number(others as u64)));
    }
    let tone = match all {
        0 => Tone::Quiet,
        _ => alert::away(connected, all).unwrap_or(Tone::Good),
    };
    let figure = format!(
        "{} of {}",
        words::number(connected as u64),
        words::number(all as u64)
    );
    tile("Devices connected", &figure, details.join(", "), tone)
}

/// How many gateways pass devices on, where the fleet has any.
fn gateways_tile(status: &Status) -> Markup {
    let (mut all, mut connected, mut saved) = (0, 0, 0);
    for gateway in status.gateways.iter().filter(|one| !one.revoked) {
        all += 1;
        if let Some(link) = gateway.link {
            connected += 1;
            saved += link.served_bytes.saturating_sub(link.fetched_bytes);
        }
    }
    let tone = if connected < all {
        Tone::Warn
    } else {
        Tone::Good
    };
    let figure = format!("{connected} of {all}");
    html! {
        @if all > 0 {
            (tile("Gateways connected", &figure, format!("{} saved", words::bytes(saved)), tone))
        }
    }
}

fn task_tiles(task: &TaskStatus, status: &Status) -> Markup {
    let reported = task
        .releases
        .iter()
        .rev()
        .find_map(|release| Some((release, release.report?)));
    html! {
        @match &task.round {
            Some(round) => {
                @let delay = Delay::of(task, round, status);
                (tile(
                    &format!("Round {} of {}", round.round, task.name),
                    &round.phase.map_or_else(|| "opening".to_owned(), |phase| phase.to_string()),
                    match delay {
                        Some(delay) => format!("running for {}, {}", words::span(round.elapsed_ms), delay.word()),
                        None => format!("running for {}", words::span(round.elapsed_ms)),
                    },
                    if delay.is_some() { Tone::Warn } else { Tone::Good },
                ))
            }
            None => {
                @let (figure, tone) = match task.history.last().map(|ended| &ended.outcome) {
                    None => ("none yet", Tone::Quiet),
                    Some(OutcomeStatus::Completed { .. }) => ("completed", Tone::Good),
                    Some(OutcomeStatus::Cancelled) => ("cancelled", Tone::Warn),
                    Some(OutcomeStatus::QuorumNotMet { .. }) => ("too few devices", Tone::Bad),
                    Some(OutcomeStatus::Failed { .. }) => ("failed", Tone::Bad),
                };
                @let detail = task.history.last().map_or_else(String::new, |ended| {
                    format!("round {}, {}", ended.round, words::ago(status.now, ended.ended))
                });
                (tile(&format!("Last round of {}", task.name), figure, detail, tone))
            }
        }
        @match (reported, task.releases.last()) {
            (Some((release, report)), _) => {
                @let place = place(task, release);
                @let (figure, detail) = reached(report);
                (tile(
                    &format!("Student {}, {place}", release.version),
                    &figure,
                    detail,
                    if alert::fall(task).is_some() { Tone::Warn } else { Tone::Good },
                ))
            }
            (None, Some(release)) => {
                (tile("Newest student", &release.version.to_string(), "no report yet", Tone::Quiet))
            }
            (None, None) => {}
        }
    }
}

/// Where a student is.
fn place(task: &TaskStatus, release: &ReleaseStatus) -> &'static str {
    if !release.held {
        return "on the devices";
    }
    let rollout = task.rollout.as_ref();
    let rollout = rollout.filter(|rollout| rollout.version == release.version);
    match rollout.map(|rollout| &rollout.standing) {
        Some(rollout::Standing::Running) => "rolling out",
        Some(rollout::Standing::Paused) => "rollout paused",
        Some(rollout::Standing::Halted { .. }) => "rollout halted",
        Some(rollout::Standing::Aborted) => "rollout given up",
        Some(rollout::Standing::Completed) | None => "held back",
    }
}

fn last_contribution(status: &Status) -> Markup {
    let newest = status
        .devices
        .iter()
        .filter_map(|device| Some((device.contributed?, device)))
        .max_by_key(|(at, _)| *at);
    html! {
        @if let Some((at, device)) = newest {
            (tile("Last contribution", &words::ago(status.now, at), format!("from {}", name(device)), Tone::Quiet))
        }
    }
}

/// What a device's students reach on its held-out rows, or why that is not
/// known, with their tasks where it runs several.
pub(super) fn reached_here(device: &DeviceStatus) -> Markup {
    html! {
        @if device.students.is_empty() { span class="quiet" { "–" } }
        @for (at, student) in device.students.iter().enumerate() {
            @if at > 0 { ", " }
            @if device.students.len() > 1 { (student.task) " " }
            @match (student.reached, &student.not_reported) {
                (Some(reached), _) => span title={ "of " (words::count(reached.rows as usize, "held-out row")) } { (reached.short().replace(' ', "\u{a0}")) },
                (None, Some(why)) => span class="quiet" title=(why) { "–" },
                (None, None) => span class="quiet" { "–" },
            }
        }
    }
}

/// The versions that a device runs, with their tasks where it runs several.
pub(super) fn students(device: &DeviceStatus) -> Markup {
    html! {
        @if device.students.is_empty() { span class="quiet" { "not said" } }
        @for (at, student) in device.students.iter().enumerate() {
            @if at > 0 { ", " }
            @if device.students.len() > 1 { (student.task) " " }
            @match student.evaluation {
                Some(found) => span title=(found) { (student.version) },
                None => (student.version),
            }
        }
    }
}

/// Since when a device has its session, or has had none.
pub(super) fn session(device: &DeviceStatus, now: Time) -> Markup {
    html! {
        @match device.seen {
            Some(at) if device.connected => { "for " (words::span(now.since_ms(at))) },
            Some(at) => { "ended " (words::ago(now, at)) },
            None => span class="quiet" { "none since the coordinator's start" },
        }
    }
}

/// What a device is and does now, in a word, and how that is.
pub(super) fn state(device: &DeviceStatus) -> (&'static str, Tone) {
    match (device.standing, device.connected) {
        (Standing::Revoked, _) => ("revoked", Tone::Quiet),
        (Standing::Waiting, _) => ("waiting", Tone::Warn),
        (Standing::Approved, _) => ("approved", Tone::Quiet),
        (Standing::Denied, _) => ("denied", Tone::Quiet),
        _ if device.peer_limits.quarantine.is_some() => ("quarantined", Tone::Bad),
        (_, true) => ("connected", Tone::Good),
        (Standing::Member | Standing::Unknown, false) => ("away", Tone::Warn),
    }
}

/// What people call a device, or else the beginning of its id.
pub(super) fn name(device: &DeviceStatus) -> String {
    match device.label.as_str() {
        "" => device.device.short(),
        label => label.to_owned(),
    }
}

/// A name in an order in which pump-9 comes before pump-10.
pub(super) fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = vec![(0, String::new())];
    let mut in_digits = false;
    for letter in name.chars() {
        match letter.to_digit(10) {
            Some(digit) => {
                if !in_digits {
                    parts.push((0, String::new()));
                }
                if let Some((number, _)) = parts.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                }
                in_digits = true;
            }
            None => {
                if let Some((_, text)) = parts.last_mut() {
                    text.extend(letter.to_lowercase());
                }
                in_digits = false;
            }
        }
    }
    parts
}

/// The filter for devices that a task at work has nothing of.
pub(super) const NOTHING: &str = "nothing";

/// What a student reaches: a figure, and what it is.
fn reached(report: ReportSummary) -> (String, String) {
    match (report.accuracy, report.error) {
        (Some(accuracy), _) => {
            let (low, high) = words::interval(accuracy, report.rows);
            let detail = format!("of held-out rows right ({})", words::range(low, high));
            (words::percent(accuracy), detail)
        }
        (None, Some(error)) => (
            format::error(error.rmse),
            format!(
                "root mean squared error on held-out rows (mean absolute {})",
                format::error(error.mae)
            ),
        ),
        (None, None) => (report.reached(), String::new()),
    }
}

#[cfg(test)]
pub(super) mod tests;
