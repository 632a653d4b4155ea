//! Released students: how they do on the devices, and who is in them.

use std::sync::Arc;

use common::ids::Version;
use maud::{Markup, PreEscaped, html};

use super::chart::{self, Measured};
use super::layout::{self, Room, page, pages, slice};
use super::route::{Query, on_the_side};
use super::view::{View, Viewer};
use super::words;
use crate::admin::{DeviceName, Fault, ReleaseStatus, TaskStatus};

/// Devices named on one page of a lineage.
const DEVICES_EACH: usize = 200;

/// All students, or one with everyone who is in it (`?task=…&version=…`).
pub(super) async fn show(viewer: &Arc<Viewer>, query: Query) -> Result<Markup, Fault> {
    let view = viewer.view().await?;
    let version = query.get("version").and_then(|text| parse(text));
    let task = query.get("task").and_then(|task| task.parse().ok());
    let lineage = match (task, version) {
        (Some(task), Some(version)) => viewer.lineage(task, version).await?,
        _ => None,
    };
    on_the_side(move || {
        let content = match (lineage, version) {
            (Some(lineage), Some(version)) => one(version, &lineage, &query),
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
        @if view.status.tasks.is_empty() { (layout::no_task()) }
        @for task in &view.status.tasks {
            section aria-label={ "Task " (task.name) } {
                h2 { (task.name) " " code class="quiet" { (task.task.short()) } }
                @if task.releases.is_empty() {
                    p class="hint" { "No student yet. Start a round with " code { "alambic-coordinator round start --watch" } "." }
                } @else {
                    (accuracy(task))
                    (versions(task, view))
                }
            }
        }
    }
}

/// Accuracy over versions, with its interval.
fn accuracy(task: &TaskStatus) -> Markup {
    let measured: Vec<_> = task
        .releases
        .iter()
        .filter_map(|release| {
            let report = release.report?;
            let (low, high) = words::interval(report.accuracy, report.rows);
            Some(Measured {
                name: release.version.to_string(),
                value: report.accuracy,
                low,
                high,
            })
        })
        .collect();
    html! {
        @if let Some(last) = measured.last() {
            figure class="chart" {
                div role="img" aria-label={
                    "Accuracy of " (measured.len()) " students; the newest, " (last.name) ", is right on "
                    (words::percent(last.value)) " of held-out rows"
                } { (PreEscaped(chart::accuracy(&measured))) }
                figcaption { "Share of the devices' held-out rows that each student answers right, with its 95 % interval." }
            }
        }
    }
}

fn versions(task: &TaskStatus, view: &View) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label={ "Students of " (task.name) } {
            table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "Released" } th scope="col" { "Round" }
                    th scope="col" { "Right on held-out rows" } th scope="col" class="figure" { "Rows" }
                    th scope="col" { "Who is in it" } th scope="col" class="figure" { "Size" }
                } }
                tbody { @for release in task.releases.iter().rev() { (row(task, release, view)) } }
            }
        }
    }
}

fn row(task: &TaskStatus, release: &ReleaseStatus, view: &View) -> Markup {
    html! {
        tr {
            th scope="row" { (release.version) }
            td { time title=(words::instant(release.released)) { (words::ago(view.status.now, release.released)) } }
            td { (release.round) }
            td { @match release.report {
                Some(report) => {
                    @let (low, high) = words::interval(report.accuracy, report.rows);
                    strong { (words::percent(report.accuracy)) }
                    span class="quiet" { " " (words::percent(low)) " to " (words::percent(high)) }
                }
                None => span class="quiet" { "no report" },
            } }
            td class="figure" { @if let Some(report) = release.report { (words::number(report.rows)) } }
            td { a href={ "/students?task=" (task.task) "&version=" (release.version) } { (words::count(release.lineage, "device")) } }
            td class="figure" { (words::bytes(release.bytes)) }
        }
    }
}

fn one(version: Version, lineage: &[DeviceName], query: &Query) -> Markup {
    let (at, of, range) = slice(query.get("page"), lineage.len(), DEVICES_EACH);
    let task = query.get("task").map(String::as_str).unwrap_or_default();
    html! {
        h1 { "Who is in student " (version) }
        p { (words::count(lineage.len(), "device")) " contributed to what it was distilled from. " a href="/students" { "All students" } }
        ul class="names" {
            @for device in &lineage[range] { li { (words::name(device)) " " code class="quiet" { (device.device.short()) } } }
        }
        (pages(at, of, |page| format!("/students?task={}&version={version}&page={page}", super::route::encode(task))))
    }
}
