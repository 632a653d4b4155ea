//! The page itself.

use std::fmt::Write;

use draw::{Axis, Chart, ChartError, Form, Point, Scale, Series, Size, colour, escape};
use serde_json::Value;

use super::detail::Detail;
use super::influence;

/// A run's page: `outcome` as it is written with `--json` (of one seed, or of
/// several), `detail` of its first seed, and the command that made it.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn render(outcome: &Value, detail: &Detail, command: &str) -> Result<String, ChartError> {
    let config = &outcome["config"];
    let title = format!("{}: a simulated fleet", text(&config["dataset"]));
    let mut page = head(&title, command);
    page.push_str(&headline(outcome));
    let _ = write!(
        page,
        "<section><h2>Accuracy against bytes</h2>{}</section>",
        bytes_chart(outcome)?
    );
    let rounds = outcome["rounds"].as_array().map_or(0, Vec::len);
    if rounds > 1 {
        let _ = write!(
            page,
            "<section><h2>Accuracy by round</h2>{}</section>",
            rounds_chart(outcome)?
        );
    }
    let _ = write!(
        page,
        "<section><h2>Settings</h2>{}</section>",
        settings(config)
    );
    let _ = write!(
        page,
        "<section><h2>Choices</h2>{}</section>",
        choices(&outcome["choices"])
    );
    let several = config["seeds"]
        .as_array()
        .is_some_and(|seeds| seeds.len() > 1);
    if several {
        let _ = write!(
            page,
            "<p class=\"note\">What follows is of seed {}.</p>",
            text(&config["seed"])
        );
    }
    page.push_str(&devices(detail));
    page.push_str(&confusion(detail));
    page.push_str(&points(detail));
    page.push_str(FOOT);
    Ok(page)
}

/// One cell of a sweep: what was varied in it, and its outcome.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The varied settings, in words.
    pub name: String,
    /// As written with `--json`.
    pub outcome: Value,
}

/// What a sweep's page shows.
#[derive(Clone, Debug)]
pub struct SweepPage<'a> {
    /// Its title.
    pub title: &'a str,
    /// The command that made it.
    pub command: &'a str,
    /// Its cells, in order.
    pub cells: &'a [Cell],
}

/// A sweep's page.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn render_sweep(sweep: &SweepPage<'_>) -> Result<String, ChartError> {
    let mut page = head(sweep.title, sweep.command);
    let mut lines: Vec<Series> = Vec::new();
    for cell in sweep.cells {
        let points = measured(&cell.outcome, "uplink_bytes_max", "student_accuracy");
        lines.push(series(&cell.name, points));
    }
    // Beyond this many the colours repeat, and a table tells more.
    if lines.len() > 6 {
        let points = lines.into_iter().flat_map(|line| line.points).collect();
        let name = "every cell and round".to_owned();
        // They do not belong together.
        lines = vec![Series {
            form: Form::Dots,
            ..series(&name, points)
        }];
    }
    let x = "bytes sent by the device that sends most";
    let _ = write!(
        page,
        "<section><h2>Accuracy against bytes</h2>{}</section>",
        chart(x, lines)?
    );
    page.push_str("<section><h2>Cells</h2><div class=\"wide\"><table><thead><tr><th>cell<th>student<th>±<th>teacher<th>pooled<th>alone<th>bytes up, most<th>bytes down</thead><tbody>");
    for cell in sweep.cells {
        let Some(last) = rounds(&cell.outcome).last() else {
            continue;
        };
        let baselines = &cell.outcome["baselines"];
        let _ = write!(
            page,
            "<tr><th>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escape(&cell.name),
            percent(&last["student_accuracy"]),
            percent(&last["student_accuracy_std"]),
            percent(&last["teacher_accuracy"]),
            percent(&baselines["pooled_student"]),
            percent(&baselines["alone_mean"]),
            whole(&last["uplink_bytes_max"]),
            whole(&last["downlink_bytes_mean"]),
        );
    }
    page.push_str("</table></div></section>");
    page.push_str(FOOT);
    Ok(page)
}

/// How every page begins.
pub(crate) fn head(title: &str, command: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>\
         <pre class=\"command\">{}</pre>",
        escape(command)
    )
}

/// The figures that matter, large.
fn headline(outcome: &Value) -> String {
    let Some(last) = rounds(outcome).last() else {
        return String::new();
    };
    let spread = |value: &Value| match value.as_f64() {
        Some(std) => format!(" <small>± {:.2}</small>", 100.0 * std),
        None => String::new(),
    };
    let mut tiles = vec![
        (
            "student, test set",
            percent(&last["student_accuracy"]) + &spread(&last["student_accuracy_std"]),
        ),
        ("its kernel teacher", percent(&last["teacher_accuracy"])),
    ];
    let baselines = &outcome["baselines"];
    if baselines.is_object() {
        tiles.push(("all data pooled", percent(&baselines["pooled_student"])));
        tiles.push(("a device alone, mean", percent(&baselines["alone_mean"])));
    }
    tiles.push(("bytes up, at most", whole(&last["uplink_bytes_max"])));
    tiles.push(("bytes down, mean", whole(&last["downlink_bytes_mean"])));
    let tiles: String = tiles
        .iter()
        .map(|(name, value)| format!("<div><b>{value}</b><span>{name}</span></div>"))
        .collect();
    format!("<div class=\"tiles\">{tiles}</div>")
}

fn bytes_chart(outcome: &Value) -> Result<String, ChartError> {
    let x = "bytes sent by the device that sends most, everything counted";
    accuracy_chart(outcome, "uplink_bytes_max", x)
}

fn rounds_chart(outcome: &Value) -> Result<String, ChartError> {
    accuracy_chart(outcome, "round", "round")
}

/// Student and teacher of every round against one of its figures.
fn accuracy_chart(outcome: &Value, over: &str, x: &str) -> Result<String, ChartError> {
    let mut series = vec![
        series("student", measured(outcome, over, "student_accuracy")),
        series(
            "kernel teacher",
            measured(outcome, over, "teacher_accuracy"),
        ),
    ];
    series.extend(bounds(outcome));
    chart(x, series)
}

/// Accuracy on the test set against `x`.
fn chart(x: &str, series: Vec<Series>) -> Result<String, ChartError> {
    let chart = Chart {
        x: Axis {
            title: x,
            scale: Scale::Number,
        },
        y: Axis {
            title: "accuracy, test set",
            scale: Scale::Percent,
        },
        series,
        size: Size::Wide,
    };
    chart.html()
}

/// One figure of every round against another, with its deviation over the seeds
/// where there are several.
fn measured(outcome: &Value, over: &str, key: &str) -> Vec<Point> {
    let deviation = format!("{key}_std");
    rounds(outcome)
        .map(|round| {
            let (x, y) = (number(&round[over]), number(&round[key]));
            Point::within(x, y, number(&round[&deviation]))
        })
        .collect()
}

fn series(name: &str, points: Vec<Point>) -> Series {
    Series {
        name: name.to_owned(),
        points,
        form: Form::Line,
    }
}

/// The baselines, where there are any.
fn bounds(outcome: &Value) -> Vec<Series> {
    let bound = |key: &str, name: &str| {
        let value = outcome["baselines"][key].as_f64()?;
        Some(Series {
            name: name.to_owned(),
            points: vec![Point::new(0.0, value)],
            form: Form::Bound,
        })
    };
    [
        bound("pooled_student", "the same student, all data pooled"),
        bound("alone_mean", "a device alone, mean"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn settings(config: &Value) -> String {
    let rows: String = config
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            format!(
                "<tr><th>{}<td>{}",
                escape(&key.replace('_', " ")),
                escape(&text(value))
            )
        })
        .collect();
    format!("<table>{rows}</table>")
}

fn choices(choices: &Value) -> String {
    let rows: String = choices
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, choice)| {
            format!(
                "<tr><th>{}<td>{}<td class=\"reason\">{}",
                escape(key),
                escape(&text(&choice["value"])),
                escape(&text(&choice["reason"]))
            )
        })
        .collect();
    format!("<table>{rows}</table>")
}

fn devices(detail: &Detail) -> String {
    let mut page = String::from("<section><h2>Devices</h2>");
    let left_out = detail
        .devices
        .iter()
        .filter(|device| device.influence.is_some())
        .count();
    page.push_str(if left_out > 0 {
        "<p>A bar shows the classes of a device's rows. The last six columns leave the device \
         out: the teacher is solved again from the exact sum without it. “Worth to others” is how \
         much the squared error on the others' rows grows without it, on each half of them by \
         teachers of the other half; below 0 the device does harm. “Error on its rows” is the \
         teacher's squared error on that device's own evidence, with and without it: far apart \
         where the device knows what no other does, or knows it wrongly. The test column is for \
         reading only; nothing was chosen by it."
    } else {
        "<p>A bar shows the classes of a device's rows. No device was left out in turn: that \
         takes the moments of two devices or more."
    });
    let mut order: Vec<_> = detail.devices.iter().collect();
    if order.len() > ROWS_MAX {
        order.sort_by_key(|device| std::cmp::Reverse(device.rows.iter().sum::<u32>()));
        order.truncate(ROWS_MAX);
        let _ = write!(
            page,
            " Shown are the {ROWS_MAX} with most rows, of {}.",
            detail.devices.len()
        );
    }
    if left_out == influence::DEVICES_MAX {
        let _ = write!(page, " Left out in turn are the {left_out} with most rows.");
    }
    page.push_str(
        "</p><div class=\"wide\"><table class=\"devices\"><thead><tr><th>device<th>rows<th>classes<th>points\
         <th>bytes up<th>down<th>worth to others<th>error on others' rows<th>without it\
         <th>error on its rows<th>without it<th>test accuracy lost</thead><tbody>",
    );
    for device in order {
        let total: u32 = device.rows.iter().sum();
        let _ = write!(
            page,
            "<tr><th>{}<td>{total}<td>{}<td>{}<td>{}<td>{}",
            device.device,
            class_bar(&device.rows, &detail.classes),
            device.points,
            device.bytes[0],
            device.bytes[1],
        );
        match device.influence {
            Some(influence) => {
                let _ = write!(
                    page,
                    "<td>{:+.2} %<td>{:.4}<td>{:.4}<td>{:.4}<td>{:.4}<td>{:+.2} %",
                    100.0 * influence.of_moments.worth(),
                    influence.of_moments.others_with,
                    influence.of_moments.others_without,
                    influence.of_moments.own_with,
                    influence.of_moments.own_without,
                    100.0 * influence.accuracy_lost
                );
            }
            None => page.push_str("<td>–<td>–<td>–<td>–<td>–<td>–"),
        }
    }
    page.push_str("</table></div></section>");
    page
}

fn class_bar(rows: &[u32], classes: &[String]) -> String {
    let parts: String = rows
        .iter()
        .enumerate()
        .filter(|(_, rows)| **rows > 0)
        .map(|(class, &rows)| {
            format!(
                "<i style=\"flex:{rows};background:{}\" title=\"{}: {rows} rows\"></i>",
                hue(class, classes.len()),
                escape(&classes[class])
            )
        })
        .collect();
    format!("<div class=\"bar\">{parts}</div>")
}

/// One colour a class, around the wheel.
fn hue(class: usize, classes: usize) -> String {
    let degrees = 360 * class / classes.max(1);
    let light = if class.is_multiple_of(2) { 48 } else { 62 };
    format!("hsl({degrees} 55% {light}%)")
}

fn confusion(detail: &Detail) -> String {
    let mut page = String::from(
        "<section><h2>Confusion</h2><p>Rows are true classes, columns the student's answers, on \
         the test set.</p><div class=\"wide\"><table class=\"confusion\"><thead><tr><th>",
    );
    for name in &detail.classes {
        let _ = write!(page, "<th>{}", escape(name));
    }
    page.push_str("<th>right</thead><tbody>");
    for (truth, counts) in detail.confusion.iter().enumerate() {
        let total = counts.iter().sum::<u32>().max(1);
        let _ = write!(page, "<tr><th>{}", escape(&detail.classes[truth]));
        for (said, &count) in counts.iter().enumerate() {
            let share = f64::from(count) / f64::from(total);
            let [red, green, blue] = colour(if said == truth { 1 } else { 2 });
            // Mistakes are few; the root makes one in a hundred visible.
            let strength = if said == truth {
                0.75 * share
            } else {
                share.sqrt()
            };
            let shown = if count == 0 {
                String::new()
            } else {
                count.to_string()
            };
            let _ = write!(
                page,
                "<td style=\"background:rgb({red} {green} {blue} / {strength:.2})\">{shown}"
            );
        }
        let _ = write!(
            page,
            "<td>{:.1} %",
            100.0 * f64::from(counts[truth]) / f64::from(total)
        );
    }
    page.push_str("</table></div></section>");
    page
}

fn points(detail: &Detail) -> String {
    let mut page = format!(
        "<section><h2>Distilled points</h2><p>{} The number is how many rows a point stands \
         for.</p>",
        detail.pictured
    );
    for (class, name) in detail.classes.iter().enumerate() {
        let all = || {
            detail
                .points
                .iter()
                .filter(|point| usize::from(point.class) == class)
        };
        let count = all().count();
        let more = count.saturating_sub(PICTURES_MAX);
        let _ = write!(page, "<h3>{}</h3><div class=\"points\">", escape(name));
        for point in all().take(PICTURES_MAX) {
            let _ = write!(
                page,
                "<figure><div>{}</div><figcaption>{}</figcaption></figure>",
                point.html, point.count
            );
        }
        if more > 0 {
            let _ = write!(page, "<p class=\"note\">and {more} more</p>");
        }
        if count == 0 {
            page.push_str("<p class=\"note\">none</p>");
        }
        page.push_str("</div>");
    }
    page.push_str("</section>");
    page
}

fn rounds(outcome: &Value) -> impl Iterator<Item = &Value> {
    outcome["rounds"].as_array().into_iter().flatten()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn percent(value: &Value) -> String {
    match value.as_f64() {
        Some(value) => format!("{:.2}\u{a0}%", 100.0 * value),
        None => "–".to_owned(),
    }
}

/// A whole number, its thousands apart.
fn whole(value: &Value) -> String {
    let Some(value) = value.as_f64() else {
        return "–".to_owned();
    };
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or(f64::NAN);
            if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
                format!("{}", (1e4 * value).round() / 1e4)
            } else {
                format!("{value:.3e}")
            }
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// How every page ends.
pub(crate) fn foot() -> &'static str {
    FOOT
}

/// Devices in the table.
const ROWS_MAX: usize = 100;
/// Points shown of one class.
const PICTURES_MAX: usize = 24;
const FOOT: &str = "</main></body></html>\n";
const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests;
