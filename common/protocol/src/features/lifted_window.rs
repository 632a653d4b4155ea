//! The lifted window stage: what the window stage makes of a signal, and one feature
//! that is the same for every row.
//!
//! Rows are brought to one length, and what a window tells of its strength is then
//! partly lost: to tell a class, that rather disturbs, but a row that is unlike all
//! training may be so by its length alone. The constant keeps it, as for lists.

use ndarray::{Array2, ArrayView2, s};

use super::extractor::{Definition, Extractor};
use super::lifted::constant_beside;
use super::window::Window;
use super::{FeatureError, FeatureStage, InputShape, Modality, StageTables};

/// The stage.
pub(super) struct LiftedWindowStage;

impl Definition for LiftedWindowStage {
    fn stage(&self) -> FeatureStage {
        FeatureStage::lifted_window()
    }

    fn name(&self) -> &'static str {
        "lifted-window"
    }

    fn told(&self) -> &'static str {
        "What `window` makes of it, and a constant, which keeps how long a row is: the default of long series where students score novelty."
    }

    fn version(&self) -> Option<u16> {
        Some(VERSION)
    }

    fn is_tried(&self) -> bool {
        false
    }

    fn reason(&self, _: Modality) -> &'static str {
        "a long series of channels is a window; a constant beside its features keeps their length, by which a row may be new"
    }

    fn constant(&self, informative: usize) -> Option<f32> {
        Some(constant_beside(informative))
    }
}

/// For windows of one shape.
pub(super) struct LiftedWindow(Window);

impl LiftedWindow {
    /// Errors: as of [`Window::new`].
    pub(super) fn new(shape: &InputShape) -> Result<Self, FeatureError> {
        Window::new(shape).map(Self)
    }
}

impl Extractor for LiftedWindow {
    fn features(&self) -> usize {
        self.0.features() + 1
    }

    fn tables(&self) -> Option<StageTables> {
        match self.0.tables() {
            Some(StageTables::Window(mut tables)) => {
                tables.lifted = true;
                Some(StageTables::Window(tables))
            }
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        names.push("constant".to_owned());
        names
    }

    /// The windows' features with a column of zeros, which the normaliser turns into
    /// the constant.
    fn compute(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut lifted = Array2::zeros((rows.nrows(), self.features()));
        let last = lifted.ncols() - 1;
        lifted
            .slice_mut(s![.., ..last])
            .assign(&self.0.compute(rows));
        lifted
    }
}

/// The version of what this file computes.
pub(super) const VERSION: u16 = 1;
