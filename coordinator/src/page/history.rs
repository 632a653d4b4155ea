//! What rounds came to over weeks, as charts with a time axis.

use draw::{Axis, Chart, Form, Point, Scale, Series, Size, TimeUnit};
use maud::{Markup, PreEscaped, html};

use super::layout;
use super::route::Query;
use super::view::View;
use super::words;
use crate::journal::{History, ReachedThen, RoundsSpan};
use crate::status::TaskStatus;

pub(super) fn render(view: &View, _: &Query) -> Markup {
    html! {
        h1 { "History" }
        p { "What rounds came to, as long as there is a task. The older it is, the longer the span that one mark stands for." }
        @if view.status.tasks.is_empty() { (layout::no_task(&view.status)) }
        @for task in &view.status.tasks {
            section aria-label={ "Task " (task.name) } {
                (layout::task(task))
                @match view.histories.get(&task.task) {
                    Some(history) if history.spans().len() > 1 => (charts(task, history)),
                    Some(history) => (in_words(history.spans())),
                    None => (in_words(&[])),
                }
            }
        }
    }
}

/// What there is before a chart has something to show: one mark is no course.
fn in_words(spans: &[RoundsSpan]) -> Markup {
    html! {
        @match spans.last() {
            None => p class="hint" { "No round has ended yet. Charts begin with the second that does." },
            Some(only) => p class="hint" {
                (words::count(only.rounds as usize, "round")) " so far, " (words::date(only.ended)) ": "
                (words::count(only.devices as usize, "device")) " contributed"
                @if only.bytes > 0 { ", " (words::bytes(only.bytes)) " up" }
                @match only.reached {
                    Some(ReachedThen::Accuracy(accuracy)) => { ", " (words::percent(accuracy)) " of held-out rows right" },
                    Some(ReachedThen::Rmse(rmse)) => { ", RMSE " (crate::status::format::error(rmse)) },
                    None => {}
                }
                ". Charts begin with the next round that ends a minute or more after it."
            }
        }
    }
}

/// One figure of the history, and how it is drawn.
struct Course {
    title: &'static str,
    caption: &'static str,
    scale: Scale,
    form: Form,
    points: Vec<Point>,
}

fn charts(task: &TaskStatus, history: &History) -> Markup {
    let spans = history.spans();
    let first = spans.first().map_or(0, |span| span.ended.0);
    let last = spans.last().map_or(0, |span| span.ended.0);
    let unit = TimeUnit::of_span(last.saturating_sub(first));
    html! {
        @for course in courses(spans, unit) {
            @if course.points.len() > 1 {
                figure class="chart" {
                    div role="img" aria-label={ (course.title) " of " (task.name) " over time; " (newest(&course)) } {
                        div class="desk" { (PreEscaped(drawn(&course, unit, Size::Wide))) }
                        div class="phone" { (PreEscaped(drawn(&course, unit, Size::Narrow))) }
                    }
                    figcaption { (course.caption) }
                }
            }
        }
    }
}

fn courses(spans: &[RoundsSpan], unit: TimeUnit) -> Vec<Course> {
    let points = |value: &dyn Fn(&RoundsSpan) -> Option<f64>| -> Vec<Point> {
        let points = spans.iter().filter_map(|span| {
            let x = span.ended.0 as f64 / unit.ms();
            Some(Point::new(x, value(span)?))
        });
        points.collect()
    };
    let accuracy = points(&|span| match span.reached? {
        ReachedThen::Accuracy(accuracy) => Some(accuracy),
        ReachedThen::Rmse(_) => None,
    });
    let rmse = points(&|span| match span.reached? {
        ReachedThen::Accuracy(_) => None,
        ReachedThen::Rmse(rmse) => Some(rmse),
    });
    vec![
        Course {
            title: "Accuracy",
            caption: "Share of the devices' held-out rows that the newest student of each span answers right.",
            scale: Scale::Percent,
            form: Form::Line,
            points: accuracy,
        },
        Course {
            title: "RMSE",
            caption: "Root mean squared error of the newest student of each span on the devices' held-out rows.",
            scale: Scale::Number,
            form: Form::Line,
            points: rmse,
        },
        Course {
            title: "Devices contributing",
            caption: "Devices whose contributions a student of each span is made of; without a student, those that a round took something of.",
            scale: Scale::Count,
            form: Form::Bars,
            points: points(&|span| Some(f64::from(span.devices))),
        },
        Course {
            title: "Kilobytes up",
            caption: "Contributions taken in each span, without those of rounds that nobody counted: before this version, or while a coordinator was killed.",
            scale: Scale::Number,
            form: Form::Bars,
            points: points(&|span| Some(span.bytes as f64 / 1e3)),
        },
        Course {
            title: "Rounds",
            caption: "Rounds that ended in each span, with a student or without.",
            scale: Scale::Count,
            form: Form::Bars,
            points: points(&|span| Some(f64::from(span.rounds))),
        },
    ]
}

/// The last value in words, for who cannot see the chart.
fn newest(course: &Course) -> String {
    let value = course.points.last().map_or(0.0, |point| point.y);
    match course.scale {
        Scale::Percent => format!("the newest is {}", words::percent(value)),
        _ => format!("the newest is {value:.1}"),
    }
}

fn drawn(course: &Course, unit: TimeUnit, size: Size) -> String {
    let chart = Chart {
        x: Axis {
            title: "UTC",
            scale: Scale::Time(unit),
        },
        y: Axis {
            title: course.title,
            scale: course.scale.clone(),
        },
        series: vec![Series {
            name: String::new(),
            points: course.points.clone(),
            form: course.form,
        }],
        size,
    };
    chart.html().unwrap_or_else(|error| {
        tracing::warn!(%error);
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{RoundId, Time};

    use super::super::fleet::tests::fleet;
    use crate::journal::EndedRound;
    use crate::status::fixtures::task;

    const DAY_MS: u64 = 86_400_000;

    fn page(rounds: u64, reached: impl Fn(u64) -> Option<ReachedThen>) -> String {
        let mut view = fleet(2);
        let of_it = task(Vec::new(), None);
        let mut history = History::default();
        for number in 1..=rounds {
            history.add(&EndedRound {
                round: RoundId(number),
                ended: Time((20_000 + number) * DAY_MS),
                completed: true,
                devices: 2,
                bytes: Some(5_000),
                reached: reached(number),
            });
        }
        view.histories.insert(of_it.task, history);
        view.status.tasks = vec![of_it];
        render(&view, &Query::new()).into_string()
    }

    #[test]
    fn weeks_are_charts_with_dates() {
        let html = page(30, |number| {
            Some(ReachedThen::Accuracy(0.9 + 0.001 * number as f64))
        });
        // Accuracy, devices, bytes and rounds, each for a desk and a phone.
        assert_eq!(html.matches("<figure").count(), 4, "{html}");
        assert_eq!(html.matches("class=\"plot\"").count(), 8);
        assert!(html.contains("\u{a0}Oct"), "{html}");
        assert!(html.contains("the newest is 93.0"), "{html}");
    }

    #[test]
    fn one_round_is_a_sentence_and_no_chart() {
        let html = page(1, |_| Some(ReachedThen::Accuracy(0.9)));
        assert!(!html.contains("<svg"), "{html}");
        assert!(
            html.contains("1\u{a0}round so far") && html.contains("90.0"),
            "{html}"
        );
        assert!(page(0, |_| None).contains("No round has ended"));
    }

    #[test]
    fn a_single_report_makes_no_chart_of_accuracy() {
        let html = page(9, |number| (number == 4).then_some(ReachedThen::Rmse(3.0)));
        assert_eq!(html.matches("<figure").count(), 3, "{html}");
    }
}
