//! Pictures as inputs: PNG and JPEG, one file a row, in a folder of their
//! class's name.

use std::io::Cursor;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Dataset;
use super::account::Account;
use super::content::picture;
use super::schema::{ParseError, Place, Schema};

/// A picture of 8 or 16 bits a channel, row by row.
#[derive(Clone, Debug)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    /// Bytes of a channel: of two the higher comes first.
    depth: usize,
    pixels: Vec<u8>,
}

/// Reads a picture as one row: cut to the sides' ratio around its middle,
/// scaled by the mean of the area under each pixel, in grey (the luma of ITU-R
/// BT.601) or in colour as the task's shape says. Values are 0 to 255, with what
/// 16 bits tell behind the point. A JPEG is turned as its Exif data say.
/// The class is what the folder it lies in is called; in the data folder
/// itself it has none.
///
/// # Errors
/// [`ParseError::Picture`] for what is no such picture, or for a task whose
/// inputs are none; a folder that is no class.
pub(super) fn parse(
    name: &Path,
    bytes: &[u8],
    schema: &Schema,
) -> Result<(Dataset, Account), ParseError> {
    let refuse = |reason: &dyn std::fmt::Display| ParseError::Picture {
        reason: reason.to_string(),
    };
    let (height, width, channels) = match *schema.shape().sides() {
        [height, width] => (height, width, 1),
        [height, width, channels @ (1 | 3)] => (height, width, channels),
        _ => {
            let shape = schema.shape().sides();
            let what =
                format!("inputs of shape {shape:?} are no pictures; height × width (× 1 or 3) are");
            return Err(refuse(&what));
        }
    };
    let picture = Picture::decode(bytes).map_err(|reason| refuse(&reason))?;
    let row = picture.scaled(height, width, channels);
    let label = class_of_folder(name, schema)?;
    let data = Dataset::from_rows(schema.values(), row, vec![label]);
    let data = data.ok_or_else(|| refuse(&"its pixels do not make an input"))?;
    let account = Account {
        rows: 1,
        used: 1,
        ..Account::default()
    };
    Ok((data, account))
}

/// The class that the folder of a file is called by, if it lies in one.
pub(super) fn class_of_folder(name: &Path, schema: &Schema) -> Result<Option<u16>, ParseError> {
    let folder = name.parent().and_then(Path::file_name);
    let Some(folder) = folder.filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let folder = folder.to_string_lossy();
    let meaning = schema.classes().of_text(&folder);
    let place = || Place::Folder(folder.into_owned());
    Ok(meaning
        .map_err(|problem| ParseError::at(place(), problem))?
        .class())
}

fn of_png(bytes: &[u8]) -> Result<Picture, String> {
    let limits = png::Limits {
        bytes: PIXELS_MAX * 8,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Palettes and fewer bits become 8; 16 bits stay, of which a camera of 12 may
    // use the lower ones.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    fits(width, height)?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader
        .next_frame(&mut pixels)
        .map_err(|error| error.to_string())?;
    pixels.truncate(frame.buffer_size());
    let depth = match frame.bit_depth {
        png::BitDepth::Sixteen => 2,
        _ => 1,
    };
    Ok(Picture {
        width,
        height,
        channels: frame.color_type.samples(),
        depth,
        pixels,
    })
}

fn of_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    if bytes.starts_with(&[0xff, 0xd8]) && !has_end(bytes) {
        return Err("it is cut short; copy it again".to_owned());
    }
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(bytes, options);
    decoder
        .decode_headers()
        .map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    fits(width, height)?;
    let pixels = decoder.decode();
    let pixels = pixels.map_err(|_| "its data are damaged; copy it again".to_owned())?;
    let channels = pixels.len() / (width * height).max(1);
    let picture = Picture {
        width,
        height,
        channels,
        depth: 1,
        pixels,
    };
    let exif = decoder.exif().map(Vec::as_slice);
    Ok(picture.turned(exif.and_then(orientation).unwrap_or(1)))
}

/// Whether a JPEG has its end: the decoder fills up with grey what is not there.
/// Thumbnails have ends of their own, so segments are passed over by their lengths.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[mark, code]) = bytes.get(at..at + 2) {
        match (mark, code) {
            (0xff, 0xd9) => return true,
            // Within a scan: data, a stuffed zero, a restart, or filling.
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, 0xff) | (0..=0xfe, _) => at += 1,
            (0xff, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => {
                    at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
                }
                _ => return false,
            },
        }
    }
    false
}

/// How a picture was held, 1 to 8, as Exif data say it (JEITA CP-3451, tag 274).
fn orientation(exif: &[u8]) -> Option<u16> {
    let little = exif.starts_with(b"II");
    let short = |at: usize| {
        let pair = [*exif.get(at)?, *exif.get(at + 1)?];
        Some(match little {
            true => u16::from_le_bytes(pair),
            false => u16::from_be_bytes(pair),
        })
    };
    let long = |at: usize| {
        let (one, other) = (usize::from(short(at)?), usize::from(short(at + 2)?));
        Some(match little {
            true => one | other << 16,
            false => one << 16 | other,
        })
    };
    let start = long(4)?;
    let entries = usize::from(short(start)?).min(ENTRIES_MAX);
    let entry = (0..entries).map(|entry| start + 2 + entry * 12);
    let found = { entry }.find(|&at| short(at) == Some(274))?;
    short(found + 8).filter(|way| (1..=8).contains(way))
}

fn fits(width: usize, height: usize) -> Result<(), String> {
    let pixels = width.saturating_mul(height);
    match (1..=PIXELS_MAX).contains(&pixels) {
        true => Ok(()),
        false => Err(format!(
            "{width} × {height} pixels; 1 to {PIXELS_MAX} are read"
        )),
    }
}

impl Picture {
    /// Reads a PNG or JPEG file.
    ///
    /// # Errors
    /// Why it is none, or too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes.starts_with(b"\x89PNG") {
            true => of_png(bytes),
            false => match picture(bytes) {
                Some(kind) => Err(format!("it is {kind}; save it as PNG or JPEG")),
                None => of_jpeg(bytes),
            },
        }
    }

    /// The same as it is to be seen, of one that was held so.
    fn turned(self, way: u16) -> Self {
        if way == 1 {
            return self;
        }
        let (height, width) = match way {
            5..=8 => (self.width, self.height),
            _ => (self.height, self.width),
        };
        let (last_row, last_column) = (self.height - 1, self.width - 1);
        let bytes = self.channels * self.depth;
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (row, column) = match way {
                    2 => (y, last_column - x),
                    3 => (last_row - y, last_column - x),
                    4 => (last_row - y, x),
                    5 => (x, y),
                    6 => (last_row - x, y),
                    7 => (last_row - x, last_column - y),
                    _ => (x, last_column - y),
                };
                let start = (row * self.width + column) * bytes;
                let pixel = self.pixels.get(start..start + bytes);
                pixels.extend_from_slice(pixel.unwrap_or_default());
            }
        }
        Self {
            width,
            height,
            pixels,
            ..self
        }
    }

    /// Height and width.
    pub fn sides(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Red, green and blue of each pixel, row by row.
    pub fn rgb(&self) -> Vec<u8> {
        let places = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (y, x)));
        let byte = |value: f64| value.round() as u8;
        places
            .flat_map(|(y, x)| self.colour(y, x).map(byte))
            .collect()
    }

    /// Its values at this size, row-major, channels last.
    fn scaled(&self, height: usize, width: usize, channels: usize) -> Vec<f32> {
        // The largest cut-out of the task's ratio, around the middle.
        let scale = (self.height as f64 / height as f64).min(self.width as f64 / width as f64);
        let top = (self.height as f64 - scale * height as f64) / 2.0;
        let left = (self.width as f64 - scale * width as f64) / 2.0;
        let rows: Vec<Span> = spans(top, scale, height, self.height);
        let columns: Vec<Span> = spans(left, scale, width, self.width);
        let mut values = Vec::with_capacity(height * width * channels);
        for row in &rows {
            for column in &columns {
                let (mut sums, mut area) = ([0.0f64; 3], 0.0);
                for (y, high) in row {
                    for (x, wide) in column {
                        let [red, green, blue] = self.colour(*y, *x);
                        let weight = high * wide;
                        area += weight;
                        for (sum, value) in sums.iter_mut().zip([red, green, blue]) {
                            *sum += weight * value;
                        }
                    }
                }
                let [red, green, blue] = sums.map(|sum| sum / area);
                match channels {
                    3 => values.extend([red, green, blue].map(|value| value as f32)),
                    _ => values.push((0.299 * red + 0.587 * green + 0.114 * blue) as f32),
                }
            }
        }
        values
    }

    /// Red, green and blue of a pixel, 0 to 255; what would be seen through is black.
    fn colour(&self, y: usize, x: usize) -> [f64; 3] {
        let first = (y * self.width + x) * self.channels;
        let value = |channel: usize| {
            let at = (first + channel) * self.depth;
            match (self.depth, self.pixels.get(at..at + self.depth)) {
                (1, Some(&[value])) => f64::from(value),
                (_, Some(&[high, low])) => f64::from(u16::from_be_bytes([high, low])) / 257.0,
                _ => 0.0,
            }
        };
        let seen = |channel: usize, alpha: usize| value(channel) * value(alpha) / 255.0;
        match self.channels {
            1 => [value(0); 3],
            2 => [seen(0, 1); 3],
            3 => [0, 1, 2].map(value),
            _ => [0, 1, 2].map(|channel| seen(channel, 3)),
        }
    }
}

/// Pixels under one of the task's, and how much of each lies under it.
type Span = Vec<(usize, f64)>;

fn spans(start: f64, scale: f64, count: usize, length: usize) -> Vec<Span> {
    let span = |at: usize| {
        let (low, high) = (start + scale * at as f64, start + scale * (at + 1) as f64);
        let first = (low.floor().max(0.0) as usize).min(length - 1);
        let last = (high.ceil().max(1.0) as usize).min(length).max(first + 1);
        let share = |pixel: usize| {
            let under = high.min((pixel + 1) as f64) - low.max(pixel as f64);
            (pixel, under.max(1e-9))
        };
        (first..last).map(share).collect()
    };
    (0..count).map(span).collect()
}

/// Most pixels of a picture: 48 MB of three bytes each.
const PIXELS_MAX: usize = 1 << 24;
/// Most entries of Exif data that are looked at.
const ENTRIES_MAX: usize = 1_000;
/// Longest side of a JPEG picture.
const SIDE_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::features::InputShape;
    use proptest::prelude::*;

    fn schema(sides: &[usize]) -> Schema {
        let shape = InputShape::new(sides.to_vec()).unwrap();
        Schema::new(shape, vec!["cat".to_owned(), "dog".to_owned()]).unwrap()
    }

    fn png(width: usize, height: usize, colour: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn row(name: &str, bytes: &[u8], sides: &[usize]) -> (Vec<f32>, Option<u16>) {
        let (data, _) = parse(Path::new(name), bytes, &schema(sides)).unwrap();
        (data.inputs().row(0).to_vec(), data.labels()[0])
    }

    #[test]
    fn a_picture_of_the_tasks_size_is_its_pixels() {
        let pixels: Vec<u8> = (0..12).map(|at| at * 20).collect();
        let grey = png(4, 3, png::ColorType::Grayscale, &pixels);
        let (values, label) = row("Dog/a.png", &grey, &[3, 4]);
        let expected: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
        assert!(
            values
                .iter()
                .zip(&expected)
                .all(|(one, other)| (one - other).abs() < 1e-3)
        );
        assert_eq!(label, Some(1));
        let colour = png(2, 2, png::ColorType::Rgb, &pixels);
        let (values, label) = row("a.png", &colour, &[2, 2, 3]);
        assert_eq!(values, expected);
        assert_eq!(label, None, "in the data folder itself");
    }

    #[test]
    fn a_larger_picture_is_cut_around_its_middle_and_averaged() {
        // 8 × 4: the outer quarters are cut off, then 2 × 2 become one.
        let at = |y: usize, x: usize| {
            if (2..6).contains(&x) {
                (y / 2 * 100 + x / 4 * 50) as u8
            } else {
                255
            }
        };
        let pixels: Vec<u8> = (0..32).map(|place| at(place / 8, place % 8)).collect();
        let wide = png(8, 4, png::ColorType::Grayscale, &pixels);
        let (values, _) = row("cat/a.png", &wide, &[2, 2]);
        let off = values
            .iter()
            .zip([0.0, 50.0, 100.0, 150.0])
            .map(|(one, other)| (one - other).abs());
        assert!(off.fold(0.0, f32::max) < 1e-3, "{values:?}");
        let (up, _) = row("cat/a.png", &wide, &[8, 8]);
        assert_eq!(up.len(), 64);
    }

    #[test]
    fn what_is_no_picture_or_no_class_is_refused() {
        let grey = png(1, 1, png::ColorType::Grayscale, &[1]);
        let refused = |name: &str, bytes: &[u8], sides: &[usize]| {
            parse(Path::new(name), bytes, &schema(sides)).unwrap_err()
        };
        assert!(matches!(
            refused("cow/a.png", &grey, &[1, 1]),
            ParseError::At { .. }
        ));
        assert!(matches!(
            refused("cat/a.png", &grey, &[4]),
            ParseError::Picture { .. }
        ));
        for cut in 0..grey.len() - 12 {
            let error = refused("cat/a.png", &grey[..cut], &[1, 1]);
            assert!(
                matches!(error, ParseError::Picture { .. }),
                "{cut}: {error}"
            );
        }
    }

    #[test]
    fn sixteen_bits_are_not_cut_to_eight() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        let mut writer = encoder.write_header().unwrap();
        // A camera of 12 bits.
        writer.write_image_data(&[0x0f, 0xff, 0x08, 0x00]).unwrap();
        writer.finish().unwrap();
        let (values, _) = row("cat/a.png", &bytes, &[1, 2]);
        let expected = [4095.0 / 257.0, 2048.0 / 257.0];
        assert!(
            values
                .iter()
                .zip(expected)
                .all(|(one, other)| (one - other).abs() < 1e-3)
        );
    }

    #[test]
    fn a_picture_is_turned_as_it_was_held() {
        let held = Picture {
            width: 3,
            height: 2,
            channels: 1,
            depth: 1,
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        for (way, sides, expected) in [
            (1, [2, 3], [1, 2, 3, 4, 5, 6]),
            (2, [2, 3], [3, 2, 1, 6, 5, 4]),
            (3, [2, 3], [6, 5, 4, 3, 2, 1]),
            (4, [2, 3], [4, 5, 6, 1, 2, 3]),
            (5, [3, 2], [1, 4, 2, 5, 3, 6]),
            (6, [3, 2], [4, 1, 5, 2, 6, 3]),
            (7, [3, 2], [6, 3, 5, 2, 4, 1]),
            (8, [3, 2], [3, 6, 2, 5, 1, 4]),
        ] {
            let turned = held.clone().turned(way);
            assert_eq!(
                (turned.sides(), &turned.pixels[..]),
                (sides, &expected[..]),
                "{way}"
            );
        }
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (Some(6), Some(8)));
        for cut in 0..little.len() - 3 {
            assert_eq!(orientation(&little[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_jpeg_that_is_cut_short_is_refused() {
        for cut in 2..GREY_JPEG.len() - 1 {
            let refused = parse(Path::new("cat/a.jpg"), &GREY_JPEG[..cut], &schema(&[8, 8]));
            assert!(
                refused.unwrap_err().to_string().contains("cut short"),
                "{cut}"
            );
        }
        let gif = Picture::decode(b"GIF89a").unwrap_err();
        assert!(gif.contains("a GIF"), "{gif}");
    }

    #[test]
    fn a_jpeg_of_one_colour_is_that_colour() {
        let (values, label) = row("cat/a.jpg", GREY_JPEG, &[8, 8]);
        assert!(
            values.iter().all(|value| (value - 128.0).abs() < 3.0),
            "{values:?}"
        );
        assert_eq!(label, Some(0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, value in any::<u8>(),
        ) {
            let mut damaged = [png(3, 2, png::ColorType::Rgba, &[9; 24]), GREY_JPEG.to_vec()];
            for picture in &mut damaged {
                let place = at % picture.len();
                picture[place] = value;
                let _ = parse(Path::new("cat/a"), picture, &schema(&[2, 2]));
            }
            let _ = parse(Path::new("cat/a"), &bytes, &schema(&[2, 2, 3]));
        }
    }

    /// The smallest there is: one block of 8 × 8 whose every coefficient is 0,
    /// which is the middle of the range.
    #[rustfmt::skip]
    const GREY_JPEG: &[u8] = &[
        0xff, 0xd8, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
        0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
        0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
        0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
        0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
        0x01, 0xff, 0xc0, 0x00, 0x0b, 0x08, 0x00, 0x08, 0x00, 0x08, 0x01, 0x01, 0x11, 0x00,
        0xff, 0xc4, 0x00, 0x14, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xc4, 0x00, 0x14, 0x10, 0x01,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00, 0x3f, 0xff,
        0xd9,
    ];
}
