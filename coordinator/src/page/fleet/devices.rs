//! The table of devices: what is asked of it, in which order it stands, and its rows.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use common::ids::{DeviceId, Time, Version};
use maud::{Markup, html};

use super::{NOTHING, natural, reached_here, session, state, students};
use crate::page::layout::{self, Tone, pages, pill, slice};
use crate::page::route::{Query, encode};
use crate::page::words;
use crate::status::{DeviceStatus, Status};

/// Devices on one page.
const DEVICES_EACH: usize = 100;

pub(super) fn devices(status: &Status, query: &Query) -> Markup {
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
