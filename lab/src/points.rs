//! Distilled samples as a table that anything can be trained on: in the
//! inputs' own space where a sample has an input, and as named features of
//! the stage elsewhere.

use std::path::Path;

use ndarray::{Array2, ArrayView2, Axis};

use common::exit::{ExitCode, Failure};
use common::features::{Normaliser, QuantileTransform};
use common::npz::{self, Array, NpzError, Values};
use common::scales::Scales;
use common::task::{Target, Task};
use common::teacher::Teacher;
use common::transfer::TransferSet;

use crate::distill::{Distilled, Session};

/// Distilled samples, a row each.
///
/// In NPZ:
///
/// | array | shape | what |
/// |---|---|---|
/// | `X` | m × sides of an input, or m × features | the samples, `f4`; `f8` where single precision would lose how inputs vary |
/// | `y` | m × C | soft labels, `f4`; of a task of numbers the numbers, in their units |
/// | `label` | m | the most likely class's number, `u2`; not of numbers |
/// | `weight` | m | rows that the sample stands for, `f4` |
/// | `spread` | m | root mean squared distance of those rows in normalised features, `f4` |
/// | `names` | columns of `X` | what each value is, text |
/// | `class_names` | C | text; names of the numbers |
/// | `space` | 1 | `input`, or the feature stage that `X` is in, text |
///
/// CSV has a column for each name, then `label` (the class's name), `weight`,
/// `spread` and `p:CLASS` for each class, or `y:NAME` for each number.
#[derive(Clone, Debug, PartialEq)]
pub struct PointTable {
    /// The samples, m × values.
    pub inputs: Array2<f32>,
    /// Soft labels, m × classes, or numbers in their units.
    pub labels: Array2<f32>,
    /// Rows that each stands for.
    pub weights: Vec<f32>,
    /// Root mean squared distance of those rows, in normalised features.
    pub spreads: Vec<f32>,
    /// What each value is.
    pub names: Vec<String>,
    /// Class names, or names of numbers.
    pub classes: Vec<String>,
    /// Whether labels are classes.
    pub is_class: bool,
    /// `input`, or the name of the feature stage.
    pub space: String,
    /// Sides of one sample.
    pub sides: Vec<usize>,
    /// What is added to the values of each channel, the last side, when it is written:
    /// what was subtracted in double precision; empty for nothing.
    pub offset: Vec<f64>,
    /// Whether only the directions of samples are known: a normaliser brought rows to one
    /// length that were not centred.
    pub is_of_any_length: bool,
}

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PointTableError {
    /// A name that says no format.
    #[error("{0} ends in neither .npz nor .csv")]
    Ending(String),
    /// NPZ cannot hold it.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// CSV cannot hold it.
    #[error("as CSV: {0}")]
    Csv(String),
    /// The file cannot be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl From<PointTableError> for Failure {
    fn from(error: PointTableError) -> Self {
        let code = match &error {
            PointTableError::Ending(_) => ExitCode::Usage,
            PointTableError::Write { cause, .. } => ExitCode::of_file(cause),
            _ => ExitCode::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl PointTable {
    /// The transfer set of a round, labelled by its teacher. None if the
    /// teacher does not stand on it.
    pub fn of_round(
        task: &Task,
        set: &TransferSet,
        teacher: &Teacher,
        scales: &Scales,
    ) -> Option<Self> {
        let points = &set.points;
        let inputs = points.inputs.view();
        let labels = match &scales.targets {
            None => teacher.probabilities(inputs).ok()?,
            Some(scale) => task
                .target()
                .within(scale.restore(teacher.answers(inputs).ok()?)),
        };
        let seen = Seen {
            task,
            normaliser: &scales.normaliser,
        };
        let mut table = seen.table(points.inputs.view(), labels);
        table.weights = points.counts.iter().map(|&count| count as f32).collect();
        table.spreads.clone_from(&points.spreads);
        Some(table)
    }

    /// What a session distilled, each sample with weight 1.
    pub fn of_distilled(session: &Session, distilled: &Distilled) -> Self {
        let (task, normaliser) = (
            session.feature_view.task(),
            session.feature_view.normaliser(),
        );
        let even = 1.0 / task.classes() as f64;
        let labels = distilled.labels.mapv(|value| (value + even) as f32);
        Seen { task, normaliser }.table(distilled.points.view(), labels)
    }

    /// The same for inputs from whose channels this offset was subtracted: samples in
    /// the inputs' space get it back.
    pub fn moved_by(mut self, offset: Option<&[f64]>) -> Self {
        if self.space == INPUT_SPACE {
            self.offset = offset.unwrap_or_default().to_vec();
        }
        self
    }

    /// The same where samples of any length are as long as these rows (rows, values) in the
    /// mean, root mean square; what learns from them and is tried on such rows would find
    /// them of another unit else.
    pub fn as_long_as(mut self, rows: ArrayView2<'_, f32>) -> Self {
        let square = |row: ndarray::ArrayView1<'_, f32>| -> f64 {
            row.iter().map(|&value| f64::from(value).powi(2)).sum()
        };
        let squares: f64 = rows.rows().into_iter().map(square).sum();
        let usual = (squares / rows.nrows().max(1) as f64).sqrt();
        if !self.is_of_any_length || !usual.is_finite() {
            return self;
        }
        for mut sample in self.inputs.rows_mut() {
            let own = square(sample.view()).sqrt();
            if own > 0.0 {
                sample *= (usual / own) as f32;
            }
        }
        self
    }

    /// Value `at` of a sample, in the inputs' own place.
    fn placed(&self, at: usize, value: f32) -> f64 {
        let channels = self.offset.len().max(1);
        f64::from(value) + self.offset.get(at % channels).copied().unwrap_or(0.0)
    }

    fn inputs(&self) -> Values {
        match self.offset.as_slice() {
            [] => Values::F32(self.inputs.iter().copied().collect()),
            _ => {
                let placed = self.inputs.indexed_iter();
                Values::F64(
                    placed
                        .map(|((_, at), &value)| self.placed(at, value))
                        .collect(),
                )
            }
        }
    }

    /// Writes it as what the file's name ends in.
    ///
    /// # Errors
    /// Another ending, or a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PointTableError> {
        Self::check_ending(path)?;
        let bytes = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npz") => self.npz()?,
            Some("csv") => self
                .csv()
                .map_err(|error| PointTableError::Csv(error.to_string()))?,
            _ => return Err(PointTableError::Ending(path.display().to_string())),
        };
        std::fs::write(path, bytes).map_err(|cause| PointTableError::Write {
            path: path.display().to_string(),
            cause,
        })
    }

    /// Whether a file of this name can be written.
    ///
    /// # Errors
    /// [`PointTableError::Ending`].
    pub fn check_ending(path: &Path) -> Result<(), PointTableError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("npz" | "csv") => Ok(()),
            _ => Err(PointTableError::Ending(path.display().to_string())),
        }
    }

    fn most_likely(&self) -> Vec<u16> {
        let largest = |row: ndarray::ArrayView1<'_, f32>| {
            (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u16
        };
        self.labels.rows().into_iter().map(largest).collect()
    }

    fn npz(&self) -> Result<Vec<u8>, NpzError> {
        let rows = self.inputs.nrows();
        let values = |table: &Array2<f32>| Values::F32(table.iter().copied().collect());
        let mut shape = vec![rows];
        shape.extend(&self.sides);
        let list = |values| Array::new(vec![rows], values);
        let texts = |texts: &[String]| Array::new(vec![texts.len()], Values::Text(texts.to_vec()));
        let mut arrays = vec![
            ("X", Array::new(shape, self.inputs())?),
            (
                "y",
                Array::new(self.labels.shape().to_vec(), values(&self.labels))?,
            ),
            ("weight", list(Values::F32(self.weights.clone()))?),
            ("spread", list(Values::F32(self.spreads.clone()))?),
            ("names", texts(&self.names)?),
            ("class_names", texts(&self.classes)?),
            ("space", texts(std::slice::from_ref(&self.space))?),
        ];
        if self.is_class {
            arrays.push(("label", list(Values::U16(self.most_likely()))?));
        }
        let named: Vec<(&str, &Array)> =
            arrays.iter().map(|(name, array)| (*name, array)).collect();
        npz::write(&named)
    }

    fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut head = self.names.clone();
        head.extend(self.is_class.then(|| "label".to_owned()));
        head.extend(["weight", "spread"].map(str::to_owned));
        let of = if self.is_class { "p" } else { "y" };
        head.extend(self.classes.iter().map(|class| format!("{of}:{class}")));
        writer.write_record(&head)?;
        for (row, class) in self.most_likely().into_iter().enumerate() {
            let inputs = self.inputs.row(row);
            let text = |(at, value): (usize, &f32)| match self.offset.as_slice() {
                [] => value.to_string(),
                _ => self.placed(at, *value).to_string(),
            };
            let mut fields: Vec<String> = inputs.iter().enumerate().map(text).collect();
            fields.extend(
                self.is_class
                    .then(|| self.classes[usize::from(class)].clone()),
            );
            fields.push(self.weights[row].to_string());
            fields.push(self.spreads[row].to_string());
            fields.extend(self.labels.row(row).iter().map(ToString::to_string));
            writer.write_record(&fields)?;
        }
        writer
            .into_inner()
            .map_err(|error| error.into_error().into())
    }
}

/// The space of samples that are inputs.
const INPUT_SPACE: &str = "input";

/// How a task sees inputs.
struct Seen<'a> {
    task: &'a Task,
    normaliser: &'a Normaliser,
}

impl Seen<'_> {
    fn table(&self, points: ArrayView2<'_, f32>, labels: Array2<f32>) -> PointTable {
        let definition = self.task.definition();
        let (stage, shape) = (&definition.features, self.task.input_shape());
        let varying = stage.varying(self.task.features());
        let features = self.features(points, varying);
        let values = shape.values();
        // Only these stages keep every value, in its place.
        let is_input = stage.is_measured() || *stage == common::features::FeatureStage::Raw;
        let names = match is_input {
            true => { self.task.input().value_names(values) }
                .unwrap_or_else(|| value_names(shape.sides())),
            false => stage.names(shape).unwrap_or_default(),
        };
        let sides = match is_input && varying == values {
            true => shape.sides().to_vec(),
            false => vec![features.ncols()],
        };
        let rows = points.nrows();
        PointTable {
            inputs: features,
            labels,
            weights: vec![1.0; rows],
            spreads: vec![0.0; rows],
            names,
            classes: match self.task.target() {
                Target::Class => definition.classes.clone(),
                Target::Number(numbers) => numbers.iter().map(|one| one.name.clone()).collect(),
            },
            is_class: self.task.target().is_class(),
            space: match is_input {
                true => INPUT_SPACE.to_owned(),
                false => stage.to_string(),
            },
            sides,
            offset: Vec::new(),
            is_of_any_length: is_input && self.keeps_directions_alone(points.ncols(), varying),
        }
    }

    /// Whether the normaliser brings rows to one length around nought, and no constant
    /// behind the `varying` features tells how long they were.
    fn keeps_directions_alone(&self, width: usize, varying: usize) -> bool {
        let parts = self.normaliser.parts();
        let is_centred = parts.mean.iter().any(|&mean| mean != 0.0);
        parts.unit_norm && varying == width && !is_centred && parts.transforms.is_empty()
    }

    /// Features that the normaliser makes these points of, without a constant behind the `varying`
    /// ones. Where it brings every row to one length and no constant tells how long it was, the
    /// row is as long as an average one, or as it may be at most.
    fn features(&self, points: ArrayView2<'_, f32>, varying: usize) -> Array2<f32> {
        let parts = self.normaliser.parts();
        let informative = parts.scale.iter().filter(|&&scale| scale > 0.0).count();
        let mut features = Array2::zeros((points.nrows(), varying));
        for (point, mut row) in points
            .axis_iter(Axis(0))
            .zip(features.axis_iter_mut(Axis(0)))
        {
            let norm = point.iter().map(|value| value * value).sum::<f32>().sqrt();
            let largest = point.iter().fold(0f32, |most, value| most.max(value.abs()));
            let longer = if !parts.unit_norm {
                1.0 / parts.factor
            } else if varying < point.len() {
                let constant = (-parts.mean[varying] / parts.scale[varying]).min(parts.clip);
                constant / point[varying].max(f32::MIN_POSITIVE)
            } else {
                let average = (informative as f32).sqrt() / norm.max(f32::MIN_POSITIVE);
                average.min(parts.clip / largest.max(f32::MIN_POSITIVE))
            };
            for (at, value) in row.iter_mut().enumerate() {
                let scaled = (point[at] * longer).clamp(-parts.clip, parts.clip);
                *value = parts.mean[at] + parts.scale[at] * scaled;
            }
            for transform in parts
                .transforms
                .iter()
                .filter(|transform| transform.feature() < varying)
            {
                let value = &mut row[transform.feature()];
                *value = straight(transform, *value);
            }
        }
        features
    }
}

/// The value that a transform brings to this level, or the nearest one.
fn straight(transform: &QuantileTransform, level: f32) -> f32 {
    let (knots, levels) = transform.points();
    let above = levels.partition_point(|&one| one <= level);
    if above == 0 {
        return knots[0];
    }
    if above == levels.len() {
        return knots[above - 1];
    }
    let share = (level - levels[above - 1]) / (levels[above] - levels[above - 1]);
    knots[above - 1] + share * (knots[above] - knots[above - 1])
}

/// Places of values: `x3`, or `x0_12` and so on where there are several sides.
fn value_names(sides: &[usize]) -> Vec<String> {
    let count: usize = sides.iter().product();
    let name = |mut at: usize| {
        let mut places: Vec<String> = { sides.iter().rev() }
            .map(|side| {
                let place = at % side;
                at /= side;
                place.to_string()
            })
            .collect();
        places.reverse();
        format!("x{}", places.join("_"))
    };
    (0..count).map(name).collect()
}

#[cfg(test)]
mod tests;
