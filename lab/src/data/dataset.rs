//! Data sets: two carried, any other from an NPZ file.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, Axis};

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
    /// The class of each row.
    pub labels: Vec<u16>,
    /// Whose row it is, where the file says.
    pub users: Option<Vec<u32>>,
}

/// Why a data set was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
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

impl Dataset {
    /// `har` and `digits` are carried; anything else is the path of an NPZ
    /// file with X_train, y_train, X_test and y_test, and optionally `scale`
    /// (one factor a value of the last axis, or one for all), user_train and
    /// class_names. Inputs are n × features, n × time × channels or n ×
    /// height × width (× channels); bytes are taken as they are.
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
        if shape.is_empty() || x_train.shape()[1..] != x_test.shape()[1..] {
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
        let train = reader.part(&x_train, "y_train", "user_train", scale.as_deref())?;
        let test = reader.part(&x_test, "y_test", "user_test", scale.as_deref())?;
        let highest = train
            .labels
            .iter()
            .chain(&test.labels)
            .max()
            .copied()
            .unwrap_or(0);
        let classes = reader.classes(usize::from(highest) + 1)?;
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

    fn npz(&self, cause: NpzError) -> DatasetError {
        DatasetError::Npz {
            name: self.name.to_owned(),
            cause,
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
        self.array(array)?.to_f32().map_err(|cause| self.npz(cause))
    }

    fn part(
        &mut self,
        inputs: &Array,
        labels: &'static str,
        users: &'static str,
        scale: Option<&[f32]>,
    ) -> Result<Part, DatasetError> {
        let rows = inputs.rows();
        let width: usize = inputs.shape().iter().skip(1).product();
        let mut values = inputs.to_f32().map_err(|cause| self.npz(cause))?;
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
            let problem = format!("holds {} in row {}", values[index], index / width.max(1));
            return Err(self.bad("X", problem));
        }
        let classes = self
            .array(labels)?
            .to_integers()
            .map_err(|cause| self.npz(cause))?;
        if classes.len() != rows {
            let problem = format!("has {} labels for {rows} inputs", classes.len());
            return Err(self.bad(labels, problem));
        }
        let small = |&class: &i64| u16::try_from(class).ok().filter(|&class| class < 1_000);
        let known: Option<Vec<u16>> = classes.iter().map(small).collect();
        let labels =
            known.ok_or_else(|| self.bad(labels, "holds a label not in 0..1000".into()))?;
        let users = if self.archive.contains(users) {
            let ids = self
                .array(users)?
                .to_integers()
                .map_err(|cause| self.npz(cause))?;
            if ids.len() != rows {
                return Err(self.bad(users, format!("has {} ids for {rows} inputs", ids.len())));
            }
            Some(ids.into_iter().map(|id| id as u32).collect())
        } else {
            None
        };
        let inputs = Array2::from_shape_vec((rows, width), values)
            .map_err(|error| self.bad("X", error.to_string()))?;
        Ok(Part {
            inputs,
            labels,
            users,
        })
    }

    fn classes(&mut self, count: usize) -> Result<Vec<String>, DatasetError> {
        if self.archive.contains("class_names")
            && let Values::Text(names) = self.array("class_names")?.values()
            && names.len() >= count
        {
            return Ok(names.clone());
        }
        Ok((0..count.max(2))
            .map(|class| format!("class-{class}"))
            .collect())
    }
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
