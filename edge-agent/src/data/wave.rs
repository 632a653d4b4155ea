//! Sound as recordings: WAV files.

use std::io::Cursor;
use std::path::Path;

use common::task::{InputKind, SeriesInput};
use hound::{SampleFormat, WavReader};

use super::Dataset;
use super::account::Account;
use super::images::class_of_folder;
use super::note::Note;
use super::schema::{ParseError, Schema};
use super::series::{Samples, windows};

/// Reads a WAV file, integers of 8 to 32 bits or floats, as one recording of
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
    let (values, rate_hz) = samples(bytes, series, schema)?;
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
) -> Result<(Vec<f32>, f64), ParseError> {
    let wanted = series.channels.len();
    let (values, rate) = decode(bytes, wanted, |many| schema.check_size(many))?;
    Ok((values, f64::from(rate)))
}

/// The samples of a WAV file, its channels mixed to one, from −1 to 1, and how many
/// there are a second.
///
/// # Errors
/// [`ParseError::Wave`] for what is no such file.
pub fn sound(bytes: &[u8]) -> Result<(Vec<f32>, u32), ParseError> {
    decode(bytes, 1, |_| Ok(()))
}

/// Samples × `wanted` channels, and samples a second; `check` hears how many values
/// these are before they are read.
fn decode(
    bytes: &[u8],
    wanted: usize,
    check: impl FnOnce(usize) -> Result<(), ParseError>,
) -> Result<(Vec<f32>, u32), ParseError> {
    let refuse = |reason: String| ParseError::Wave { reason };
    let broken = |error: hound::Error| refuse(error.to_string());
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(broken)?;
    let spec = reader.spec();
    let own = usize::from(spec.channels);
    if own == 0 || spec.sample_rate == 0 {
        return Err(refuse(
            "it says that it has no channel or no rate".to_owned(),
        ));
    }
    if own != wanted && wanted != 1 {
        return Err(refuse(format!(
            "it has {own} channels, and the task {wanted}"
        )));
    }
    // What the header declares is believed as far as the file is long.
    let declared = (reader.len() as usize).min(bytes.len());
    check(declared / own * wanted)?;
    let read: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let full = 2f64.powi(i32::from(spec.bits_per_sample.clamp(1, 32)) - 1);
            let scaled = |sample: i32| (f64::from(sample) / full) as f32;
            reader
                .samples::<i32>()
                .map(|sample| sample.map(scaled))
                .collect()
        }
    };
    let mut values = read.map_err(broken)?;
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
    values.truncate(values.len() / wanted * wanted);
    Ok((values, spec.sample_rate))
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
    use proptest::prelude::*;

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
