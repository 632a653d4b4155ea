//! A data set out of a folder of sounds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::limits::CLASSES_MAX;
use edge_agent::data::sound;
use ndarray::Array2;

use super::dataset::{Dataset, DatasetError, Part, sane};

/// The folder whose sounds nobody learns from.
const TEST: &str = "test";
/// Recordings of these numbers are for testing where there is no such folder.
const TEST_NUMBERS: u32 = 5;
/// What of a longer recording is left out.
const SECONDS_MAX: usize = 4;

/// A recording of a class by somebody.
struct Recording {
    class: String,
    speaker: String,
    number: u32,
    rate: u32,
    samples: Vec<f32>,
}

impl Dataset {
    /// Whether a folder holds sounds and no task: `.wav` files in itself.
    pub(super) fn is_sounds(folder: &Path) -> bool {
        !folder.join("task.toml").exists() && files(folder).is_ok_and(|files| !files.is_empty())
    }

    /// A folder of WAV files called CLASS_SPEAKER_NUMBER.wav, all of one rate and
    /// mixed to one channel. Each speaker is a device. Files of a folder `test`
    /// are for testing; without one, those of the numbers 0 to 4. Inputs are as long as
    /// the longest training recording, at most four seconds; shorter ones end in
    /// silence.
    ///
    /// # Errors
    /// Files with another name or rate, or that are no WAV; nothing to learn from or to
    /// test.
    pub fn of_sounds(folder: &Path) -> Result<Self, DatasetError> {
        let refuse = |path: &Path, problem: String| DatasetError::Device {
            path: path.display().to_string(),
            problem,
        };
        let inner = folder.join(TEST);
        let (train, test) = match inner.is_dir() {
            true => (read(folder)?, read(&inner)?),
            false => read(folder)?
                .into_iter()
                .partition(|one| one.number >= TEST_NUMBERS),
        };
        if train.is_empty() || test.is_empty() {
            let problem = "holds nothing to learn from, or nothing to test on; recordings of the \
                           numbers 0 to 4, or of a folder \"test\", are for testing";
            return Err(refuse(folder, problem.to_owned()));
        }
        let rate = train[0].rate;
        if let Some(other) = train.iter().chain(&test).find(|one| one.rate != rate) {
            let problem = format!("sounds have {rate} and {} samples a second", other.rate);
            return Err(refuse(folder, problem + "; bring them to one rate"));
        }
        let distinct = |of: &dyn Fn(&Recording) -> &String| {
            let mut names: Vec<String> = train.iter().map(|one| of(one).clone()).collect();
            names.sort();
            names.dedup();
            names
        };
        let classes = distinct(&|one| &one.class);
        let speakers = distinct(&|one| &one.speaker);
        if !(2..=CLASSES_MAX).contains(&classes.len()) {
            let problem = format!(
                "has {} classes, 2 to {CLASSES_MAX} are learnt",
                classes.len()
            );
            return Err(refuse(folder, problem));
        }
        if let Some(other) = test.iter().find(|one| !classes.contains(&one.class)) {
            let problem = format!("tests class {:?}, of which nobody learns", other.class);
            return Err(refuse(folder, problem));
        }
        let longest = train.iter().map(|one| one.samples.len()).max().unwrap_or(0);
        let length = longest.clamp(1, SECONDS_MAX * rate as usize);
        let part = |recordings: Vec<Recording>| {
            let mut inputs = Array2::zeros((recordings.len(), length));
            for (mut row, one) in inputs.rows_mut().into_iter().zip(&recordings) {
                for (value, &sample) in row.iter_mut().zip(&one.samples) {
                    *value = sample;
                }
            }
            let place = |names: &[String], name: &String| {
                names
                    .iter()
                    .position(|one| one == name)
                    .unwrap_or(names.len())
            };
            let of = |one: &Recording| place(&classes, &one.class) as u16;
            let by = |one: &Recording| place(&speakers, &one.speaker) as u32;
            Part {
                inputs,
                labels: recordings.iter().map(of).collect(),
                numbers: None,
                users: Some(recordings.iter().map(by).collect()),
                groups: None,
            }
        };
        let (train, test) = (part(train), part(test));
        let name = folder.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: sane(&name.unwrap_or_default()),
            shape: vec![length as u32],
            classes,
            numbers: Vec::new(),
            range: None,
            offset: None,
            sound_rate: Some(rate),
            train: Arc::new(train),
            test,
        })
    }
}

/// The WAV files in a folder, in the order of their names.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("wav")) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(folder: &Path) -> Result<Vec<Recording>, DatasetError> {
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |cause| DatasetError::Read { path, cause }
    };
    let mut recordings = Vec::new();
    for path in files(folder).map_err(unreadable(folder))? {
        let refuse = |problem: String| DatasetError::Device {
            path: path.display().to_string(),
            problem,
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let parts: Vec<&str> = stem.split('_').collect();
        let named = match parts[..] {
            [class, speaker, number] => number.parse().ok().map(|number| (class, speaker, number)),
            _ => None,
        };
        let Some((class, speaker, number)) = named else {
            let problem = "is not called CLASS_SPEAKER_NUMBER.wav, as 7_theo_12.wav is";
            return Err(refuse(problem.to_owned()));
        };
        let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
        let (samples, rate) = sound(&bytes).map_err(|error| refuse(error.to_string()))?;
        recordings.push(Recording {
            class: class.to_owned(),
            speaker: speaker.to_owned(),
            number,
            rate,
            samples,
        });
    }
    Ok(recordings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    /// A WAV file of 16-bit samples.
    fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|one| one.to_le_bytes()).collect();
        let mut file = b"RIFF".to_vec();
        file.extend((36 + data.len() as u32).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16u32.to_le_bytes());
        file.extend([1, 0, 1, 0]);
        file.extend(rate.to_le_bytes());
        file.extend((2 * rate).to_le_bytes());
        file.extend([2, 0, 16, 0]);
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn file_names_give_class_speaker_and_split() {
        let root = tempfile::tempdir().unwrap();
        for class in ["no", "yes"] {
            for speaker in ["ann", "bob"] {
                for number in 0..8 {
                    let samples = vec![1_000i16; 300 + 10 * number];
                    let name = format!("{class}_{speaker}_{number}.wav");
                    fs::write(root.path().join(name), wav(8_000, &samples)).unwrap();
                }
            }
        }
        let data = Dataset::open(root.path().to_str().unwrap()).unwrap();
        assert_eq!(data.classes, ["no", "yes"]);
        assert_eq!((data.train.len(), data.test.len()), (12, 20));
        assert_eq!(data.shape, [370]);
        assert_eq!(data.train.users.as_ref().unwrap()[..4], [0, 0, 0, 1]);
        assert_eq!(data.train.inputs[[0, 349]], 1_000.0 / 32_768.0);
        assert_eq!(data.train.inputs[[0, 350]], 0.0);
        assert_eq!(
            crate::stage::auto_stage(&data, false).to_string(),
            "mel/1:8000"
        );

        // A folder for testing decides alone.
        fs::create_dir(root.path().join("test")).unwrap();
        fs::write(
            root.path().join("test/yes_eve_9.wav"),
            wav(8_000, &[5; 400]),
        )
        .unwrap();
        let data = Dataset::open(root.path().to_str().unwrap()).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (32, 1));

        let refused = |name: &str, bytes: &[u8]| {
            fs::write(root.path().join(name), bytes).unwrap();
            let said = Dataset::open(root.path().to_str().unwrap()).unwrap_err();
            fs::remove_file(root.path().join(name)).unwrap();
            said.to_string()
        };
        let said = refused("hello.wav", &wav(8_000, &[1; 300]));
        assert!(said.contains("CLASS_SPEAKER_NUMBER"), "{said}");
        let said = refused("yes_bob_9.wav", &wav(16_000, &[1; 300]));
        assert!(said.contains("8000 and 16000"), "{said}");
        let said = refused("yes_bob_9.wav", b"RIFF");
        assert!(said.contains("yes_bob_9.wav"), "{said}");
    }
}
