//! Line charts as SVG, in colours that follow the reader's light or dark
//! page.

use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, IntoDrawingArea, IntoFont, LineSeries, RGBColor,
    SVGBackend, ShapeStyle,
};

/// One line of a chart, in the order of its points.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it shows, for the legend.
    pub name: String,
    /// Where it runs. A line that is the same everywhere is drawn dashed, as
    /// a bound.
    pub points: Vec<(f64, f64)>,
    /// Whether it is a bound to hold others against: dashed, and as wide as
    /// the chart.
    pub bound: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// What runs to the right.
    pub x: &'a str,
    /// What runs upwards.
    pub y: &'a str,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Whether points of a line belong together.
    pub joined: bool,
}

/// Why a chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a chart could not be drawn: {0}")]
pub struct ChartError(String);

impl Plot<'_> {
    /// The chart and its legend as HTML; nothing where there is nothing to
    /// show.
    ///
    /// # Errors
    /// If the drawing library refuses.
    pub fn html(&self) -> Result<String, ChartError> {
        let Some(bounds) = self.bounds() else {
            return Ok(String::new());
        };
        let mut svg = String::new();
        self.draw(&mut svg, bounds)
            .map_err(|error| ChartError(error.to_string()))?;
        let legend: String = self
            .lines
            .iter()
            .enumerate()
            .map(|(at, line)| {
                let [red, green, blue] = colour(at);
                let kind = if line.bound { "dashed" } else { "solid" };
                format!(
                    "<span><i style=\"border-top:3px {kind} rgb({red},{green},{blue})\"></i>{}</span>",
                    super::page::escape(&line.name)
                )
            })
            .collect();
        Ok(format!(
            "<div class=\"chart\">{svg}<div class=\"legend\">{legend}</div></div>"
        ))
    }

    fn draw(&self, svg: &mut String, bounds: Bounds) -> Result<(), Box<dyn std::error::Error>> {
        let Bounds { x, y } = bounds;
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(x[0]..x[1], y[0]..y[1])?;
        let text = ("sans-serif", 13).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_labels(6)
            .y_labels(6)
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(text)
            .axis_style(INK)
            .bold_line_style(MESH)
            .light_line_style(RGBColor(0, 0, 0).mix(0.0))
            .y_label_formatter(&|value| percent(*value))
            .x_label_formatter(&|value| short(*value))
            .draw()?;
        for (at, line) in self.lines.iter().enumerate() {
            let [red, green, blue] = colour(at);
            let style = ShapeStyle::from(RGBColor(red, green, blue)).stroke_width(2);
            let points = line.points.iter().copied();
            if line.bound {
                let height = line.points.first().map_or(0.0, |point| point.1);
                let ends = [(x[0], height), (x[1], height)];
                chart.draw_series(DashedLineSeries::new(ends, 8, 6, style))?;
                continue;
            }
            if self.joined {
                chart.draw_series(LineSeries::new(points.clone(), style))?;
            }
            chart.draw_series(points.map(|point| Circle::new(point, 4, style.filled())))?;
        }
        area.present()?;
        Ok(())
    }

    /// A little more than what is to be shown.
    fn bounds(&self) -> Option<Bounds> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = self.lines.iter().filter(|line| !line.bound);
        let x = range(across.flat_map(|line| &line.points).map(|point| point.0))?;
        let y = range(points().map(|point| point.1))?;
        let wide = |[low, high]: [f64; 2], least: f64| {
            let room = (0.08 * (high - low)).max(least);
            [low - room, high + room]
        };
        let x = wide(x, 0.05 * x[1].abs().max(1.0));
        let y = wide(y, 0.005);
        Some(Bounds {
            x: [x[0].max(0.0), x[1]],
            y,
        })
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    x: [f64; 2],
    y: [f64; 2],
}

fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values
        .filter(|value| value.is_finite())
        .fold(None, |range, value| match range {
            None => Some([value, value]),
            Some([low, high]) => Some([value.min(low), value.max(high)]),
        })
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

fn short(value: f64) -> String {
    match value {
        value if value.abs() >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value.abs() >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value.abs() >= 1e3 => format!("{:.1} k", value / 1e3),
        value => format!("{}", (10.0 * value).round() / 10.0),
    }
}

/// The colour of a chart's line; legible on light and on dark.
pub(super) fn colour(at: usize) -> [u8; 3] {
    COLOURS[at % COLOURS.len()]
}

const SIZE: (u32, u32) = (720, 340);
const COLOURS: [[u8; 3]; 6] = [
    [42, 120, 214],
    [27, 158, 119],
    [217, 119, 6],
    [197, 61, 115],
    [124, 92, 214],
    [120, 130, 60],
];
/// The page's style sheet finds these two and gives them the colours of its
/// text and of its faint lines.
const INK: RGBColor = RGBColor(1, 1, 1);
const MESH: RGBColor = RGBColor(2, 2, 2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot<'static> {
        let line = |name: &str, points, bound| Line {
            name: name.to_owned(),
            points,
            bound,
        };
        Plot {
            x: "bytes",
            y: "accuracy",
            lines: vec![
                line("student", points, false),
                line("pooled <all>", vec![(0.0, 0.97)], true),
            ],
            joined: true,
        }
    }

    #[test]
    fn a_chart_names_its_axes_and_escapes_its_legend() {
        let html = plot(vec![(10_000.0, 0.9), (20_000.0, 0.95)])
            .html()
            .unwrap();
        for part in [
            "bytes",
            "accuracy",
            "96.0 %",
            "14 k",
            "pooled &lt;all&gt;",
            "dashed",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn one_point_is_enough_and_none_draws_nothing() {
        assert!(
            plot(vec![(10_000.0, 0.9)])
                .html()
                .unwrap()
                .contains("<circle")
        );
        assert_eq!(plot(Vec::new()).html().unwrap(), "");
        assert_eq!(plot(vec![(f64::NAN, 0.5)]).html().unwrap(), "");
    }
}
