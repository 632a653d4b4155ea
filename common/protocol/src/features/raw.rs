//! The raw stage: the values as they are, flattened in row-major order.

use ndarray::{Array2, ArrayView2};

use super::extractor::{Definition, Drawing, Extractor};
use super::{FeatureStage, InputShape, Modality, StageTables};

/// The stage.
pub(super) struct RawStage;

impl Definition for RawStage {
    fn stage(&self) -> FeatureStage {
        FeatureStage::Raw
    }

    fn name(&self) -> &'static str {
        "raw"
    }

    fn told(&self) -> &'static str {
        "The values as they are: features that somebody computed already, or images and series for a convolution."
    }

    fn version(&self) -> Option<u16> {
        None
    }

    fn reason(&self, _: Modality) -> &'static str {
        "values are taken as they are"
    }
}

/// For inputs of one shape.
pub(super) struct Raw(InputShape);

impl Raw {
    pub(super) fn new(shape: &InputShape) -> Self {
        Self(shape.clone())
    }
}

impl Extractor for Raw {
    fn features(&self) -> usize {
        self.0.values()
    }

    fn tables(&self) -> Option<StageTables> {
        Some(StageTables::Raw)
    }

    fn names(&self) -> Vec<String> {
        value_names(&self.0).collect()
    }

    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        rows.as_standard_layout().into_owned()
    }

    fn layout(&self) -> Option<[usize; 3]> {
        match *self.0.sides() {
            [time, channels] if time >= 4 * channels => Some([1, time, channels]),
            [height, width] => Some([height, width, 1]),
            [height, width, channels] => Some([height, width, channels]),
            _ => None,
        }
    }

    fn range(&self, low: f32, high: f32) -> Option<[f32; 2]> {
        Some([low, high])
    }

    fn drawing(&self) -> Drawing {
        Drawing::Input
    }
}

/// A name for each value of an input.
pub(super) fn value_names(shape: &InputShape) -> impl Iterator<Item = String> {
    (0..shape.values()).map(|at| format!("value {at}"))
}
