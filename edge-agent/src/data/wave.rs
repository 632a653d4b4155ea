//! Sound as recordings: WAV files.

mod riff;

use std::path::Path;

use common::task::{InputKind, SeriesInput};

use super::Dataset;
use super::account::Account;
use super::images::class_of_folder;
use super::note::Note;
use super::schema::{ParseError, Schema};
use super::series::{Samples, windows};
use riff::Riff;

/// Reads a WAV file, integers of 8 to 32 bits, floats, A-law or µ-law, as one recording of
/// values from −1 to 1, and cuts it into windows. As many channels as the task
/// has are taken in their order; for a task of one they are mixed down. The
/// class is what the folder it lies in is called; in the data folder itself it
/// is what stands before the first `_` of its name, if that is a class.
///
/// # Errors
/// [`ParseError::Wave`] for what is no such file or another number of
/// channels, [`ParseError::Size`] for more than may be held, a folder that is
/// no class.
pub(super) fn parse(
    name: &Path,
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let refuse = |reason: String| ParseError::Wave { reason };
    let InputKind::Series(series) = schema.input() else {
        let what = "the task's inputs are not cut from recordings (input.kind = \"series\")";
        return Err(refuse(what.to_owned()));
    };
    let label = match class_of_folder(name, schema)? {
        Some(class) => Some(class),
        None => class_of_name(name, schema),
    };
    let (values, rate_hz) = samples(bytes, series, schema, notes)?;
    let mut samples = Samples::default();
    for number in 0..values.len() / series.channels.len() {
        samples.push(None, number as i64, Some(rate_hz), 0, number as u64 + 1);
        samples.labels.push(label);
    }
    samples.values = values;
    let mut account = Account {
        rows: samples.labels.len(),
        ..Account::default()
    };
    let values_max = schema.values_max();
    let (inputs, labels) = windows(&samples, series, values_max, &mut account, notes)?;
    let data = Dataset::from_rows(schema.values(), inputs, labels);
    let data = data.ok_or_else(|| refuse("its windows do not make inputs".to_owned()))?;
    Ok((data, account))
}

/// Samples × channels of the task, and samples a second.
fn samples(
    bytes: &[u8],
    series: &SeriesInput,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Vec<f32>, f64), ParseError> {
    let wanted = series.channels.len();
    let riff = Riff::parse(bytes).map_err(|reason| ParseError::Wave { reason })?;
    if let Some(declared) = riff.cut_from {
        notes.push(Note::CutShort { declared });
    }
    schema.check_size(riff.len() / riff.channels * wanted)?;
    Ok((decode(&riff, wanted)?, f64::from(riff.rate_hz)))
}

/// The samples of a WAV file, its channels mixed to one, from −1 to 1, and how many
/// there are a second.
///
/// # Errors
/// [`ParseError::Wave`] for what is no such file.
pub fn sound(bytes: &[u8]) -> Result<(Vec<f32>, u32), ParseError> {
    let riff = Riff::parse(bytes).map_err(|reason| ParseError::Wave { reason })?;
    Ok((decode(&riff, 1)?, riff.rate_hz))
}

/// Samples × `wanted` channels.
fn decode(riff: &Riff<'_>, wanted: usize) -> Result<Vec<f32>, ParseError> {
    let refuse = |reason: String| ParseError::Wave { reason };
    let own = riff.channels;
    if own != wanted && wanted != 1 {
        return Err(refuse(format!(
            "it has {own} channels, and the task {wanted}"
        )));
    }
    let mut values = riff.samples();
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(refuse(format!(
            "sample {} is not a finite number",
            at / own
        )));
    }
    if own != wanted {
        let mix = |frame: &[f32]| frame.iter().sum::<f32>() / own as f32;
        values = values.chunks_exact(own).map(mix).collect();
    }
    Ok(values)
}

fn class_of_name(name: &Path, schema: &Schema) -> Option<u16> {
    let stem = name.file_stem()?.to_str()?;
    let (before, _) = stem.split_once('_')?;
    schema.classes().of_text(before).ok()?.class()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::task::RawTask;
    use hound::SampleFormat;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn schema(channels: &str) -> Schema {
        let task = RawTask::parse(&format!(
            "name = \"t\"\n[classes]\nnames = [\"zero\", \"one\"]\n[input]\nkind = \"series\"\n\
             channels = [{channels}]\nrate_hz = 1000\nwindow_s = 0.1\nhop_s = 0.1\n\
             [features]\nstage = \"raw\""
        ));
        let task = task.unwrap();
        let classes = task.definition().classes.clone();
        let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
        schema.with_input(task.input().clone())
    }

    fn wave(channels: u16, bits: u16, format: SampleFormat, rate: u32, seconds: f64) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format: format,
        };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for sample in 0..(seconds * f64::from(rate)) as u32 {
            let value =
                0.5 * (std::f64::consts::TAU * 5.0 * f64::from(sample) / f64::from(rate)).sin();
            for channel in 0..channels {
                let value = if channel == 0 { value } else { -value };
                match format {
                    SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                    SampleFormat::Int => {
                        let full = 2f64.powi(i32::from(bits) - 1);
                        writer.write_sample((value * full) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn read(name: &str, bytes: &[u8], channels: &str) -> Result<(Dataset, Account), ParseError> {
        parse(Path::new(name), bytes, &schema(channels), &mut Vec::new())
    }

    #[test]
    fn every_depth_is_the_same_sound() {
        for (bits, format) in [
            (8, SampleFormat::Int),
            (16, SampleFormat::Int),
            (24, SampleFormat::Int),
            (32, SampleFormat::Int),
            (32, SampleFormat::Float),
        ] {
            for rate in [1000, 4000] {
                let bytes = wave(1, bits, format, rate, 1.0);
                let (data, account) = read("one/a.wav", &bytes, "\"sound\"").unwrap();
                assert_eq!(data.labels(), [Some(1); 10], "{bits} bits");
                assert_eq!(account.used, 10);
                // Away from the ends, which a filter rounds.
                for (sample, value) in data.inputs().row(4).iter().enumerate() {
                    let time = 0.4 + sample as f64 / 1000.0;
                    let expected = 0.5 * (std::f64::consts::TAU * 5.0 * time).sin();
                    assert!(
                        (f64::from(*value) - expected).abs() < 0.02,
                        "{bits} bits: {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn channels_are_taken_or_mixed_and_the_name_says_the_class() {
        let stereo = wave(2, 16, SampleFormat::Int, 1000, 0.5);
        let (both, _) = read("zero_ann_3.wav", &stereo, "\"left\", \"right\"").unwrap();
        let row = both.inputs().row(0).to_vec();
        assert!(row.chunks(2).all(|pair| (pair[0] + pair[1]).abs() < 1e-4));
        assert_eq!(both.labels()[0], Some(0));
        let (mixed, _) = read("a.wav", &stereo, "\"sound\"").unwrap();
        assert!(mixed.inputs().iter().all(|value| value.abs() < 1e-4));
        assert_eq!(mixed.labels()[0], None);
        let three = read("a.wav", &stereo, "\"a\", \"b\", \"c\"");
        assert!(matches!(three, Err(ParseError::Wave { .. })));
    }

    /// A header of these fields and the chunks behind it, and samples.
    fn raw(format: &[u16], declared: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
        // An odd chunk with its padding.
        bytes.extend(b"note\x03\0\0\0abc\0fmt ");
        bytes.extend((2 * format.len() as u32).to_le_bytes());
        bytes.extend(format.iter().flat_map(|two| two.to_le_bytes()));
        bytes.extend(b"data");
        bytes.extend(declared.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn plain(tag: u16, channels: u16, width: u16, bits: u16) -> [u16; 8] {
        [tag, channels, 1000, 0, 0, 0, channels * width, bits]
    }

    #[test]
    fn a_length_that_nobody_filled_in_is_the_files() {
        let data = [0x00, 0x40].repeat(200);
        for declared in [0, 400, 0x7fff_f800, u32::MAX] {
            let (values, rate) = sound(&raw(&plain(1, 1, 2, 16), declared, &data)).unwrap();
            assert_eq!((values, rate), (vec![0.5; 200], 1000), "{declared}");
        }
        let behind = [&data[..], b"LIST\x02\0\0\0ab"].concat();
        let (values, _) = sound(&raw(&plain(1, 1, 2, 16), 400, &behind)).unwrap();
        assert_eq!(values.len(), 200);
        let empty = sound(&raw(&plain(1, 1, 2, 16), 0, b"LIST\x02\0\0\0ab"));
        assert!(empty.unwrap_err().to_string().contains("no samples"));
        let mut notes = Vec::new();
        let cut = raw(&plain(1, 1, 2, 16), 500, &data);
        let (read, _) = parse(Path::new("one/a.wav"), &cut, &schema("\"a\""), &mut notes).unwrap();
        assert_eq!(
            (read.rows(), notes),
            (2, vec![Note::CutShort { declared: 500 }])
        );
    }

    #[test]
    fn bits_in_wider_samples_are_found_where_they_are() {
        let extensible = |valid: u16, bits: u16| {
            let mut format = plain(0xfffe, 1, bits / 8, bits).to_vec();
            format.extend([22, valid, 0, 0, 1, 0, 0, 0x10, 0x80, 0xaa00, 0x3800, 0x719b]);
            format
        };
        let high = [0x00, 0x01, 0x00, 0x40].repeat(50);
        let (values, _) = sound(&raw(&extensible(24, 32), 200, &high)).unwrap();
        assert!((values[0] - 0.5).abs() < 1e-4, "{}", values[0]);
        let low: Vec<u8> = { [0x40_0001i32, -0x40_0001] }
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let (values, _) = sound(&raw(&plain(1, 1, 4, 24), 8, &low)).unwrap();
        assert!((values[0] - 0.5).abs() < 1e-4 && (values[1] + 0.5).abs() < 1e-4);
        let (values, _) = sound(&raw(&extensible(20, 24), 3, &[0x00, 0x00, 0xc0])).unwrap();
        assert_eq!(values, [-0.5]);
    }

    #[test]
    fn telephone_and_wide_floats_are_read() {
        // G.711: the codes of nothing and of the largest sample.
        let (values, _) = sound(&raw(&plain(7, 1, 1, 8), 3, &[0xff, 0x80, 0x00])).unwrap();
        assert_eq!(values, [0.0, 32_124.0 / 32_768.0, -32_124.0 / 32_768.0]);
        let (values, _) = sound(&raw(&plain(6, 1, 1, 8), 3, &[0xd5, 0xaa, 0x2a])).unwrap();
        let full = 32_256.0 / 32_768.0;
        assert_eq!(values, [8.0 / 32_768.0, full, -full]);
        let (values, _) = sound(&raw(&plain(3, 1, 8, 64), 8, &0.25f64.to_le_bytes())).unwrap();
        assert_eq!(values, [0.25]);
        let packed = sound(&raw(&plain(0x11, 1, 1, 4), 4, &[0; 4])).unwrap_err();
        assert!(packed.to_string().contains("pcm_s16le"), "{packed}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..90, value in any::<u8>(),
        ) {
            let mut damaged = wave(1, 16, SampleFormat::Int, 1000, 0.2);
            damaged[at] = value;
            let _ = read("a.wav", &damaged, "\"sound\"");
            let _ = read("a.wav", &bytes, "\"sound\"");
        }
    }
}
