//! One scale for the features of all devices.

use bincode::{Decode, Encode};
use math::quantise::QuantiseError;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis};

use super::quantile_transform::QuantileTransform;
use super::{FeatureError, Projection};

/// Brings features to a common scale: (x − mean) / scale, cut at ±clip, of what
/// a transform makes of x where a feature has one; then
/// either one factor for all rows, √(features / informative features), so
/// that an average row has ‖x‖² ≈ features, or each row by its own norm to
/// ‖x‖² = features. Kernels want ‖x‖²/features near 1. Where a task has its devices learn a
/// projection, scaled rows go through that before they are brought to one length.
///
/// All devices use one, published with its hash: per-device normalisation
/// would give the same input two different features.
///
/// Decoding gives whatever the bytes say; [`Self::check`], which every use
/// begins with, refuses what is not a normaliser of the task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Normaliser {
    mean: Vec<f32>,
    /// 0 for a feature that tells nothing, which becomes 0.
    scale: Vec<f32>,
    clip: f32,
    length: Length,
}

/// What becomes of a row's length.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
enum Length {
    /// One factor for all rows.
    Common,
    /// √features for each.
    Unit,
    /// The same, after these transforms have bent their features, in order.
    UnitOfTransformed(Vec<QuantileTransform>),
    /// √directions for each, after this projection.
    UnitOfProjected(Projection),
}

/// What a normaliser does with a row x, for programs that do it elsewhere: transforms bend their
/// features, then x becomes `factor` · clamp((x − mean) / scale, ±clip), 0 where
/// scale is 0, and then √features · x / ‖x‖ where `unit_norm` says so (0 stays 0).
#[derive(Clone, Copy, Debug)]
pub struct NormaliserParts<'n> {
    /// In the order of their features.
    pub transforms: &'n [QuantileTransform],
    /// Of each feature.
    pub mean: &'n [f32],
    /// Of each feature; 0 for one that tells nothing.
    pub scale: &'n [f32],
    /// Largest value of a scaled feature.
    pub clip: f32,
    /// What all features are multiplied with then.
    pub factor: f32,
    /// Whether each row is brought to norm √features.
    pub unit_norm: bool,
}

/// Why a normaliser was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NormaliserError {
    /// Lists of the wrong length.
    #[error(
        "expected a mean and a scale for each of {expected} features, got {means} and {scales}"
    )]
    Length {
        /// Features of the task.
        expected: usize,
        /// Means given.
        means: usize,
        /// Scales given.
        scales: usize,
    },
    /// A value that is not finite, or a negative scale.
    #[error("{what} of feature {index} is {value}")]
    Value {
        /// Which list.
        what: &'static str,
        /// The feature.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// A range that is not valid.
    #[error("the range [{low}, {high}] is not two finite numbers, the smaller first")]
    Range {
        /// Its lower end.
        low: f32,
        /// Its upper end.
        high: f32,
    },
    /// A transform that is not valid, or out of order.
    #[error(
        "the transform of feature {feature} does not rise through few finite knots, or is out of place"
    )]
    Transform {
        /// Its feature.
        feature: u32,
    },
    /// No directions, too many of them, or some of the wrong length.
    #[error("{directions} directions of {length} values do not project {features} features")]
    Directions {
        /// Features of the task.
        features: usize,
        /// Directions given.
        directions: usize,
        /// Values of each.
        length: usize,
    },
    /// Directions that do not decode.
    #[error("the directions of a projection: {0}")]
    Quantise(#[from] QuantiseError),
    /// As many values a row as the task does not have.
    #[error("the normaliser makes {got} values of a row, the task has {expected}")]
    Width {
        /// Values that kernels of the task see.
        expected: usize,
        /// What it makes.
        got: usize,
    },
    /// A clip that is not a positive number.
    #[error("clip is {clip}, it must be a positive number")]
    Clip {
        /// What was given.
        clip: f32,
    },
}

impl Normaliser {
    /// From mean and population variance of each feature over all rows; cut
    /// beyond `clip` standard deviations. A feature whose deviation is within
    /// the rounding of its values counts as constant.
    ///
    /// # Errors
    /// If `clip` is not positive, the lists differ in length, or a value is
    /// not finite in f32.
    pub fn of_moments(mean: &[f64], variance: &[f64], clip: f32) -> Result<Self, FeatureError> {
        let scale = mean.iter().zip(variance).map(|(mean, variance)| {
            let deviation = variance.sqrt();
            let constant = deviation <= DEVIATION_MIN + ROUNDING * mean.abs();
            if constant { 0.0 } else { deviation as f32 }
        });
        let normaliser = Self {
            mean: mean.iter().map(|&mean| mean as f32).collect(),
            scale: scale.collect(),
            clip,
            length: Length::Common,
        };
        normaliser.check(mean.len().max(variance.len()))?;
        Ok(normaliser)
    }

    /// For features of a declared range, one for all. What lies nearest to
    /// zero becomes 0, what lies farthest from that becomes ±1, and each row
    /// is brought to norm √features: without statistics nothing else can say
    /// how long an average row is.
    ///
    /// # Errors
    /// If the ends are not finite, or not in order.
    pub fn of_range(features: usize, low: f32, high: f32) -> Result<Self, FeatureError> {
        let zero = 0f32.max(low).min(high);
        let scale = (high - zero).max(zero - low);
        if !(low < high && scale.is_finite()) {
            return Err(NormaliserError::Range { low, high }.into());
        }
        let normaliser = Self {
            mean: vec![zero; features],
            scale: vec![scale; features],
            clip: 1.0,
            length: Length::Unit,
        };
        normaliser.check(features)?;
        Ok(normaliser)
    }

    /// The same normaliser with or without each row's norm made √features.
    #[must_use]
    pub fn with_unit_norm(self, unit_norm: bool) -> Self {
        let length = if unit_norm {
            Length::Unit
        } else {
            Length::Common
        };
        Self { length, ..self }
    }

    /// The same normaliser for rows of one norm whose features go through these
    /// transforms first, in the order of their features.
    #[must_use]
    pub(super) fn with_transforms(self, transforms: Vec<QuantileTransform>) -> Self {
        let length = match transforms.is_empty() {
            true => Length::Unit,
            false => Length::UnitOfTransformed(transforms),
        };
        Self { length, ..self }
    }

    /// The same normaliser for rows that go through this projection before they are
    /// brought to one norm.
    #[must_use]
    pub fn with_projection(self, projection: Projection) -> Self {
        Self {
            length: Length::UnitOfProjected(projection),
            ..self
        }
    }

    /// The same normaliser with the last feature, which is 0 for every row,
    /// made this constant, or `clip` if that is less.
    #[must_use]
    pub(super) fn with_constant(mut self, constant: f32) -> Self {
        if let (Some(mean), Some(scale)) = (self.mean.last_mut(), self.scale.last_mut()) {
            (*mean, *scale) = (-constant, 1.0);
        }
        self
    }

    /// Features that tell something.
    pub(super) fn informative(&self) -> usize {
        self.scale.iter().filter(|&&scale| scale > 0.0).count()
    }

    /// Holds it against a task of this many features.
    ///
    /// # Errors
    /// Lists of another length, a value that is not finite, a negative or
    /// vanishing scale, a clip that is not positive.
    pub fn check(&self, features: usize) -> Result<(), NormaliserError> {
        if self.mean.len() != features || self.scale.len() != features {
            return Err(NormaliserError::Length {
                expected: features,
                means: self.mean.len(),
                scales: self.scale.len(),
            });
        }
        if let Some((index, &value)) = self.mean.iter().enumerate().find(|(_, m)| !m.is_finite()) {
            return Err(NormaliserError::Value {
                what: "mean",
                index,
                value,
            });
        }
        let fits = |scale: f32| scale == 0.0 || (scale > 0.0 && scale.recip().is_normal());
        if let Some((index, &value)) = self.scale.iter().enumerate().find(|(_, s)| !fits(**s)) {
            return Err(NormaliserError::Value {
                what: "scale",
                index,
                value,
            });
        }
        if !(self.clip > 0.0 && self.clip <= CLIP_MAX) {
            return Err(NormaliserError::Clip { clip: self.clip });
        }
        let mut next = 0;
        for transform in self.transforms() {
            let feature = transform.feature;
            if feature < next || feature as usize >= features || !transform.is_sound() {
                return Err(NormaliserError::Transform { feature });
            }
            next = feature + 1;
        }
        if let Length::UnitOfProjected(projection) = &self.length {
            projection.check(features)?;
        }
        Ok(())
    }

    /// The same for a task whose kernels see this many values of a row.
    ///
    /// # Errors
    /// As [`Self::check`], and another number of values.
    pub fn check_widths(&self, features: usize, width: usize) -> Result<(), NormaliserError> {
        self.check(features)?;
        let got = self.width();
        match got == width {
            true => Ok(()),
            false => Err(NormaliserError::Width {
                expected: width,
                got,
            }),
        }
    }

    /// Normalised copies of rows, n × features, or n × directions behind a projection.
    ///
    /// # Errors
    /// As [`Self::check`], for the number of columns.
    pub fn apply(&self, features: ArrayView2<'_, f32>) -> Result<Array2<f32>, FeatureError> {
        let mut rows = features.as_standard_layout().into_owned();
        self.apply_in_place(&mut rows)?;
        Ok(rows)
    }

    /// Normalises rows, n × features, where they are; behind a projection they become
    /// n × directions. NaN stands for a value
    /// that is missing and becomes its mean; so the result is finite if no
    /// value is infinite.
    ///
    /// # Errors
    /// As [`Self::check`], for the number of columns; the rows are unchanged.
    pub fn apply_in_place(&self, rows: &mut Array2<f32>) -> Result<(), FeatureError> {
        self.check(rows.ncols())?;
        let clip = self.clip;
        let factor = self.factor();
        for mut row in rows.axis_iter_mut(Axis(0)) {
            for transform in self.transforms() {
                let value = &mut row[transform.feature as usize];
                if !value.is_nan() {
                    *value = transform.apply(*value);
                }
            }
            for ((value, mean), &scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                // An infinite difference of finite numbers is cut, not lost.
                let apart = (*value - mean).clamp(f32::MIN, f32::MAX);
                let tells = scale > 0.0 && !apart.is_nan();
                let scaled = if tells { apart / scale } else { 0.0 };
                *value = scaled.clamp(-clip, clip) * factor;
            }
        }
        if let Length::UnitOfProjected(projection) = &self.length {
            *rows = rows.dot(&projection.check(rows.ncols())?.t());
        }
        if self.length != Length::Common {
            rows.axis_iter_mut(Axis(0)).for_each(to_one_length);
        }
        Ok(())
    }

    /// Its parts. They fit one another once [`Self::check`] has passed.
    pub fn parts(&self) -> NormaliserParts<'_> {
        NormaliserParts {
            transforms: self.transforms(),
            mean: &self.mean,
            scale: &self.scale,
            clip: self.clip,
            factor: self.factor(),
            unit_norm: self.length != Length::Common,
        }
    }

    /// How many features it is for.
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// How many values it makes of a row.
    pub fn width(&self) -> usize {
        match &self.length {
            Length::UnitOfProjected(projection) => projection.directions(),
            Length::Common | Length::Unit | Length::UnitOfTransformed(_) => self.features(),
        }
    }

    fn transforms(&self) -> &[QuantileTransform] {
        match &self.length {
            Length::UnitOfTransformed(transforms) => transforms,
            Length::Common | Length::Unit | Length::UnitOfProjected(_) => &[],
        }
    }

    /// What makes up for the features that tell nothing.
    fn factor(&self) -> f32 {
        let informative = self.informative();
        if self.length != Length::Common || informative == 0 {
            1.0
        } else {
            (self.features() as f64 / informative as f64).sqrt() as f32
        }
    }
}

/// Brings a row to norm √values; 0 stays 0.
fn to_one_length(mut row: ArrayViewMut1<'_, f32>) {
    let square: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
    if square > 0.0 {
        let factor = (row.len() as f64 / square).sqrt();
        row.mapv_inplace(|value| (f64::from(value) * factor) as f32);
    }
}

/// A standard deviation no greater than this counts as zero.
const DEVIATION_MIN: f64 = 1e-9;
/// Standard deviations not above this share of the mean are f32 rounding.
const ROUNDING: f64 = 1e-6;
/// A clip beyond this cuts nothing real.
const CLIP_MAX: f32 = 1e6;

#[cfg(test)]
mod tests;
