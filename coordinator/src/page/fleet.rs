//! The fleet: one sentence that says how it is, and every device.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use common::ids::{DeviceId, Time, Version};
use maud::{Markup, html};

use super::alert;
use super::delay::Delay;
use super::layout::{self, Tone, pages, pill, slice, tile};
use super::route::{Query, encode};
use super::summary;
use super::view::View;
use super::words;
use crate::rollout;
use crate::status::{
    DeviceStatus, OutcomeStatus, ReleaseStatus, ReportSummary, Standing, Status, TaskStatus, format,
};

/// Devices on one page.
const DEVICES_EACH: usize = 100;

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let status = &view.status;
    html! {
        h1 class="unseen" { "Fleet" }
        (summary::show(view))
        @if !status.devices.is_empty() || !status.tasks.is_empty() {
            dl class="tiles" {
                (connected_tile(status))
                (gateways_tile(status))
                @for task in &status.tasks { (task_tiles(task, status)) }
                (last_contribution(status))
            }
        }
        @if status.tasks.is_empty() { (layout::no_task()) }
        @if !status.devices.is_empty() { (devices(status, query)) }
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

/// What is asked of the list.
struct Asked<'a> {
    state: &'a str,
    find: &'a str,
    sort: Column,
    /// Devices that said why they give nothing, or less, to a task at work,
    /// where those are asked for.
    faulty: BTreeSet<DeviceId>,
}

impl<'a> Asked<'a> {
    fn of(query: &'a Query, status: &Status) -> Self {
        let text = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
        let state = text("state");
        let at_work = status.tasks.iter().filter(|task| task.archived.is_none());
        let faults = at_work.flat_map(|task| &task.withheld);
        let faults = faults.filter(|one| state == NOTHING && one.reason.is_a_fault());
        Self {
            state,
            find: text("find"),
            sort: Column::of(text("sort")),
            faulty: faults.map(|one| one.device.device).collect(),
        }
    }

    fn link(&self, sort: Column, page: usize) -> String {
        format!(
            "/?state={}&find={}&sort={}&page={page}#devices",
            encode(self.state),
            encode(self.find),
            sort.key()
        )
    }

    fn wants(&self, device: &DeviceStatus) -> bool {
        let (is_member, connected) = (device.is_member(), device.connected);
        let by_state = match self.state {
            "refused" => device.strikes > 0,
            NOTHING => is_member && self.gives_nothing(device),
            // Those in quarantine have a session or none as well.
            "connected" => is_member && connected,
            "away" => is_member && !connected,
            "" => true,
            word => state(device).0 == word,
        };
        let wanted = self.find.to_lowercase();
        by_state
            && (wanted.is_empty()
                || device.label.to_lowercase().contains(&wanted)
                || device
                    .group
                    .as_deref()
                    .is_some_and(|group| group.to_lowercase() == wanted)
                || device.device.to_string().starts_with(&wanted))
    }
}

impl Asked<'_> {
    /// Whether a task at work has nothing of a device, or less than it asked
    /// for by a fault.
    fn gives_nothing(&self, device: &DeviceStatus) -> bool {
        let is_in_none = !device.gives_nothing_to.is_empty() || device.contributed.is_none();
        is_in_none || self.faulty.contains(&device.device)
    }
}

/// What the list is sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Those to look at first, then by name.
    State,
    Name,
    Contributed,
    Student,
    Reached,
    Session,
    Up,
    Down,
    Refused,
}

impl Column {
    const ALL: [Self; 9] = [
        Self::Name,
        Self::State,
        Self::Contributed,
        Self::Student,
        Self::Reached,
        Self::Session,
        Self::Up,
        Self::Down,
        Self::Refused,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Contributed => "contributed",
            Self::Student => "student",
            Self::Reached => "reached",
            Self::Session => "session",
            Self::Up => "up",
            Self::Down => "down",
            Self::Refused => "refused",
        }
    }

    fn of(key: &str) -> Self {
        let found = Self::ALL.into_iter().find(|one| one.key() == key);
        found.unwrap_or(Self::State)
    }

    fn name(self) -> &'static str {
        match self {
            Self::State => "State",
            Self::Name => "Device",
            Self::Contributed => "Last contribution",
            Self::Student => "Student",
            Self::Reached => "Held-out",
            Self::Session => "Session",
            Self::Up => "Sent up",
            Self::Down => "Sent down",
            Self::Refused => "Refused",
        }
    }

    /// How its cells stand: figures to the right, and what a phone leaves out.
    fn class(self) -> &'static str {
        match self {
            Self::State | Self::Name | Self::Contributed => "",
            Self::Student | Self::Session => "extra",
            Self::Reached | Self::Up | Self::Down | Self::Refused => "figure extra",
        }
    }

    fn sort(self, devices: &mut [&DeviceStatus]) {
        match self {
            Self::Name => {}
            Self::State => devices.sort_by_key(|one| Reverse(state(one).1)),
            // Who never contributed, or has not been seen, is looked for.
            Self::Contributed => devices.sort_by_key(|one| one.contributed),
            // Old students are looked for.
            Self::Student => devices.sort_by_key(|one| oldest(one)),
            // The worst are looked for; of numbers the largest error.
            Self::Reached => devices.sort_by(|one, other| worst(one).total_cmp(&worst(other))),
            Self::Session => devices.sort_by_key(|one| one.seen),
            Self::Up => devices.sort_by_key(|one| Reverse(one.uplink_bytes)),
            Self::Down => devices.sort_by_key(|one| Reverse(one.downlink_bytes)),
            Self::Refused => devices.sort_by_key(|one| Reverse(one.strikes)),
        }
    }
}

fn oldest(device: &DeviceStatus) -> Option<Version> {
    device.students.iter().map(|student| student.version).min()
}

/// The lowest accuracy of a device's students; errors are negative, and what is
/// not known comes last.
fn worst(device: &DeviceStatus) -> f64 {
    let reached = device.students.iter().filter_map(|one| one.reached);
    let worth = reached.filter_map(|one| {
        let error = one.error.map(|error| -error.rmse);
        one.accuracy.or(error)
    });
    worth.fold(f64::INFINITY, f64::min)
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

fn devices(status: &Status, query: &Query) -> Markup {
    let asked = Asked::of(query, status);
    let mut found: Vec<_> = status
        .devices
        .iter()
        .filter(|one| asked.wants(one))
        .collect();
    found.sort_by_cached_key(|one| (one.label.is_empty(), natural(&one.label)));
    asked.sort.sort(&mut found);
    let (page, all, range) = slice(query.get("page"), found.len(), DEVICES_EACH);
    html! {
        section aria-labelledby="devices" {
            h2 id="devices" { "Devices" }
            form class="filter" method="get" action="/#devices" role="search" {
                label { "State "
                    select name="state" {
                        @for (value, label) in STATES {
                            option value=(value) selected[value == asked.state] { (label) }
                        }
                    }
                }
                label { "Name, group or id " input type="search" name="find" value=(asked.find) maxlength="64"; }
                input type="hidden" name="sort" value=(asked.sort.key());
                button { "Show" }
                span class="quiet" { (words::count(found.len(), "device")) }
            }
            @if found.is_empty() {
                p class="hint" { "No device fits. " a href="/" { "Show all" } }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Table of devices" {
                    table {
                        thead { tr { @for column in Column::ALL { (head(&asked, column)) } } }
                        tbody { @for device in &found[range] { (row(device, status.now)) } }
                    }
                }
                (pages(page, all, |page| asked.link(asked.sort, page)))
            }
            p class="quiet small" { "Bytes are UDP payload since the coordinator's start, handshakes left out." }
        }
    }
}

fn head(asked: &Asked<'_>, column: Column) -> Markup {
    let is_chosen = asked.sort == column;
    html! {
        th scope="col" class=(column.class()) aria-sort=[is_chosen.then_some("other")] {
            a href=(asked.link(column, 1)) title={ "Sort by " (column.name().to_lowercase()) } {
                (column.name())
                @if is_chosen { span aria-hidden="true" { " ▾" } }
            }
        }
    }
}

fn row(device: &DeviceStatus, now: Time) -> Markup {
    let (word, tone) = state(device);
    html! {
        tr {
            th scope="row" {
                (layout::device(device.device, &device.label))
                @if let Some(group) = &device.group { " " span class="quiet small" { (group) } }
            }
            td { (pill(tone, word)) }
            td { @match device.contributed {
                Some(at) => time title=(words::instant(at)) { (words::ago(now, at)) },
                None => span class="quiet" { "never" },
            } }
            td class="extra" { (students(device)) }
            td class="figure extra" { (reached_here(device)) }
            td class="extra" { (session(device, now)) }
            td class="figure extra" { (words::bytes(device.uplink_bytes)) }
            td class="figure extra" { (words::bytes(device.downlink_bytes)) }
            td class="figure extra" { @if device.strikes > 0 { (pill(Tone::Bad, &device.strikes.to_string())) } @else { "0" } }
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

const STATES: [(&str, &str); 10] = [
    ("", "all"),
    ("connected", "connected"),
    ("away", "away"),
    ("waiting", "waiting for approval"),
    ("approved", "approved, not yet back"),
    ("denied", "denied"),
    ("revoked", "revoked"),
    ("quarantined", "quarantined"),
    ("refused", "with refused contributions"),
    (NOTHING, "contributing nothing, or less than asked"),
];

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
