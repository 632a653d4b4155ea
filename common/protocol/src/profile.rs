//! A device's profile: how many rows, of which classes, and the first two
//! moments of its features. Additive, so that all devices together give one
//! normaliser.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count};
use ndarray::ArrayView2;

use crate::blocks::{Blocks, BlocksError, RawBlocks};
use crate::codec::{DecodeError, decode_blob_start, encode};
use crate::limits::ROWS_MAX;
use crate::sketch::{RawSketch, Sketch, SketchError};
use crate::task::Task;

/// A profile as a peer may send it. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawProfile {
    /// Rows described.
    pub rows: u64,
    /// Rows of each class; zero where the device may not say.
    pub class_counts: Vec<u64>,
    /// Feature moments; absent where the task declares its range.
    pub moments: Option<RawFeatureMoments>,
}

/// A profile with what may come behind it, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileParts {
    /// The profile.
    pub profile: RawProfile,
    /// Block means, where the task learns transforms.
    pub blocks: Option<RawBlocks>,
    /// Mean and variance of its numbers, where the task asks for any.
    pub targets: Option<RawFeatureMoments>,
    /// A sketch, where the task learns a projection.
    pub sketch: Option<RawSketch>,
}

impl ProfileParts {
    /// Reads what a task's devices send.
    ///
    /// # Errors
    /// If the bytes are no such profile.
    pub fn read(task: &Task, bytes: &[u8]) -> Result<Self, DecodeError> {
        fn next<T: Decode<()>>(asked: bool, rest: &mut &[u8]) -> Result<Option<T>, DecodeError> {
            if !asked {
                return Ok(None);
            }
            let (part, after) = decode_blob_start(rest)?;
            *rest = after;
            Ok(Some(part))
        }
        let (profile, mut rest) = decode_blob_start(bytes)?;
        let parts = Self {
            profile,
            blocks: next(task.learns_quantiles(), &mut rest)?,
            targets: next(!task.target().numbers().is_empty(), &mut rest)?,
            sketch: next(task.learnt_projection().is_some(), &mut rest)?,
        };
        match rest.len() {
            0 => Ok(parts),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.profile);
        bytes.extend(self.blocks.iter().flat_map(encode));
        bytes.extend(self.targets.iter().flat_map(encode));
        bytes.extend(self.sketch.iter().flat_map(encode));
        bytes
    }
}

/// Mean and variance of each feature. Central moments keep their precision
/// in `f32` where raw sums of squares would cancel.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawFeatureMoments {
    /// Means.
    pub mean: Vec<f32>,
    /// Population variances.
    pub variance: Vec<f32>,
}

impl RawFeatureMoments {
    /// Of features (rows × features); none of no rows. Deviations are from
    /// the mean, so that an offset cancels nothing; sums are in `f64`, and
    /// beside them no memory is needed.
    pub fn of(features: ArrayView2<'_, f32>) -> Option<Self> {
        let rows = features.nrows();
        if rows == 0 {
            return None;
        }
        let mut mean = vec![0.0; features.ncols()];
        for row in features.rows() {
            let pairs = mean.iter_mut().zip(row);
            pairs.for_each(|(sum, &value)| *sum += f64::from(value));
        }
        mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        let mut variance = vec![0.0; features.ncols()];
        for row in features.rows() {
            let means = mean.iter().zip(row);
            for (sum, (mean, &value)) in variance.iter_mut().zip(means) {
                *sum += (f64::from(value) - mean).powi(2);
            }
        }
        Some(Self {
            mean: mean.into_iter().map(|value| value as f32).collect(),
            variance: variance
                .into_iter()
                .map(|sum| (sum / rows as f64) as f32)
                .collect(),
        })
    }
}

/// A profile that fits its task.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    raw: RawProfile,
    blocks: Option<Blocks>,
    targets: Option<RawFeatureMoments>,
    sketch: Option<Sketch>,
}

/// Why a profile was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// Lists of the wrong length, or moments where none are wanted.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A mean or variance that is not finite, or a negative variance.
    #[error("{what} {index} is {value}")]
    Value {
        /// Which list.
        what: &'static str,
        /// Its place.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// A mean or variance that the normaliser of a whole fleet could not
    /// hold any more.
    #[error("{what} {index} is {value}, at most {max} is taken; scale the feature down")]
    TooLarge {
        /// Which list.
        what: &'static str,
        /// Its place.
        index: usize,
        /// What stands there.
        value: f32,
        /// The most it may be.
        max: f32,
    },
    /// No rows, too many, or more labelled rows than rows.
    #[error("{rows} rows with {labelled} labels are not possible")]
    Rows {
        /// Rows claimed.
        rows: u64,
        /// Sum of the class counts.
        labelled: u64,
    },
}

impl Profile {
    /// Checks a raw profile against a task of `features` features and
    /// `classes` classes; `learnt` says whether feature moments are wanted.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(
        raw: RawProfile,
        features: usize,
        classes: usize,
        learnt: bool,
    ) -> Result<Self, ProfileError> {
        check_count("class counts", classes, raw.class_counts.len())?;
        check_count(
            "sets of feature moments",
            usize::from(learnt),
            usize::from(raw.moments.is_some()),
        )?;
        let labelled = raw
            .class_counts
            .iter()
            .fold(0u64, |sum, count| sum.saturating_add(*count));
        if raw.rows == 0 || raw.rows > ROWS_MAX || labelled > raw.rows {
            return Err(ProfileError::Rows {
                rows: raw.rows,
                labelled,
            });
        }
        if let Some(moments) = &raw.moments {
            check_moments(moments, features)?;
        }
        Ok(Self {
            raw,
            blocks: None,
            targets: None,
            sketch: None,
        })
    }

    /// The same profile with mean and variance of each of `values` numbers that
    /// the task asks for, over its labelled rows.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn with_targets(
        self,
        targets: RawFeatureMoments,
        values: usize,
    ) -> Result<Self, ProfileError> {
        check_moments(&targets, values)?;
        Ok(Self {
            targets: Some(targets),
            ..self
        })
    }

    /// The same profile with the blocks that came with it, each of at least
    /// `rows_min` rows.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn with_blocks(self, raw: RawBlocks, rows_min: u32) -> Result<Self, BlocksError> {
        let features = self.moments().map_or(0, |moments| moments.mean.len());
        let blocks = Blocks::check(raw, features, self.rows(), rows_min)?;
        Ok(Self {
            blocks: Some(blocks),
            ..self
        })
    }

    /// The same profile with the sketch that came with it.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn with_sketch(self, task: &Task, raw: RawSketch) -> Result<Self, SketchError> {
        let Some(projection) = task.learnt_projection() else {
            return Ok(self);
        };
        let variance = self.moments().map_or(&[][..], |moments| &moments.variance);
        let of = (self.rows(), variance);
        let sketch = Sketch::check(raw, &projection, task.classes(), of)?;
        Ok(Self {
            sketch: Some(sketch),
            ..self
        })
    }

    /// What a projection is learnt from, if the task learns one.
    pub fn sketch(&self) -> Option<&Sketch> {
        self.sketch.as_ref()
    }

    /// How its features are spread, if the task asks for it.
    pub fn blocks(&self) -> Option<&Blocks> {
        self.blocks.as_ref()
    }

    /// How the numbers of its rows are spread, if the task asks for numbers.
    pub fn targets(&self) -> Option<&RawFeatureMoments> {
        self.targets.as_ref()
    }

    /// Rows described.
    pub fn rows(&self) -> u64 {
        self.raw.rows
    }

    /// Rows of each class.
    pub fn class_counts(&self) -> &[u64] {
        &self.raw.class_counts
    }

    /// Feature moments, if the task learns its normaliser.
    pub fn moments(&self) -> Option<&RawFeatureMoments> {
        self.raw.moments.as_ref()
    }

    /// The form that travels.
    pub fn as_raw(&self) -> &RawProfile {
        &self.raw
    }
}

fn check_moments(moments: &RawFeatureMoments, features: usize) -> Result<(), ProfileError> {
    check_count("means", features, moments.mean.len())?;
    check_count("variances", features, moments.variance.len())?;
    let bad_mean = moments.mean.iter().position(|mean| !mean.is_finite());
    if let Some(index) = bad_mean {
        return Err(ProfileError::Value {
            what: "mean",
            index,
            value: moments.mean[index],
        });
    }
    let good = |variance: &f32| variance.is_finite() && *variance >= 0.0;
    if let Some(index) = moments.variance.iter().position(|variance| !good(variance)) {
        return Err(ProfileError::Value {
            what: "variance",
            index,
            value: moments.variance[index],
        });
    }
    within("mean", &moments.mean, MEAN_MAX)?;
    within("variance", &moments.variance, VARIANCE_MAX)
}

fn within(what: &'static str, values: &[f32], max: f32) -> Result<(), ProfileError> {
    match values.iter().position(|value| value.abs() > max) {
        None => Ok(()),
        Some(index) => Err(ProfileError::TooLarge {
            what,
            index,
            value: values[index],
            max,
        }),
    }
}

/// Largest mean. One device beyond it would make a scale that has no inverse
/// in single precision, and so no normaliser for anyone.
const MEAN_MAX: f32 = 1e18;
/// Largest variance.
const VARIANCE_MAX: f32 = 1e36;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw() -> RawProfile {
        RawProfile {
            rows: 30,
            class_counts: vec![10, 20],
            moments: Some(RawFeatureMoments {
                mean: vec![0.0; 3],
                variance: vec![1.0; 3],
            }),
        }
    }

    #[test]
    fn an_offset_cancels_no_variance() {
        let rows = ndarray::Array2::from_shape_fn((100, 1), |(row, _)| 4e6 + (row % 2) as f32);
        let moments = RawFeatureMoments::of(rows.view()).unwrap();
        assert_eq!((moments.mean[0], moments.variance[0]), (4_000_000.5, 0.25));
        let none = ndarray::Array2::zeros((0, 1));
        assert_eq!(RawFeatureMoments::of(none.view()), None);
    }

    #[test]
    fn a_fitting_profile_is_taken() {
        assert_eq!(Profile::check(raw(), 3, 2, true).unwrap().rows(), 30);
    }

    #[test]
    fn moments_for_a_declared_range_are_refused() {
        let refused = Profile::check(raw(), 3, 2, false);
        assert!(matches!(
            refused,
            Err(ProfileError::Shape(shape)) if shape == ShapeError::count("sets of feature moments", 0, 1)
        ));
    }

    #[test]
    fn nan_and_negative_variance_are_refused() {
        let mut nan = raw();
        nan.moments.as_mut().unwrap().mean[1] = f32::NAN;
        assert!(matches!(
            Profile::check(nan, 3, 2, true),
            Err(ProfileError::Value {
                what: "mean",
                index: 1,
                ..
            })
        ));
        let mut negative = raw();
        negative.moments.as_mut().unwrap().variance[2] = -1.0;
        assert!(matches!(
            Profile::check(negative, 3, 2, true),
            Err(ProfileError::Value {
                what: "variance",
                index: 2,
                ..
            })
        ));
    }

    #[test]
    fn more_labels_than_rows_are_refused() {
        let mut many = raw();
        many.class_counts = vec![u64::MAX, 20];
        assert!(matches!(
            Profile::check(many, 3, 2, true),
            Err(ProfileError::Rows { .. })
        ));
    }
}
