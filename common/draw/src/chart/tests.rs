#![allow(clippy::unwrap_used)]
use super::*;

fn series(name: &str, points: Vec<Point>, form: Form) -> Series {
    Series {
        name: name.to_owned(),
        points,
        form,
    }
}

fn chart(points: Vec<Point>) -> Chart<'static> {
    let bound = vec![Point::new(0.0, 0.97)];
    Chart {
        x: Axis {
            title: "bytes",
            scale: Scale::Number,
        },
        y: Axis {
            title: "accuracy",
            scale: Scale::Percent,
        },
        series: vec![
            series("student", points, Form::Line),
            series("pooled <all>", bound, Form::Bound),
        ],
        size: Size::Wide,
    }
}

/// Where a text of the picture stands.
fn place(html: &str, text: &str) -> [f64; 2] {
    let lines: Vec<&str> = html.lines().collect();
    let at = lines.iter().position(|line| line.trim() == text).unwrap();
    let of = |key: &str| {
        let tag = lines[at - 1];
        let start = tag.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
        tag[start..].split('"').next().unwrap().parse().unwrap()
    };
    [of("x"), of("y")]
}

#[test]
fn a_chart_names_its_axes_and_escapes_its_legend() {
    let points = vec![Point::new(10_000.0, 0.9), Point::new(20_000.0, 0.95)];
    let html = chart(points).html().unwrap();
    for part in [
        "bytes",
        "accuracy",
        "14 k",
        "pooled &lt;all&gt;",
        "dasharray",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("style="), "a page may forbid it");
    assert!(html.contains("<svg viewBox"), "the page sizes it");
}

#[test]
fn known_deviations_are_error_bars() {
    let sure = vec![Point::new(1.0, 0.9), Point::new(2.0, 0.95)];
    let html = chart(sure).html().unwrap();
    assert!(!html.contains("opacity=\"0.35\""), "{html}");
    let unsure = vec![Point::within(1.0, 0.9, 0.02), Point::within(2.0, 0.95, 0.0)];
    let html = chart(unsure).html().unwrap();
    assert_eq!(html.matches("opacity=\"0.35\"").count(), 1, "{html}");
}

#[test]
fn single_points_of_series_stand_side_by_side() {
    let html = chart(vec![Point::new(10_000.0, 0.9)]).html().unwrap();
    assert_eq!(html.matches("<circle").count(), 2, "{html}");
    let (student, pooled) = (place(&html, "student"), place(&html, "pooled &lt;all&gt;"));
    assert!(student[0] < pooled[0] && student[1] == pooled[1]);
    assert!(!html.contains("bytes") && !html.contains("legend"));
}

#[test]
fn title_and_last_tick_stay_inside_the_edges() {
    for size in [Size::Wide, Size::Narrow] {
        let points = (0..=4).map(|at| Point::new(f64::from(at) * 1_000.0, 0.9));
        let chart = Chart {
            size,
            ..chart(points.collect())
        };
        let html = chart.html().unwrap();
        let width = f64::from(size.pixels().0);
        // A digit is about half as wide as it is high.
        let half = f64::from(size.text()) * 0.5 * "4.0 k".len() as f64 / 2.0;
        assert!(place(&html, "4.0 k")[0] + half <= width, "{html}");
        let highest = html.lines().filter(|line| line.trim().ends_with('%'));
        let highest = highest.map(|line| place(&html, line.trim())[1]);
        let highest = highest.fold(f64::INFINITY, f64::min);
        assert!(place(&html, "accuracy")[1] + f64::from(size.text()) <= highest);
    }
}

#[test]
fn nothing_to_show_draws_nothing() {
    assert_eq!(chart(Vec::new()).html().unwrap(), "");
    let lost = vec![Point::new(f64::NAN, 0.5), Point::new(1.0, f64::NAN)];
    assert_eq!(chart(lost).html().unwrap(), "");
}

#[test]
fn bars_stand_on_zero_and_times_have_dates() {
    let day = 20_780.0;
    let points = (0..21).map(|at| Point::new(day + f64::from(at), 5.0 + f64::from(at % 3)));
    let mut chart = Chart {
        x: Axis {
            title: "UTC",
            scale: Scale::Time(TimeUnit::Days),
        },
        y: Axis {
            title: "Devices",
            scale: Scale::Number,
        },
        series: vec![series("", points.collect(), Form::Bars)],
        size: Size::Wide,
    };
    let html = chart.html().unwrap();
    assert!(place(&html, "0")[1] > place(&html, "4")[1], "{html}");
    assert!(
        html.contains("\u{a0}Nov") && html.contains("\u{a0}Dec"),
        "{html}"
    );
    assert_eq!(html.matches("<circle").count(), 0);
    assert_eq!(html.matches("<rect").count(), 21, "{html}");
    chart.size = Size::Narrow;
    let narrow = chart.html().unwrap();
    let dates = |html: &str| html.matches("\u{a0}Nov").count() + html.matches("\u{a0}Dec").count();
    assert!(dates(&narrow) >= 2, "{narrow}");
    assert!(dates(&narrow) < dates(&html), "they would overlap");
}

#[test]
fn a_long_line_has_no_dots() {
    let points = |many: u32| (0..many).map(|at| Point::new(f64::from(at), 0.9)).collect();
    let dots = |many| {
        chart(points(many))
            .html()
            .unwrap()
            .matches("<circle")
            .count()
    };
    assert_eq!((dots(40), dots(41)), (40, 0));
}
