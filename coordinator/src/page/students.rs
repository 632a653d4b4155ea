//! Released students: how they do on the devices, and who is in them.

use std::sync::Arc;

use common::ids::Version;
use draw::{Axis, Chart, Form, Point, Scale, Series, Size};
use maud::{Markup, PreEscaped, html};

use super::fleet::natural;
use super::layout::{self, Room, Tone, command, page, pages, pill, slice};
use super::route::{Query, on_the_side};
use super::view::{View, Viewer};
use super::words;
use crate::server::influence::INFLUENCES_MAX;
use crate::status::{DeviceName, Fault, InfluenceStatus, ReleaseStatus, TaskStatus};

/// Devices named on one page of a lineage.
const DEVICES_EACH: usize = 200;
/// Width of a bar's cell, in its own units.
const BAR: f64 = 100.0;

/// All students, or one with everyone who is in it (`?task=…&version=…`).
pub(super) async fn show(viewer: &Arc<Viewer>, query: Query) -> Result<Markup, Fault> {
    let view = viewer.view().await?;
    let version = query.get("version").and_then(|text| parse(text));
    let task = query.get("task").and_then(|task| task.parse().ok());
    let lineage = match (task, version) {
        (Some(task), Some(version)) => viewer.lineage(task, version).await?,
        _ => None,
    };
    let of = view.status.tasks.iter().find(|one| Some(one.task) == task);
    let is_newest = |of: &&TaskStatus| of.releases.last().map(|one| one.version) == version;
    let influences = match of
        .filter(is_newest)
        .and_then(|of| Some((of.task, of.teacher?)))
    {
        Some((task, teacher)) if lineage.is_some() => viewer.influences(task, teacher).await?,
        _ => None,
    };
    on_the_side(move || {
        let content = match (lineage, version) {
            (Some(lineage), Some(version)) => one(
                version,
                &lineage,
                influences.as_deref().map(Vec::as_slice),
                &query,
            ),
            _ => all(&view),
        };
        page(Room::Students, &view, content)
    })
    .await
}

fn parse(text: &str) -> Option<Version> {
    let (epoch, number) = text.split_once('.')?;
    Some(Version {
        epoch: epoch.parse().ok()?,
        number: number.parse().ok()?,
    })
}

fn all(view: &View) -> Markup {
    html! {
        h1 { "Students" }
        p { "Each round that completes releases a signed student. Devices try it on rows they kept aside and report how many it got right, as counts." }
        @if view.status.tasks.is_empty() { (layout::no_task(&view.status)) }
        @for task in &view.status.tasks {
            section aria-label={ "Task " (task.name) } {
                (layout::task(task))
                @if task.releases.is_empty() {
                    p class="hint" { "No student yet. Start a round with " (command(&format!("alambic-coordinator round start{} --watch", layout::of_task(task, &view.status)))) "." }
                } @else {
                    (accuracy(task))
                    (versions(task, view))
                }
            }
        }
    }
}

/// Accuracy over versions, with its interval. One alone is in the table.
fn accuracy(task: &TaskStatus) -> Markup {
    let measured: Vec<_> = task
        .releases
        .iter()
        .filter_map(|release| {
            let report = release.report?;
            // Errors are in the table: a share has a scale of its own.
            let accuracy = report.accuracy?;
            let (low, high) = words::interval(accuracy, report.rows);
            Some((release.version, accuracy, [low, high]))
        })
        .collect();
    html! {
        @if let [_, .., (newest, right, _)] = measured.as_slice() {
            figure class="chart" {
                div role="img" aria-label={
                    "Accuracy of " (words::count(measured.len(), "student")) "; the newest, " (newest) ", is right on "
                    (words::percent(*right)) " of held-out rows"
                } {
                    div class="desk" { (PreEscaped(chart(&measured, Size::Wide))) }
                    div class="phone" { (PreEscaped(chart(&measured, Size::Narrow))) }
                }
                figcaption { "Share of the devices' held-out rows that each student answers right, with its 95 % interval." }
            }
        }
    }
}

/// Students in order, each with its accuracy and its interval.
fn chart(measured: &[(Version, f64, [f64; 2])], size: Size) -> String {
    let names = measured.iter().map(|(version, ..)| version.to_string());
    let points = measured.iter().enumerate();
    let points = points.map(|(at, (_, right, interval))| Point {
        x: at as f64,
        y: *right,
        interval: Some(*interval),
    });
    let chart = Chart {
        x: Axis {
            title: "Student",
            scale: Scale::Names(names.collect()),
        },
        y: Axis {
            title: "Accuracy",
            scale: Scale::Percent,
        },
        series: vec![Series {
            name: String::new(),
            points: points.collect(),
            form: Form::Line,
        }],
        size,
    };
    chart.html().unwrap_or_else(|error| {
        tracing::warn!(%error);
        String::new()
    })
}

fn versions(task: &TaskStatus, view: &View) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label={ "Students of " (task.name) } {
            table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" class="extra" { "Released" } th scope="col" class="extra" { "Round" }
                    th scope="col" { "Right on held-out rows" } th scope="col" class="figure extra" { "Rows" }
                    th scope="col" { "Who is in it" } th scope="col" class="figure extra" { "Size" }
                } }
                tbody { @for release in task.releases.iter().rev() { (row(task, release, view)) } }
            }
        }
    }
}

fn row(task: &TaskStatus, release: &ReleaseStatus, view: &View) -> Markup {
    let is_newest = task.releases.last().map(|one| one.version) == Some(release.version);
    html! {
        tr {
            th scope="row" { (release.version) @if release.held { " " (pill(Tone::Warn, "held")) } }
            td class="extra" { time title=(words::instant(release.released)) { (words::ago(view.status.now, release.released)) } }
            td class="extra" { (release.round) }
            td { @match release.report {
                Some(report) => {
                    @if let Some(accuracy) = report.accuracy {
                        @let (low, high) = words::interval(accuracy, report.rows);
                        strong { (words::percent(accuracy)) }
                        " " span class="quiet" { "(" (words::range(low, high)) ")" }
                    } @else {
                        strong { (report.reached()) }
                    }
                }
                None => span class="quiet" { "no report" },
            } }
            td class="figure extra" { @if let Some(report) = release.report { (words::number(report.rows)) } }
            td { a href={ "/students?task=" (task.task) "&version=" (release.version) } { (words::count(release.lineage, "device")) @if is_newest { ", and their influence" } } }
            td class="figure extra" { (words::bytes(release.bytes)) }
        }
    }
}

fn one(
    version: Version,
    lineage: &[DeviceName],
    influences: Option<&[InfluenceStatus]>,
    query: &Query,
) -> Markup {
    let (at, of, range) = slice(query.get("page"), lineage.len(), DEVICES_EACH);
    let mut in_order: Vec<_> = lineage.iter().collect();
    in_order.sort_by_cached_key(|device| natural(&words::name(device)));
    let task = query.get("task").map(String::as_str).unwrap_or_default();
    html! {
        p { a href="/students" { "‹ All students" } }
        h1 { "Who is in student " (version) }
        p { (words::count(lineage.len(), "device")) " contributed to what it was distilled from." }
        @match influences {
            Some(influences) => (influence_table(influences, lineage.len())),
            None => p class="quiet" { "The influence of each is shown for the newest student, once two devices sent moments for it." },
        }
        @if lineage.len() > influences.map_or(0, <[InfluenceStatus]>::len) {
            h2 { "All of them" }
            ul class="names" {
                @for device in &in_order[range] { li { (layout::device(device.device, &device.label)) } }
            }
        }
        (pages(at, of, |page| format!("/students?task={}&version={version}&page={page}", super::route::encode(task))))
    }
}

/// What leaving each device out does to the teacher.
fn influence_table(influences: &[InfluenceStatus], devices: usize) -> Markup {
    let largest = influences.iter().map(|one| one.worth.abs());
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    html! {
        h2 { "Influence of each device" }
        p {
            "The teacher of this student is solved again without each device in turn, exactly, from the sums that devices sent: no test data is asked. "
            "Error is the mean squared error of its answers, 0 is perfect. What a device is worth is measured on the others' rows only: on each half of them, by teachers of the other half with the device and without it. Below 0 it does harm, as a sensor in a wrong unit does. Where the error on a device's own rows rises without it, others know its kind of data little, or it knows a wrong one."
            @if devices > influences.len() && influences.len() == INFLUENCES_MAX {
                " Shown are the " (INFLUENCES_MAX) " with most rows."
            }
        }
        div class="scroll" tabindex="0" role="region" aria-label="Influence of devices" {
            table {
                thead { tr {
                    th scope="col" { "Device" }
                    th scope="col" class="figure" { "Rows" }
                    th scope="col" colspan="2" { "Worth to others" }
                    th scope="col" class="figure extra" { "Error on others' rows" }
                    th scope="col" class="figure extra" { "Without it" }
                    th scope="col" class="figure extra" { "Error on its own rows" }
                    th scope="col" class="figure extra" { "Without it" }
                } }
                tbody {
                    @for influence in influences {
                        tr {
                            th scope="row" { (layout::device(influence.device.device, &influence.device.label)) }
                            td class="figure" { (words::number(influence.rows)) }
                            td class="figure" { (format!("{:+.2} %", 100.0 * influence.worth)) }
                            td class="bar" {
                                svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                                    rect class=(if influence.worth < 0.0 { "below" } else { "above" }) width=(format!("{:.1}", BAR * (influence.worth.abs() / largest).clamp(0.0, 1.0))) height="10" rx="2" {}
                                }
                            }
                            td class="figure extra" { (format!("{:.4}", influence.others_with)) }
                            td class="figure extra" { (format!("{:.4}", influence.others_without)) }
                            td class="figure extra" { (format!("{:.4}", influence.own_with)) }
                            td class="figure extra" { (format!("{:.4}", influence.own_without)) }
                        }
                    }
                }
            }
        }
    }
}
