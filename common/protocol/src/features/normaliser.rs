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
    /// Directions that are none, too many, or of another length.
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = Array2<f32>> {
        (2usize..20, 1usize..6).prop_flat_map(|(n, d)| {
            proptest::collection::vec(-1e4f32..1e4, n * d)
                .prop_map(move |values| Array2::from_shape_vec((n, d), values).unwrap())
        })
    }

    fn learnt(rows: &Array2<f32>, clip: f32) -> Normaliser {
        let rows = rows.mapv(f64::from);
        let mean = rows.mean_axis(Axis(0)).unwrap();
        let variance = rows.var_axis(Axis(0), 0.0);
        Normaliser::of_moments(&mean.to_vec(), &variance.to_vec(), clip).unwrap()
    }

    #[test]
    fn constant_features_become_zero() {
        let rows = array![[7.0, 1.0], [7.0, 3.0]];
        let out = learnt(&rows, 5.0).apply(rows.view()).unwrap();
        let root = 2f32.sqrt();
        assert_eq!(out, array![[0.0, -root], [0.0, root]]);
    }

    #[test]
    fn zero_of_a_range_stays_zero() {
        let normaliser = Normaliser::of_range(2, 0.0, 255.0).unwrap();
        let out = normaliser
            .apply(array![[0.0, 255.0], [0.0, 0.0]].view())
            .unwrap();
        assert_eq!(out, array![[0.0, 2f32.sqrt()], [0.0, 0.0]]);
        let plain = normaliser.with_unit_norm(false);
        let out = plain.apply(array![[51.0, 510.0]].view()).unwrap();
        assert_eq!(out, array![[0.2, 1.0]]);
    }

    #[test]
    fn range_that_holds_zero_keeps_signs() {
        let normaliser = Normaliser::of_range(1, -4.0, 2.0)
            .unwrap()
            .with_unit_norm(false);
        assert_eq!(
            normaliser.apply(array![[-4.0], [2.0]].view()).unwrap(),
            array![[-1.0], [0.5]]
        );
        let normaliser = Normaliser::of_range(1, 20.0, 80.0)
            .unwrap()
            .with_unit_norm(false);
        assert_eq!(
            normaliser.apply(array![[20.0], [80.0]].view()).unwrap(),
            array![[0.0], [1.0]]
        );
    }

    #[test]
    fn hostile_normalisers_are_refused() {
        let good = learnt(&array![[1.0, 5.0], [2.0, 9.0]], 5.0);
        let refusal = |change: &dyn Fn(&mut Normaliser)| {
            let mut bad = good.clone();
            change(&mut bad);
            let mut rows = array![[1.0, 2.0]];
            assert!(bad.apply_in_place(&mut rows).is_err());
            assert_eq!(rows, array![[1.0, 2.0]]);
            bad.check(2).unwrap_err()
        };
        assert_eq!(good.check(2), Ok(()));
        assert_eq!(
            refusal(&|bad| bad.mean.push(0.0)),
            NormaliserError::Length {
                expected: 2,
                means: 3,
                scales: 2
            }
        );
        for value in [f32::NAN, f32::INFINITY, -1.0, 1e-42] {
            assert!(matches!(
                refusal(&|bad| bad.scale[1] = value),
                NormaliserError::Value {
                    what: "scale",
                    index: 1,
                    ..
                }
            ));
        }
        assert!(matches!(
            refusal(&|bad| bad.mean[0] = f32::NAN),
            NormaliserError::Value {
                what: "mean",
                index: 0,
                ..
            }
        ));
        for clip in [0.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(
                refusal(&|bad| bad.clip = clip),
                NormaliserError::Clip { .. }
            ));
        }
        assert!(Normaliser::of_moments(&[0.0], &[f64::NAN], 5.0).is_err());
        assert!(Normaliser::of_moments(&[0.0, 1.0], &[1.0], 5.0).is_err());
    }

    #[test]
    fn a_transform_bends_its_feature_before_it_is_scaled() {
        use super::super::quantile_transform::Atom;
        let atom = |index: i32| Atom {
            value: f64::from(index).exp(),
            rows: 5.0,
        };
        let mut atoms: Vec<Atom> = (-9..=9).map(atom).collect();
        let transform = QuantileTransform::of(1, &mut atoms, 1e3).unwrap();
        let straight = Normaliser::of_moments(&[0.0, 0.0], &[1.0, 1.0], 5.0).unwrap();
        let bent = straight.clone().with_transforms(vec![transform.clone()]);
        let out = bent.apply(array![[1.0, 1e4]].view()).unwrap();
        let expected = array![[1.0, transform.apply(1e4)]];
        let norm: f32 = expected.iter().map(|value| value * value).sum();
        assert!(
            (&out - &(expected * (2.0 / norm).sqrt()))
                .iter()
                .all(|gap| gap.abs() < 1e-6)
        );
        assert!(matches!(bent.check(1), Err(NormaliserError::Length { .. })));
        let twice = straight
            .clone()
            .with_transforms(vec![transform.clone(), transform.clone()]);
        assert_eq!(
            twice.check(2),
            Err(NormaliserError::Transform { feature: 1 })
        );
        let mut outside = transform;
        outside.feature = 2;
        let outside = straight.with_transforms(vec![outside]);
        assert_eq!(
            outside.check(2),
            Err(NormaliserError::Transform { feature: 2 })
        );
    }

    #[test]
    fn a_projection_follows_the_scales() {
        let directions = array![[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]];
        let projection = Projection::of(directions.view()).unwrap();
        let plain = Normaliser::of_moments(&[1.0, 0.0, 0.0], &[4.0, 1.0, 1.0], 5.0).unwrap();
        let normaliser = plain.clone().with_projection(projection.clone());
        assert_eq!(normaliser.width(), 2);
        assert_eq!(normaliser.check_widths(3, 2), Ok(()));
        // (4, 0, 100) is cut to (1.5, 0, 5), projected to (1.5, 10).
        let out = normaliser.apply(array![[4.0, 0.0, 100.0]].view()).unwrap();
        let expected = array![[1.5f32, 10.0]] * (2.0f32 / (2.25 + 100.0)).sqrt();
        let near = (&out - &expected).iter().all(|gap| gap.abs() < 1e-2);
        assert!(near, "{out}");
        assert_eq!(
            normaliser.check_widths(3, 3),
            Err(NormaliserError::Width {
                expected: 3,
                got: 2
            })
        );
        let short = Normaliser::of_moments(&[0.0; 2], &[1.0; 2], 5.0).unwrap();
        assert!(matches!(
            short.with_projection(projection).check(2),
            Err(NormaliserError::Directions { length: 3, .. })
        ));
    }

    #[test]
    fn range_that_is_none_is_refused() {
        for (low, high) in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f32::NAN, 1.0),
            (0.0, f32::INFINITY),
        ] {
            assert!(matches!(
                Normaliser::of_range(1, low, high),
                Err(FeatureError::Normaliser(NormaliserError::Range { .. }))
            ));
        }
    }

    proptest! {
        #[test]
        fn average_row_has_the_norm_of_the_dimension(rows in rows()) {
            let out = learnt(&rows, 100.0).apply(rows.view()).unwrap();
            let square: f64 = out.iter().map(|&x| f64::from(x).powi(2)).sum();
            let average = square / rows.nrows() as f64;
            prop_assert!((average / rows.ncols() as f64 - 1.0).abs() < 1e-3, "{average}");
        }

        #[test]
        fn unit_norm_rows_have_the_norm_of_the_dimension(rows in rows()) {
            let out = learnt(&rows, 3.0).with_unit_norm(true).apply(rows.view()).unwrap();
            for row in out.axis_iter(Axis(0)) {
                let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                prop_assert!(square == 0.0 || (square / row.len() as f64 - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn any_finite_input_gives_a_finite_row_within_the_clip(
            rows in rows(),
            extreme in prop::sample::select(vec![f32::MAX, f32::MIN, 0.0, 1e-40]),
        ) {
            let normaliser = learnt(&rows, 5.0);
            let row = Array2::from_elem((1, rows.ncols()), extreme);
            let out = normaliser.apply(row.view()).unwrap();
            let bound = 5.0 * (rows.ncols() as f32).sqrt() + 1e-3;
            prop_assert!(out.iter().all(|x| x.is_finite() && x.abs() <= bound));
        }

        #[test]
        fn normalised_features_do_not_depend_on_their_unit(rows in rows(), unit in 0.01f32..100.0) {
            let before = learnt(&rows, 5.0).apply(rows.view()).unwrap();
            let other = rows.mapv(|x| x * unit);
            let after = learnt(&other, 5.0).apply(other.view()).unwrap();
            for (a, b) in before.iter().zip(&after) {
                prop_assert!((a - b).abs() < 1e-2 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }
}
