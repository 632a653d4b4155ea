//! Rounds: the one that runs, with who is missing and why, and the last ones.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::Time;
use common::round::{Kind, Phase};
use maud::{Markup, html};

use super::delay::{Delay, is_optional};
use super::fleet::natural;
use super::layout::{self, Tone, command, pages, pill, slice};
use super::route::Query;
use super::summary::doing;
use super::view::View;
use super::words;
use crate::status::{
    Absence, AbsenceReason, AbsentDevices, DeviceName, EndedStatus, OutcomeStatus, RoundStatus,
    Standing, Steps, TaskStatus,
};

/// Devices that are in, named one by one.
const NAMES_MAX: usize = 60;

/// This many missing devices are shown without being asked for.
const NAMES_OPEN: usize = 12;

/// Ended rounds on one page.
const ROUNDS_EACH: usize = 20;

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let now = view.status.now;
    html! {
        h1 { "Rounds" }
        p { "A round makes one student of what the devices know, in phases. A bar shows how long each of them took." }
        (legend())
        @if view.status.tasks.is_empty() { (layout::no_task(&view.status)) }
        @for task in &view.status.tasks {
            section aria-label={ "Task " (task.name) } {
                (layout::task(task))
                @match &task.round {
                    Some(round) => (running(task, round, view)),
                    None => p class="quiet" {
                        @if let Some(at) = task.archived { "Archived " (words::ago(now, at)) ": no round begins. " }
                        "No round is running"
                        @if task.history.is_empty() { ", and none has run yet: " (command(&format!("alambic-coordinator round start{} --watch", layout::of_task(task, &view.status)))) }
                        "."
                    },
                }
                (past(task, now, query))
            }
        }
    }
}

/// What the colours of the timelines are.
fn legend() -> Markup {
    html! {
        p class="legend" {
            @for phase in Phase::ALL { span { (swatch(phase)) (phase) } }
        }
        details {
            summary { "What happens in them" }
            dl class="phases" {
                @for phase in Phase::ALL { div { dt { (swatch(phase)) (phase) } dd { (doing(phase)) } } }
            }
        }
    }
}

fn swatch(phase: Phase) -> Markup {
    html! {
        svg class="swatch" viewBox="0 0 10 10" aria-hidden="true" { rect class=(phase.name()) width="10" height="10" rx="2" {} }
    }
}

fn running(task: &TaskStatus, round: &RoundStatus, view: &View) -> Markup {
    let delay = Delay::of(task, round, &view.status);
    let tone = if delay.is_some() {
        Tone::Warn
    } else {
        Tone::Good
    };
    let now = view.status.now;
    let spans: Vec<(Phase, u64)> = round
        .phases
        .iter()
        .map(|one| (one.phase, one.closed.unwrap_or(now).since_ms(one.opened)))
        .collect();
    let left = round.deadline.map(|deadline| deadline.since_ms(now));
    html! {
        article class={ "card running " (tone.class()) } {
            h3 {
                "Round " (round.round) " "
                (pill(tone, &state(round, delay)))
                @if let Some(phase) = round.phase { span class="quiet" { (doing(phase)) } }
            }
            @if let Some(delay) = delay { (delay.show(task, round, &view.status)) }
            (timeline(&spans))
            p {
                "Running for " (words::span(round.elapsed_ms))
                @if let Some(left) = left.filter(|&left| left > 0) { ", this phase ends in " strong { (words::span(left)) } " at the latest" }
                ". "
                @if round.accepted.is_empty() { "Nothing is taken yet." }
                @else { (words::bytes(round.bytes)) " taken so far" (kinds(&round.accepted)) "." }
            }
            @if let Some(standing) = &round.standing { p { (standing.text) "." } }
            @if let Some(Steps { done, all }) = round.training {
                p {
                    label { strong { (words::number(u64::from(done))) " of " (words::number(u64::from(all))) } " steps of training are done "
                        progress value=(done) max=(all) { (done) " of " (all) }
                    }
                }
            }
            @if round.standing.is_none() && !round.participants.is_empty() && round.phase.is_some_and(Phase::gathers) {
                @let (done, all) = (round.contributed.len(), round.participants.len());
                p {
                    label { strong { (words::part_are(done, all, "device")) " in" } " "
                        progress class=(tone.class()) value=(done) max=(all) { (done) " of " (all) }
                    }
                    @if let Some(quorum) = round.quorum.filter(|_| !round.phase.is_some_and(|phase| is_optional(task, phase))) {
                        " " span class="quiet" { (words::are(quorum as usize, "device")) " needed" }
                    }
                }
                @if !round.contributed.is_empty() {
                    details open[done <= NAMES_MAX] {
                        summary { "Who is in" }
                        ul class="names" {
                            @for name in in_order(&round.contributed).iter().take(NAMES_MAX) { li { (name) } }
                            @if done > NAMES_MAX { li { "and " (words::number((done - NAMES_MAX) as u64)) " more" } }
                        }
                    }
                }
                (absences(&round.absent.iter().collect::<Vec<_>>(), round.missing.len() + round.abstained.len()))
            }
            @if round.standing.is_none() { (not_asked(task, round, view)) }
        }
    }
}

/// Members that were away when the phase asked its devices, and are still.
fn not_asked(task: &TaskStatus, round: &RoundStatus, view: &View) -> Markup {
    let asked: BTreeSet<_> = round.participants.iter().map(|one| one.device).collect();
    let away = view.status.devices.iter().filter(|one| {
        let is_away = one.standing == Standing::Member && !one.connected;
        is_away && task.is_for(one) && !asked.contains(&one.device)
    });
    let away = away.count();
    html! {
        @if away > 0 && !asked.is_empty() {
            p class="quiet" {
                (words::are(away, "more device")) " away and not waited for: "
                a href="/?state=away#devices" { "show which" } "."
            }
        }
    }
}

/// Names in an order in which pump-9 comes before pump-10.
fn in_order(devices: &[DeviceName]) -> Vec<String> {
    let mut names: Vec<_> = devices.iter().map(words::name).collect();
    names.sort_by_cached_key(|name| natural(name));
    names
}

fn past(task: &TaskStatus, now: Time, query: &Query) -> Markup {
    let (page, all, range) = slice(query.get("page"), task.history.len(), ROUNDS_EACH);
    html! {
        @for ended in task.history.iter().rev().skip(range.start).take(range.len()) {
            article class="card" {
                h3 {
                    "Round " (ended.round) " " (outcome(&ended.outcome)) " "
                    small class="quiet" { time title=(words::instant(ended.ended)) { (words::ago(now, ended.ended)) } }
                }
                (timeline(&ended.phase_ms.iter().map(|(phase, ms)| (*phase, *ms)).collect::<Vec<_>>()))
                p {
                    @if !matches!(ended.outcome, OutcomeStatus::Completed { .. }) { "It " (ending(&ended.outcome)) ". " }
                    "Took " (words::span(ended.wall_ms))
                    (kinds(&ended.accepted))
                    @if let Some(bytes) = ended.bytes { ", " (words::bytes(bytes)) " of contributions" }
                    ". " (reported(ended))
                }
                (went_without(ended))
            }
        }
        (pages(page, all, |page| format!("/rounds?page={page}")))
    }
}

fn reported(ended: &EndedStatus) -> Markup {
    html! {
        @if let Some(report) = ended.report {
            @if let Some(accuracy) = report.accuracy {
                @let (low, high) = words::interval(accuracy, report.rows);
                "Its student answers " strong { (words::percent(accuracy)) }
                " of " (words::number(report.rows)) " held-out rows of "
                (words::count(report.devices as usize, "device")) " right ("
                (words::range(low, high)) ")."
            } @else {
                "Its student has " strong { (report.reached()) }
                " on " (words::number(report.rows)) " held-out rows of "
                (words::count(report.devices as usize, "device")) "."
            }
        }
    }
}

fn outcome(outcome: &OutcomeStatus) -> Markup {
    match outcome {
        OutcomeStatus::Completed { version } => pill(Tone::Good, &format!("student {version}")),
        OutcomeStatus::QuorumNotMet { .. } => pill(Tone::Bad, "too few devices"),
        OutcomeStatus::Failed { .. } => pill(Tone::Bad, "failed"),
        OutcomeStatus::Cancelled => pill(Tone::Warn, "cancelled"),
    }
}

/// What became of a round, after "it".
fn ending(outcome: &OutcomeStatus) -> String {
    match outcome {
        OutcomeStatus::Cancelled => "was cancelled".to_owned(),
        outcome => outcome.to_string(),
    }
}

/// Where a running round is, and whether it gets on.
fn state(round: &RoundStatus, delay: Option<Delay>) -> String {
    let phase = round
        .phase
        .map_or_else(|| "opening".to_owned(), |phase| format!("in {phase}"));
    match delay {
        Some(delay) => format!("{phase}, {}", delay.word()),
        None => phase,
    }
}

fn kinds(accepted: &BTreeMap<Kind, u32>) -> Markup {
    html! {
        @for (at, (kind, count)) in accepted.iter().enumerate() {
            @if at == 0 { ": " } @else { ", " }
            (words::number(u64::from(*count))) "\u{a0}" (kind.counted(*count))
        }
    }
}

/// Who is not in, or will not be, while the phase is open.
fn absences(absent: &[&Absence], all: usize) -> Markup {
    html! {
        @if !absent.is_empty() {
            details open[absent.len() <= NAMES_OPEN] {
                summary { (pill(Tone::Quiet, &words::count(all, "device"))) " not in, and why" }
                (named(absent))
                @if all > absent.len() { p class="quiet" { "and " (words::number((all - absent.len()) as u64)) " more" } }
            }
        }
    }
}

/// Who did not do their part in a round that has ended: those it waited for,
/// and, less to the fore, those it did not.
fn went_without(ended: &EndedStatus) -> Markup {
    let missed = ended.absent.iter().filter(|one| one.why.is_missed());
    let missed: Vec<_> = missed.collect();
    let all = ended.absent_for(AbsenceReason::is_missed);
    html! {
        @if all.devices > 0 {
            details open[missed.len() <= NAMES_OPEN] {
                summary { (pill(Tone::Warn, &devices(all))) " missing, and why" }
                (named(&missed))
                @if all.at_least { (counted(ended)) }
            }
        }
        (at_rest(ended, AbsenceReason::Abstained, "with nothing to give"))
        (at_rest(ended, AbsenceReason::NotAsked, "away, and not waited for"))
    }
}

/// Those that nobody waited for, for this reason, in any phase. Who is named as
/// missing in another phase is not named again.
fn at_rest(ended: &EndedStatus, why: AbsenceReason, told: &str) -> Markup {
    let missed = ended.absent.iter().filter(|one| one.why.is_missed());
    let missed: BTreeSet<_> = missed.map(|one| one.device.device).collect();
    let named = ended.absent.iter().filter(|one| one.why == why);
    let (again, absent): (Vec<_>, Vec<_>) = named
        .map(|one| one.device.clone())
        .partition(|one| missed.contains(&one.device));
    let mut all = ended.absent_for(|one| one == why);
    all.devices = all.devices.saturating_sub(again.len());
    html! {
        @if all.devices > 0 {
            details open[absent.len() <= NAMES_OPEN] {
                summary { (pill(Tone::Quiet, &devices(all))) " " (told) }
                ul class="names" {
                    @for name in in_order(&absent) { li { (name) } }
                    @if all.at_least { li { "and more" } }
                }
            }
        }
    }
}

fn devices(all: AbsentDevices) -> String {
    let prefix = if all.at_least { "at least\u{a0}" } else { "" };
    format!("{prefix}{}", words::count(all.devices, "device"))
}

fn named(absent: &[&Absence]) -> Markup {
    html! {
        @if !absent.is_empty() {
            table class="tight" {
                thead { tr { th scope="col" { "Device" } th scope="col" { "Phase" } th scope="col" { "Why" } } }
                tbody {
                    @for absence in absent {
                        tr {
                            th scope="row" { (layout::device(absence.device.device, &absence.device.label)) }
                            td { (phases(&absence.phases)) } td { (absence.why) }
                        }
                    }
                }
            }
        }
    }
}

/// All of them by phase and reason, where not all are named.
fn counted(ended: &EndedStatus) -> Markup {
    let of = ended.missed.iter().filter(|count| count.why.is_missed());
    html! {
        p class="quiet" {
            "Not all are named. In all: "
            @for (at, count) in of.enumerate() {
                @if at > 0 { "; " }
                (count.phase) " " (words::count(count.devices as usize, "device")) " " (count.why)
            }
            "."
        }
    }
}

/// Their names.
pub(super) fn phases(phases: &[Phase]) -> String {
    let names: Vec<_> = phases.iter().map(Phase::to_string).collect();
    names.join(", ")
}

/// Phases side by side, as wide as they took long. A short one stays visible.
fn timeline(spans: &[(Phase, u64)]) -> Markup {
    const WIDTH: f64 = 1000.0;
    const LEAST: f64 = 14.0;
    let all: u64 = spans.iter().map(|(_, ms)| ms).sum::<u64>().max(1);
    let room = (WIDTH - LEAST * spans.len() as f64).max(1.0);
    let mut left = 0.0;
    let bars: Vec<_> = spans
        .iter()
        .map(|(phase, ms)| {
            let width = LEAST + room * *ms as f64 / all as f64;
            let bar = (*phase, *ms, left, width - 3.0);
            left += width;
            bar
        })
        .collect();
    let told: Vec<_> = spans
        .iter()
        .map(|(phase, ms)| format!("{phase}\u{a0}{}", words::span(*ms)))
        .collect();
    html! {
        @if !spans.is_empty() {
            figure class="timeline" {
                svg viewBox="0 0 1000 22" preserveAspectRatio="none" role="img" aria-label={ "Phases: " (told.join(", ")) } {
                    @for (phase, ms, x, width) in bars {
                        rect class=(phase.name()) x=(format!("{x:.1}")) width=(format!("{width:.1}")) height="22" rx="3" {
                            title { (phase) " " (words::span(ms)) }
                        }
                    }
                }
                figcaption aria-hidden="true" { @for (at, one) in told.iter().enumerate() { @if at > 0 { " · " } (one) } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
