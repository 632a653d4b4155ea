//! Data sets: two carried, any other from an NPZ file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use common::features::{InputShape, Modality};
use common::limits::{CLASSES_MAX, NUMBERS_MAX};
use common::npz::{Archive, Array, NpzError, Values};
use edge_agent::data::{ClassNames, Precision, VALUE_MAX};

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
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "class" => Ok(Self::Class),
            "number" => Ok(Self::Number),
            _ => Err(format!("{text:?} is none of class, number")),
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
    /// device ([`ClassNames`]), without it the classes are the distinct labels
    /// of y_train in order. A label of y_test that is none of these classes is
    /// refused. A channel whose offset single precision could not hold is
    /// moved by its training mean.
    ///
    /// # Errors
    /// What cannot be read, or does not fit.
    pub fn open(name: &str) -> Result<Self, DatasetError> {
        Self::open_asking(name, Asked::Class)
    }

    /// The same of a file whose y_train and y_test are what is `asked`: for
    /// numbers, floats of n or n × numbers. `group_train` says which rows
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

    /// The same without a class, and the test rows of that class; none if there
    /// is no such class, or but two.
    pub fn without_class(&self, name: &str) -> Option<(Self, Part)> {
        let left_out = self.classes.iter().position(|class| class == name)? as u16;
        if self.classes.len() <= 2 {
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

/// What rows are labelled with, in training and for the test.
struct Answers {
    classes: Vec<String>,
    numbers: Vec<String>,
    parts: [(Vec<u16>, Option<Array2<f32>>); 2],
}

struct Reader<'a> {
    name: &'a str,
    archive: Archive<'a>,
}

impl Reader<'_> {
    fn bad(&self, array: &'static str, problem: String) -> DatasetError {
        DatasetError::Array {
            name: self.name.to_owned(),
            array,
            problem,
        }
    }

    fn array(&mut self, array: &'static str) -> Result<Array, DatasetError> {
        self.archive
            .array(array)
            .map_err(|cause| DatasetError::Npz {
                name: self.name.to_owned(),
                cause,
            })
    }

    fn numbers(&mut self, array: &'static str) -> Result<Vec<f64>, DatasetError> {
        let found = self.array(array)?;
        found
            .to_f64()
            .map_err(|cause| self.bad(array, cause.to_string()))
    }

    /// Samples a second, if the file says that its inputs are sounds.
    fn sound_rate(&mut self) -> Result<Option<u32>, DatasetError> {
        if !self.archive.contains("rate") {
            return Ok(None);
        }
        let found = self.numbers("rate")?;
        let rate = found.first().copied().filter(|_| found.len() == 1);
        let whole = |rate: &f64| rate.fract() == 0.0 && (1.0..=1e6).contains(rate);
        let rate = rate.filter(whole).map(|rate| rate as u32);
        rate.map(Some)
            .ok_or_else(|| self.bad("rate", "is not one whole number of samples a second".into()))
    }

    /// How inputs are read: their scale, and where single precision would
    /// lose how a channel of the training rows varies, its offset.
    fn view(&self, train: &Array, scale: Option<Vec<f64>>) -> Result<View, DatasetError> {
        let channels = train.shape().last().copied().unwrap_or(1).max(1);
        let scale = scale.unwrap_or_else(|| vec![1.0]);
        if scale.len() != 1 && scale.len() != channels {
            let problem = format!("has {} values, expected 1 or {channels}", scale.len());
            return Err(self.bad("scale", problem));
        }
        let mut view = View {
            channels,
            scale,
            offset: None,
        };
        if let Values::F64(wide) = train.values() {
            let mut precision = Precision::new(channels);
            for (index, &value) in wide.iter().enumerate() {
                precision.narrow(index % channels, view.of(index, value));
            }
            let mut offset = vec![0.0; channels];
            let lost = precision.lost();
            for &(channel, mean) in &lost {
                offset[channel] = mean;
            }
            view.offset = (!lost.is_empty()).then_some(offset);
        }
        Ok(view)
    }

    /// Inputs of shape (rows, values of one input), scaled and moved.
    fn inputs(
        &self,
        name: &'static str,
        inputs: &Array,
        view: &View,
    ) -> Result<Array2<f32>, DatasetError> {
        let width: usize = inputs.shape().iter().skip(1).product();
        let text = |cause: NpzError| self.bad(name, cause.to_string());
        let values: Vec<f32> = match inputs.values() {
            Values::F64(wide) => {
                let wide = wide.iter().enumerate();
                wide.map(|(index, &value)| view.of(index, value) as f32)
                    .collect()
            }
            _ => {
                let narrow = inputs.to_f32().map_err(text)?.into_iter().enumerate();
                let wide = narrow.map(|(index, value)| view.of(index, f64::from(value)) as f32);
                wide.collect()
            }
        };
        let is_bad = |value: &f32| value.is_nan() || f64::from(value.abs()) > VALUE_MAX;
        if let Some(index) = values.iter().position(is_bad) {
            let problem = format!(
                "holds {} in row {}, value {}; fill or drop what is missing, and keep within \
                 ±{VALUE_MAX:e}",
                values[index],
                index / width.max(1),
                index % width.max(1)
            );
            return Err(self.bad(name, problem));
        }
        Array2::from_shape_vec((inputs.rows(), width), values)
            .map_err(|error| self.bad(name, error.to_string()))
    }

    fn class_answers(&mut self, train: &Array, test: &Array) -> Result<Answers, DatasetError> {
        let train_labels = self.labels("y_train", train)?;
        let test_labels = self.labels("y_test", test)?;
        let (classes, known) = self.classes(&train_labels)?;
        let numbered = |array, labels: &[Label]| {
            let rows = labels.iter().enumerate();
            rows.map(|(row, label)| {
                let class = known.class(label);
                class.ok_or_else(|| self.bad(array, known.refusal(row, label)))
            })
            .collect::<Result<Vec<u16>, _>>()
        };
        let parts = [
            (numbered("y_train", &train_labels)?, None),
            (numbered("y_test", &test_labels)?, None),
        ];
        Ok(Answers {
            classes,
            numbers: Vec::new(),
            parts,
        })
    }

    fn number_answers(&mut self, train: &Array, test: &Array) -> Result<Answers, DatasetError> {
        let (learnt, tried) = (
            self.targets("y_train", train)?,
            self.targets("y_test", test)?,
        );
        let values = learnt.ncols();
        if tried.ncols() != values {
            let problem = format!("has {} numbers a row, y_train {values}", tried.ncols());
            return Err(self.bad("y_test", problem));
        }
        let names = match values {
            1 => vec!["value".to_owned()],
            _ => (0..values).map(|value| format!("value-{value}")).collect(),
        };
        let part = |numbers: Array2<f32>| (vec![0; numbers.nrows()], Some(numbers));
        Ok(Answers {
            classes: Vec::new(),
            numbers: names,
            parts: [part(learnt), part(tried)],
        })
    }

    /// Numbers of each row of `inputs`, shape (rows, numbers).
    fn targets(&mut self, name: &'static str, inputs: &Array) -> Result<Array2<f32>, DatasetError> {
        let (array, rows) = (self.array(name)?, inputs.rows());
        let values = match array.shape() {
            [all] if *all == rows => 1,
            [all, values] if *all == rows && (1..=NUMBERS_MAX).contains(values) => *values,
            shape => {
                let problem = format!(
                    "has shape {shape:?}, expected ({rows},) or ({rows}, numbers) with 1 to \
                     {NUMBERS_MAX} numbers"
                );
                return Err(self.bad(name, problem));
            }
        };
        let wide = array
            .to_f64()
            .map_err(|cause| self.bad(name, cause.to_string()))?;
        let is_bad = |value: &f64| !value.is_finite() || value.abs() > VALUE_MAX;
        if let Some(at) = wide.iter().position(is_bad) {
            let problem = format!(
                "holds {} in row {}; leave rows without a number out, and keep within \
                 ±{VALUE_MAX:e}",
                wide[at],
                at / values
            );
            return Err(self.bad(name, problem));
        }
        let narrow = wide.into_iter().map(|value| value as f32).collect();
        Array2::from_shape_vec((rows, values), narrow)
            .map_err(|error| self.bad(name, error.to_string()))
    }

    /// One name or number a row of `inputs`.
    fn labels(&mut self, name: &'static str, inputs: &Array) -> Result<Vec<Label>, DatasetError> {
        let (array, rows) = (self.array(name)?, inputs.rows());
        let single = array.shape().iter().skip(1).all(|&side| side == 1);
        if !single || array.rows() != rows || array.shape().is_empty() {
            let problem = format!(
                "has shape {:?}, expected one label for each of {rows} inputs",
                array.shape()
            );
            return Err(self.bad(name, problem));
        }
        if let Values::Text(names) = array.values() {
            return Ok(names.iter().cloned().map(Label::Name).collect());
        }
        let numbers = array
            .to_integers()
            .map_err(|cause| self.bad(name, cause.to_string()))?;
        Ok(numbers.into_iter().map(Label::Number).collect())
    }

    /// Whose rows they are, if the file says: ids as they are where they fit,
    /// else numbered in their order.
    fn users(
        &mut self,
        name: &'static str,
        inputs: &Array,
    ) -> Result<Option<Vec<u32>>, DatasetError> {
        if !self.archive.contains(name) {
            return Ok(None);
        }
        let ids = self.labels(name, inputs)?;
        let small = |id: &Label| match id {
            Label::Number(id) => u32::try_from(*id).ok(),
            Label::Name(_) => None,
        };
        if let Some(users) = ids.iter().map(small).collect() {
            return Ok(Some(users));
        }
        let known: BTreeSet<&Label> = ids.iter().collect();
        let numbers: BTreeMap<&Label, u32> = known.into_iter().zip(0..).collect();
        Ok(Some(ids.iter().map(|id| numbers[id]).collect()))
    }

    /// The classes' names, and how labels find them.
    fn classes(&mut self, train: &[Label]) -> Result<(Vec<String>, Known), DatasetError> {
        let distinct: BTreeSet<&Label> = train.iter().collect();
        if !(2..=CLASSES_MAX).contains(&distinct.len()) {
            let problem = format!(
                "holds {} distinct labels, expected 2 to {CLASSES_MAX} classes",
                distinct.len()
            );
            return Err(self.bad("y_train", problem));
        }
        if self.archive.contains("class_names")
            && let Values::Text(names) = self.array("class_names")?.values()
        {
            let known = Known::Named(ClassNames::new(names.clone()));
            return Ok((names.clone(), known));
        }
        let names = distinct.iter().map(|label| match label {
            Label::Number(number) => format!("class-{number}"),
            Label::Name(name) => name.clone(),
        });
        let names = names.collect();
        let known = distinct.into_iter().cloned().zip(0..).collect();
        Ok((names, Known::Distinct(known)))
    }
}

/// How values of inputs are read.
struct View {
    channels: usize,
    /// One factor, or one for each channel.
    scale: Vec<f64>,
    offset: Option<Vec<f64>>,
}

impl View {
    fn of(&self, index: usize, value: f64) -> f64 {
        let offset = self
            .offset
            .as_ref()
            .map_or(0.0, |offset| offset[index % self.channels]);
        value * self.scale[index % self.scale.len()] - offset
    }
}

/// How labels find their class.
enum Known {
    /// By the names of the file's classes.
    Named(ClassNames),
    /// Each distinct label of the training rows is a class.
    Distinct(BTreeMap<Label, u16>),
}

impl Known {
    fn class(&self, label: &Label) -> Option<u16> {
        match (self, label) {
            (Self::Named(names), Label::Number(number)) => {
                names.of_number(*number as f64).ok()?.class()
            }
            (Self::Named(names), Label::Name(name)) => names.of_text(name).ok()?.class(),
            (Self::Distinct(known), label) => known.get(label).copied(),
        }
    }

    /// Why a label of a row is refused.
    fn refusal(&self, row: usize, label: &Label) -> String {
        let label = match label {
            Label::Number(number) => number.to_string(),
            Label::Name(name) => format!("{name:?}"),
        };
        match self {
            Self::Named(names) => format!(
                "holds label {label} in row {row}, which is none of class_names ({}){}",
                names.names().join(", "),
                match names.is_indexed() {
                    true => ": numbers count them from 0",
                    false => ", some of which are numbers themselves, so that none counts them",
                }
            ),
            Self::Distinct(_) => format!(
                "holds label {label} in row {row}, which no row of y_train has; leave such rows \
                 out, or name all classes in class_names"
            ),
        }
    }
}

/// What a file calls a class or a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(i64),
    Name(String),
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_class_that_is_left_out_leaves_no_row_and_moves_the_others_up() {
        let har = Dataset::open("har").unwrap();
        let (data, novel) = har.without_class("sitting").unwrap();
        assert_eq!(data.classes.len(), 5);
        assert_eq!(data.test.len() + novel.len(), har.test.len());
        let of = |data: &Dataset, name: &str| {
            let class = data.classes.iter().position(|one| one == name).unwrap();
            let labels = data.train.labels.iter();
            labels.filter(|&&label| usize::from(label) == class).count()
        };
        for name in &data.classes {
            assert_eq!(of(&data, name), of(&har, name), "{name}");
        }
        assert!(har.without_class("flying").is_none());
    }

    #[test]
    fn the_carried_data_sets_open() {
        let har = Dataset::open("har").unwrap();
        assert_eq!((har.train.len(), har.test.len()), (7_415, 2_996));
        assert_eq!(har.shape, [128, 6]);
        assert_eq!(har.classes.len(), 6);
        let digits = Dataset::open("digits").unwrap();
        assert_eq!(digits.range, Some([0.0, 255.0]));
        assert_eq!(digits.classes.len(), 10);
    }

    #[test]
    fn how_numbers_are_stored_says_nothing() {
        let stored = |shape: &[usize], values: fn(Vec<u8>) -> Values| {
            let (rows, one): (usize, usize) = (6, shape.iter().product());
            let bytes = (0..rows * one).map(|at| (at * 41 % 250) as u8).collect();
            let x = Array::new([&[rows], shape].concat(), values(bytes)).unwrap();
            let y = Array::new(vec![rows], Values::U8(vec![0, 1, 0, 1, 0, 1])).unwrap();
            let arrays = [
                ("X_train", &x),
                ("y_train", &y),
                ("X_test", &x),
                ("y_test", &y),
            ];
            Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class).unwrap()
        };
        let floats = |bytes: Vec<u8>| Values::F32(bytes.into_iter().map(f32::from).collect());
        for (shape, stage) in [
            (&[30][..], "lifted/1"),
            (&[40, 3], "window/1"),
            (&[24, 2], "lifted/1"),
            (&[16, 16], "patches/1"),
        ] {
            let (narrow, wide) = (stored(shape, Values::U8), stored(shape, floats));
            assert_eq!(narrow.range, wide.range, "{shape:?}");
            assert_eq!(narrow.train.inputs, wide.train.inputs);
            for data in [narrow, wide] {
                assert_eq!(crate::stage::auto_stage(&data).to_string(), stage);
            }
        }
    }

    fn small(rows: usize, labels: Values) -> Result<Dataset, DatasetError> {
        let x = Array::new(vec![rows, 1], Values::F32(vec![1.0; rows])).unwrap();
        let y = Array::new(vec![rows], labels).unwrap();
        let test = y.select(&[0]).unwrap();
        let one = x.select(&[0]).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &one),
            ("y_test", &test),
        ];
        Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class)
    }

    #[test]
    fn labels_of_any_kind_become_classes_in_their_order() {
        let numbers = small(4, Values::I64(vec![900, -1, 7, 900])).unwrap();
        assert_eq!(numbers.classes, ["class--1", "class-7", "class-900"]);
        assert_eq!(numbers.train.labels, [2, 0, 1, 2]);
        assert_eq!(numbers.test.labels, [2]);
        let texts = ["dog", "ant", "dog"].map(str::to_owned).to_vec();
        let texts = small(3, Values::Text(texts)).unwrap();
        assert_eq!(texts.classes, ["ant", "dog"]);
        assert_eq!(texts.train.labels, [1, 0, 1]);
        let alone = small(3, Values::U8(vec![4; 3])).unwrap_err();
        assert!(alone.to_string().contains("1 distinct labels"), "{alone}");
        let fraction = small(2, Values::F64(vec![0.5, 1.0])).unwrap_err();
        assert!(fraction.to_string().contains("y_train"), "{fraction}");
    }

    fn labelled(
        train: Values,
        test: Values,
        names: Option<&[&str]>,
    ) -> Result<Dataset, DatasetError> {
        let x = Array::new(vec![3, 1], Values::F32(vec![0.0; 3])).unwrap();
        let y = Array::new(vec![3], train).unwrap();
        let more = Array::new(vec![3], test).unwrap();
        let names = names.map(|names| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            Array::new(vec![names.len()], Values::Text(names)).unwrap()
        });
        let users = ["b", "a", "b"].map(str::to_owned).to_vec();
        let users = Array::new(vec![3], Values::Text(users)).unwrap();
        let mut arrays = vec![
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &more),
            ("user_train", &users),
        ];
        arrays.extend(names.as_ref().map(|names| ("class_names", names)));
        Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class)
    }

    #[test]
    fn a_test_label_that_is_no_class_is_named() {
        let train = || Values::U8(vec![0, 1, 1]);
        let data = labelled(train(), Values::U8(vec![1, 0, 0]), None).unwrap();
        assert_eq!(data.classes, ["class-0", "class-1"]);
        assert_eq!(data.train.users, Some(vec![1, 0, 1]));
        let unknown = labelled(train(), Values::U8(vec![1, 5, 0]), None).unwrap_err();
        let text = unknown.to_string();
        assert!(
            text.contains("y_test") && text.contains("label 5 in row 1"),
            "{text}"
        );
        let named = labelled(train(), Values::U8(vec![2, 1, 0]), Some(&["a", "b", "c"]));
        assert_eq!(named.unwrap().test.labels, [2, 1, 0]);
    }

    #[test]
    fn labels_find_class_names_as_on_a_device() {
        let data = labelled(
            Values::F64(vec![1.0, 2.0, 3.0]),
            Values::F64(vec![3.0, 1.0, 2.0]),
            Some(&["1", "2", "3"]),
        );
        let data = data.unwrap();
        assert_eq!(data.train.labels, [0, 1, 2]);
        assert_eq!(data.test.labels, [2, 0, 1]);
        let inverted = labelled(
            Values::U8(vec![0, 1, 1]),
            Values::U8(vec![1, 0, 0]),
            Some(&["1", "0"]),
        );
        assert_eq!(inverted.unwrap().train.labels, [1, 0, 0]);
        let beyond = labelled(
            Values::U8(vec![1, 2, 1]),
            Values::U8(vec![1, 2, 1]),
            Some(&["a", "b"]),
        );
        let text = beyond.unwrap_err().to_string();
        assert!(text.contains("label 2 in row 1"), "{text}");
    }

    #[test]
    fn an_offset_beyond_single_precision_is_subtracted() {
        let rows = 60;
        let wave = |row: usize| 1e-3 * (row as f64 * 0.7).sin();
        let wide: Vec<f64> = (0..rows)
            .flat_map(|row| [1e6 + wave(row), wave(row)])
            .collect();
        let x = Array::new(vec![rows, 2], Values::F64(wide)).unwrap();
        let y = Array::new(
            vec![rows],
            Values::U8((0..rows).map(|row| (row % 2) as u8).collect()),
        );
        let y = y.unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &y),
        ];
        let data =
            Dataset::parse("far", &common::npz::write(&arrays).unwrap(), Asked::Class).unwrap();
        let offset = data.offset.unwrap();
        assert!(
            (offset[0] - 1e6).abs() < 1.0 && offset[1] == 0.0,
            "{offset:?}"
        );
        for row in 0..rows {
            let found = f64::from(data.train.inputs[[row, 0]]) + offset[0] - 1e6;
            assert!((found - wave(row)).abs() < 1e-8, "row {row}: {found}");
            assert_eq!(data.test.inputs[[row, 0]], data.train.inputs[[row, 0]]);
        }
    }

    #[test]
    fn a_fill_value_is_named() {
        let x = Array::new(vec![2, 2], Values::F32(vec![0.0, 0.0, 0.0, 9.969_21e36])).unwrap();
        let y = Array::new(vec![2], Values::U8(vec![0, 1])).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &y),
        ];
        let error = Dataset::parse("fill", &common::npz::write(&arrays).unwrap(), Asked::Class)
            .unwrap_err();
        assert!(error.to_string().contains("row 1, value 1"), "{error}");
    }

    #[test]
    fn labels_that_do_not_fit_are_refused_by_name() {
        let x = Array::new(vec![3, 2], Values::F32(vec![0.0; 6])).unwrap();
        let y = Array::new(vec![3], Values::U8(vec![0, 1, 1])).unwrap();
        let short = Array::new(vec![2], Values::U8(vec![0, 1])).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &short),
            ("X_test", &x),
            ("y_test", &y),
        ];
        let bytes = common::npz::write(&arrays).unwrap();
        let error = Dataset::parse("odd", &bytes, Asked::Class).unwrap_err();
        assert!(
            matches!(
                error,
                DatasetError::Array {
                    array: "y_train",
                    ..
                }
            ),
            "{error}"
        );
        let missing = common::npz::write(&[("X_train", &x)]).unwrap();
        assert!(matches!(
            Dataset::parse("odd", &missing, Asked::Class),
            Err(DatasetError::Npz { .. })
        ));
    }
}
