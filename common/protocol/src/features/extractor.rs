//! What every feature stage provides: facts of the stage, and what computes
//! its features for inputs of one shape.

use ndarray::{Array2, ArrayView2};

use super::{FeatureStage, InputShape, Modality, StageTables};

/// What a feature stage is, whatever the shape of its inputs. One for each
/// variant of [`FeatureStage`], in the list of them.
pub(super) trait Definition: Sync {
    /// The stage without parameters, in its newest version.
    fn stage(&self) -> FeatureStage;

    /// Its name, without version.
    fn name(&self) -> &'static str;

    /// What it makes of an input, in a sentence of the reference.
    fn told(&self) -> &'static str;

    /// The version that this program computes; none for what can have no
    /// other.
    fn version(&self) -> Option<u16>;

    /// Parameters as they are written, and what they are, for a stage that
    /// takes some.
    fn parameters(&self) -> Option<Parameters> {
        None
    }

    /// Whether it is the default for inputs of this shape and modality. Of
    /// several the first in the list is.
    fn suits(&self, shape: &InputShape, modality: Modality) -> bool {
        let _ = (shape, modality);
        false
    }

    /// Whether devices try it on rows of theirs where nobody names a stage and its
    /// shape fits; not what needs to be told more than the shape, nor a variant of
    /// another.
    fn is_tried(&self) -> bool {
        true
    }

    /// Why it is the default where it is, for a report.
    fn reason(&self, modality: Modality) -> &'static str;

    /// The same stage with fewer features, richest first, for inputs of this
    /// shape where bytes are short.
    fn narrower(&self, shape: &InputShape) -> Vec<FeatureStage> {
        let _ = shape;
        Vec::new()
    }

    /// The stage that a convolution stands on by default, for inputs of this
    /// shape and modality; none where they have no neighbours, or another stage
    /// suits better. Of several the first in the list is.
    fn under_convolution(&self, shape: &InputShape, modality: Modality) -> Option<FeatureStage> {
        let _ = (shape, modality);
        None
    }

    /// Whether its features are measurements as they come: in any unit and
    /// with any tail, and some tell nothing. Tasks then weigh features and
    /// transform heavy tails by default.
    fn is_measured(&self) -> bool {
        false
    }

    /// The stage with the same features and a constant beside them, where there is
    /// one: how long a row is then stays known.
    fn lifted(&self) -> Option<FeatureStage> {
        None
    }

    /// What the normaliser makes of the last feature, 0 for every row, beside
    /// this many features that tell something; none where the last feature is
    /// one as the others.
    fn constant(&self, informative: usize) -> Option<f32> {
        let _ = informative;
        None
    }
}

/// Parameters that a stage takes.
pub(super) struct Parameters {
    /// An example, as it is written behind the name.
    pub(super) example: &'static str,
    /// What each is, in words.
    pub(super) told: &'static str,
    /// Reads them; none if they are not as they would be written.
    pub(super) read: fn(&str) -> Option<FeatureStage>,
}

/// What computes the features of inputs of one shape.
pub(super) trait Extractor {
    /// Features of one input.
    fn features(&self) -> usize;

    /// What each feature is, for reports.
    fn names(&self) -> Vec<String>;

    /// Features of finite rows of the right length, n × values to n ×
    /// features, finite themselves.
    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32>;

    /// Everything that defines the features, as numbers, for programs that compute
    /// them elsewhere; none where students of the stage cannot be exported yet.
    fn tables(&self) -> Option<StageTables> {
        None
    }

    /// Height, width and channels of the features as an image, channels last;
    /// none where features have no neighbours.
    fn layout(&self) -> Option<[usize; 3]> {
        None
    }

    /// A range that no feature of inputs with values from `low` to `high` is
    /// outside of; none if only statistics can bring features to one scale.
    fn range(&self, low: f32, high: f32) -> Option<[f32; 2]> {
        let _ = (low, high);
        None
    }

    /// How features are drawn.
    fn drawing(&self) -> Drawing {
        Drawing::Bars
    }
}

/// How the features of a stage are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// As the raw input, whose values they are.
    Input,
    /// As heat maps of the answers of fixed filters.
    Filters(Filters),
    /// As one bar a feature.
    Bars,
}

/// Fixed filters whose answers are the features, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Filters × weights, where a filter's weights are row-major.
    pub weights: Array2<f32>,
    /// Rows and columns of a filter.
    pub sides: [usize; 2],
    /// Features of a cell that belong together: those of one channel, or of
    /// one channel and sign.
    pub together: usize,
}
