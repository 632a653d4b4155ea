//! Distilled points to look at: one self-contained page.

use std::fmt::Write;

use draw::{Axis, Chart, Form, Point, Scale, Series, Size, escape};
use ndarray::{Array2, ArrayView1};
use serde_json::Value;

use common::features::Drawing;

use super::student::nearest;
use super::{Distilled, Rows, Session};
use crate::data::Dataset;
use crate::stage::look;

/// Each point as a raw input, m × values: the point itself where the features
/// are the raw values, else the mean of the training rows nearest to it.
pub fn pictures(data: &Dataset, session: &Session, distilled: &Distilled) -> Array2<f32> {
    if are_inputs(session) {
        return distilled.points.clone();
    }
    let mut sums = Array2::<f32>::zeros((distilled.classes.len(), data.train.inputs.ncols()));
    let mut counts = vec![0u32; distilled.classes.len()];
    let rows = nearest(&session.problem.fit, distilled);
    for (&row, (point, _)) in session.split.fit.iter().zip(rows) {
        let mut sum = sums.row_mut(point);
        sum += &data.train.inputs.row(row);
        counts[point] += 1;
    }
    for (point, _) in counts.iter().enumerate().filter(|(_, count)| **count == 0) {
        if let Some(row) = nearest_row(&session.problem.fit, distilled, point) {
            sums.row_mut(point)
                .assign(&data.train.inputs.row(session.split.fit[row]));
        }
    }
    for (mut sum, &count) in sums.rows_mut().into_iter().zip(&counts) {
        sum /= count.max(1) as f32;
    }
    sums
}

/// Whether points are drawn as the inputs that they are.
fn are_inputs(session: &Session) -> bool {
    let task = session.feature_view.task();
    match task.definition().features.drawing(task.input_shape()) {
        Ok(Drawing::Input) => true,
        // A stage that does not take the shape was refused with the task.
        Ok(Drawing::Filters(_) | Drawing::Bars) | Err(_) => false,
    }
}

/// The row of a point's class in most nearly the same direction: what a point
/// that has left the data looks like.
fn nearest_row(rows: &Rows, distilled: &Distilled, point: usize) -> Option<usize> {
    let along = |row: usize| rows.inputs.row(row).dot(&distilled.points.row(point));
    let members = rows.of_class(distilled.classes[point]).into_iter();
    members.max_by(|&a, &b| along(a).total_cmp(&along(b)))
}

/// The page: the figures, then every point under its class. Images are drawn
/// as images, everything else as traces.
pub fn gallery(
    data: &Dataset,
    session: &Session,
    distilled: &Distilled,
    losses: &[(u32, f64)],
    figures: &Value,
) -> String {
    let pictures = pictures(data, session, distilled);
    let mut page = String::new();
    let title = format!(
        "{}: {} distilled points",
        data.name,
        distilled.classes.len()
    );
    let what = if are_inputs(session) {
        "Each picture is a distilled point, in the units of the normaliser."
    } else {
        "Points live in feature space; each picture is the mean of the training rows of its \
         class nearest to it, or the row most nearly in its direction where none is."
    };
    // Writing into a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>{figures}<p>{what} The bars under it are its soft \
         label, one a class.</p>{losses}",
        title = escape(&title),
        figures = table(figures),
        losses = loss_curve(losses),
    );
    for (class, name) in data.classes.iter().enumerate() {
        let _ = write!(page, "<h2>{}</h2><div class=\"row\">", escape(name));
        for (point, _) in distilled
            .classes
            .iter()
            .enumerate()
            .filter(|(_, at)| usize::from(**at) == class)
        {
            let _ = write!(
                page,
                "<figure>{}{}</figure>",
                look(data)
                    .draw(&pictures.row(point).to_vec(), "")
                    .unwrap_or_else(|| "<p>cannot be drawn</p>".to_owned()),
                bars(distilled.labels.row(point), &data.classes),
            );
        }
        page.push_str("</div>");
    }
    page.push_str("</html>\n");
    page
}

fn table(figures: &Value) -> String {
    let percent = |value: &Value| match value.as_f64() {
        Some(value) => format!("{:.2} %", 100.0 * value),
        None => "not measured".to_owned(),
    };
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let rows = [
        ("method", text(&figures["config"]["method"])),
        ("points a class", text(&figures["config"]["per_class"])),
        ("features", text(&figures["choices"]["features"]["value"])),
        ("kernel depth", text(&figures["choices"]["depth"]["value"])),
        (
            "kernel regression, test set",
            percent(&figures["krr_accuracy"]),
        ),
        ("student, test set", percent(&figures["student_accuracy"])),
        ("bytes", text(&figures["bytes"])),
    ];
    let rows: String = rows
        .iter()
        .map(|(key, value)| format!("<tr><th>{key}<td>{}", escape(value)))
        .collect();
    format!("<table>{rows}</table>")
}

fn loss_curve(losses: &[(u32, f64)]) -> String {
    let points = losses.iter();
    let points = points.map(|&(step, loss)| Point::new(f64::from(step), loss));
    let axis = |title| Axis {
        title,
        scale: Scale::Number,
    };
    let chart = Chart {
        x: axis("step"),
        y: axis("loss"),
        series: vec![Series {
            name: String::new(),
            points: points.collect(),
            form: Form::Line,
        }],
        size: Size::Wide,
    };
    // Points are worth looking at without their curve too.
    chart.html().unwrap_or_default()
}

/// A soft label (less 1/C) as bars.
fn bars(label: ArrayView1<'_, f64>, classes: &[String]) -> String {
    let mean = 1.0 / classes.len().max(1) as f64;
    let bars: String = label
        .iter()
        .zip(classes)
        .map(|(value, name)| {
            let share = (value + mean).clamp(0.0, 1.0);
            format!(
                "<i style=\"height:{:.0}px\" title=\"{} {:.2}\"></i>",
                1.0 + 17.0 * share,
                escape(name),
                value + mean
            )
        })
        .collect();
    format!("<figcaption>{bars}</figcaption>")
}

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:2rem;max-width:70rem;color:#222}\
h1{font-size:1.4rem}h2{font-size:1rem;margin:1.2rem 0 .3rem}\
table{border-collapse:collapse;margin:1rem 0}th{text-align:left;font-weight:400;color:#666;padding:.1rem 1.5rem .1rem 0}\
.row{display:flex;flex-wrap:wrap;gap:6px}figure{margin:0}\
.point{display:block;border:1px solid #ddd}img.point{width:64px;height:auto;image-rendering:pixelated}\
svg.point{width:180px;height:72px}.trace{fill:none;stroke:#888;stroke-width:1.2;vector-effect:non-scaling-stroke}\
.c0{stroke:#2a78d6}.c1{stroke:#1b9e77}.c2{stroke:#d97706}.c3{stroke:#c53d73}.c4{stroke:#7c5cd6}.c5{stroke:#788c3c}\
.above{fill:#2a78d6}.below{fill:#d97706}.plot{max-width:46rem}.plot svg{width:100%;height:auto}\
.plot [stroke=\"#010101\"]{stroke:#666}.plot [fill=\"#010101\"]{fill:#222}.plot [stroke=\"#020202\"]{stroke:#ddd}\
figcaption{display:flex;align-items:flex-end;gap:1px;height:20px}\
figcaption i{flex:1;background:#4a7;min-width:3px}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_cannot_break_the_page() {
        let bars = bars(
            ndarray::array![0.1, -0.1].view(),
            &["a\"<b>".into(), "c".into()],
        );
        assert!(!bars.contains("<b>"));
    }
}
