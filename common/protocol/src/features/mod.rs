//! Feature stages: what turns a raw input into what kernels and students
//! see. A task fixes one stage by name and version, so that all devices look
//! through the same lens.

mod curve;
mod lifted;
mod normaliser;
mod patches;
mod series;
mod target_scale;
mod window;

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::limits::{FEATURES_MAX, INPUT_VALUES_MAX};

pub use curve::{Atom, Curve};
pub use normaliser::{Normaliser, NormaliserError};
pub use patches::PatchPlan;
pub use series::SeriesPlan;
pub use target_scale::{TARGET_CLIP, TargetScale, TargetScaleError};

/// A feature stage, with the version of its definition. Written as `raw`,
/// `lifted/1`, `window/1`, `patches/1`, `series/1` or, with parameters, `patches/1:5x8x7` and
/// `series/1:32x12x2`; a name alone stands for its newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FeatureStage {
    /// The values as they are, flattened in row-major order.
    Raw,
    /// Statistics, spectra and correlations of a window of a multi-channel
    /// signal; shape is time × channels.
    Window {
        /// Version of the definition.
        version: u16,
    },
    /// Answers of fixed cosine filters in the cells of an image; shape is
    /// height × width, or height × width × channels.
    Patches {
        /// Version of the definition.
        version: u16,
        /// Parameters; without them the shape decides.
        plan: Option<PatchPlan>,
    },
    /// Answers of fixed cosine filters in stretches of a signal; shape is
    /// time × channels.
    Series {
        /// Version of the definition.
        version: u16,
        /// Parameters; without them the shape decides.
        plan: Option<SeriesPlan>,
    },
    /// The values as they are and a constant, which keeps a row's length when
    /// rows are brought to one.
    Lifted {
        /// Version of the definition.
        version: u16,
    },
}

/// What computes the features of one shape.
enum Extractor {
    Window(window::Window),
    Patches(patches::Patches),
    Series(series::Series),
}

/// Shape of one raw input: 1 to 3 sides, none zero, at most
/// [`INPUT_VALUES_MAX`] values. One side is a list of features, two are time
/// × channels of a window or height × width of an image, three are height ×
/// width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct InputShape(Vec<usize>);

/// Why features cannot be computed. The messages say what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// A shape that is not valid.
    #[error(
        "an input has 1 to 3 sides, each 1 or more, and at most {INPUT_VALUES_MAX} values; got {shape:?}"
    )]
    Shape {
        /// What was given.
        shape: Vec<usize>,
    },
    /// A shape that this stage does not take.
    #[error(
        "the window stage takes inputs of time x channels with at least {} steps; got {shape:?}",
        window::STEPS_MIN
    )]
    NotAWindow {
        /// What was given.
        shape: Vec<usize>,
    },
    /// A shape that this stage does not take.
    #[error(
        "the patch stage takes images of height x width or height x width x channels with sides of at least {}; got {shape:?}",
        patches::SIDE_MIN
    )]
    NotAnImage {
        /// What was given.
        shape: Vec<usize>,
    },
    /// Parameters of the patch stage that do not fit the image.
    #[error(
        "patches {plan} (size x filters x grid) do not fit images of {shape:?}: size is odd, 3 to 9, filters 1 to size² - 1, size and grid within the sides, and features at most {FEATURES_MAX}"
    )]
    Patches {
        /// What was given.
        plan: PatchPlan,
        /// Shape of the images.
        shape: Vec<usize>,
    },
    /// A shape that this stage does not take.
    #[error(
        "the series stage takes inputs of time x channels with at least {} steps; got {shape:?}",
        series::STEPS_MIN
    )]
    NotASeries {
        /// What was given.
        shape: Vec<usize>,
    },
    /// Parameters of the series stage that do not fit the window.
    #[error(
        "series {plan} (size x filters x grid) does not fit windows of {shape:?}: size is 4 to 128 and at most the steps, filters 1 to size - 1, grid at most the places of a filter, and features at most {FEATURES_MAX}"
    )]
    Series {
        /// What was given.
        plan: SeriesPlan,
        /// Shape of the windows.
        shape: Vec<usize>,
    },
    /// More channels than their correlations can be computed for.
    #[error("{channels} channels give more than {FEATURES_MAX} features")]
    Channels {
        /// How many channels there are.
        channels: usize,
    },
    /// Another program's stage.
    #[error(
        "feature stage {name:?} is not known; known are \"raw\", \"lifted/{}\", \"window/{}\", \"patches/{}\" with or without \":5x8x7\" and \"series/{}\" with or without \":32x12x2\" for size, filters and grid",
        lifted::VERSION,
        window::VERSION,
        patches::VERSION,
        series::VERSION
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// Rows that do not have the input's shape.
    #[error("expected rows of {expected} values, got {got}")]
    RowValues {
        /// Values of one input.
        expected: usize,
        /// Columns of the rows.
        got: usize,
    },
    /// A normaliser that does not fit.
    #[error(transparent)]
    Normaliser(#[from] NormaliserError),
    /// No rows, or values that no common scale holds.
    #[error(
        "no device could send these features' statistics: there are no rows, or values beyond 1e18"
    )]
    Immense,
    /// A value that is NaN or infinite.
    #[error("row {row}, value {column} is {value}; inputs are finite")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The value's place in it, from 0.
        column: usize,
        /// What stands there.
        value: f32,
    },
}

impl FeatureStage {
    /// The window stage of the newest version.
    pub const fn window() -> Self {
        Self::Window {
            version: window::VERSION,
        }
    }

    /// The lifted stage of the newest version.
    pub const fn lifted() -> Self {
        Self::Lifted {
            version: lifted::VERSION,
        }
    }

    /// The patch stage of the newest version, with these parameters or what
    /// the shape asks for.
    pub const fn patches(plan: Option<PatchPlan>) -> Self {
        Self::Patches {
            version: patches::VERSION,
            plan,
        }
    }

    /// The series stage of the newest version, with these parameters or what
    /// the shape asks for.
    pub const fn series(plan: Option<SeriesPlan>) -> Self {
        Self::Series {
            version: series::VERSION,
            plan,
        }
    }

    /// Height, width and channels of the features as an image, channels last,
    /// on which a convolution can stand; a series is an image of height 1.
    /// None where features have no neighbours. Errors: as [`Self::features`].
    pub fn layout(&self, shape: &InputShape) -> Result<Option<[usize; 3]>, FeatureError> {
        match self {
            Self::Raw => Ok(match *shape.sides() {
                [time, channels] if time >= 4 * channels => Some([1, time, channels]),
                [height, width] => Some([height, width, 1]),
                [height, width, channels] => Some([height, width, channels]),
                _ => None,
            }),
            Self::Lifted { .. } => Ok(None),
            _ => Ok(match self.extractor(shape)? {
                Extractor::Window(_) => None,
                Extractor::Patches(patches) => Some(patches.layout()),
                Extractor::Series(series) => Some(series.layout()),
            }),
        }
    }

    /// Features of one input. Errors: a shape the stage does not take, or a
    /// version that is not known here.
    pub fn features(&self, shape: &InputShape) -> Result<usize, FeatureError> {
        match self {
            Self::Raw => Ok(shape.values()),
            Self::Lifted {
                version: lifted::VERSION,
            } => Ok(lifted::features(shape.values())),
            _ => Ok(self.extractor(shape)?.features()),
        }
    }

    /// What a task may declare as the range of its features where its values
    /// are all from `low` to `high`; none if only statistics can bring these
    /// features to one scale. Errors: as [`Self::features`].
    pub fn range(
        &self,
        shape: &InputShape,
        [low, high]: [f32; 2],
    ) -> Result<Option<[f32; 2]>, FeatureError> {
        match self {
            Self::Raw => Ok(Some([low, high])),
            Self::Lifted { .. } => Ok(None),
            _ => match self.extractor(shape)? {
                Extractor::Window(_) | Extractor::Series(_) => Ok(None),
                Extractor::Patches(patches) => Ok(Some(patches.range(low, high))),
            },
        }
    }

    /// What each feature is, for reports: as many names as features.
    pub fn names(&self, shape: &InputShape) -> Result<Vec<String>, FeatureError> {
        match self {
            Self::Raw => Ok(values_named(shape).collect()),
            Self::Lifted { .. } => Ok(values_named(shape).chain(["constant".to_owned()]).collect()),
            _ => Ok(self.extractor(shape)?.names()),
        }
    }

    /// The fixed filters whose answers are the features, in their order:
    /// filters × weights, where a patch's weights are row-major. None where
    /// features are nothing of the kind. Errors: as [`Self::features`].
    pub fn filters(&self, shape: &InputShape) -> Result<Option<Array2<f32>>, FeatureError> {
        match self {
            Self::Raw | Self::Lifted { .. } => Ok(None),
            _ => Ok(match self.extractor(shape)? {
                Extractor::Window(_) => None,
                Extractor::Patches(patches) => Some(patches.into_filters()),
                Extractor::Series(series) => Some(series.into_filters()),
            }),
        }
    }

    /// Features of each row: n × values (each row one input, row-major) to
    /// n × features. The result is finite. Errors: rows of another length, or
    /// a value that is not finite.
    ///
    /// Windows take O(values · log(time)) a row, patches O(values · size² ·
    /// filters); beside the result, memory for one row or its patches.
    pub fn compute(
        &self,
        shape: &InputShape,
        rows: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, FeatureError> {
        if rows.ncols() != shape.values() {
            return Err(FeatureError::RowValues {
                expected: shape.values(),
                got: rows.ncols(),
            });
        }
        if let Some(((row, column), &value)) =
            rows.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(FeatureError::NotFinite { row, column, value });
        }
        match self {
            Self::Raw => Ok(rows.as_standard_layout().into_owned()),
            Self::Lifted {
                version: lifted::VERSION,
            } => Ok(lifted::compute(rows)),
            _ => Ok(self.extractor(shape)?.compute(rows)),
        }
    }

    /// The normaliser of features whose mean and population variance over all
    /// rows are these, of those with a curve after it; rows come out at one
    /// length. Curves are in the order of their features. Errors: as
    /// [`Normaliser::of_moments`].
    pub fn normaliser(
        &self,
        mean: &[f64],
        variance: &[f64],
        clip: f32,
        curves: Vec<Curve>,
    ) -> Result<Normaliser, FeatureError> {
        let normaliser = Normaliser::of_moments(mean, variance, clip)?.with_curves(curves);
        normaliser.check(mean.len())?;
        Ok(match self {
            Self::Lifted { .. } => {
                let constant = lifted::constant(normaliser.informative());
                normaliser.with_constant(constant)
            }
            _ => normaliser,
        })
    }

    fn extractor(&self, shape: &InputShape) -> Result<Extractor, FeatureError> {
        match self {
            Self::Window {
                version: window::VERSION,
            } => window::Window::new(shape).map(Extractor::Window),
            &Self::Patches {
                version: patches::VERSION,
                plan,
            } => patches::Patches::new(shape, plan).map(Extractor::Patches),
            &Self::Series {
                version: series::VERSION,
                plan,
            } => series::Series::new(shape, plan).map(Extractor::Series),
            other => Err(FeatureError::Unknown {
                name: other.to_string(),
            }),
        }
    }
}

impl Extractor {
    fn features(&self) -> usize {
        match self {
            Self::Window(window) => window.features(),
            Self::Patches(patches) => patches.features(),
            Self::Series(series) => series.features(),
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Window(window) => window.names(),
            Self::Patches(patches) => patches.names(),
            Self::Series(series) => series.names(),
        }
    }

    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Window(window) => window.compute(rows),
            Self::Patches(patches) => patches.compute(rows),
            Self::Series(series) => series.compute(rows),
        }
    }
}

fn values_named(shape: &InputShape) -> impl Iterator<Item = String> {
    (0..shape.values()).map(|i| format!("value {i}"))
}

impl fmt::Display for FeatureStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Lifted { version } => write!(f, "lifted/{version}"),
            Self::Window { version } => write!(f, "window/{version}"),
            Self::Patches {
                version,
                plan: None,
            } => write!(f, "patches/{version}"),
            Self::Patches {
                version,
                plan: Some(plan),
            } => write!(f, "patches/{version}:{plan}"),
            Self::Series {
                version,
                plan: None,
            } => write!(f, "series/{version}"),
            Self::Series {
                version,
                plan: Some(plan),
            } => write!(f, "series/{version}:{plan}"),
        }
    }
}

impl FromStr for FeatureStage {
    type Err = FeatureError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let (patches, series) = (Self::patches(None), Self::series(None));
        let parameters = |stage: Self| {
            let rest = name.strip_prefix(&stage.to_string())?;
            rest.strip_prefix(':')
        };
        let known = match name {
            "raw" => Some(Self::Raw),
            "lifted" => Some(Self::lifted()),
            "window" => Some(Self::window()),
            "patches" => Some(patches),
            "series" => Some(series),
            _ if name == Self::lifted().to_string() => Some(Self::lifted()),
            _ if name == Self::window().to_string() => Some(Self::window()),
            _ if name == patches.to_string() => Some(patches),
            _ if name == series.to_string() => Some(series),
            _ => match (parameters(patches), parameters(series)) {
                (Some(text), _) => PatchPlan::parse(text).map(|plan| Self::patches(Some(plan))),
                (_, Some(text)) => SeriesPlan::parse(text).map(|plan| Self::series(Some(plan))),
                _ => None,
            },
        };
        known.ok_or_else(|| FeatureError::Unknown {
            name: name.to_owned(),
        })
    }
}

impl From<FeatureStage> for String {
    fn from(stage: FeatureStage) -> Self {
        stage.to_string()
    }
}

impl TryFrom<String> for FeatureStage {
    type Error = FeatureError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl InputShape {
    /// A shape of these sides. Errors: none or more than three, a zero, or
    /// more than [`INPUT_VALUES_MAX`] values.
    pub fn new(sides: Vec<usize>) -> Result<Self, FeatureError> {
        let values = sides
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side));
        let fits = values.is_some_and(|values| (1..=INPUT_VALUES_MAX).contains(&values));
        if (1..=3).contains(&sides.len()) && fits {
            Ok(Self(sides))
        } else {
            Err(FeatureError::Shape { shape: sides })
        }
    }

    /// Lengths of the sides.
    pub fn sides(&self) -> &[usize] {
        &self.0
    }

    /// Values of one input: the product of the sides.
    pub fn values(&self) -> usize {
        self.0.iter().product()
    }
}

impl TryFrom<Vec<usize>> for InputShape {
    type Error = FeatureError;

    fn try_from(sides: Vec<usize>) -> Result<Self, Self::Error> {
        Self::new(sides)
    }
}

impl From<InputShape> for Vec<usize> {
    fn from(shape: InputShape) -> Self {
        shape.0
    }
}

#[cfg(test)]
mod tests;
