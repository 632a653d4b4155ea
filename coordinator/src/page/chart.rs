//! Charts, drawn by plotters as SVG. Its colours are names here: the style
//! sheet maps each to one that suits a light or a dark page.

use plotters::prelude::*;

/// Lines and text; `page.css` gives each its real colour.
const INK: RGBColor = RGBColor(1, 1, 1);
/// The mesh.
const FAINT: RGBColor = RGBColor(2, 2, 2);
/// What is measured.
const ACCENT: RGBColor = RGBColor(3, 3, 3);
/// Its interval.
const BAND: RGBColor = RGBColor(4, 4, 4);

/// For which width a chart is drawn. Text keeps its size, so a narrow one is
/// no wide one made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Desk,
    Phone,
}

impl Width {
    fn size(self) -> (u32, u32) {
        match self {
            Self::Desk => (860, 280),
            Self::Phone => (340, 260),
        }
    }

    /// As the library counts it, in which text is a fifth smaller.
    fn text(self) -> i32 {
        match self {
            Self::Desk => 13,
            Self::Phone => 16,
        }
    }

    /// This many names have room side by side.
    fn names_max(self) -> usize {
        match self {
            Self::Desk => 12,
            Self::Phone => 5,
        }
    }
}

/// One measurement with its interval, each 0..=1.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Measurements in order, as an SVG element. Empty if it cannot be drawn.
pub(super) fn accuracy(measured: &[Measured], width: Width) -> String {
    let (across, down) = width.size();
    let mut svg = String::new();
    match draw(&mut svg, measured, width) {
        // Sized by the page, so its own size becomes its proportions.
        Ok(()) => svg.replacen(
            &format!("<svg width=\"{across}\" height=\"{down}\" "),
            "<svg ",
            1,
        ),
        Err(error) => {
            tracing::warn!(%error, "a chart could not be drawn");
            String::new()
        }
    }
}

fn draw(
    svg: &mut String,
    measured: &[Measured],
    width: Width,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, width.size()).into_drawing_area();
    let low = measured.iter().map(|one| one.low).fold(1.0, f64::min);
    let high = measured.iter().map(|one| one.high).fold(0.0, f64::max);
    let margin = ((high - low) * 0.25).max(0.01);
    let (bottom, top) = ((low - margin).max(0.0), (high + margin).min(1.0));
    let last = measured.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(66)
        .build_cartesian_2d(-0.5..last + 0.5, bottom..top)?;
    let style = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let name = |at: &f64| {
        let is_whole = (at - at.round()).abs() < 1e-6;
        let found = measured.get(at.round().max(0.0) as usize);
        found
            .filter(|_| is_whole && *at > -0.25)
            .map_or_else(String::new, |one| one.name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT)
        .x_labels(measured.len().clamp(1, width.names_max()) * 2 + 1)
        .y_labels(5)
        .x_label_formatter(&name)
        .y_label_formatter(&|share| match top - bottom > 0.05 {
            true => format!("{:.0}\u{a0}%", 100.0 * share),
            false => format!("{:.1}\u{a0}%", 100.0 * share),
        })
        // A student has its name for a mark; the mesh stands between them too.
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .label_style(style(width.text()))
        .x_desc("Student")
        .y_desc("Right answers")
        .axis_desc_style(style(width.text()))
        .draw()?;
    for (at, one) in measured.iter().enumerate() {
        let x = at as f64;
        let bar = [(x, one.low), (x, one.high)];
        let line = PathElement::new(bar, BAND.stroke_width(7));
        chart.draw_series([line])?;
    }
    let values = || {
        measured
            .iter()
            .enumerate()
            .map(|(at, one)| (at as f64, one.value))
    };
    let line = LineSeries::new(values(), ACCENT.stroke_width(2));
    chart.draw_series(line)?;
    let dots = values().map(|point| Circle::new(point, 5, ACCENT.filled()));
    chart.draw_series(dots)?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_its_students_and_holds_no_style_of_its_own() {
        let measured = |name: &str, value: f64| Measured {
            name: name.to_owned(),
            value,
            low: value - 0.02,
            high: value + 0.02,
        };
        let svg = accuracy(&[measured("1.1", 0.91), measured("1.2", 0.95)], Width::Desk);
        assert!(svg.starts_with("<svg ") && svg.contains("viewBox"));
        assert!(svg.contains("1.1") && svg.contains("1.2"));
        assert!(svg.contains("Student") && svg.contains("Right answers"));
        assert!(
            !svg.contains("style="),
            "the content security policy refuses it"
        );
    }

    #[test]
    fn one_student_and_perfect_ones_are_drawn_too() {
        let one = Measured {
            name: "1.1".into(),
            value: 1.0,
            low: 1.0,
            high: 1.0,
        };
        assert!(accuracy(&[one], Width::Phone).contains("1.1"));
    }
}
