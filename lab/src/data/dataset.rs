//! Data sets: two carried, any other from an NPZ file.

mod reader;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use super::unlabelled;
use common::features::{InputShape, Modality};
use common::npz::{Archive, NpzError};
use reader::Reader;

static HAR: &[u8] = include_bytes!("../../data/har.npz");
static DIGITS: &[u8] = include_bytes!("../../data/digits.npz");

/// What rows are labelled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// A class each.
    #[default]
    Class,
    /// One or several numbers each.
    Number,
    /// Nothing.
    None,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "class" => Ok(Self::Class),
            "number" => Ok(Self::Number),
            "none" => Ok(Self::None),
            _ => Err(format!("{text:?} is not one of class, number, none")),
        }
    }
}

/// Labelled inputs for training and for testing.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// A name for people and tasks.
    pub name: String,
    /// Shape of one input.
    pub shape: Vec<u32>,
    /// Class names; none where rows are labelled with numbers.
    pub classes: Vec<String>,
    /// Names of the numbers that rows are labelled with; none where they are
    /// labelled with classes.
    pub numbers: Vec<String>,
    /// The range of the values of images: 0 to 1 or 0 to 255, whichever holds
    /// all that are trained on; none for others, and for everything that is no
    /// image. How they are stored says nothing.
    pub range: Option<[f32; 2]>,
    /// What was subtracted in double precision from each value of the last
    /// axis before it became single precision, which would have lost how it
    /// varies; none where nothing was.
    pub offset: Option<Vec<f64>>,
    /// Samples a second, where inputs are sounds of one channel.
    pub sound_rate: Option<u32>,
    /// What devices hold; shared, so that a fleet keeps row numbers only.
    pub train: Arc<Part>,
    /// What nobody sees before the end.
    pub test: Part,
}

/// Labelled inputs.
#[derive(Clone, Debug)]
pub struct Part {
    /// Inputs, shape (rows, values of one input).
    pub inputs: Array2<f32>,
    /// The class of each row; 0 where rows are labelled with numbers.
    pub labels: Vec<u16>,
    /// The numbers of each row, shape (rows, numbers), where they are labelled
    /// with numbers.
    pub numbers: Option<Array2<f32>>,
    /// Whose row it is, where the file says.
    pub users: Option<Vec<u32>>,
    /// Rows of one group belong on one device, where the file says.
    pub groups: Option<Vec<u32>>,
}

/// Why a data set was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}{advice}", advice = advice(path, cause))]
    Read {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not an NPZ archive with the right arrays.
    #[error("{name}: {cause}")]
    Npz {
        /// The data set.
        name: String,
        /// What is wrong.
        cause: NpzError,
    },
    /// A folder of devices does not fit its task.
    #[error("{path}: {problem}")]
    Device {
        /// The folder or file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An array does not fit the others.
    #[error("{name}: array {array} {problem}")]
    Array {
        /// The data set.
        name: String,
        /// The array.
        array: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// What somebody may have meant who names what cannot be read.
fn advice(path: &str, cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound if !path.contains(['/', '.']) => {
            "; `har` and `digits` are carried, anything else is an NPZ file"
        }
        std::io::ErrorKind::NotFound if path.ends_with("task.toml") => {
            "; a folder of devices has a task.toml and a folder for each device"
        }
        _ => "",
    }
}

impl Dataset {
    /// `har` and `digits` are carried; a folder holds those of devices
    /// ([`Self::of_devices`]) or WAV files ([`Self::of_sounds`]); anything else is the path of an NPZ file with X_train, y_train, X_test and y_test, and optionally `scale`
    /// (one factor a value of the last axis, or one for all), `rate` (samples a second of
    /// sounds, n × samples), user_train and
    /// class_names. Inputs are n × features, n × time × channels or n ×
    /// height × width (× channels). Labels are
    /// integers or texts; with class_names they find their class as on a
    /// device ([`edge_agent::data::ClassNames`]), without it the classes are the distinct labels
    /// of y_train in order. A label of y_test that is not one of these classes is
    /// refused. A channel whose offset single precision could not hold is
    /// moved by its training mean.
    ///
    /// # Errors
    /// What cannot be read, or does not fit.
    pub fn open(name: &str) -> Result<Self, DatasetError> {
        Self::open_asking(name, Asked::Class)
    }

    /// The same of a file whose y_train and y_test are what is `asked`: for
    /// numbers, floats of n or n × numbers; for nothing, `y_train` is not read and y_test
    /// is 0 for usual and 1 for anomalous rows. `group_train` says which rows
    /// belong together (one engine, one house).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_asking(name: &str, asked: Asked) -> Result<Self, DatasetError> {
        match name {
            "har" => Self::parse("har", HAR, asked),
            "digits" => Self::parse("digits", DIGITS, asked),
            path if Self::is_sounds(Path::new(path)) && asked == Asked::Class => {
                Self::of_sounds(Path::new(path))
            }
            path if Path::new(path).is_dir() && asked == Asked::Class => {
                Self::of_devices(Path::new(path))
            }
            path => {
                let bytes = std::fs::read(path).map_err(|cause| DatasetError::Read {
                    path: path.to_owned(),
                    cause,
                })?;
                let stem = Path::new(path)
                    .file_stem()
                    .map(|stem| stem.to_string_lossy());
                Self::parse(&stem.unwrap_or_default(), &bytes, asked)
            }
        }
    }

    /// Which channels were moved, and how far, if any were.
    pub fn moved(&self) -> Option<String> {
        let offset = self.offset.as_ref()?.iter().enumerate();
        let moved: Vec<String> = offset
            .filter(|(_, offset)| **offset != 0.0)
            .take(8)
            .map(|(channel, offset)| format!("{offset} from channel {channel}"))
            .collect();
        Some(format!(
            "{}: subtracted {} in double precision; single precision would lose how it varies, \
             and does on devices: subtract it in their files",
            self.name,
            moved.join(", ")
        ))
    }

    /// The class of this name, else of this number, if there is one.
    pub fn class(&self, asked: &str) -> Option<u16> {
        let named = self.classes.iter().position(|class| class == asked);
        let numbered = || {
            asked
                .parse()
                .ok()
                .filter(|&at: &usize| at < self.classes.len())
        };
        named.or_else(numbered).map(|class| class as u16)
    }

    /// The same without a class, of this name or number, and the test rows of that
    /// class; none if there is no such class, or but two.
    pub fn without_class(&self, name: &str) -> Option<(Self, Part)> {
        let left_out = self.class(name)?;
        if self.classes.len() <= 2 && self.classes != unlabelled::CLASSES {
            return None;
        }
        let kept = |part: &Part| {
            let rows = (0..part.len()).filter(|&row| part.labels[row] != left_out);
            let mut part = part.select(&rows.collect::<Vec<_>>());
            for label in &mut part.labels {
                *label -= u16::from(*label > left_out);
            }
            part
        };
        let novel = (0..self.test.len()).filter(|&row| self.test.labels[row] == left_out);
        let novel = self.test.select(&novel.collect::<Vec<_>>());
        let mut classes = self.classes.clone();
        classes.remove(usize::from(left_out));
        let data = Self {
            classes,
            train: Arc::new(kept(&self.train)),
            test: kept(&self.test),
            ..self.clone()
        };
        Some((data, novel))
    }

    /// Reads an archive's bytes.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(name: &str, bytes: &[u8], asked: Asked) -> Result<Self, DatasetError> {
        let npz = |cause| DatasetError::Npz {
            name: name.to_owned(),
            cause,
        };
        let mut reader = Reader {
            name,
            archive: Archive::open(bytes).map_err(npz)?,
        };
        let x_train = reader.array("X_train")?;
        let x_test = reader.array("X_test")?;
        let shape: Vec<u32> = x_train
            .shape()
            .iter()
            .skip(1)
            .map(|&side| side as u32)
            .collect();
        for (array, inputs) in [("X_train", &x_train), ("X_test", &x_test)] {
            if inputs.shape().len() < 2 || inputs.shape().contains(&0) {
                let problem = format!(
                    "has shape {:?}, expected rows × features, rows × time × channels or \
                     rows × height × width (× channels), none of them 0",
                    inputs.shape()
                );
                return Err(reader.bad(array, problem));
            }
        }
        if x_train.shape()[1..] != x_test.shape()[1..] {
            let problem = format!(
                "has shape {:?}, X_train {:?}",
                x_test.shape(),
                x_train.shape()
            );
            return Err(reader.bad("X_test", problem));
        }
        let scale = if reader.archive.contains("scale") {
            Some(reader.numbers("scale")?)
        } else {
            None
        };
        let sound_rate = reader.sound_rate()?;
        let view = reader.view(&x_train, scale)?;
        let answers = match asked {
            Asked::Class => reader.class_answers(&x_train, &x_test)?,
            Asked::Number => reader.number_answers(&x_train, &x_test)?,
            Asked::None => reader.no_answers(&x_train, &x_test)?,
        };
        let [(labels, numbers), (test_labels, test_numbers)] = answers.parts;
        let train = Part {
            inputs: reader.inputs("X_train", &x_train, &view)?,
            labels,
            numbers,
            users: reader.users("user_train", &x_train)?,
            groups: reader.users("group_train", &x_train)?,
        };
        let test = Part {
            inputs: reader.inputs("X_test", &x_test, &view)?,
            labels: test_labels,
            numbers: test_numbers,
            users: reader.users("user_test", &x_test)?,
            groups: reader.users("group_test", &x_test)?,
        };
        let name = sane(name);
        Ok(Self {
            name,
            range: image_range(&shape, &train.inputs),
            shape,
            classes: answers.classes,
            numbers: answers.numbers,
            offset: view.offset,
            sound_rate,
            train: Arc::new(train),
            test,
        })
    }
}

impl Part {
    /// Rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            numbers: self.numbers.as_ref().map(|all| all.select(Axis(0), rows)),
            users: chosen(self.users.as_ref(), rows),
            groups: chosen(self.groups.as_ref(), rows),
        }
    }
}

fn chosen(all: Option<&Vec<u32>>, rows: &[usize]) -> Option<Vec<u32>> {
    all.map(|all| rows.iter().map(|&row| all[row]).collect())
}

/// The range of images' values, whose zero is black: 0 to 1 or 0 to 255.
pub(super) fn image_range(shape: &[u32], inputs: &Array2<f32>) -> Option<[f32; 2]> {
    let sides = shape.iter().map(|&side| side as usize).collect();
    let shape = InputShape::new(sides).ok()?;
    if shape.modality() != Modality::Image {
        return None;
    }
    let (low, high) = inputs.iter().fold((0f32, 0f32), |(low, high), &value| {
        (low.min(value), high.max(value))
    });
    let holds = |top: &f32| low >= 0.0 && high <= *top;
    [1.0, 255.0].into_iter().find(holds).map(|top| [0.0, top])
}

/// A name that tasks accept.
pub(crate) fn sane(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    if clean.is_empty() {
        "data".to_owned()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests;
