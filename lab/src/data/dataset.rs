//! Data sets: two carried, any other from an NPZ file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use common::limits::CLASSES_MAX;
use common::npz::{Archive, Array, NpzError, Values};

static HAR: &[u8] = include_bytes!("../../data/har.npz");
static DIGITS: &[u8] = include_bytes!("../../data/digits.npz");

/// Labelled inputs for training and for testing.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// A name for people and tasks.
    pub name: String,
    /// Shape of one input.
    pub shape: Vec<u32>,
    /// Class names.
    pub classes: Vec<String>,
    /// The range of the values where their type declares one (bytes).
    pub range: Option<[f32; 2]>,
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
    /// The class of each row; the number of classes for a label that is not valid
    /// of them, which only a test set may hold.
    pub labels: Vec<u16>,
    /// Whose row it is, where the file says.
    pub users: Option<Vec<u32>>,
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
        std::io::ErrorKind::IsADirectory => {
            "; name an NPZ file with X_train, y_train, X_test and y_test"
        }
        _ => "",
    }
}

impl Dataset {
    /// `har` and `digits` are carried; anything else is the path of an NPZ
    /// file with X_train, y_train, X_test and y_test, and optionally `scale`
    /// (one factor a value of the last axis, or one for all), user_train and
    /// class_names. Inputs are n × features, n × time × channels or n ×
    /// height × width (× channels); bytes are taken as they are. Labels are
    /// integers or texts. Where class_names does not say otherwise, the
    /// classes are the distinct labels of y_train in order: the test set has
    /// no say in what there is to learn, and a label that only it holds is
    /// never answered right.
    ///
    /// # Errors
    /// What cannot be read, or does not fit.
    pub fn open(name: &str) -> Result<Self, DatasetError> {
        match name {
            "har" => Self::parse("har", HAR),
            "digits" => Self::parse("digits", DIGITS),
            path => {
                let bytes = std::fs::read(path).map_err(|cause| DatasetError::Read {
                    path: path.to_owned(),
                    cause,
                })?;
                let stem = Path::new(path)
                    .file_stem()
                    .map(|stem| stem.to_string_lossy());
                Self::parse(&stem.unwrap_or_default(), &bytes)
            }
        }
    }

    /// Reads an archive's bytes.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, DatasetError> {
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
        let range = matches!(x_train.values(), Values::U8(_)).then_some([0.0, 255.0]);
        let scale = if reader.archive.contains("scale") && range.is_none() {
            Some(reader.numbers("scale")?)
        } else {
            None
        };
        let train_labels = reader.labels("y_train", &x_train)?;
        let test_labels = reader.labels("y_test", &x_test)?;
        let (classes, known) = reader.classes(&train_labels)?;
        let unknown = u16::try_from(classes.len()).unwrap_or(u16::MAX);
        let numbered = |labels: &[Label]| -> Vec<u16> {
            let class = |label| known.get(label).copied().unwrap_or(unknown);
            labels.iter().map(class).collect()
        };
        let scale = scale.as_deref();
        let train = Part {
            inputs: reader.inputs("X_train", &x_train, scale)?,
            labels: numbered(&train_labels),
            users: reader.users("user_train", &x_train)?,
        };
        let test = Part {
            inputs: reader.inputs("X_test", &x_test, scale)?,
            labels: numbered(&test_labels),
            users: reader.users("user_test", &x_test)?,
        };
        let name = sane(name);
        Ok(Self {
            name,
            shape,
            classes,
            range,
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            users: self
                .users
                .as_ref()
                .map(|users| rows.iter().map(|&row| users[row]).collect()),
        }
    }
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

    fn numbers(&mut self, array: &'static str) -> Result<Vec<f32>, DatasetError> {
        let found = self.array(array)?;
        found
            .to_f32()
            .map_err(|cause| self.bad(array, cause.to_string()))
    }

    /// Inputs of shape (rows, values of one input), times the scale.
    fn inputs(
        &self,
        name: &'static str,
        inputs: &Array,
        scale: Option<&[f32]>,
    ) -> Result<Array2<f32>, DatasetError> {
        let width: usize = inputs.shape().iter().skip(1).product();
        let mut values = inputs
            .to_f32()
            .map_err(|cause| self.bad(name, cause.to_string()))?;
        if let Some(scale) = scale {
            let last = inputs.shape().last().copied().unwrap_or(1);
            if scale.len() != 1 && scale.len() != last {
                let problem = format!("has {} values, expected 1 or {last}", scale.len());
                return Err(self.bad("scale", problem));
            }
            for (index, value) in values.iter_mut().enumerate() {
                *value *= scale[index % scale.len()];
            }
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let problem = format!(
                "holds {} in row {}; fill or drop what is missing, and keep within ±3e38",
                values[index],
                index / width.max(1)
            );
            return Err(self.bad(name, problem));
        }
        Array2::from_shape_vec((inputs.rows(), width), values)
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

    /// The classes' names, and the number of the class of each label.
    fn classes(
        &mut self,
        train: &[Label],
    ) -> Result<(Vec<String>, BTreeMap<Label, u16>), DatasetError> {
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
            let by_number = (0..).map(Label::Number).zip(0..).take(names.len());
            let by_name = names.iter().cloned().map(Label::Name).zip(0..);
            let known: BTreeMap<Label, u16> = by_number.chain(by_name).collect();
            if distinct.iter().all(|label| known.contains_key(label)) {
                return Ok((names.clone(), known));
            }
        }
        let names = distinct.iter().map(|label| match label {
            Label::Number(number) => format!("class-{number}"),
            Label::Name(name) => name.clone(),
        });
        let names = names.collect();
        Ok((names, distinct.into_iter().cloned().zip(0..).collect()))
    }
}

/// What a file calls a class or a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(i64),
    Name(String),
}

/// A name that tasks accept.
fn sane(name: &str) -> String {
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
    fn the_carried_data_sets_open() {
        let har = Dataset::open("har").unwrap();
        assert_eq!((har.train.len(), har.test.len()), (7_415, 2_996));
        assert_eq!(har.shape, [128, 6]);
        assert_eq!(har.classes.len(), 6);
        let digits = Dataset::open("digits").unwrap();
        assert_eq!(digits.range, Some([0.0, 255.0]));
        assert_eq!(digits.classes.len(), 10);
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
        Dataset::parse("odd", &common::npz::write(&arrays).unwrap())
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

    #[test]
    fn the_test_set_has_no_say_in_what_the_classes_are() {
        let x = Array::new(vec![3, 1], Values::F32(vec![0.0; 3])).unwrap();
        let y = Array::new(vec![3], Values::U8(vec![0, 1, 1])).unwrap();
        let more = Array::new(vec![3], Values::U8(vec![1, 5, 0])).unwrap();
        let users = ["b", "a", "b"].map(str::to_owned).to_vec();
        let users = Array::new(vec![3], Values::Text(users)).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &more),
            ("user_train", &users),
        ];
        let data = Dataset::parse("odd", &common::npz::write(&arrays).unwrap()).unwrap();
        assert_eq!(data.classes, ["class-0", "class-1"]);
        assert_eq!(data.test.labels, [1, 2, 0], "5 is none of them");
        assert_eq!(data.train.users, Some(vec![1, 0, 1]));
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
        let error = Dataset::parse("odd", &bytes).unwrap_err();
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
            Dataset::parse("odd", &missing),
            Err(DatasetError::Npz { .. })
        ));
    }
}
