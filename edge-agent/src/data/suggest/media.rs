//! A task from pictures or sounds that lie in folders named as their classes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::task::RawTask;

use super::super::source::Mapping;
use super::super::{Folder, Format, Picture, sound};
use super::{FILES_MAX, SuggestError, quoted};

/// A task for the pictures or the sounds in the folders of a folder, whichever are more;
/// none where no folder holds any that can be read.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn suggest(folder: &Path, mapping: &Mapping) -> Result<Option<String>, SuggestError> {
    let everywhere = Mapping {
        files: vec!["*/*".to_owned()],
        ..mapping.clone()
    };
    let (mut pictures, mut sounds) = (Classes::new(), Classes::new());
    for name in Folder::names(folder, &everywhere)? {
        let path = PathBuf::from(name);
        let classes = match Format::of(&path) {
            Some(Format::Picture) => &mut pictures,
            Some(Format::Wave) => &mut sounds,
            _ => continue,
        };
        let class = path
            .parent()
            .map(|class| class.to_string_lossy().into_owned());
        classes
            .entry(class.unwrap_or_default())
            .or_default()
            .push(folder.join(path));
    }
    let files = |classes: &Classes| classes.values().map(Vec::len).sum::<usize>();
    Ok(match files(&pictures) >= files(&sounds) {
        true => of_pictures(&pictures),
        false => of_sounds(&sounds),
    })
}

/// Files by the folder that they lie in.
type Classes = BTreeMap<String, Vec<PathBuf>>;

/// What is made of some files, as many of each class as of any other; those that are none
/// of their kind are passed over.
fn looked_at<T>(classes: &Classes, read: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let each = (FILES_MAX / classes.len().max(1)).max(1);
    let files = classes.values().flat_map(|files| files.iter().take(each));
    let is_read = |file: &&PathBuf| fs::metadata(file).is_ok_and(|data| data.len() <= BYTES_MAX);
    let bytes = files.filter(is_read).filter_map(|file| fs::read(file).ok());
    bytes.filter_map(|bytes| read(&bytes)).collect()
}

fn of_pictures(classes: &Classes) -> Option<String> {
    let seen = looked_at(classes, |bytes| {
        let picture = Picture::decode(bytes).ok()?;
        let is_grey = picture.rgb().chunks_exact(3).all(|pixel| {
            let (least, most) = (pixel.iter().min(), pixel.iter().max());
            least
                .zip(most)
                .is_some_and(|(least, most)| most - least <= GREY)
        });
        Some((picture.sides(), is_grey))
    });
    let first = seen.first()?.0;
    let alike = seen.iter().all(|(sides, _)| *sides == first);
    let small = first.iter().all(|side| *side <= SIDE_MAX);
    let ([height, width], why) = match alike && small {
        true => (first, "as the pictures are"),
        false => ([SIDE; 2], "cut to a square and scaled down"),
    };
    let shape = match seen.iter().all(|(_, is_grey)| *is_grey) {
        true => format!("[{height}, {width}]"),
        false => format!("[{height}, {width}, 3]"),
    };
    let input = format!("shape = {shape}      # {why}\n");
    Some(text(
        classes,
        &input,
        "",
        ["jpg", "jpeg", "png"].as_slice(),
        seen.len(),
    ))
}

fn of_sounds(classes: &Classes) -> Option<String> {
    let seen = looked_at(classes, |bytes| {
        let (samples, rate) = sound(bytes).ok()?;
        (rate > 0).then(|| (rate, samples.len() as f64 / f64::from(rate)))
    });
    let rate = seen.first()?.0;
    let mut lengths: Vec<f64> = seen.iter().map(|(_, seconds)| *seconds).collect();
    lengths.sort_by(f64::total_cmp);
    // Nine of ten recordings make a window at least.
    let usual = lengths[lengths.len() / 10].min(WINDOW_S);
    let window = ((usual / STEP_S).floor() * STEP_S).max(STEP_S);
    let input = format!(
        "kind = \"series\"\nchannels = [\n    {{ name = \"sound\" }},\n]\n\
         rate_hz = {rate}\nwindow_s = {window:.2}      # nine of ten recordings are as long; a new window every half of that\n"
    );
    let text = |features: &str| text(classes, &input, features, ["wav"].as_slice(), seen.len());
    let heard = text(&format!("\n[features]\nstage = \"mel/1:{rate}\"\n"));
    Some(match RawTask::parse(&heard) {
        Ok(_) => heard,
        // Too short for a spectrum of frames, or of a rate that the stage does not know.
        Err(_) => text(""),
    })
}

fn text(
    classes: &Classes,
    input: &str,
    features: &str,
    endings: &[&str],
    looked_at: usize,
) -> String {
    let names: Vec<String> = classes.keys().map(|class| quoted(class)).collect();
    let files: Vec<String> = endings
        .iter()
        .map(|ending| quoted(&format!("*/*.{ending}")))
        .collect();
    let (names, files) = (names.join(", "), files.join(", "));
    format!(
        "# Suggested from {looked_at} files, and from the folders that they lie in;\n\
         # read it before you use it.\nname = \"my-task\"\n\n[input]\n{input}\
         \n[classes]\nnames = [{names}]\n{features}\
         \n# And in agent.toml of each device:\n# [data]\n# files = [{files}]\n"
    )
}

/// Largest file that is read whole, as when rows are read.
const BYTES_MAX: u64 = 64 << 20;
/// Longest side of pictures that are taken as they are, and the side of others.
const SIDE_MAX: usize = 64;
const SIDE: usize = 32;
/// By how much red, green and blue of a grey picture differ: a JPEG rounds them.
const GREY: u8 = 4;
/// Longest window of sound, and what it is a multiple of, in seconds.
const WINDOW_S: f64 = 1.0;
const STEP_S: f64 = 0.05;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn suggested(files: &[(&str, &[u8])]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        suggest(folder.path(), &Mapping::default()).unwrap()
    }

    fn png(side: u32, pixel: [u8; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(png::ColorType::Rgb);
        let pixels = pixel.repeat((side * side) as usize);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&pixels)
            .unwrap();
        bytes
    }

    fn wav(samples: u32) -> Vec<u8> {
        let data = samples * 2;
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + data).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16u32.to_le_bytes());
        bytes.extend([1, 0, 1, 0]);
        bytes.extend(8_000u32.to_le_bytes());
        bytes.extend(16_000u32.to_le_bytes());
        bytes.extend([2, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes.resize(bytes.len() + data as usize, 0);
        bytes
    }

    #[test]
    fn pictures_in_folders_become_a_task_of_their_size() {
        let (red, grey) = (png(16, [200, 10, 10]), png(16, [90, 90, 91]));
        let text = suggested(&[("cat/0.png", &red), ("dog/0.png", &grey)]).unwrap();
        let task = RawTask::parse(&text).unwrap();
        assert_eq!(task.input_shape().sides(), [16, 16, 3], "{text}");
        assert_eq!(task.definition().classes, ["cat", "dog"]);
        assert!(text.contains("files = [\"*/*.jpg\""), "{text}");
        let text = suggested(&[("cat/0.png", &grey), ("dog/0.png", &grey)]).unwrap();
        let task = RawTask::parse(&text).unwrap();
        assert_eq!(task.input_shape().sides(), [16, 16], "{text}");
        let large = png(200, [200, 10, 10]);
        let text = suggested(&[("cat/0.png", &large), ("dog/0.png", &red)]).unwrap();
        let task = RawTask::parse(&text).unwrap();
        assert_eq!(task.input_shape().sides(), [32, 32, 3], "{text}");
    }

    #[test]
    fn sounds_in_folders_become_a_task_of_their_rate() {
        let (long, short) = (wav(8_000), wav(3_300));
        let text = suggested(&[("no/a.wav", &long), ("yes/b.wav", &short)]).unwrap();
        let task = RawTask::parse(&text).unwrap();
        assert_eq!(task.input_shape().sides(), [3_200, 1], "{text}");
        assert!(text.contains("mel/1:8000"), "{text}");
    }

    #[test]
    fn files_that_are_none_suggest_nothing() {
        assert_eq!(suggested(&[("cat/0.png", b"no picture")]), None);
        assert_eq!(suggested(&[("0.txt", b"text")]), None);
    }
}
