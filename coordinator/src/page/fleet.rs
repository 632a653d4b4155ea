//! The fleet: one sentence that says how it is, and every device.

use maud::{Markup, html};

use super::layout::{self, Tone, pages, pill, slice, tile};
use super::route::{Query, encode};
use super::view::View;
use super::words;
use crate::admin::{DeviceStatus, OutcomeStatus, Status, TaskStatus};

/// Devices on one page.
const DEVICES_EACH: usize = 100;

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let status = &view.status;
    let connected = status.devices.iter().filter(|one| one.connected).count();
    let revoked = status.devices.iter().filter(|one| one.revoked).count();
    html! {
        h1 class="unseen" { "Fleet" }
        (sentence(status, connected, status.devices.len() - revoked))
        dl class="tiles" {
            (tile(
                "Devices connected",
                &format!("{} of {}", words::number(connected as u64), words::number((status.devices.len() - revoked) as u64)),
                if revoked > 0 { "revoked ones not counted" } else { "" },
                tone_of(connected, status.devices.len() - revoked),
            ))
            @for task in &status.tasks { (task_tiles(task, status)) }
            (last_contribution(status))
        }
        @if status.tasks.is_empty() { (layout::no_task()) }
        (devices(status, query))
    }
}

/// How the fleet is, for someone who has ten seconds.
fn sentence(status: &Status, connected: usize, members: usize) -> Markup {
    let (tone, word) = if !status.storage_ok {
        (Tone::Bad, "Storage fails")
    } else if members == 0 {
        (Tone::Quiet, "Waiting for devices")
    } else if connected * 2 < members {
        (Tone::Bad, "Most devices are away")
    } else if connected < members {
        (Tone::Warn, "Some devices are away")
    } else {
        (Tone::Good, "All devices are here")
    };
    let running = status
        .tasks
        .iter()
        .filter_map(|task| Some((task, task.round.as_ref()?)));
    html! {
        section class={ "hero " (tone.class()) } aria-label="Summary" {
            p class="lead" { (pill(tone, word)) }
            p {
                @if members == 0 {
                    "No device has joined. Make a token with "
                    code { "alambic-coordinator token create" } " and enrol one."
                } @else {
                    (words::number(connected as u64)) " of " (words::count(members, "device"))
                    @if members == 1 { " is connected. " } @else { " are connected. " }
                }
                @for (task, round) in running {
                    "Round " (round.round) " of " (task.name) " is running"
                    @if let Some(phase) = round.phase {
                        ": " (phase)
                        @if phase.gathers() {
                            ", " (round.contributed.len()) " of " (round.participants.len()) " are in"
                        }
                    }
                    ". "
                }
                @for task in status.tasks.iter().filter(|task| task.round.is_none()) {
                    (last_round(task, status))
                }
            }
        }
    }
}

fn last_round(task: &TaskStatus, status: &Status) -> Markup {
    html! {
        @match task.history.last() {
            None => { "No round of " (task.name) " has run yet. " }
            Some(ended) => {
                "Round " (ended.round) " of " (task.name) " "
                @match ended.outcome {
                    OutcomeStatus::Completed { .. } => { "was completed " }
                    OutcomeStatus::QuorumNotMet { .. } => { "ended without a student for want of devices " }
                    OutcomeStatus::Failed { .. } => { "failed " }
                    OutcomeStatus::Cancelled => { "was cancelled " }
                }
                (words::ago(status.now, ended.ended)) ". "
            }
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
                (tile(
                    &format!("Round {} of {}", round.round, task.name),
                    &round.phase.map_or_else(|| "opening".to_owned(), |phase| phase.to_string()),
                    &format!("running for {}", words::span(round.elapsed_ms)),
                    Tone::Good,
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
                (tile(&format!("Last round of {}", task.name), figure, &detail, tone))
            }
        }
        @match (reported, task.releases.last()) {
            (Some((release, report)), _) => {
                @let (low, high) = words::interval(report.accuracy, report.rows);
                (tile(
                    &format!("Student {} on the devices", release.version),
                    &words::percent(report.accuracy),
                    &format!("right, {} to {} at 95 %", words::percent(low), words::percent(high)),
                    Tone::Good,
                ))
            }
            (None, Some(release)) => {
                (tile("Newest student", &release.version.to_string(), "no report yet", Tone::Quiet))
            }
            (None, None) => {}
        }
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
            (tile("Last contribution", &words::ago(status.now, at), &format!("from {}", name(device)), Tone::Quiet))
        }
    }
}

fn devices(status: &Status, query: &Query) -> Markup {
    let text = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let (state, find) = (text("state"), text("find"));
    let wanted = find.to_lowercase();
    let is_wanted = |device: &&DeviceStatus| {
        let by_state = match state {
            "connected" => device.connected && !device.revoked,
            "away" => !device.connected && !device.revoked,
            "revoked" => device.revoked,
            "refused" => device.strikes > 0,
            _ => true,
        };
        by_state
            && (wanted.is_empty()
                || device.label.to_lowercase().contains(&wanted)
                || device.device.to_string().starts_with(&wanted))
    };
    let found: Vec<_> = status.devices.iter().filter(is_wanted).collect();
    let (page, all, range) = slice(query.get("page"), found.len(), DEVICES_EACH);
    let link = |page| {
        format!(
            "/?state={}&find={}&page={page}",
            encode(state),
            encode(find)
        )
    };
    html! {
        section aria-labelledby="devices" {
            h2 id="devices" { "Devices" }
            form class="filter" method="get" action="/" role="search" {
                label { "State "
                    select name="state" {
                        @for (value, label) in STATES {
                            option value=(value) selected[value == state] { (label) }
                        }
                    }
                }
                label { "Name or id " input type="search" name="find" value=(find) maxlength="64"; }
                button { "Show" }
                span class="quiet" { (words::count(found.len(), "device")) }
            }
            @if found.is_empty() {
                p class="hint" { "No device fits." }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Table of devices" {
                    table {
                        thead { tr {
                            th scope="col" { "Device" } th scope="col" { "State" }
                            th scope="col" { "Last contribution" } th scope="col" { "Session" }
                            th scope="col" class="figure" { "Sent up" } th scope="col" class="figure" { "Sent down" }
                            th scope="col" class="figure" { "Refused" }
                        } }
                        tbody { @for device in &found[range] { (row(device, status)) } }
                    }
                }
                (pages(page, all, link))
            }
            p class="quiet" { "Bytes are UDP payload since the coordinator's start, handshakes left out." }
        }
    }
}

fn row(device: &DeviceStatus, status: &Status) -> Markup {
    let (tone, word) = match (device.revoked, device.connected) {
        (true, _) => (Tone::Bad, "revoked"),
        (false, true) => (Tone::Good, "connected"),
        (false, false) => (Tone::Warn, "away"),
    };
    html! {
        tr {
            th scope="row" { (name(device)) " " code class="quiet" { (device.device.short()) } }
            td { (pill(tone, word)) }
            td { @match device.contributed {
                Some(at) => time title=(words::instant(at)) { (words::ago(status.now, at)) },
                None => span class="quiet" { "never" },
            } }
            td { @match device.seen {
                Some(at) if device.connected => { "for " (words::span(status.now.since_ms(at))) },
                Some(at) => { "ended " (words::ago(status.now, at)) },
                None => span class="quiet" { "none since the start" },
            } }
            td class="figure" { (words::bytes(device.uplink_bytes)) }
            td class="figure" { (words::bytes(device.downlink_bytes)) }
            td class="figure" { @if device.strikes > 0 { (pill(Tone::Bad, &device.strikes.to_string())) } @else { "0" } }
        }
    }
}

fn name(device: &DeviceStatus) -> String {
    match device.label.as_str() {
        "" => "(no name)".to_owned(),
        label => label.to_owned(),
    }
}

fn tone_of(connected: usize, members: usize) -> Tone {
    match (connected, members) {
        (_, 0) => Tone::Quiet,
        _ if connected * 2 < members => Tone::Bad,
        _ if connected < members => Tone::Warn,
        _ => Tone::Good,
    }
}

const STATES: [(&str, &str); 5] = [
    ("", "all"),
    ("connected", "connected"),
    ("away", "away"),
    ("revoked", "revoked"),
    ("refused", "with refused contributions"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{DeviceId, Time};

    use super::super::view::Health;

    fn fleet(devices: u32) -> View {
        let device = |at: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&at.to_be_bytes());
            DeviceStatus {
                forgotten: None,
                device: DeviceId(id),
                label: format!("<pump-{at}>"),
                admitted: Some(Time(1)),
                certificate: None,
                authority: None,
                expires: None,
                group: None,
                standing: crate::admin::Standing::Member,
                connected: !at.is_multiple_of(10),
                revoked: false,
                revoked_at: None,
                revoked_why: None,
                uplink_bytes: 28_600,
                downlink_bytes: 1,
                handshake_bytes: 2,
                sessions: 1,
                seen: Some(Time(5)),
                contributed: Some(Time(u64::from(at))),
                strikes: 0,
                conduct: Default::default(),
            }
        };
        View {
            status: Status {
                program: "0".into(),
                address: ([127, 0, 0, 1], 1).into(),
                now: Time(20_000),
                started: Time(0),
                epoch: 1,
                storage_failures: 0,
                storage_ok: true,
                page: None,
                store: None,
                tasks: Vec::new(),
                devices: (0..devices).map(device).collect(),
            },
            health: Health::default(),
        }
    }

    fn shown(view: &View, pairs: &[(&str, &str)]) -> String {
        let pairs = pairs.iter();
        let query = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        render(view, &query.collect()).into_string()
    }

    #[test]
    fn ten_thousand_devices_come_in_pages_and_in_one_sentence() {
        let view = fleet(10_000);
        let page = shown(&view, &[("page", "100")]);
        assert!(page.len() < 100_000, "{} bytes", page.len());
        assert!(page.contains("Some devices are away") && page.contains("Page 100 of 100"));
        assert!(page.contains("9\u{202f}000 of 10\u{202f}000 devices"));
        assert_eq!(page.matches("<tr>").count(), 101);
    }

    #[test]
    fn devices_are_found_by_state_and_by_a_part_of_their_name() {
        let view = fleet(200);
        let page = shown(&view, &[("state", "away"), ("find", "PUMP-19")]);
        assert!(page.contains("pump-190") && !page.contains("pump-191&gt;"));
        assert!(shown(&view, &[("find", "valve")]).contains("No device fits"));
    }

    #[test]
    fn a_name_that_is_markup_is_only_text() {
        assert!(!shown(&fleet(1), &[]).contains("<pump"));
    }
}
