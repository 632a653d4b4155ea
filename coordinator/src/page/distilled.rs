//! The distilled data: the synthetic points that left the devices, to look at.

use std::sync::Arc;

use common::task::Normalisation;
use maud::{Markup, html};

use super::layout::{self, Room, page, pages, slice};
use super::look::Look;
use super::route::{Query, encode, on_the_side};
use super::view::{Distilled, View, Viewer};
use super::words;
use crate::status::{Fault, TaskStatus};

/// Points on one page.
const POINTS_EACH: usize = 60;
/// Features named below a point.
const FEATURES_NAMED: usize = 3;

/// The points of a task (`?task=…`), of all classes or one (`?class=…`).
pub(super) async fn show(viewer: &Arc<Viewer>, query: Query) -> Result<Markup, Fault> {
    let view = viewer.view().await?;
    let tasks = &view.status.tasks;
    let asked = query
        .get("task")
        .and_then(|asked| tasks.iter().find(|task| task.task.to_string() == *asked));
    let with_points = || tasks.iter().rev().find(|task| task.transfer.is_some());
    let chosen = asked.or_else(with_points).cloned();
    let distilled = match chosen
        .as_ref()
        .and_then(|task| Some((task.task, task.transfer?)))
    {
        Some((task, blob)) => viewer.distilled(task, blob).await?,
        None => None,
    };
    on_the_side(move || {
        let content = render(&view, chosen.as_ref(), distilled.as_deref(), &query);
        page(Room::Distilled, &view, content)
    })
    .await
}

fn render(
    view: &View,
    task: Option<&TaskStatus>,
    distilled: Option<&Distilled>,
    query: &Query,
) -> Markup {
    let tasks = &view.status.tasks;
    html! {
        h1 { "Distilled data" }
        p {
            "These synthetic points are what devices share of their inputs. Each is the middle of a "
            "group of rows of one device and one class, in features; no row leaves a device. Besides "
            "them devices send counts, soft labels and sums of kernel values on these points."
        }
        @if tasks.len() > 1 {
            nav class="choices" aria-label="Tasks" {
                @for one in tasks {
                    a href={ "/distilled?task=" (one.task) } aria-current=[task.is_some_and(|task| task.task == one.task).then_some("true")] { (one.name) }
                }
            }
        }
        @match (task, distilled) {
            (Some(task), Some(distilled)) => (points(task, distilled, query)),
            (Some(_), None) => p class="hint" { "The transfer set cannot be read; the coordinator's log says why." },
            (None, _) if tasks.is_empty() => (layout::no_task(&view.status)),
            (None, _) => p class="hint" { "Nothing has been distilled yet: the first round makes the points." },
        }
    }
}

fn points(task: &TaskStatus, distilled: &Distilled, query: &Query) -> Markup {
    let (points, definition) = (&distilled.points, distilled.task.definition());
    let class: Option<usize> = query.get("class").and_then(|class| class.parse().ok());
    let chosen: Vec<usize> = (0..points.len())
        .filter(|&at| class.is_none_or(|class| usize::from(points.classes[at]) == class))
        .collect();
    let (at, of, range) = slice(query.get("page"), chosen.len(), POINTS_EACH);
    let (stage, shape) = (&definition.features, distilled.task.stage_shape());
    let look = Look::of(stage, shape);
    // A declared range has its zero at its end, where nothing answers.
    let signed = !matches!(definition.normalisation, Normalisation::Range { .. });
    let names = match look {
        // Learnt directions are not features of the stage.
        Look::Input(draw::Look::Bars) if !definition.learns_directions => {
            stage.names(shape).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let rows: u64 = points.counts.iter().map(|&count| u64::from(count)).sum();
    let fewest = points.counts.iter().min().copied().unwrap_or(0);
    let of_class = |class: usize| {
        points
            .classes
            .iter()
            .filter(|&&one| usize::from(one) == class)
            .count()
    };
    let base = format!("/distilled?task={}", encode(&task.task.to_string()));
    let link = |page| match class {
        Some(class) => format!("{base}&class={class}&page={page}"),
        None => format!("{base}&page={page}"),
    };
    html! {
        h2 { (task.name) }
        @for line in task.budget.iter().flat_map(crate::status::format::budget) {
            p class="hint" { (line) }
        }
        p {
            strong { (words::count(points.len(), "point")) } " stand for " (words::number(rows))
            " rows; the smallest group has " (words::count(fewest as usize, "row")) ". The spread of a point is how far its rows lie from it. "
            @match look {
                Look::Input(draw::Look::Image(_)) => "Shown as pictures, each from its darkest to its brightest value.",
                Look::Input(draw::Look::Traces(_)) => "Shown as traces over time, one line a channel.",
                Look::Maps(maps) => (maps.told()),
                Look::Input(draw::Look::Bars) if signed => "Shown as one bar a feature, up above the fleet's mean and down below it, with the features that stand out most.",
                Look::Input(draw::Look::Bars) => "Shown as one bar a feature from zero, with the features that stand out most.",
            }
        }
        @if let Look::Maps(maps) = look { (maps.legend(stage, shape, signed)) }
        nav class="choices" aria-label="Classes" {
            a href=(base) aria-current=[class.is_none().then_some("true")] { "all" }
            @for (index, name) in definition.classes.iter().enumerate().take(CLASSES_SHOWN) {
                a href={ (base) "&class=" (index) } aria-current=[(class == Some(index)).then_some("true")] { (name) " " span class="quiet" { (of_class(index)) } }
            }
        }
        ul class={ "points " (if matches!(look, Look::Input(draw::Look::Image(_))) { "pictures" } else { "wide" }) } {
            @for &index in &chosen[range] { (point(distilled, index, look, &names)) }
        }
        (pages(at, of, link))
    }
}

fn point(distilled: &Distilled, index: usize, look: Look, names: &[String]) -> Markup {
    let points = &distilled.points;
    let class = usize::from(points.classes[index]);
    let class = distilled.task.definition().classes.get(class);
    let class = class.map(String::as_str).unwrap_or_default();
    let values: Vec<f32> = points.inputs.row(index).to_vec();
    let alt = format!("Point {index}, class {class}");
    html! {
        li {
            (look.draw(&values, &alt))
            p {
                strong { (class) } " "
                span class="quiet" { (words::count(points.counts[index] as usize, "row")) ", spread " (format!("{:.2}", points.spreads[index])) }
            }
            @if !names.is_empty() { p class="quiet small" { (outstanding(&values, names)) } }
        }
    }
}

/// The features that lie furthest from the middle.
fn outstanding(values: &[f32], names: &[String]) -> String {
    let mut order: Vec<usize> = (0..values.len().min(names.len())).collect();
    order.sort_unstable_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
    let told = order.iter().take(FEATURES_NAMED).map(|&at| {
        let arrow = if values[at] < 0.0 { "↓" } else { "↑" };
        format!("{arrow} {}", names[at])
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Classes that get a link of their own.
const CLASSES_SHOWN: usize = 100;
