//! What a distilled point looks like: a picture, traces of a window, maps of
//! filters' answers, or bars.

use base64::Engine;
use common::features::{FeatureStage, InputShape};
use maud::{Markup, html};

use super::maps::Maps;

/// How a task's points are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Height, width and channels.
    Image([usize; 3]),
    /// Steps and channels.
    Traces([usize; 2]),
    /// A map for each filter of the feature stage.
    Maps(Maps),
    /// One bar for each feature.
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
/// Bars drawn; more features are summed up by the largest of neighbours.
const BARS_MAX: usize = 256;

impl Look {
    /// How points of such inputs are shown. Two sides are ambiguous, an image
    /// or a window: what is about square is an image.
    pub(super) fn of(stage: &FeatureStage, shape: &InputShape) -> Self {
        if *stage != FeatureStage::Raw {
            return Maps::of(stage, shape).map_or(Self::Bars, Self::Maps);
        }
        match *shape.sides() {
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

    /// One point, drawn. `values` has as many as the shape.
    pub(super) fn draw(self, values: &[f32], alt: &str) -> Markup {
        match self {
            Self::Image(sides) => image(values, sides, alt),
            Self::Traces(sides) => traces(values, sides, alt),
            Self::Maps(maps) => maps.draw(values, alt),
            Self::Bars => bars(values, alt),
        }
    }
}

/// A PNG whose darkest value is black and whose brightest is white.
fn image(values: &[f32], [height, width, channels]: [usize; 3], alt: &str) -> Markup {
    let (low, high) = range(values);
    let scale = 255.0 / (high - low).max(f32::EPSILON);
    let pixels: Vec<u8> = values
        .iter()
        .map(|value| ((value - low) * scale) as u8)
        .collect();
    let color = match channels {
        1 => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    };
    shown(
        png_of(&pixels, [width, height], color),
        [96, 96],
        "point",
        alt,
    )
}

/// A PNG as an element of this many pixels' proportions, with its words.
pub(super) fn shown(png: Option<Vec<u8>>, sides: [usize; 2], class: &str, alt: &str) -> Markup {
    html! {
        @if let Some(png) = png {
            img class=(class) alt=(alt) width=(sides[0]) height=(sides[1])
                src={ "data:image/png;base64," (base64::engine::general_purpose::STANDARD.encode(png)) };
        } @else {
            span class="quiet" { "cannot be drawn" }
        }
    }
}

/// A PNG of so wide and so high a picture, eight bits a value.
pub(super) fn png_of(
    pixels: &[u8],
    [width, height]: [usize; 2],
    color: png::ColorType,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(color);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}

/// One line for each channel, all to one scale.
fn traces(values: &[f32], [steps, channels]: [usize; 2], alt: &str) -> Markup {
    let (low, high) = range(values);
    let stride = steps.div_ceil(STEPS_MAX).max(1);
    let height = |value: f32| 78.0 - 76.0 * (value - low) / (high - low).max(f32::EPSILON);
    let line = |channel: usize| {
        let points = (0..steps).step_by(stride).map(|step| {
            let x = 200.0 * step as f32 / (steps.max(2) - 1) as f32;
            format!("{x:.1},{:.1}", height(values[step * channels + channel]))
        });
        points.collect::<Vec<_>>().join(" ")
    };
    html! {
        svg class="point wide" viewBox="0 0 200 80" role="img" aria-label=(alt) {
            @for channel in 0..channels.min(CHANNELS_MAX) {
                polyline class={ "trace c" (channel) } points=(line(channel)) {}
            }
        }
    }
}

/// One bar for each feature, up or down from zero, which stands as high as
/// leaves no part of the field empty.
fn bars(values: &[f32], alt: &str) -> Markup {
    let group = values.len().div_ceil(BARS_MAX).max(1);
    let tallest: Vec<f32> = values
        .chunks(group)
        .map(|some| {
            some.iter()
                .copied()
                .fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a })
        })
        .collect();
    let (low, high) = range(&tallest);
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = 76.0 / (high - low).max(f32::EPSILON);
    let zero = 2.0 + scale * high;
    let width = 200.0 / tallest.len().max(1) as f32;
    // One path for each direction: hundreds of elements a point would make
    // the page slow.
    let path = |up: bool| {
        let bars = tallest
            .iter()
            .enumerate()
            .filter(|(_, value)| (**value >= 0.0) == up);
        let bars = bars.map(|(at, value)| {
            let height = scale * value.abs();
            let y = if up { zero - height } else { zero };
            format!(
                "M{:.1} {y:.1}h{width:.2}v{height:.1}h-{width:.2}z",
                at as f32 * width
            )
        });
        bars.collect::<String>()
    };
    html! {
        svg class="point wide" viewBox="0 0 200 80" preserveAspectRatio="none" role="img" aria-label=(alt) {
            path class="above" d=(path(true)) {}
            path class="below" d=(path(false)) {}
        }
    }
}

fn range(values: &[f32]) -> (f32, f32) {
    let each = values.iter().copied();
    each.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(sides: &[usize]) -> InputShape {
        InputShape::new(sides.to_vec()).unwrap()
    }

    #[test]
    fn squares_are_pictures_long_windows_are_traces_filters_are_maps_and_the_rest_are_bars() {
        let raw = FeatureStage::Raw;
        assert_eq!(Look::of(&raw, &shape(&[8, 8])), Look::Image([8, 8, 1]));
        assert_eq!(
            Look::of(&raw, &shape(&[32, 32, 3])),
            Look::Image([32, 32, 3])
        );
        assert_eq!(Look::of(&raw, &shape(&[128, 6])), Look::Traces([128, 6]));
        assert_eq!(Look::of(&raw, &shape(&[12])), Look::Bars);
        assert_eq!(
            Look::of(&FeatureStage::window(), &shape(&[128, 6])),
            Look::Bars
        );
        let patches = Look::of(&FeatureStage::patches(None), &shape(&[8, 8]));
        assert!(matches!(patches, Look::Maps(_)), "{patches:?}");
    }

    #[test]
    fn a_picture_is_a_png_with_its_words() {
        let values: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let drawn = Look::Image([8, 8, 1])
            .draw(&values, "a three")
            .into_string();
        assert!(drawn.contains("data:image/png;base64,iVBOR") && drawn.contains("a three"));
    }

    #[test]
    fn thousands_of_features_make_few_bars_and_even_equal_values_are_drawn() {
        let drawn = Look::Bars.draw(&[1.0; 5_000], "x").into_string();
        assert!(drawn.matches('z').count() <= BARS_MAX);
        let flat = Look::Traces([10, 2]).draw(&[0.0; 20], "x").into_string();
        assert!(!flat.contains("NaN"));
    }

    #[test]
    fn bars_use_the_whole_field_whatever_their_sign() {
        let path = |drawn: &str| drawn.split(" d=\"").nth(1).unwrap().to_owned();
        let up = Look::Bars.draw(&[1.0, 2.0], "x").into_string();
        assert!(path(&up).starts_with("M0.0 40.0h100.00v38.0"), "{up}");
        let both = Look::Bars.draw(&[1.0, -1.0], "x").into_string();
        assert!(path(&both).starts_with("M0.0 2.0h100.00v38.0"), "{both}");
    }
}
