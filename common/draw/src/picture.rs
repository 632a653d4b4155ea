//! Pixels as a PNG in an `img` element.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::text::escape;

/// An `img` element of a picture of `sides` (width, height), eight bits a value.
/// It takes the room of `shown` (width, height) until a style sheet says
/// otherwise. None if the pixels do not fill the sides.
pub(crate) fn element(
    pixels: &[u8],
    sides: [usize; 2],
    color: png::ColorType,
    shown: [usize; 2],
    class: &str,
    alt: &str,
) -> Option<String> {
    let file = encode(pixels, sides, color)?;
    Some(format!(
        "<img class=\"{class}\" alt=\"{}\" width=\"{}\" height=\"{}\" \
         src=\"data:image/png;base64,{}\">",
        escape(alt),
        shown[0],
        shown[1],
        STANDARD.encode(file)
    ))
}

fn encode(pixels: &[u8], [width, height]: [usize; 2], color: png::ColorType) -> Option<Vec<u8>> {
    if pixels.is_empty() || pixels.len() != width * height * color.samples() {
        return None;
    }
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(color);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}

/// Width, height and values of the picture in an element.
#[cfg(test)]
pub(crate) fn decoded(element: &str) -> ([u32; 2], Vec<u8>) {
    #![allow(clippy::unwrap_used)]
    let start = element.find("base64,").unwrap() + "base64,".len();
    let file = STANDARD.decode(&element[start..element.len() - 2]).unwrap();
    let decoder = png::Decoder::new(std::io::Cursor::new(file));
    let mut reader = decoder.read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut values).unwrap();
    ([info.width, info.height], values)
}
