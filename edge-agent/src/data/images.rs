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
mod tests;
