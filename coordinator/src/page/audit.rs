//! The log, newest first: every change of state that the coordinator made.

use std::sync::Arc;

use common::ids::{DeviceId, Time};
use common::round::Phase;
use maud::{Markup, html};

use super::layout::{Room, Tone, page, pill};
use super::route::{Query, on_the_side};
use super::view::{AuditRecord, View, Viewer};
use super::words;
use crate::journal::LogEntry;
use crate::registry::RegistryEvent;
use crate::round::{Comparison, Event, Product, TaskEvent};
use crate::status::{Fault, OutcomeStatus};

/// Records on one page.
const RECORDS_EACH: usize = 100;

/// The newest records, or those before a position (`?before=…`).
pub(super) async fn show(viewer: &Arc<Viewer>, query: Query) -> Result<Markup, Fault> {
    let view = viewer.view().await?;
    let before = query.get("before").and_then(|before| before.parse().ok());
    let (records, first) = viewer.audit(before, RECORDS_EACH).await?;
    on_the_side(move || {
        let content = render(&view, &records, first, before.is_some());
        page(Room::Audit, &view, content)
    })
    .await
}

fn render(view: &View, records: &[AuditRecord], first: u64, is_older: bool) -> Markup {
    let oldest = records.last().map(|record| record.position);
    html! {
        h1 { "Audit" }
        p { "The coordinator's log, newest first. Each record carries the hash of the one before it, so none can be changed or left out unseen. A hash names the bytes that a record speaks of; its first digits are shown." }
        div class="scroll" tabindex="0" role="region" aria-label="Records of the log" {
            table class="log" {
                thead { tr {
                    th scope="col" class="figure" { "No." } th scope="col" { "When (UTC)" }
                    th scope="col" { "What" } th scope="col" { "Details" } th scope="col" class="extra" { "Task" }
                } }
                tbody { @for record in records { (row(view, record)) } }
            }
        }
        nav class="pages" aria-label="Pages of the log" {
            @if is_older { a href="/audit" { "« Newest" } }
            @if let Some(oldest) = oldest.filter(|&oldest| oldest > first) {
                a href={ "/audit?before=" (oldest) } rel="next" { "Older ›" }
            }
        }
    }
}

fn row(view: &View, record: &AuditRecord) -> Markup {
    let told = match &record.entry {
        Some(LogEntry::Task(TaskEvent { event, .. })) => of_task(view, event, record.phase),
        Some(LogEntry::Registry(event)) => of_registry(view, event),
        #[allow(unreachable_patterns)]
        Some(other) => Told::new(Tone::Quiet, "other", cut(format!("{other:?}")), None),
        None => Told::new(
            Tone::Bad,
            "not understood",
            "written by another version".into(),
            None,
        ),
    };
    let task = match &record.entry {
        Some(LogEntry::Task(TaskEvent { task, .. })) => {
            let mut tasks = view.status.tasks.iter();
            let known = tasks.find(|one| one.task == *task);
            known.map_or_else(|| task.short(), |one| one.name.clone())
        }
        _ => String::new(),
    };
    html! {
        tr {
            td class="figure" title={ "epoch " (record.epoch) } { (record.position) }
            td class="even" { @if let Some(at) = told.at { time { (words::instant(at)) } } }
            td { (pill(told.tone, told.what)) }
            td class="details" { (told.details) }
            td class="extra" { (task) }
        }
    }
}

struct Told {
    tone: Tone,
    what: &'static str,
    details: String,
    at: Option<Time>,
}

impl Told {
    fn new(tone: Tone, what: &'static str, details: String, at: impl Into<Option<Time>>) -> Self {
        let at = at.into();
        Self {
            tone,
            what,
            details,
            at,
        }
    }
}

/// What people call a device now; nothing if they call it nothing.
fn known<'a>(view: &'a View, device: &DeviceId) -> &'a str {
    let devices = &view.status.devices;
    let known = devices.binary_search_by_key(device, |one| one.device);
    known.map_or("", |at| &devices[at].label)
}

/// A device by its name, if it has one, and the beginning of its id.
fn named(label: &str, device: &DeviceId) -> String {
    match label {
        "" => device.short(),
        label => format!("{label} ({})", device.short()),
    }
}

fn of_task(view: &View, event: &Event, phase: Option<Phase>) -> Told {
    use Tone::{Bad, Good, Quiet, Warn};
    let who = |device: &DeviceId| match known(view, device) {
        "" => device.short(),
        label => label.to_owned(),
    };
    let phase = phase.map_or_else(String::new, |phase| phase.to_string());
    match event {
        Event::TaskCreated { spec, at } => Told::new(
            Good,
            "task created",
            format!("its definition has hash {}", spec.short()),
            *at,
        ),
        Event::RoundOpened { round, at } => {
            Told::new(Good, "round began", format!("round {round}"), *at)
        }
        Event::PhaseOpened {
            phase,
            at,
            participants,
        } => {
            let details = match participants.len() {
                0 => phase.to_string(),
                devices => format!("{phase}, {}", words::count(devices, "device")),
            };
            Told::new(Quiet, "phase began", details, *at)
        }
        Event::PhaseClosed { at } => Told::new(Quiet, "phase closed", phase, *at),
        Event::Joined { device } => Told::new(Quiet, "takes part too", who(device), None),
        Event::Abstained { device, at } => Told::new(Warn, "abstained", who(device), *at),
        Event::Accepted {
            device,
            kind,
            rows,
            blob,
            at,
            ..
        } => {
            let rows = words::count(*rows as usize, "row");
            let details = format!(
                "{kind} of {rows} from {}, hash {}",
                who(device),
                blob.short()
            );
            Told::new(Good, "accepted", details, *at)
        }
        Event::Refused {
            device,
            kind,
            reason,
            at,
        } => {
            let tone = if reason.is_innocent() { Warn } else { Bad };
            let details = format!("{kind} from {}: {}", who(device), reason.describe());
            Told::new(tone, "refused", details, *at)
        }
        Event::Produced { product, at } => {
            let details = match product {
                Product::Normaliser(blob) => format!("normaliser, hash {}", blob.short()),
                Product::TransferSet { blob, points } => {
                    let points = words::count(*points as usize, "point");
                    format!("transfer set of {points}, hash {}", blob.short())
                }
                Product::Teacher(blob) => format!("teacher, hash {}", blob.short()),
                Product::Student(blob) => format!("student, not yet signed, hash {}", blob.short()),
            };
            Told::new(Quiet, "computed", details, *at)
        }
        Event::Released {
            version,
            lineage,
            at,
            ..
        } => {
            let devices = words::count(lineage.len(), "device");
            Told::new(
                Good,
                "released",
                format!("student {version} from {devices}"),
                *at,
            )
        }
        Event::RoundEnded { outcome, at } => {
            let outcome = OutcomeStatus::from(outcome);
            let tone = match outcome {
                OutcomeStatus::Completed { .. } => Good,
                OutcomeStatus::Cancelled => Warn,
                _ => Bad,
            };
            Told::new(tone, "round ended", outcome.to_string(), *at)
        }
        Event::Resumed { at } => {
            Told::new(Warn, "resumed", "the coordinator was restarted".into(), *at)
        }
        Event::DataChanged { device } => Told::new(Quiet, "new rows", who(device), None),
        Event::Tried {
            device,
            version,
            evaluation,
            at,
        } => {
            let tone = if evaluation.is_bad() { Warn } else { Good };
            let details = format!("student {version} on {}: {evaluation}", who(device));
            Told::new(tone, "tried", details, *at)
        }
        Event::ReReleased {
            from, version, at, ..
        } => {
            let details = format!("student {from}, as {version}");
            Told::new(Good, "released again", details, *at)
        }
        Event::Forgotten { device, at } => Told::new(Bad, "forgotten", who(device), *at),
        Event::Pardoned { device, at } => Told::new(Quiet, "strikes taken back", who(device), *at),
        Event::Excluded { exclusion, at } => {
            let why = exclusion.why.describe(&[]);
            let details = format!("{} of {}: {why}", exclusion.kind, who(&exclusion.device));
            Told::new(Bad, "left out", details, *at)
        }
        Event::Relearnt { at } => {
            let details = "the next round learns normaliser and transfer set anew".into();
            Told::new(Warn, "begun anew", details, *at)
        }
        Event::Missed(missed) => {
            let counts = missed.counts.iter();
            let counts: Vec<_> = counts
                .map(|(why, devices)| {
                    format!("{} ({why})", words::count(*devices as usize, "device"))
                })
                .collect();
            let absent = match counts.is_empty() {
                true => "nobody any more".to_owned(),
                false => counts.join("; "),
            };
            let details = match phase.as_str() {
                "" => absent,
                phase => format!("{phase}: {absent}"),
            };
            let is_missed = missed.counts.iter().any(|(why, _)| why.is_missed());
            let tone = if is_missed { Warn } else { Quiet };
            Told::new(tone, "went on without", details, None)
        }
        Event::Carried { since, .. } => {
            let details = format!("what stands since round {}", since.0);
            Told::new(Quiet, "counted too", details, None)
        }
        Event::Heard { device } => Told::new(Quiet, "new rows came", who(device), None),
        Event::Compared {
            version,
            comparison,
            at,
        } => {
            let (tone, found) = match comparison {
                Comparison::Better => (Good, "better than the one before on the devices' rows"),
                Comparison::NoBetter => (Quiet, "no better than the one before on them"),
                Comparison::Worse => (Bad, "worse than the one before, beyond chance"),
            };
            Told::new(tone, "compared", format!("student {version}: {found}"), *at)
        }
        Event::Archived { at } => Told::new(Quiet, "task archived", String::new(), *at),
        Event::Unarchived { at } => Told::new(Quiet, "task at work again", String::new(), *at),
        Event::Deleted { at } => Told::new(Warn, "task deleted", String::new(), *at),
        Event::Planned { budget, at } => {
            let plan = &budget.plan;
            let details = format!(
                "{} points, {} a device, of {} bits, for {} devices of {} rows",
                plan.points_max, plan.points_per_device, plan.bits, budget.devices, budget.rows
            );
            Told::new(Quiet, "budget planned", details, *at)
        }
        Event::Held { .. }
        | Event::RolloutStarted { .. }
        | Event::StageOpened { .. }
        | Event::Piloted { .. }
        | Event::StageBounded { .. }
        | Event::RolloutChanged { .. } => of_rollout(event, who),
    }
}

fn of_rollout(event: &Event, who: impl Fn(&DeviceId) -> String) -> Told {
    use Tone::{Good, Quiet};
    match event {
        Event::Held { version } => {
            let details = format!("student {version} waits for a rollout");
            Told::new(Quiet, "held", details, None)
        }
        Event::RolloutStarted { version, plan, at } => {
            let stages: Vec<_> = plan.stages.iter().map(u8::to_string).collect();
            let details = format!(
                "student {version}, to {} % of the devices",
                stages.join(", ")
            );
            Told::new(Good, "rollout began", details, *at)
        }
        Event::StageOpened { stage, at } => {
            let details = format!("stage {}", stage.saturating_add(1));
            Told::new(Quiet, "next stage", details, *at)
        }
        Event::StageBounded { .. } => Told::new(
            Quiet,
            "stage drawn",
            "its share of the connected devices".to_owned(),
            None,
        ),
        Event::Piloted { device } => Told::new(Quiet, "goes first", who(device), None),
        Event::RolloutChanged { standing, at } => {
            let (tone, word) = super::rollouts::word(standing);
            Told::new(tone, "rollout", word.to_owned(), *at)
        }
        other => Told::new(Quiet, "other", cut(format!("{other:?}")), None),
    }
}

fn of_registry(view: &View, event: &RegistryEvent) -> Told {
    let who = |device: &DeviceId| named(known(view, device), device);
    match event {
        RegistryEvent::Admitted {
            device, label, at, ..
        } => Told::new(Tone::Good, "joined", named(label, device), *at),
        RegistryEvent::Revoked { device, reason, at } => {
            let details = match reason.as_str() {
                "" => who(device),
                reason => format!("{}: {reason}", who(device)),
            };
            Told::new(Tone::Bad, "revoked", cut(details), *at)
        }
        RegistryEvent::Applied {
            device, label, at, ..
        } => {
            let details = format!("{} waits for approval", named(label, device));
            Told::new(Tone::Warn, "applied", details, *at)
        }
        RegistryEvent::Approved { device, at } => {
            Told::new(Tone::Good, "approved", who(device), *at)
        }
        RegistryEvent::Denied { device, at } => Told::new(Tone::Bad, "denied", who(device), *at),
        RegistryEvent::Renewed { device, at, .. } => {
            Told::new(Tone::Quiet, "renewed", who(device), *at)
        }
        RegistryEvent::Labelled { device, label, at } => {
            let details = match label.as_str() {
                "" => format!("{} has no name any more", device.short()),
                label => format!("{} is now called {label}", device.short()),
            };
            Told::new(Tone::Quiet, "labelled", details, *at)
        }
        RegistryEvent::TurnedAway {
            device, reason, at, ..
        } => {
            let details = format!("{}: {reason}", who(device));
            Told::new(Tone::Bad, "turned away", cut(details), *at)
        }
        RegistryEvent::TokenRevoked { at, .. } => {
            Told::new(Tone::Quiet, "token revoked", String::new(), *at)
        }
        // Its record holds what a token is checked against: no part of it is
        // shown.
        RegistryEvent::TokenCreated { at, .. } => {
            Told::new(Tone::Quiet, "token made", String::new(), *at)
        }
    }
}

fn cut(text: String) -> String {
    text.chars().take(160).collect()
}
