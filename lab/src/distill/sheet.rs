//! Distilled points to look at: one self-contained page.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, ArrayView1};
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, LineSeries, Palette, Palette99, SVGBackend, WHITE,
};
use serde_json::Value;

use common::features::FeatureStage;

use super::student::nearest;
use super::{Distilled, Rows, Session};
use crate::data::Dataset;
use crate::stage::is_series;

/// Each point as a raw input, m × values: the point itself where the features
/// are the raw values, else the mean of the training rows nearest to it.
pub fn pictures(data: &Dataset, session: &Session, distilled: &Distilled) -> Array2<f32> {
    if session.feature_view.task().definition().features == FeatureStage::Raw {
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

/// The row of a point's class in most nearly the same direction: what a point
/// that has left the data looks like.
fn nearest_row(rows: &Rows, distilled: &Distilled, point: usize) -> Option<usize> {
    let along = |row: usize| rows.inputs.row(row).dot(&distilled.points.row(point));
    let members = rows.of_class(distilled.classes[point]).into_iter();
    members.max_by(|&a, &b| along(a).total_cmp(&along(b)))
}

/// The page: the figures, then every point under its class. Images are drawn
/// as images, everything else as traces.
pub fn sheet(
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
    let raw = session.feature_view.task().definition().features == FeatureStage::Raw;
    let what = if raw {
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
                draw(data, pictures.row(point)),
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

fn draw(data: &Dataset, values: ArrayView1<'_, f32>) -> String {
    let sides: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
    match sides[..] {
        [height, width] if !is_series(data) => image(values, height, width, 1),
        [height, width, channels @ (1 | 3)] => image(values, height, width, channels),
        [time, channels, ..] => traces(values, time, channels),
        _ => traces(values, values.len(), 1),
    }
    .unwrap_or_else(|| "<p>cannot be drawn</p>".to_owned())
}

/// An image as PNG in a data address, from its least to its largest value.
fn image(
    values: ArrayView1<'_, f32>,
    height: usize,
    width: usize,
    channels: usize,
) -> Option<String> {
    let (low, high) = bounds(values);
    let scale = 255.0 / (high - low).max(1e-12);
    let bytes: Vec<u8> = values
        .iter()
        .take(height * width * channels)
        .map(|value| ((value - low) * scale).round() as u8)
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(if channels == 3 {
        png::ColorType::Rgb
    } else {
        png::ColorType::Grayscale
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&bytes).ok()?;
    writer.finish().ok()?;
    Some(format!(
        "<img alt=\"\" src=\"data:image/png;base64,{}\">",
        STANDARD.encode(file)
    ))
}

/// One line a channel, over time.
fn traces(values: ArrayView1<'_, f32>, time: usize, channels: usize) -> Option<String> {
    let (low, high) = bounds(values);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (180, 110)).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .margin(3)
            .build_cartesian_2d(0..time, low..high.max(low + 1e-6))
            .ok()?;
        for channel in 0..channels {
            let line = (0..time).map(|at| (at, values[at * channels + channel]));
            let style = Palette99::pick(channel).stroke_width(1);
            chart.draw_series(LineSeries::new(line, style)).ok()?;
        }
        area.present().ok()?;
    }
    Some(svg)
}

fn loss_curve(losses: &[(u32, f64)]) -> String {
    let (Some(first), Some(last)) = (losses.first(), losses.last()) else {
        return String::new();
    };
    let high = losses.iter().map(|(_, loss)| *loss).fold(first.1, f64::max);
    let low = losses.iter().map(|(_, loss)| *loss).fold(first.1, f64::min);
    let mut svg = String::new();
    let drawn = (|| -> Option<()> {
        let area = SVGBackend::with_string(&mut svg, (640, 220)).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0..last.0.max(1), low..high.max(low * 1.01 + 1e-9))
            .ok()?;
        chart
            .configure_mesh()
            .x_desc("step")
            .y_desc("loss")
            .draw()
            .ok()?;
        let line = losses.iter().copied();
        chart
            .draw_series(LineSeries::new(line, Palette99::pick(1).stroke_width(2)))
            .ok()?;
        area.present().ok()
    })();
    match drawn {
        Some(()) => svg,
        None => String::new(),
    }
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

fn bounds(values: ArrayView1<'_, f32>) -> (f32, f32) {
    let low = values.fold(f32::INFINITY, |low, &value| low.min(value));
    let high = values.fold(f32::NEG_INFINITY, |high, &value| high.max(value));
    (low, high)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:2rem;max-width:70rem;color:#222}\
h1{font-size:1.4rem}h2{font-size:1rem;margin:1.2rem 0 .3rem}\
table{border-collapse:collapse;margin:1rem 0}th{text-align:left;font-weight:400;color:#666;padding:.1rem 1.5rem .1rem 0}\
.row{display:flex;flex-wrap:wrap;gap:6px}figure{margin:0}\
img{width:64px;image-rendering:pixelated;display:block;border:1px solid #ddd}\
figcaption{display:flex;align-items:flex-end;gap:1px;height:20px}\
figcaption i{flex:1;background:#4a7;min-width:3px}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_keeps_every_pixel() {
        let values = ndarray::array![0.0f32, 1.0, 2.0, 4.0, 0.0, 2.0];
        let tag = image(values.view(), 2, 3, 1).unwrap();
        let start = tag.find("base64,").unwrap() + 7;
        let file = STANDARD.decode(&tag[start..tag.len() - 2]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(pixels, [0, 64, 128, 255, 0, 128]);
    }

    #[test]
    fn a_window_becomes_one_line_a_channel() {
        let values = Array2::from_shape_fn((20, 3), |(at, channel)| (at * channel) as f32);
        let flat = values.to_shape(60).unwrap();
        let svg = traces(flat.view(), 20, 3).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 3);
    }

    #[test]
    fn names_cannot_break_the_page() {
        let bars = bars(
            ndarray::array![0.1, -0.1].view(),
            &["a\"<b>".into(), "c".into()],
        );
        assert!(!bars.contains("<b>"));
    }
}
