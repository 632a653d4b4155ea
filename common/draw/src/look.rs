//! One row of data as a picture: an image, traces over time, or bars.

use crate::picture;
use crate::text::escape;

/// How a row is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Height, width and channels (1 or 3), channels last.
    Image([usize; 3]),
    /// Steps and channels, channels last.
    Traces([usize; 2]),
    /// One bar a value.
    Bars,
}

/// Longer sides than this many times the shorter are no picture.
const ASPECT_MAX: usize = 4;
/// A side shorter than this is no picture's.
const SIDE_MIN: usize = 5;
/// Points drawn of one trace.
const STEPS_MAX: usize = 160;
/// Channels drawn of one window.
const CHANNELS_MAX: usize = 9;
/// Bars drawn; more values are summed up by the largest of neighbours.
const BARS_MAX: usize = 256;

impl Look {
    /// What suits rows of these sides. Two sides may be an image or a window:
    /// what is about square is an image.
    pub fn of(sides: &[usize]) -> Self {
        match *sides {
            [height, width, channels] if matches!(channels, 1 | 3) => {
                Self::Image([height, width, channels])
            }
            [rows, columns] => {
                let (short, long) = (rows.min(columns), rows.max(columns));
                if short >= SIDE_MIN && long <= ASPECT_MAX * short {
                    Self::Image([rows, columns, 1])
                } else {
                    Self::Traces([rows, columns])
                }
            }
            _ => Self::Bars,
        }
    }

    /// The row as an element; `alt` says in words what it is. None if there are
    /// not as many values as the sides ask for.
    pub fn draw(self, values: &[f32], alt: &str) -> Option<String> {
        match self {
            Self::Image(sides) => image(values, sides, alt),
            Self::Traces(sides) => traces(values, sides, alt),
            Self::Bars => Some(bars(values, alt)),
        }
    }
}

/// The least value is black, the greatest is white.
fn image(values: &[f32], [height, width, channels]: [usize; 3], alt: &str) -> Option<String> {
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => return None,
    };
    let (low, high) = range(values);
    let scale = 255.0 / (high - low).max(f32::EPSILON);
    let level = |value: &f32| ((value - low) * scale).round() as u8;
    let pixels: Vec<u8> = values.iter().map(level).collect();
    picture::element(&pixels, [width, height], color, [96, 96], "point", alt)
}

/// One line a channel, all to one scale.
fn traces(values: &[f32], [steps, channels]: [usize; 2], alt: &str) -> Option<String> {
    if steps < 2 || channels == 0 || values.len() != steps * channels {
        return None;
    }
    let (low, high) = range(values);
    let stride = steps.div_ceil(STEPS_MAX);
    let height = |value: f32| 78.0 - 76.0 * (value - low) / (high - low).max(f32::EPSILON);
    let line = |channel: usize| {
        let points = (0..steps).step_by(stride).map(|step| {
            let x = 200.0 * step as f32 / (steps - 1) as f32;
            format!("{x:.1},{:.1}", height(values[step * channels + channel]))
        });
        let points = points.collect::<Vec<_>>().join(" ");
        format!("<polyline class=\"trace c{channel}\" points=\"{points}\"></polyline>")
    };
    let lines: String = (0..channels.min(CHANNELS_MAX)).map(line).collect();
    Some(format!(
        "<svg class=\"point wide\" viewBox=\"0 0 200 80\" role=\"img\" aria-label=\"{}\">{lines}</svg>",
        escape(alt)
    ))
}

/// One bar a value, up or down from zero, which stands as high as leaves no part
/// of the field empty.
fn bars(values: &[f32], alt: &str) -> String {
    let group = values.len().div_ceil(BARS_MAX).max(1);
    let farther = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
    let tallest: Vec<f32> = values
        .chunks(group)
        .map(|some| some.iter().fold(0.0, farther))
        .collect();
    let (low, high) = range(&tallest);
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = 76.0 / (high - low).max(f32::EPSILON);
    let zero = 2.0 + scale * high;
    let width = 200.0 / tallest.len().max(1) as f32;
    // One path for each direction: hundreds of elements a row would make a
    // page slow.
    let path = |up: bool| {
        let bars = tallest.iter().enumerate();
        let bars = bars.filter(|(_, value)| (**value >= 0.0) == up);
        let bars = bars.map(|(at, value)| {
            let height = scale * value.abs();
            let y = if up { zero - height } else { zero };
            let x = at as f32 * width;
            format!("M{x:.1} {y:.1}h{width:.2}v{height:.1}h-{width:.2}z")
        });
        bars.collect::<String>()
    };
    format!(
        "<svg class=\"point wide\" viewBox=\"0 0 200 80\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\"><path class=\"above\" d=\"{}\"></path>\
         <path class=\"below\" d=\"{}\"></path></svg>",
        escape(alt),
        path(true),
        path(false)
    )
}

/// The least and the greatest of some values, finite ones only; 0 and 0 where
/// there are none.
fn range(values: &[f32]) -> (f32, f32) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let found = finite.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    });
    found.unwrap_or((0.0, 0.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shape_of_an_input_decides_how_it_is_drawn() {
        assert_eq!(Look::of(&[8, 8]), Look::Image([8, 8, 1]));
        assert_eq!(Look::of(&[32, 32, 3]), Look::Image([32, 32, 3]));
        assert_eq!(Look::of(&[128, 6]), Look::Traces([128, 6]));
        assert_eq!(Look::of(&[12]), Look::Bars);
    }

    #[test]
    fn an_image_keeps_every_pixel() {
        let look = Look::Image([2, 3, 1]);
        let element = look
            .draw(&[0.0, 1.0, 2.0, 4.0, 0.0, 2.0], "a \"three\"")
            .unwrap();
        assert!(element.contains("alt=\"a &quot;three&quot;\""));
        let (sides, pixels) = picture::decoded(&element);
        assert_eq!((sides, pixels), ([3, 2], vec![0, 64, 128, 255, 0, 128]));
    }

    #[test]
    fn values_that_do_not_fill_the_sides_are_not_drawn() {
        assert_eq!(Look::Image([2, 3, 1]).draw(&[0.0; 5], "x"), None);
        assert_eq!(Look::Image([2, 3, 2]).draw(&[0.0; 12], "x"), None);
        assert_eq!(Look::Traces([1, 1]).draw(&[1.0], "x"), None);
        assert_eq!(Look::Traces([3, 2]).draw(&[1.0; 5], "x"), None);
    }

    #[test]
    fn a_window_has_a_line_for_each_channel() {
        let values: Vec<f32> = (0..60).map(|value| value as f32).collect();
        let drawn = Look::Traces([20, 3]).draw(&values, "x").unwrap();
        assert_eq!(drawn.matches("<polyline").count(), 3);
    }

    #[test]
    fn equal_values_are_drawn() {
        let flat = Look::Traces([10, 2]).draw(&[0.0; 20], "x").unwrap();
        assert!(!flat.contains("NaN"), "{flat}");
    }

    #[test]
    fn thousands_of_values_make_few_bars() {
        let drawn = Look::Bars.draw(&[1.0; 5_000], "x").unwrap();
        assert!(drawn.matches('z').count() <= BARS_MAX);
    }

    #[test]
    fn bars_use_the_whole_field_whatever_their_sign() {
        let path = |values: &[f32]| {
            let drawn = Look::Bars.draw(values, "x").unwrap();
            drawn.split(" d=\"").nth(1).unwrap().to_owned()
        };
        assert!(path(&[1.0, 2.0]).starts_with("M0.0 40.0h100.00v38.0"));
        assert!(path(&[1.0, -1.0]).starts_with("M0.0 2.0h100.00v38.0"));
    }
}
