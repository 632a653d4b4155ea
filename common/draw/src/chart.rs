//! Charts with axes, lines, dots and error bars, as SVG in colours that follow
//! the reader's light or dark page.

mod scale;
mod time;

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, DrawingArea, IntoDrawingArea, IntoFont,
    LabelAreaPosition, LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, ShapeStyle,
    TRANSPARENT, Text, TextStyle,
};

use crate::text::escape;
pub use scale::Scale;
pub use time::TimeUnit;

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What runs to the right.
    pub x: Axis<'a>,
    /// What runs upwards; its title stands above the chart.
    pub y: Axis<'a>,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
    /// For which width.
    pub size: Size,
}

/// One side of a chart.
#[derive(Clone, Debug)]
pub struct Axis<'a> {
    /// What it counts, with its unit.
    pub title: &'a str,
    /// How values are written on it.
    pub scale: Scale,
}

/// One measurement, or several, of one thing.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it shows, for the legend.
    pub name: String,
    /// Where it runs.
    pub points: Vec<Point>,
    /// How it is drawn.
    pub form: Form,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Dots with a line through them.
    Line,
    /// Dots alone.
    Dots,
    /// A bar from zero to each.
    Bars,
    /// A dashed line from side to side, as high as the first point: what others
    /// are held against.
    Bound,
}

/// A value, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
    /// From where to where its error bar runs, if it has one.
    pub interval: Option<[f64; 2]>,
}

/// For which width a chart is drawn. Text keeps its size, so a narrow one is no
/// wide one made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A desk's screen.
    Wide,
    /// A phone's.
    Narrow,
}

/// Why a chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a chart could not be drawn: {0}")]
pub struct ChartError(String);

/// The page's style sheet finds these two (`[stroke="#010101"]`) and gives them
/// the colours of its text and of its faint lines.
const INK: RGBColor = RGBColor(1, 1, 1);
const MESH: RGBColor = RGBColor(2, 2, 2);
/// Legible on light and on dark.
const COLOURS: [[u8; 3]; 6] = [
    [42, 120, 214],
    [27, 158, 119],
    [217, 119, 6],
    [197, 61, 115],
    [124, 92, 214],
    [120, 130, 60],
];
/// Room for half of the last name on the axis, which is centred on its tick.
const RIGHT: u32 = 40;
/// Room for the title of the vertical axis.
const ABOVE: u32 = 30;

/// A line through more points than these has no dots, which would hide it.
const DOTS_MAX: usize = 40;
/// Widths of a bar, in pixels.
const BAR_MIN: f64 = 2.0;
const BAR_MAX: f64 = 14.0;

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The colour of a chart's series; the first six differ.
pub fn colour(at: usize) -> [u8; 3] {
    COLOURS[at % COLOURS.len()]
}

fn rgb(at: usize) -> RGBColor {
    let [red, green, blue] = colour(at);
    RGBColor(red, green, blue)
}

impl Point {
    /// A value without an error bar.
    pub fn new(x: f64, y: f64) -> Self {
        let interval = None;
        Self { x, y, interval }
    }

    /// A value that may as well be so much more or less.
    pub fn within(x: f64, y: f64, deviation: f64) -> Self {
        let interval =
            (deviation.is_finite() && deviation > 0.0).then_some([y - deviation, y + deviation]);
        Self { x, y, interval }
    }

    fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }
}

impl Size {
    fn pixels(self) -> (u32, u32) {
        match self {
            Self::Wide => (860, 320),
            Self::Narrow => (340, 280),
        }
    }

    /// As the library counts it, in which text is a fifth smaller.
    fn text(self) -> i32 {
        match self {
            Self::Wide => 13,
            Self::Narrow => 16,
        }
    }

    /// The width of one of `many` bars, as a share of the chart's width.
    fn bar(self, many: usize) -> f64 {
        let width = f64::from(self.pixels().0);
        let room = width / (2.0 * many.max(1) as f64);
        room.clamp(BAR_MIN, BAR_MAX) / width
    }

    /// So many names have room side by side.
    fn names_max(self) -> usize {
        match self {
            Self::Wide => 12,
            Self::Narrow => 5,
        }
    }
}

impl Chart<'_> {
    /// The chart as an element, with a legend where there is more than one
    /// series; empty where there is nothing to show.
    ///
    /// # Errors
    /// If the drawing library refuses.
    pub fn html(&self) -> Result<String, ChartError> {
        let shown = self.without_a_run();
        let chart = shown.as_ref().unwrap_or(self);
        let Some(bounds) = chart.bounds() else {
            return Ok(String::new());
        };
        let mut svg = String::new();
        chart
            .draw(&mut svg, bounds)
            .map_err(|error| ChartError(error.to_string()))?;
        let (width, height) = self.size.pixels();
        // The page decides on its size, so its own becomes its proportions.
        let own = format!("<svg width=\"{width}\" height=\"{height}\" ");
        let svg = svg.replacen(&own, "<svg ", 1);
        let legend = match chart.series.len() {
            0 | 1 => String::new(),
            _ => chart.legend(),
        };
        Ok(format!("<div class=\"plot\">{svg}{legend}</div>"))
    }

    /// Where nothing runs along a numbered axis, since every series has its only
    /// point at the same place, the series stand beside each other by name.
    fn without_a_run(&self) -> Option<Self> {
        let points = || self.series.iter().filter(|one| one.form != Form::Bound);
        let first = points().next()?.points.first()?;
        let is_alone = |one: &Series| one.points.len() == 1 && one.points[0].x == first.x;
        if matches!(self.x.scale, Scale::Names(_)) || !points().all(is_alone) {
            return None;
        }
        let values = self.series.iter().filter_map(|one| {
            let point = one.points.first().filter(|point| point.y.is_finite())?;
            Some((one.name.clone(), *point))
        });
        let (names, points): (Vec<String>, Vec<Point>) = values.unzip();
        let points = points.into_iter().zip(0..);
        let points = points.map(|(point, at)| Point {
            x: f64::from(at),
            ..point
        });
        Some(Self {
            x: Axis {
                title: "",
                scale: Scale::Names(names),
            },
            series: vec![Series {
                name: String::new(),
                points: points.collect(),
                form: Form::Dots,
            }],
            ..self.clone()
        })
    }

    fn legend(&self) -> String {
        let entries = self.series.iter().enumerate().map(|(at, one)| {
            let [red, green, blue] = colour(at);
            let dashes = match one.form {
                Form::Bound => " stroke-dasharray=\"5 3\"",
                _ => "",
            };
            format!(
                "<span><svg width=\"24\" height=\"4\" viewBox=\"0 0 24 4\" aria-hidden=\"true\">\
                 <path d=\"M0 2h24\" stroke=\"rgb({red},{green},{blue})\" stroke-width=\"3\"\
                 {dashes}/></svg> {}</span>",
                escape(&one.name)
            )
        });
        let entries: String = entries.collect();
        format!("<div class=\"legend\">{entries}</div>")
    }

    fn draw(&self, svg: &mut String, bounds: Bounds) -> Drawn {
        let area = SVGBackend::with_string(svg, self.size.pixels()).into_drawing_area();
        let text = ("sans-serif", self.size.text()).into_font().color(&INK);
        // Beside the axis it would lie over the numbers of a narrow chart.
        area.draw(&Text::new(self.y.title, (12, 8), text.clone()))?;
        self.draw_axes(&area, bounds, text)?;
        area.present()?;
        Ok(())
    }

    fn draw_axes(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        Bounds { x, y }: Bounds,
        text: TextStyle<'_>,
    ) -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_top(ABOVE)
            .margin_right(RIGHT)
            .x_label_area_size(if self.x.title.is_empty() { 26 } else { 42 })
            .y_label_area_size(66)
            .build_cartesian_2d(x[0]..x[1], y[0]..y[1])?;
        let across = |value: &f64| self.x.scale.label(*value, x);
        let up = |value: &f64| self.y.scale.label(*value, y);
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(MESH)
            .light_line_style(TRANSPARENT)
            .axis_style(MESH)
            .x_labels(self.x.scale.ticks(self.size.names_max()))
            .y_labels(5)
            .x_label_formatter(&across)
            .y_label_formatter(&up)
            .label_style(text.clone())
            .x_desc(self.x.title)
            .axis_desc_style(text.clone());
        if let Scale::Names(_) = self.x.scale {
            // A name is its own mark; the mesh would stand between them too.
            mesh.disable_x_mesh()
                .set_tick_mark_size(LabelAreaPosition::Bottom, 0);
        }
        mesh.draw()?;
        for (at, one) in self.series.iter().enumerate() {
            let style = ShapeStyle::from(rgb(at)).stroke_width(2);
            let finite = || one.points.iter().filter(|point| point.is_finite());
            if one.form == Form::Bound {
                let height = one.points.first().map_or(0.0, |point| point.y);
                let ends = [(x[0], height), (x[1], height)];
                chart.draw_series(DashedLineSeries::new(ends, 8, 6, style))?;
                continue;
            }
            for point in finite() {
                if let Some([low, high]) = point.interval {
                    let band = rgb(at).mix(0.35).stroke_width(7);
                    let bar = PathElement::new([(point.x, low), (point.x, high)], band);
                    chart.draw_series([bar])?;
                }
            }
            let places = || finite().map(|point| (point.x, point.y));
            if one.form == Form::Bars {
                let half = 0.5 * self.size.bar(one.points.len()) * (x[1] - x[0]);
                let bars = places().map(|(x, y)| {
                    let corners = [(x - half, 0.0), (x + half, y)];
                    Rectangle::new(corners, rgb(at).filled())
                });
                chart.draw_series(bars)?;
                continue;
            }
            if one.form == Form::Line {
                chart.draw_series(LineSeries::new(places(), style))?;
            }
            if one.form == Form::Line && one.points.len() > DOTS_MAX {
                continue;
            }
            chart.draw_series(places().map(|place| Circle::new(place, 4, style.filled())))?;
        }
        Ok(())
    }

    /// A little more than what is to be shown; none where nothing is.
    fn bounds(&self) -> Option<Bounds> {
        let run = self.series.iter().filter(|one| one.form != Form::Bound);
        let across = run.flat_map(|one| &one.points);
        let across = range(
            across
                .filter(|point| point.is_finite())
                .map(|point| point.x),
        )?;
        let points = self.series.iter().flat_map(|one| &one.points);
        let up = points.flat_map(|point| {
            let [low, high] = point.interval.unwrap_or([point.y, point.y]);
            [low, point.y, high]
        });
        // A bar stands on zero.
        let has_bars = self.series.iter().any(|one| one.form == Form::Bars);
        let up = up.chain(has_bars.then_some(0.0));
        Some(Bounds {
            x: self.x.scale.room(across),
            y: self.y.scale.room(range(up)?),
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

#[cfg(test)]
mod tests;
