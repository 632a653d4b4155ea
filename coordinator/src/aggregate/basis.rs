//! Where moments stand: the transfer set as the solver and the devices see it.

use ndarray::{Array2, ArrayView2};

use common::math::kernel::Ntk;
use common::math::regression::{MomentSystem, Preconditioner, RegressionError, Whitener};
use common::moments::{Moments, MomentsFrame};
use common::task::Task;
use common::transfer::TransferSet;

/// The bases of a transfer set: the whitened one, in which teachers are
/// solved, and the preconditioned one, in which moments travel.
#[derive(Clone, Debug)]
pub struct Basis {
    /// From whitened coefficients to those on the points, and back.
    pub whitener: Whitener,
    preconditioner: Preconditioner,
    row_square_max: f64,
}

impl Basis {
    /// Of this transfer set under the task's kernel. Cost m²·d + 5m³/3.
    ///
    /// # Errors
    /// If K(S,S) cannot be factored.
    pub fn of(task: &Task, set: &TransferSet) -> Result<Self, RegressionError> {
        let ntk = Ntk::new(task.definition().teacher.depth);
        let whitener = Whitener::of(&ntk, set.seen().view())?;
        let preconditioner = Preconditioner::of(&whitener, &set.support_counts())?;
        let frame = MomentsFrame::for_task(task, set.support());
        Ok(Self {
            whitener,
            preconditioner,
            row_square_max: frame.row_square_max,
        })
    }

    /// The whitened system of a sum of moments. Cost 4m³.
    ///
    /// # Errors
    /// If the sum stands on another number of points.
    pub fn whitened(&self, sent: &MomentSystem) -> Result<MomentSystem, RegressionError> {
        self.preconditioner.undo(sent)
    }

    /// From rows in which moments travel to their shares of directions (m×p) of
    /// the whitened basis. Cost m²·p.
    ///
    /// # Errors
    /// If the directions stand on another number of points.
    pub(super) fn towards(
        &self,
        directions: ArrayView2<'_, f64>,
    ) -> Result<Array2<f64>, RegressionError> {
        self.preconditioner.towards(directions)
    }

    /// Rows as moments travel (n×m), whose kernels with the support are the
    /// columns of K (m×n). Cost 2m²·n.
    ///
    /// # Errors
    /// If the columns stand on another number of points.
    pub(super) fn travelling(
        &self,
        kernel: ArrayView2<'_, f64>,
    ) -> Result<Array2<f32>, RegressionError> {
        let white = self.whitener.embed(kernel)?;
        let sent = self.preconditioner.embed(white.view())?;
        Ok(sent.t().mapv(|value| value as f32))
    }

    /// Rows in which moments travel (n×m), in the whitened basis. Cost n·m².
    ///
    /// # Errors
    /// If the rows stand on another number of points.
    pub(super) fn whitened_rows(
        &self,
        rows: ArrayView2<'_, f64>,
    ) -> Result<Array2<f64>, RegressionError> {
        self.preconditioner.whitened_rows(rows)
    }

    /// Moments that, in the whitened basis, are no larger than so many rows can
    /// make them: what lies beyond is scaled down to it. The basis in which
    /// they travel hides that, for there all directions are of one size. A
    /// little beyond is left alone, for rounding. Cost rank·m².
    ///
    /// # Errors
    /// If the moments stand on another number of points.
    pub fn held_to_rows(&self, mut moments: Moments) -> Result<Moments, RegressionError> {
        let rows = moments.factor.mapv(f64::from);
        let remainder = f64::from(moments.remainder);
        let trace = self.preconditioner.whitened_trace(rows.view(), remainder)?;
        let most = ROUNDING * self.row_square_max * moments.rows as f64;
        if trace > most {
            let share = most / trace;
            moments.factor *= share.sqrt() as f32;
            moments.remainder *= share as f32;
        }
        Ok(moments)
    }
}

/// What rounding may add to a trace.
const ROUNDING: f64 = 1.5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::feature_weights::FeatureWeights;
    use common::summary::Points;
    use common::task::RawTask;
    use ndarray::array;

    #[test]
    fn excess_moments_are_scaled_down() {
        let task = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(task).unwrap();
        let points = Points {
            inputs: array![[1.4, 0.2], [-0.2, 1.4]],
            classes: vec![0, 1],
            counts: vec![500, 500],
            spreads: vec![0.1; 2],
            targets: None,
        };
        let set = TransferSet {
            points,
            feature_weights: FeatureWeights::alike(),
            landmarks: Array2::zeros((0, 2)),
        };
        let basis = Basis::of(&task, &set).unwrap();
        let moments = |size: f32| Moments {
            rows: 20,
            target_square: 10.0,
            factor: Array2::from_elem((1, 2), size),
            targets: array![[0.5, -0.5]],
            remainder: 0.0,
        };
        let honest = moments(0.01);
        assert_eq!(basis.held_to_rows(honest.clone()).unwrap(), honest);
        let liar = basis.held_to_rows(moments(5.0)).unwrap();
        let rows = liar.factor.mapv(f64::from);
        let trace = basis.preconditioner.whitened_trace(rows.view(), 0.0);
        let most = ROUNDING * basis.row_square_max * 20.0;
        assert!((trace.unwrap() / most - 1.0).abs() < 1e-5);
    }
}
