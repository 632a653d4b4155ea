//! A device's summary: a few distilled points that stand for its rows.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

use crate::codec::{DecodeError, decode_blob};
use crate::features::TARGET_CLIP;
use crate::task::Task;
use math::cluster::Clusters;
use math::quantise::{
    Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, RawScaledF16, ScaledF16, Scheme,
};

/// Points as a peer may send them. Nothing is known about them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawPoints {
    /// Inputs in the task's normalised feature space, one a row.
    pub inputs: RawQuantisedMatrix,
    /// The class each point stands for.
    pub classes: Vec<u16>,
    /// Rows each point stands for.
    pub counts: Vec<u32>,
    /// Root mean squared distance of those rows from the point.
    pub spreads: RawScaledF16,
}

impl RawPoints {
    /// A task's points, and their numbers where it asks for numbers.
    ///
    /// # Errors
    /// If the bytes are no such points.
    pub fn parts(
        task: &Task,
        bytes: &[u8],
    ) -> Result<(Self, Option<RawQuantisedMatrix>), DecodeError> {
        if task.target().numbers().is_empty() {
            return Ok((decode_blob(bytes)?, None));
        }
        let (points, targets) = decode_blob(bytes)?;
        Ok((points, Some(targets)))
    }
}

/// Points that fit their task: finite inputs, known classes, a positive
/// count and a spread each.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Inputs, shape (points, features).
    pub inputs: Array2<f32>,
    /// The class of each point.
    pub classes: Vec<u16>,
    /// Rows each point stands for, at least one.
    pub counts: Vec<u32>,
    /// Root mean squared distance of those rows, in units of the features.
    pub spreads: Vec<f32>,
    /// The mean numbers of those rows in standard deviations from the fleet's
    /// mean, shape (points, values), where the task asks for numbers.
    pub targets: Option<Array2<f32>>,
}

/// Why points were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PointsError {
    /// The quantised parts do not hold together.
    #[error("the points do not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// A wrong number of something.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// More points than allowed.
    #[error("{got} points, at most {max} are allowed")]
    TooMany {
        /// Points given.
        got: usize,
        /// Points allowed.
        max: usize,
    },
    /// A class that the task does not have.
    #[error("point {index} has class {class}, the task has {classes}")]
    Class {
        /// Which point.
        index: usize,
        /// Its class.
        class: u16,
        /// Classes of the task.
        classes: usize,
    },
    /// A count below the smallest cluster a task allows.
    #[error("point {index} stands for {count} rows, at least {min} are needed")]
    Count {
        /// Which point.
        index: usize,
        /// Rows it stands for.
        count: u32,
        /// Rows it must stand for.
        min: u32,
    },
    /// A spread that is negative.
    #[error("point {index} has the spread {spread}")]
    Spread {
        /// Which point.
        index: usize,
        /// Its spread.
        spread: f32,
    },
    /// A point where no row can be.
    #[error("the {what} of point {index} is {got:.4e}, normalised rows have at most {max:.4e}")]
    Outside {
        /// Which point.
        index: usize,
        /// What of it.
        what: &'static str,
        /// Its value.
        got: f64,
        /// The most it can be.
        max: f64,
    },
}

/// What points are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointsFrame {
    /// Features of the task.
    pub features: usize,
    /// Classes of the task.
    pub classes: usize,
    /// Most points.
    pub points_max: usize,
    /// Fewest rows a point may stand for.
    pub cluster_size_min: u32,
    /// Numbers that the task asks for, each of which a point has; none where it
    /// asks for a class.
    pub numbers: usize,
}

impl Points {
    /// No points.
    pub fn none(features: usize) -> Self {
        Self {
            inputs: Array2::zeros((0, features)),
            classes: Vec::new(),
            counts: Vec::new(),
            spreads: Vec::new(),
            targets: None,
        }
    }

    /// No points of a task that asks for this many numbers, or for none.
    pub fn none_with(features: usize, numbers: usize) -> Self {
        Self {
            targets: (numbers > 0).then(|| Array2::zeros((0, numbers))),
            ..Self::none(features)
        }
    }

    /// Decodes and checks what a peer sent.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(raw: RawPoints, frame: PointsFrame) -> Result<Self, PointsError> {
        let points = raw.inputs.rows as usize;
        if points > frame.points_max {
            return Err(PointsError::TooMany {
                got: points,
                max: frame.points_max,
            });
        }
        check_count("features", frame.features, raw.inputs.columns as usize)?;
        check_count("classes", points, raw.classes.len())?;
        check_count("counts", points, raw.counts.len())?;
        let spreads = ScaledF16::try_from(raw.spreads)?.decode();
        check_count("spreads", points, spreads.len())?;
        for (index, &class) in raw.classes.iter().enumerate() {
            if usize::from(class) >= frame.classes {
                return Err(PointsError::Class {
                    index,
                    class,
                    classes: frame.classes,
                });
            }
        }
        let min = frame.cluster_size_min.max(1);
        if let Some(index) = raw.counts.iter().position(|&count| count < min) {
            return Err(PointsError::Count {
                index,
                count: raw.counts[index],
                min,
            });
        }
        if let Some(index) = spreads.iter().position(|&spread| spread < 0.0) {
            return Err(PointsError::Spread {
                index,
                spread: spreads[index],
            });
        }
        let inputs = QuantisedMatrix::try_from(raw.inputs)?.decode();
        Ok(Self {
            inputs,
            classes: raw.classes,
            counts: raw.counts,
            spreads,
            targets: None,
        })
    }

    /// The same for points that come with the numbers of their rows.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check_with_targets(
        raw: RawPoints,
        targets: RawQuantisedMatrix,
        frame: PointsFrame,
    ) -> Result<Self, PointsError> {
        let points = Self::check(raw, frame)?;
        check_count("points with numbers", points.len(), targets.rows as usize)?;
        check_count(
            "numbers of a point",
            frame.numbers,
            targets.columns as usize,
        )?;
        let targets = QuantisedMatrix::try_from(targets)?.decode();
        // Rounding may lead a little beyond where numbers are cut; not a number
        // lies nowhere.
        let most = TARGET_CLIP * (1.0 + 1e-2);
        for (place, &value) in targets.iter().enumerate() {
            let fits = value.abs() <= most;
            if !fits {
                return Err(PointsError::Outside {
                    index: place / frame.numbers.max(1),
                    what: "number",
                    got: f64::from(value),
                    max: f64::from(TARGET_CLIP),
                });
            }
        }
        Ok(Self {
            targets: Some(targets),
            ..points
        })
    }

    /// The numbers of the points as they travel, if they have any.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn targets_to_raw(&self) -> Result<Option<RawQuantisedMatrix>, QuantiseError> {
        let encode = |targets: &Array2<f32>| {
            let scheme = Scheme::Affine;
            QuantisedMatrix::encode(targets.view(), NUMBER_BITS, Layout::Column, scheme)
                .map(QuantisedMatrix::into_raw)
        };
        self.targets.as_ref().map(encode).transpose()
    }

    /// Holds the points against where normalised rows can be, each of which
    /// has ‖x‖² = features: means of such rows lie within that ball, and no
    /// two of them are further apart than its diameter.
    ///
    /// # Errors
    /// [`PointsError::Outside`], for the first point that lies elsewhere.
    pub fn check_place(&self) -> Result<(), PointsError> {
        let features = self.inputs.ncols() as f64;
        for (index, row) in self.inputs.rows().into_iter().enumerate() {
            let square: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
            let places = [
                ("square", square, SQUARE_SLACK * features),
                (
                    "spread",
                    f64::from(self.spreads[index]),
                    2.0 * (SQUARE_SLACK * features).sqrt(),
                ),
            ];
            for (what, got, max) in places {
                // Not a number lies nowhere.
                let fits = got <= max;
                if !fits {
                    return Err(PointsError::Outside {
                        index,
                        what,
                        got,
                        max,
                    });
                }
            }
        }
        Ok(())
    }

    /// The form that travels, at `bits` bits a value with a scale for each
    /// point or for each feature, whichever is shorter.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn to_raw(&self, bits: u8) -> Result<RawPoints, QuantiseError> {
        let (points, features) = self.inputs.dim();
        let layout = if points >= features {
            Layout::Column
        } else {
            Layout::Row
        };
        let inputs = QuantisedMatrix::encode(self.inputs.view(), bits, layout, Scheme::Affine)?;
        Ok(RawPoints {
            inputs: inputs.into_raw(),
            classes: self.classes.clone(),
            counts: self.counts.clone(),
            spreads: ScaledF16::encode(&self.spreads)?.into_raw(),
        })
    }

    /// The points of these indices, in their order.
    ///
    /// # Panics
    /// If there is no point of such an index.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), indices),
            classes: indices.iter().map(|&index| self.classes[index]).collect(),
            counts: indices.iter().map(|&index| self.counts[index]).collect(),
            spreads: indices.iter().map(|&index| self.spreads[index]).collect(),
            targets: self
                .targets
                .as_ref()
                .map(|all| all.select(Axis(0), indices)),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Rows that all points together stand for.
    pub fn rows(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// How surely a point lies where its rows are: the square of the cosine
    /// between the mean of its rows and the point, of rows that all have the norm
    /// √features, as normalised rows do.
    ///
    /// The mean of such rows has the square norm 1 − spread² (in units of the
    /// features), and so has a centre that nothing was added to: 1. A point under
    /// differential privacy is longer by its noise, for its spread is that of the
    /// rows alone. A difference of a tenth, as rounding makes them, counts for
    /// nothing, and nothing is told of points outside the ball of such rows, where
    /// noise does not lead. From 0.01 to 1.
    ///
    /// # Panics
    /// If there is no such point.
    pub fn certainty(&self, index: usize) -> f64 {
        let features = self.inputs.ncols().max(1) as f64;
        let squares = self.inputs.row(index);
        let squares = squares.iter().map(|&value| f64::from(value).powi(2));
        let told = squares.sum::<f64>() / features;
        if told > OUTSIDE {
            return 1.0;
        }
        let of_rows = 1.0 - f64::from(self.spreads[index]).powi(2) / features;
        match of_rows / told.max(f64::MIN_POSITIVE) {
            sure if sure >= SURE => 1.0,
            unsure => unsure.max(CERTAINTY_MIN),
        }
    }

    /// The same of all points together, each as often as its rows; 1 without
    /// points.
    pub fn mean_certainty(&self) -> f64 {
        let rows = self.rows() as f64;
        if rows <= 0.0 {
            return 1.0;
        }
        let each = self.counts.iter().enumerate();
        each.map(|(index, &count)| f64::from(count) * self.certainty(index))
            .sum::<f64>()
            / rows
    }

    /// Adds the clusters of one class.
    pub fn push_class(&mut self, class: u16, clusters: &Clusters) {
        self.classes
            .extend(std::iter::repeat_n(class, clusters.counts.len()));
        self.counts.extend_from_slice(&clusters.counts);
        self.spreads.extend_from_slice(&clusters.spreads);
        let centres = clusters.centres.view();
        let pushed = self.inputs.append(ndarray::Axis(0), centres);
        debug_assert!(pushed.is_ok(), "clusters of one task have its features");
    }

    /// Inputs (rows × features) and numbers (rows × values) side by side, so
    /// scaled that clusters of the rows are near in both.
    ///
    /// # Panics
    /// If there are not as many numbers as inputs.
    pub fn joint(inputs: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> Array2<f32> {
        let scale = joint_scale(inputs.ncols());
        let scaled = targets.mapv(|value| value * scale);
        concatenate(Axis(1), &[inputs, scaled.view()]).expect("there are as many numbers as inputs")
    }

    /// Adds clusters of rows as [`Self::joint`] has them, of a task that asks
    /// for numbers. `counts` and `spreads` are what each of the rows stands for.
    pub fn push_joint(
        &mut self,
        clusters: &Clusters,
        rows: ArrayView2<'_, f32>,
        counts: &[u32],
        spreads: &[f32],
    ) {
        let features = self.inputs.ncols();
        let centres = clusters.centres.slice(s![.., ..features]);
        // Spreads are those of the inputs alone, by the law of total variance.
        let mut sums = vec![(0.0f64, 0.0f64); clusters.counts.len()];
        for (index, &cluster) in clusters.assignment.iter().enumerate() {
            let centre = centres.row(cluster as usize);
            let own = rows.slice(s![index, ..features]);
            let apart = own.iter().zip(centre);
            let square: f64 = apart
                .map(|(one, other)| f64::from(one - other).powi(2))
                .sum();
            let count = f64::from(counts[index]);
            let (scatter, all) = &mut sums[cluster as usize];
            *scatter += count * (square + f64::from(spreads[index]).powi(2));
            *all += count;
        }
        let spread = |(scatter, all): &(f64, f64)| (scatter / all.max(1.0)).sqrt() as f32;
        self.spreads.extend(sums.iter().map(spread));
        self.classes
            .extend(std::iter::repeat_n(0, clusters.counts.len()));
        self.counts.extend_from_slice(&clusters.counts);
        let scale = joint_scale(features);
        let means = clusters.centres.slice(s![.., features..]);
        let means = means.mapv(|value| value / scale);
        let pushed = self.inputs.append(Axis(0), centres);
        debug_assert!(pushed.is_ok(), "clusters of one task have its features");
        if let Some(targets) = &mut self.targets {
            let pushed = targets.append(Axis(0), means.view());
            debug_assert!(pushed.is_ok(), "clusters of one task have its numbers");
        }
    }

    /// Adds other points of the same task behind these.
    pub fn extend(&mut self, other: &Self) {
        self.classes.extend_from_slice(&other.classes);
        self.counts.extend_from_slice(&other.counts);
        self.spreads.extend_from_slice(&other.spreads);
        let pushed = self.inputs.append(ndarray::Axis(0), other.inputs.view());
        debug_assert!(pushed.is_ok(), "points of one task have its features");
        if let (Some(targets), Some(others)) = (&mut self.targets, &other.targets) {
            let pushed = targets.append(Axis(0), others.view());
            debug_assert!(pushed.is_ok(), "points of one task have its numbers");
        }
    }
}

/// What a standard deviation of a number is in a joint space of this many
/// features, in which inputs have a mean square of 1.
fn joint_scale(features: usize) -> f32 {
    (JOINT_SHARE * features as f32).sqrt()
}

/// How much the variance of a number counts beside that of all features
/// together.
const JOINT_SHARE: f32 = 0.25;
/// Bits of a point's number: it is one among many features, and all that the
/// point says of the answer.
const NUMBER_BITS: u8 = 12;

/// What coarse quantisation may add to a point's square.
const SQUARE_SLACK: f64 = 2.0;

/// Rounding brings a point on the sphere of rows no further than this, squared
/// and in units of the features.
const OUTSIDE: f64 = 1.1;
/// A point that lies so nearly where its rows are is taken to lie there.
const SURE: f64 = 0.9;
/// Nobody is so unsure that what is said means nothing.
const CERTAINTY_MIN: f64 = 0.01;

#[cfg(test)]
mod tests;
