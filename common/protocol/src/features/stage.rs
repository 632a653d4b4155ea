//! The stages there are, by name and by default.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::extractor::{Definition, Drawing, Extractor};
use super::lifted::{self, Lifted, LiftedStage};
use super::lifted_window::{self, LiftedWindow, LiftedWindowStage};
use super::mel::{self, Mel, MelStage, SampleRate};
use super::patches::{self, PatchPlan, PatchStage, Patches};
use super::quantile_transform::QuantileTransform;
use super::raw::{Raw, RawStage};
use super::series::{self, Series, SeriesPlan, SeriesStage};
use super::trend::{self, Trend, TrendStage};
use super::window::{self, Window, WindowStage};
use super::{FeatureError, InputShape, Modality, Normaliser, StageTables};

/// A feature stage, with the version of its definition. Written as `raw`,
/// `lifted/1`, `window/1`, `patches/1`, `series/1` or, with parameters, `patches/1:5x8x7` and
/// `series/1:32x12x2`; a name alone stands for its newest version.
///
/// Encoded by the order of its variants: a new one goes to the end.
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
    /// Level and drift of each channel of a short window, and a constant; shape
    /// is time × channels.
    Trend {
        /// Version of the definition.
        version: u16,
    },
    /// The log-mel spectrum of a short sound and its course; shape is samples, or
    /// samples × 1.
    Mel {
        /// Version of the definition.
        version: u16,
        /// Samples a second; 16,000 without it.
        rate: Option<SampleRate>,
    },
    /// What the window stage makes of it, and a constant; shape is time ×
    /// channels.
    LiftedWindow {
        /// Version of the definition.
        version: u16,
    },
}

/// Every stage. Of those that suit a shape the first is its default.
const DEFINITIONS: [&dyn Definition; 8] = [
    &WindowStage,
    &LiftedWindowStage,
    &PatchStage,
    &SeriesStage,
    &TrendStage,
    &MelStage,
    &LiftedStage,
    &RawStage,
];

/// A stage as it is written.
struct Parts {
    definition: &'static dyn Definition,
    version: Option<u16>,
    parameters: Option<String>,
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

    /// The lifted window stage of the newest version.
    pub const fn lifted_window() -> Self {
        Self::LiftedWindow {
            version: lifted_window::VERSION,
        }
    }

    /// The trend stage of the newest version.
    pub const fn trend() -> Self {
        Self::Trend {
            version: trend::VERSION,
        }
    }

    /// The mel stage of the newest version, of sounds of this rate.
    pub const fn mel(rate: Option<SampleRate>) -> Self {
        Self::Mel {
            version: mel::VERSION,
            rate,
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

    /// Every stage, in its newest version and without parameters.
    pub fn all() -> impl Iterator<Item = Self> {
        DEFINITIONS.iter().map(|definition| definition.stage())
    }

    /// The stage for inputs of this shape and modality where nobody names one:
    /// long series are windows, images are seen through patches, and everything
    /// else is a list of measurements. How values are stored says nothing.
    pub fn default_for(shape: &InputShape, modality: Modality) -> Self {
        let mut suiting = { DEFINITIONS.iter() }.filter(|one| one.suits(shape, modality));
        let fitting = suiting.find(|one| one.stage().features(shape).is_ok());
        fitting.map_or(Self::Raw, |one| one.stage())
    }

    /// The same where numbers are asked of inputs, not classes: short windows of
    /// many values are seen by their trend. Arrays of two sides are images only
    /// where their range is known, as that of pixels is.
    pub fn default_for_numbers(shape: &InputShape, modality: Modality, ranged: bool) -> Self {
        let plane = shape.sides().len() == 2 && modality == Modality::Image;
        let modality = match plane && !ranged {
            true => Modality::Series,
            false => modality,
        };
        match Self::default_for(shape, modality) {
            Self::Lifted { .. } if trend::suits_numbers(shape, modality) => Self::trend(),
            usual => usual,
        }
    }

    /// The same stage with a constant beside its features, where there is one: what is
    /// taken by default where students score novelty, since a row that is unlike all
    /// training may be so by its length alone.
    pub fn lifted_for_novelty(self) -> Self {
        self.parts().definition.lifted().unwrap_or(self)
    }

    /// The stages that devices try on rows of theirs where nobody names one: this one,
    /// which is the default, first, then every other that takes inputs of this shape.
    /// None but itself where it knows more of inputs than their shape.
    pub fn candidates(self, shape: &InputShape) -> Vec<Self> {
        let knows_more = !self.parts().definition.is_tried();
        let others = { DEFINITIONS.iter() }
            .filter(|one| !knows_more && one.is_tried() && one.name() != self.name())
            .map(|one| one.stage())
            .filter(|stage| stage.features(shape).is_ok());
        std::iter::once(self).chain(others).collect()
    }

    /// Its name, without version and parameters.
    pub fn name(&self) -> &'static str {
        self.parts().definition.name()
    }

    /// The stage for inputs of this shape and modality where nobody names one
    /// and the student is a convolution; none where values have no neighbours.
    pub fn default_under_convolution(shape: &InputShape, modality: Modality) -> Option<Self> {
        let definitions = DEFINITIONS.iter();
        { definitions.filter_map(|one| one.under_convolution(shape, modality)) }
            .find(|stage| stage.features(shape).is_ok())
    }

    /// Why it is the default where it is.
    pub fn default_reason(&self, modality: Modality) -> &'static str {
        self.parts().definition.reason(modality)
    }

    /// The same stage with fewer features, richest first, for inputs of this
    /// shape where bytes are short.
    pub fn narrower(&self, shape: &InputShape) -> Vec<Self> {
        self.parts().definition.narrower(shape)
    }

    /// Whether its features are measurements as they come: in any unit and
    /// with any tail, and some tell nothing. Other stages know what they look
    /// at.
    pub fn is_measured(&self) -> bool {
        self.parts().definition.is_measured()
    }

    /// Features of one input. Errors: a shape the stage does not take, or a
    /// version that is not known here.
    pub fn features(&self, shape: &InputShape) -> Result<usize, FeatureError> {
        Ok(self.extractor(shape)?.features())
    }

    /// Height, width and channels of the features as an image, channels last,
    /// on which a convolution can stand; a series is an image of height 1.
    /// None where features have no neighbours. Errors: as [`Self::features`].
    pub fn layout(&self, shape: &InputShape) -> Result<Option<[usize; 3]>, FeatureError> {
        Ok(self.extractor(shape)?.layout())
    }

    /// What a task may declare as the range of its features where its values
    /// are all from `low` to `high`; none if only statistics can bring these
    /// features to one scale. Errors: as [`Self::features`].
    pub fn range(
        &self,
        shape: &InputShape,
        [low, high]: [f32; 2],
    ) -> Result<Option<[f32; 2]>, FeatureError> {
        Ok(self.extractor(shape)?.range(low, high))
    }

    /// What each feature is, for reports: as many names as features. Errors:
    /// as [`Self::features`].
    pub fn names(&self, shape: &InputShape) -> Result<Vec<String>, FeatureError> {
        Ok(self.extractor(shape)?.names())
    }

    /// Everything that defines the stage for one shape, as numbers, for programs
    /// that compute it elsewhere. Errors: as [`Self::features`], or a stage that
    /// cannot be exported.
    pub fn tables(&self, shape: &InputShape) -> Result<StageTables, FeatureError> {
        let tables = self.extractor(shape)?.tables();
        tables.ok_or(FeatureError::NotExported { stage: *self })
    }

    /// How features are drawn. Errors: as [`Self::features`].
    pub fn drawing(&self, shape: &InputShape) -> Result<Drawing, FeatureError> {
        Ok(self.extractor(shape)?.drawing())
    }

    /// How many of this many features differ between rows: all, or all but the
    /// constant at the end.
    pub fn varying(&self, features: usize) -> usize {
        let constants = usize::from(self.parts().definition.constant(1).is_some());
        features.saturating_sub(constants)
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
        Ok(self.extractor(shape)?.compute(rows))
    }

    /// The same of rows in which NaN stands where a value is missing: a
    /// feature that would be made of it is NaN, and becomes its mean when it
    /// is normalised. Errors: as [`Self::compute`], for stages that make a
    /// feature of several values as if nothing might be missing.
    pub fn compute_with_gaps(
        &self,
        shape: &InputShape,
        rows: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, FeatureError> {
        let gaps: Vec<(usize, usize)> = { rows.indexed_iter() }
            .filter(|(_, value)| value.is_nan())
            .map(|(place, _)| place)
            .collect();
        let one_by_one = matches!(self, Self::Raw | Self::Lifted { .. });
        if gaps.is_empty() || !one_by_one {
            return self.compute(shape, rows);
        }
        let filled = rows.mapv(|value| if value.is_nan() { 0.0 } else { value });
        let mut features = self.compute(shape, filled.view())?;
        for place in gaps {
            // Both stages give the values in their order.
            features[place] = f32::NAN;
        }
        Ok(features)
    }

    /// The normaliser of features whose mean and population variance over all
    /// rows are these, of those with a transform after it; rows come out at one
    /// length. Transforms are in the order of their features. Errors: as
    /// [`Normaliser::of_moments`].
    pub fn normaliser(
        &self,
        mean: &[f64],
        variance: &[f64],
        clip: f32,
        transforms: Vec<QuantileTransform>,
    ) -> Result<Normaliser, FeatureError> {
        let normaliser = Normaliser::of_moments(mean, variance, clip)?.with_transforms(transforms);
        normaliser.check(mean.len())?;
        let constant = self.parts().definition.constant(normaliser.informative());
        Ok(match constant {
            Some(constant) => normaliser.with_constant(constant),
            None => normaliser,
        })
    }

    fn extractor(&self, shape: &InputShape) -> Result<Box<dyn Extractor>, FeatureError> {
        let parts = self.parts();
        if parts.version != parts.definition.version() {
            return Err(FeatureError::Unknown {
                name: self.to_string(),
            });
        }
        Ok(match *self {
            Self::Raw => Box::new(Raw::new(shape)),
            Self::Lifted { .. } => Box::new(Lifted::new(shape)),
            Self::Trend { .. } => Box::new(Trend::new(shape)?),
            Self::Mel { rate, .. } => Box::new(Mel::new(shape, rate)?),
            Self::Window { .. } => Box::new(Window::new(shape)?),
            Self::LiftedWindow { .. } => Box::new(LiftedWindow::new(shape)?),
            Self::Patches { plan, .. } => Box::new(Patches::new(shape, plan)?),
            Self::Series { plan, .. } => Box::new(Series::new(shape, plan)?),
        })
    }

    fn parts(&self) -> Parts {
        let (definition, version, parameters): (&'static dyn Definition, _, _) = match *self {
            Self::Raw => (&RawStage, None, None),
            Self::Lifted { version } => (&LiftedStage, Some(version), None),
            Self::Trend { version } => (&TrendStage, Some(version), None),
            Self::Mel { version, rate } => {
                let rate = rate.map(|rate| rate.0.to_string());
                (&MelStage, Some(version), rate)
            }
            Self::Window { version } => (&WindowStage, Some(version), None),
            Self::LiftedWindow { version } => (&LiftedWindowStage, Some(version), None),
            Self::Patches { version, plan } => {
                let plan = plan.map(|plan| plan.to_string());
                (&PatchStage, Some(version), plan)
            }
            Self::Series { version, plan } => {
                let plan = plan.map(|plan| plan.to_string());
                (&SeriesStage, Some(version), plan)
            }
        };
        Parts {
            definition,
            version,
            parameters,
        }
    }

    /// Every stage with what it is, as a table of the task reference.
    pub fn reference() -> String {
        let mut text =
            String::from("| stage | parameters | what it makes of an input |\n|---|---|---|\n");
        for one in DEFINITIONS {
            let parameters = one.parameters().map_or(String::new(), |parameters| {
                let (stage, example) = (one.stage(), parameters.example);
                format!("`{stage}:{example}`: {}", parameters.told)
            });
            text += &format!("| `{}` | {parameters} | {} |\n", one.name(), one.told());
        }
        text
    }

    /// Every stage as it may be written, for messages.
    pub(super) fn known() -> String {
        let written = DEFINITIONS.iter().map(|one| match one.parameters() {
            Some(parameters) => format!(
                "\"{}\" with or without \":{}\" for {}",
                one.stage(),
                parameters.example,
                parameters.told
            ),
            None => format!("\"{}\"", one.stage()),
        });
        written.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for FeatureStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        f.write_str(parts.definition.name())?;
        if let Some(version) = parts.version {
            write!(f, "/{version}")?;
        }
        match parts.parameters {
            Some(parameters) => write!(f, ":{parameters}"),
            None => Ok(()),
        }
    }
}

impl FromStr for FeatureStage {
    type Err = FeatureError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = DEFINITIONS.iter().find_map(|one| {
            let stage = one.stage();
            let written = stage.to_string();
            if name == one.name() || name == written {
                return Some(stage);
            }
            let parameters = name.strip_prefix(&written)?.strip_prefix(':')?;
            (one.parameters()?.read)(parameters)
        });
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
