//! Distilled points to look at: images as PNG, series as lines.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A grey or coloured image (row by row, channels last) as an `img` element,
/// from its least to its largest value; none if the values do not fill it.
pub(super) fn image(
    values: &[f32],
    height: usize,
    width: usize,
    channels: usize,
) -> Option<String> {
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => return None,
    };
    if values.len() != height * width * channels || values.is_empty() {
        return None;
    }
    let [low, high] = range(values);
    let scale = 255.0 / (high - low).max(1e-12);
    let bytes: Vec<u8> = values
        .iter()
        .map(|value| ((value - low) * scale).round() as u8)
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&bytes).ok()?;
    writer.finish().ok()?;
    let data = STANDARD.encode(file);
    Some(format!(
        "<img alt=\"\" src=\"data:image/png;base64,{data}\">"
    ))
}

/// A series (time by time, channels last) as lines, one a channel.
pub(super) fn traces(values: &[f32], channels: usize) -> Option<String> {
    let channels = channels.max(1);
    let time = values.len() / channels;
    if time < 2 {
        return None;
    }
    let [low, high] = range(values);
    let span = (high - low).max(1e-12);
    let mut svg = format!("<svg class=\"trace\" viewBox=\"0 0 {WIDE} {HIGH}\">");
    for channel in 0..channels {
        let [red, green, blue] = super::chart::colour(channel);
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"rgb({red},{green},{blue})\" points=\""
        );
        for at in 0..time {
            let x = at as f32 / (time - 1) as f32 * WIDE;
            let y = (1.0 - (values[at * channels + channel] - low) / span) * HIGH;
            let _ = write!(svg, "{x:.1},{y:.1} ");
        }
        svg.push_str("\"/>");
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn range(values: &[f32]) -> [f32; 2] {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    [low, high]
}

const WIDE: f32 = 150.0;
const HIGH: f32 = 70.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_keeps_every_pixel() {
        let tag = image(&[0.0, 1.0, 2.0, 4.0, 0.0, 2.0], 2, 3, 1).unwrap();
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
    fn what_does_not_fill_its_frame_is_not_drawn() {
        assert_eq!(image(&[0.0; 5], 2, 3, 1), None);
        assert_eq!(image(&[0.0; 12], 2, 3, 2), None);
        assert_eq!(traces(&[1.0], 1), None);
    }

    #[test]
    fn a_series_becomes_one_line_a_channel() {
        let values: Vec<f32> = (0..60).map(|value| value as f32).collect();
        assert_eq!(traces(&values, 3).unwrap().matches("<polyline").count(), 3);
    }
}
