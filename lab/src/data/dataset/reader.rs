//! The arrays of an NPZ file as inputs, labels and persons.

use std::collections::{BTreeMap, BTreeSet};

use common::limits::{CLASSES_MAX, NUMBERS_MAX};
use common::npz::{Archive, Array, Bytes, NpzError, Values};
use edge_agent::data::{ClassNames, Precision, VALUE_MAX};
use ndarray::Array2;

use super::super::unlabelled;
use super::DatasetError;

/// What rows are labelled with, in training and for the test.
pub(super) struct Answers {
    pub(super) classes: Vec<String>,
    pub(super) numbers: Vec<String>,
    pub(super) parts: [(Vec<u16>, Option<Array2<f32>>); 2],
}

pub(super) struct Reader<'a> {
    pub(super) name: &'a str,
    pub(super) archive: Archive<Bytes<'a>>,
}

impl Reader<'_> {
    pub(super) fn bad(&self, array: &'static str, problem: String) -> DatasetError {
        DatasetError::Array {
            name: self.name.to_owned(),
            array,
            problem,
        }
    }

    pub(super) fn array(&mut self, array: &'static str) -> Result<Array, DatasetError> {
        self.archive
            .array(array)
            .map_err(|cause| DatasetError::Npz {
                name: self.name.to_owned(),
                cause,
            })
    }

    pub(super) fn numbers(&mut self, array: &'static str) -> Result<Vec<f64>, DatasetError> {
        let found = self.array(array)?;
        found
            .to_f64()
            .map_err(|cause| self.bad(array, cause.to_string()))
    }

    /// Samples a second, if the file says that its inputs are sounds.
    pub(super) fn sound_rate(&mut self) -> Result<Option<u32>, DatasetError> {
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
    pub(super) fn view(
        &self,
        train: &Array,
        scale: Option<Vec<f64>>,
    ) -> Result<View, DatasetError> {
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
    pub(super) fn inputs(
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

    pub(super) fn class_answers(
        &mut self,
        train: &Array,
        test: &Array,
    ) -> Result<Answers, DatasetError> {
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

    /// Training rows of one class, and what the test rows are.
    pub(super) fn no_answers(
        &mut self,
        train: &Array,
        test: &Array,
    ) -> Result<Answers, DatasetError> {
        let judged = self.numbers("y_test")?;
        if judged.len() != test.rows() {
            let problem = format!("has {} values for {} inputs", judged.len(), test.rows());
            return Err(self.bad("y_test", problem));
        }
        let judged = unlabelled::judged(&judged).map_err(|problem| self.bad("y_test", problem))?;
        Ok(Answers {
            classes: unlabelled::CLASSES.map(str::to_owned).to_vec(),
            numbers: Vec::new(),
            parts: [(vec![0; train.rows()], None), (judged, None)],
        })
    }

    pub(super) fn number_answers(
        &mut self,
        train: &Array,
        test: &Array,
    ) -> Result<Answers, DatasetError> {
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
        let mut precision = Precision::new(values);
        let narrow = wide.into_iter().enumerate();
        let narrow = narrow.map(|(at, value)| precision.narrow(at % values, value));
        let narrow: Vec<f32> = narrow.collect();
        if let Some((value, mean)) = precision.lost().first() {
            let problem = format!(
                "varies so little around {mean} (number {value} of {values}) that single precision \
                 loses it; subtract {mean} from it, in training and test"
            );
            return Err(self.bad(name, problem));
        }
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
    pub(super) fn users(
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
pub(super) struct View {
    channels: usize,
    /// One factor, or one for each channel.
    scale: Vec<f64>,
    pub(super) offset: Option<Vec<f64>>,
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
                "holds label {label} in row {row}, which is not one of class_names ({}){}",
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
