//! Inputs before a model: arrays of an NPZ file, or files in folders of their
//! classes' names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use edge_agent::data::{Picture as Decoded, sound};
use onnx::{Input, Picture};

use super::BackboneError;
use crate::data::{Asked, Dataset};

/// Inputs with what they are labelled with, for training and for the test.
#[derive(Clone, Debug)]
pub struct Source {
    /// A name for people and tasks.
    pub name: String,
    /// Class names; none where rows are labelled with numbers.
    pub classes: Vec<String>,
    /// Names of the numbers that rows are labelled with.
    pub numbers: Vec<String>,
    /// What devices hold.
    pub train: Items,
    /// What nobody sees before the end.
    pub test: Items,
    held_out: bool,
}

/// Inputs and their answers.
#[derive(Clone, Debug)]
pub struct Items {
    /// The inputs.
    pub inputs: Inputs,
    /// The class of each.
    pub labels: Vec<u16>,
    /// The numbers of each, shape (inputs, numbers), where they are asked for.
    pub numbers: Option<Array2<f32>>,
    /// Whose each is, where the file says.
    pub users: Option<Vec<u32>>,
    /// Which belong together, where the file says.
    pub groups: Option<Vec<u32>>,
}

/// Inputs, in memory or in files.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Rows of an array.
    Rows {
        /// Shape (inputs, values of one).
        rows: Array2<f32>,
        /// Sides of one input.
        shape: Vec<usize>,
        /// What brings pictures to 0 to 255.
        scale: f32,
        /// Samples a second, where the inputs are sound.
        rate: Option<u32>,
    },
    /// Files, one an input: PNG, JPEG or WAV.
    Files(Vec<PathBuf>),
}

impl Source {
    /// An NPZ file or a carried set as [`Dataset::open_asking`] reads it, or a
    /// folder of pictures or WAV files: `train/CLASS/…` and `test/CLASS/…`, or
    /// `CLASS/…` alone, of which every tenth file of a class, in the order of
    /// the hashes of their names, is for the test. With `sound`, rows of an
    /// array are sound, at the `rate` that the file names or else at the
    /// model's.
    ///
    /// # Errors
    /// What cannot be read, or has no two classes.
    pub fn open(name: &str, asked: Asked, sound: bool) -> Result<Self, BackboneError> {
        let path = Path::new(name);
        if path.is_dir() && !path.join("task.toml").exists() {
            return Self::of_folder(path);
        }
        let data = Dataset::open_asking(name, asked)?;
        let rate = match sound {
            true => data.sound_rate,
            false => None,
        };
        let shape: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
        let scale = scale(&data);
        let items = |part: crate::data::Part| Items {
            inputs: Inputs::Rows {
                rows: part.inputs,
                shape: shape.clone(),
                scale,
                rate,
            },
            labels: part.labels,
            numbers: part.numbers,
            users: part.users,
            groups: part.groups,
        };
        let train = std::sync::Arc::unwrap_or_clone(data.train);
        Ok(Self {
            name: data.name,
            classes: data.classes,
            numbers: data.numbers,
            train: items(train),
            test: items(data.test),
            held_out: false,
        })
    }

    /// What was done that nobody asked for.
    pub fn note(&self) -> Option<String> {
        self.held_out.then(|| {
            format!(
                "{}: no folder test; {} of {} files are held out for the test",
                self.name,
                self.test.labels.len(),
                self.test.labels.len() + self.train.labels.len()
            )
        })
    }

    fn of_folder(folder: &Path) -> Result<Self, BackboneError> {
        let train = match folder.join("train") {
            train if train.is_dir() => train,
            _ => folder.to_owned(),
        };
        let test = Some(folder.join("test")).filter(|test| test.is_dir());
        let mut classes = classes_of(&train)?;
        if train == folder {
            classes.remove("test");
        }
        if classes.len() < 2 {
            let problem = "holds no folders of two classes or more with PNG, JPEG or WAV files \
                           (train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE)";
            return Err(refused(&train, problem.to_owned()));
        }
        let names: Vec<String> = classes.keys().cloned().collect();
        let (mut learnt, mut tried) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for ((_, files), class) in classes.into_iter().zip(0u16..) {
            let mut files = files;
            if test.is_none() {
                files.sort_by_key(|path| hash_of_name(path));
            }
            for (at, file) in files.into_iter().enumerate() {
                let held = test.is_none() && at % HELD_OUT == HELD_OUT - 1;
                let part = if held { &mut tried } else { &mut learnt };
                part.0.push(file);
                part.1.push(class);
            }
        }
        if let Some(test) = &test {
            for (name, files) in classes_of(test)? {
                let class = names.iter().position(|known| *known == name);
                let class = class.ok_or_else(|| {
                    let problem = format!("class {name:?} has no folder in {}", train.display());
                    refused(test, problem)
                })?;
                tried.1.extend(files.iter().map(|_| class as u16));
                tried.0.extend(files);
            }
        }
        if tried.0.is_empty() {
            return Err(refused(folder, "holds nothing to test on".to_owned()));
        }
        let items = |(files, labels): (Vec<PathBuf>, Vec<u16>)| Items {
            inputs: Inputs::Files(files),
            labels,
            numbers: None,
            users: None,
            groups: None,
        };
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = name.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: crate::data::sane(&name.unwrap_or_default()),
            classes: names,
            numbers: Vec::new(),
            train: items(learnt),
            test: items(tried),
            held_out: test.is_none(),
        })
    }
}

impl Inputs {
    /// Rows of a data set: pictures where its shape is one of pictures.
    pub fn of(rows: Array2<f32>, data: &Dataset) -> Self {
        Self::Rows {
            rows,
            shape: data.shape.iter().map(|&side| side as usize).collect(),
            scale: scale(data),
            rate: None,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Rows { rows, .. } => rows.nrows(),
            Self::Files(files) => files.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A name for all of them: of their bytes.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn key(&self) -> Result<[u8; 32], BackboneError> {
        let mut hasher = blake3::Hasher::new_derive_key("alambic laboratory inputs 1");
        match self {
            Self::Rows {
                rows,
                shape,
                scale,
                rate,
            } => {
                hasher.update(format!("{shape:?} {scale} {rate:?}").as_bytes());
                for row in rows.rows() {
                    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                    hasher.update(&bytes);
                }
            }
            Self::Files(files) => {
                for file in files {
                    hasher.update(blake3::hash(&read(file)?).as_bytes());
                }
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// Hands one of them to `use_it`.
    ///
    /// # Errors
    /// A file that cannot be read, or has a format that is not understood.
    pub fn with<T>(
        &self,
        at: usize,
        use_it: impl FnOnce(Input<'_>) -> T,
    ) -> Result<T, BackboneError> {
        match self {
            Self::Rows {
                rows,
                shape,
                scale,
                rate,
            } => {
                let values: Vec<f32> = rows.row(at).iter().copied().collect();
                if let Some(picture) = Picture::of_array(&values, shape, *scale) {
                    return Ok(use_it(Input::Picture(&picture)));
                }
                Ok(match rate {
                    Some(rate) => use_it(Input::Sound(&values, *rate)),
                    None => use_it(Input::Values(&values)),
                })
            }
            Self::Files(files) => {
                let file = &files[at];
                let bytes = read(file)?;
                if bytes.starts_with(b"RIFF") {
                    let (samples, rate) =
                        sound(&bytes).map_err(|problem| refused(file, problem.to_string()))?;
                    return Ok(use_it(Input::Sound(&samples, rate)));
                }
                let decoded = Decoded::decode(&bytes).map_err(|problem| refused(file, problem))?;
                let [height, width] = decoded.sides();
                let values = decoded.rgb().into_iter().map(f32::from).collect();
                let picture = Picture::new([height, width, 3], values);
                let picture =
                    picture.ok_or_else(|| refused(file, "it has no pixels".to_owned()))?;
                Ok(use_it(Input::Picture(&picture)))
            }
        }
    }
}

/// What brings pictures to 0 to 255.
fn scale(data: &Dataset) -> f32 {
    match data.range {
        Some([_, top]) if top <= 1.0 => 255.0,
        _ => 1.0,
    }
}

/// Files of each folder in `folder`, both in the order of their names.
fn classes_of(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, BackboneError> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, BackboneError> {
        let broken = |error: std::io::Error| refused(folder, error.to_string());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(broken)? {
            found.push(entry.map_err(broken)?.path());
        }
        found.sort();
        Ok(found)
    };
    let mut classes = BTreeMap::new();
    for class in list(folder)?.into_iter().filter(|path| path.is_dir()) {
        let mut files = list(&class)?;
        files.retain(|file| {
            let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
            ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
        });
        let name = class.file_name().map(|name| name.to_string_lossy());
        if !files.is_empty() {
            classes.insert(name.unwrap_or_default().into_owned(), files);
        }
    }
    Ok(classes)
}

fn hash_of_name(path: &Path) -> [u8; 32] {
    let name = path.file_name().unwrap_or_default();
    *blake3::hash(name.as_encoded_bytes()).as_bytes()
}

fn read(file: &Path) -> Result<Vec<u8>, BackboneError> {
    std::fs::read(file).map_err(|error| refused(file, error.to_string()))
}

fn refused(path: &Path, problem: String) -> BackboneError {
    BackboneError::File {
        path: path.display().to_string(),
        problem,
    }
}

/// Files that are inputs.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "wav"];
/// One file in so many is held out where no folder is for the test.
const HELD_OUT: usize = 10;
