//! Which feature stage a data set is seen through where nobody says.

use draw::Look;

use crate::data::Dataset;

/// The stage of fixed filters that a convolution can look through: stretches of
/// a series, planes of 8 × 8 and more as images; none where values have no
/// neighbours.
pub fn filtered_stage(data: &Dataset) -> Option<&'static str> {
    match data.shape[..] {
        _ if auto_stage(data) == "window" => Some("series"),
        [height, width] | [height, width, _] if height.min(width) >= 8 => Some("patches"),
        [time, _] if is_series(data) && time >= 16 => Some("series"),
        _ => None,
    }
}

/// Long series are windows, planes of 8 × 8 and more are images. Lists of
/// measurements get a constant beside them, unless they are bytes, whose range
/// says how long a row may be; everything else is taken as it is.
///
/// A series too short for its spectrum to say much is a list: over four
/// devices power demand of 24 hours is told apart 96.5 % as a list and 85.7 %
/// as a window, vowels of 25 samples in 12 channels 98.3 and 92.1 %.
pub fn auto_stage(data: &Dataset) -> &'static str {
    match data.shape[..] {
        [time, _] if is_series(data) && time >= LONG_SERIES => "window",
        _ if is_series(data) => "lifted",
        [height, width] | [height, width, _] if height.min(width) >= 8 => "patches",
        _ if data.range.is_none() => "lifted",
        _ => "raw",
    }
}

/// Whether the data is a series of channels: half as long again as there are
/// channels, and not of bytes, as images mostly are.
pub fn is_series(data: &Dataset) -> bool {
    match data.shape[..] {
        [time, channels] => data.range.is_none() && 2 * time >= 3 * channels,
        _ => false,
    }
}

/// How a raw input is drawn.
pub fn look(data: &Dataset) -> Look {
    let sides: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
    match sides[..] {
        [time, channels] if is_series(data) => Look::Traces([time, channels]),
        _ => Look::of(&sides),
    }
}

/// Samples from which on a series is a window.
const LONG_SERIES: u32 = 32;

/// Feature stages to try, richest first, and why.
pub fn stages(
    data: &Dataset,
    asked: Option<String>,
    convolves: bool,
) -> (Vec<String>, &'static str) {
    let filtered = filtered_stage(data).filter(|_| convolves);
    let auto = match (asked, filtered) {
        (Some(stage), Some(filtered)) if stage == "raw" => {
            let fine = if filtered == "series" {
                FINE_SERIES
            } else {
                filtered
            };
            return (vec![fine.to_owned()], FIRST_LAYER);
        }
        (Some(stage), _) => return (vec![stage], ASKED),
        (None, Some("series")) => return (vec![FINE_SERIES.to_owned()], SERIES),
        (None, _) => auto_stage(data).to_owned(),
    };
    match (auto.as_str(), &data.shape[..]) {
        ("patches", [height, width, ..]) if *height.min(width) >= 16 => {
            let narrower = ["patches/1:5x8x5", "patches/1:5x5x4"].map(str::to_owned);
            (std::iter::once(auto).chain(narrower).collect(), IMAGE)
        }
        ("patches", _) => (vec![auto], IMAGE),
        ("window", _) => (vec![auto], "a long series of channels is a window"),
        ("lifted", _) => (
            vec![auto],
            if data.shape.len() > 1 {
                "a short series is a list of values; a constant beside them keeps its length"
            } else {
                "a constant beside a list of features keeps its length"
            },
        ),
        _ => (vec![auto], "a list of features is taken as it is"),
    }
}

/// Why, where the user named it.
pub const ASKED: &str = "asked for";
const SERIES: &str = "a convolution needs neighbours: a long series is seen in eight stretches";
/// The kernel of raw values caps the teacher, and with it any student.
const FIRST_LAYER: &str = "the kernel of raw values caps the teacher, so the network's first \
                           layer is a bank of fixed filters that the kernel sees through too";
/// Stretches fine enough for a convolution along time.
const FINE_SERIES: &str = "series/1:16x6x8";
/// Why an image is taken as one.
pub const IMAGE: &str = "images are seen through fixed filters, by as many cells as leave bytes for \
                     enough points";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shape_decides_what_an_input_is() {
        let range = Some([0.0, 255.0]);
        for (shape, range, stage, filtered) in [
            (&[128, 6][..], None, "window", Some("series")),
            (&[100, 52], None, "window", Some("series")),
            (&[24, 1], None, "lifted", Some("series")),
            (&[25, 12], None, "lifted", Some("patches")),
            (&[8, 2], None, "lifted", None),
            (&[62, 47], None, "patches", Some("patches")),
            (&[96, 48], range, "patches", Some("patches")),
            (&[28, 28, 3], range, "patches", Some("patches")),
            (&[7, 5], range, "raw", None),
            (&[30], None, "lifted", None),
            (&[3, 8], None, "lifted", None),
            (&[30], range, "raw", None),
        ] {
            let mut data = Dataset::open("digits").unwrap();
            (data.shape, data.range) = (shape.to_vec(), range);
            assert_eq!(auto_stage(&data), stage, "{shape:?}");
            assert_eq!(filtered_stage(&data), filtered, "{shape:?}");
        }
    }
}
