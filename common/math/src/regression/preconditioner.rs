//! The basis in which moments travel: what the points stand for is taken out,
//! so that all directions are of one size and few bits are enough.

use ndarray::{Array2, ArrayView2};

use super::{MomentSystem, RegressionError, Whitener, check_shape};
use crate::linalg::Cholesky;

/// Q with Q·Qᵀ = I + Σᵢ nᵢ·φ(sᵢ)·φ(sᵢ)ᵀ, in the whitened basis, for points sᵢ
/// that stand for nᵢ rows: the system of the points alone at a ridge of 1, and
/// so about what all devices' moments will sum to. A row has the features
/// Q⁻¹φ, and ‖Q⁻¹φ‖ ≤ ‖φ‖.
///
/// In the whitened basis itself a few directions hold nearly everything, and
/// their rounding drowns the others: a teacher of 481 points on a table of seven
/// classes fell from 66.1 to 62.3 % by eight bits and 100 virtual rows, in this
/// basis to 66.0 by six bits and 130.
#[derive(Debug, Clone)]
pub struct Preconditioner {
    factor: Cholesky,
}

impl Preconditioner {
    /// Of points that stand for this many rows, in the basis that whitens them.
    /// Cost 4m³/3.
    ///
    /// # Errors
    /// If there are not as many counts as points.
    pub fn of(whitener: &Whitener, counts: &[u32]) -> Result<Self, RegressionError> {
        let features = whitener.features();
        check_shape("counts", [features.nrows(), 1], (counts.len(), 1))?;
        let mut weighted = features.to_owned();
        for (mut row, &count) in weighted.rows_mut().into_iter().zip(counts) {
            row *= f64::from(count);
        }
        let mut system = symmetric(features.t().dot(&weighted));
        system.diag_mut().map_inplace(|value| *value += 1.0);
        Ok(Self {
            factor: Cholesky::factor(system.view())?,
        })
    }

    /// Of points that stand for nothing: the whitened basis as it is.
    ///
    /// # Errors
    /// None for any size that fits in memory.
    pub fn none(points: usize) -> Result<Self, RegressionError> {
        Ok(Self {
            factor: Cholesky::factor(Array2::eye(points).view())?,
        })
    }

    /// Q⁻¹·Φ: whitened features, as columns (m×n), in this basis. Cost m²·n.
    ///
    /// # Errors
    /// If the columns stand on another number of points.
    pub fn embed(&self, features: ArrayView2<'_, f64>) -> Result<Array2<f64>, RegressionError> {
        Ok(self.factor.solve_lower(features)?)
    }

    /// A whitened system in this basis: Q⁻¹GQ⁻ᵀ, Q⁻¹B and Q⁻¹Q⁻ᵀ for the
    /// support. Cost 3m³.
    ///
    /// # Errors
    /// If the system stands on another number of points.
    pub fn apply(&self, system: &MomentSystem) -> Result<MomentSystem, RegressionError> {
        let both = |matrix: &Array2<f64>| -> Result<Array2<f64>, RegressionError> {
            let half = self.factor.solve_lower(matrix.view())?;
            let whole = self.factor.solve_lower(half.t())?;
            Ok(symmetric(whole))
        };
        Ok(MomentSystem {
            gram: both(&system.gram)?,
            cross: self.factor.solve_lower(system.cross.view())?,
            support: both(&system.support)?,
            rows: system.rows,
            target_square: system.target_square,
        })
    }

    /// The whitened system of one in this basis: QGQᵀ, QB and the identity.
    /// Cost 4m³.
    ///
    /// # Errors
    /// If the system stands on another number of points.
    pub fn undo(&self, system: &MomentSystem) -> Result<MomentSystem, RegressionError> {
        let lower = self.factor.lower();
        let points = lower.nrows();
        check_shape("gram", [points, points], system.gram.dim())?;
        Ok(MomentSystem {
            gram: symmetric(lower.dot(&system.gram).dot(&lower.t())),
            cross: lower.dot(&system.cross),
            support: Array2::eye(points),
            rows: system.rows,
            target_square: system.target_square,
        })
    }

    /// Rows of this basis in the whitened one: each h becomes Q·h. Cost
    /// rows·m².
    ///
    /// # Errors
    /// If the rows stand on another number of points.
    pub fn whitened_rows(&self, rows: ArrayView2<'_, f64>) -> Result<Array2<f64>, RegressionError> {
        let lower = self.factor.lower();
        check_shape("rows", [rows.nrows(), lower.nrows()], rows.dim())?;
        Ok(rows.dot(&lower.t()))
    }

    /// Qᵀ·V for columns V of the whitened basis: a row of this basis, times
    /// that, is its share of those directions. Cost m²·columns.
    ///
    /// # Errors
    /// If the columns stand on another number of points.
    pub fn towards(&self, columns: ArrayView2<'_, f64>) -> Result<Array2<f64>, RegressionError> {
        let lower = self.factor.lower();
        check_shape(
            "directions",
            [lower.nrows(), columns.ncols()],
            columns.dim(),
        )?;
        Ok(lower.t().dot(&columns))
    }

    /// Σ‖Qh‖² over rows h of this basis, and d·‖Q‖²: the trace of a gram matrix
    /// that is given as rows and the same number d all along the diagonal, in
    /// the whitened basis. Cost rank·m².
    ///
    /// # Errors
    /// If the rows stand on another number of points.
    pub fn whitened_trace(
        &self,
        rows: ArrayView2<'_, f64>,
        diagonal: f64,
    ) -> Result<f64, RegressionError> {
        let lower = self.factor.lower();
        let points = lower.nrows();
        check_shape("rows", [rows.nrows(), points], rows.dim())?;
        let square = |values: ArrayView2<'_, f64>| values.iter().map(|value| value * value).sum();
        let held: f64 = square(rows.dot(&lower.t()).view());
        Ok(held + diagonal * square(lower))
    }
}

fn symmetric(mut matrix: Array2<f64>) -> Array2<f64> {
    let mirrored = matrix.t().to_owned();
    matrix.zip_mut_with(&mirrored, |entry, &mirror| *entry = 0.5 * (*entry + mirror));
    matrix
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::Ntk;
    use crate::random::rng;
    use rand::Rng;

    struct Case {
        white: MomentSystem,
        basis: Preconditioner,
    }

    fn case() -> Case {
        let ntk = Ntk::new(2);
        let mut random = rng(4, "preconditioner");
        let x = Array2::from_shape_fn((200, 5), |_| random.random_range(-1.0f64..1.0));
        let t = Array2::from_shape_fn((200, 2), |(row, class)| x[[row, class]] * x[[row, 2]]);
        let points = x.slice(ndarray::s![..20, ..]);
        let system = MomentSystem::gather(&ntk, points, x.view(), t.view()).unwrap();
        let whitener = Whitener::of(&ntk, points).unwrap();
        Case {
            white: whitener.whiten(&system).unwrap(),
            basis: Preconditioner::of(&whitener, &[10; 20]).unwrap(),
        }
    }

    #[test]
    fn undoing_gives_the_whitened_system_back() {
        let Case { white, basis } = case();
        let back = basis.undo(&basis.apply(&white).unwrap()).unwrap();
        let close = |one: &Array2<f64>, other: &Array2<f64>| {
            (one - other)
                .iter()
                .all(|gap| gap.abs() < 1e-8 * white.rows)
        };
        assert!(close(&back.gram, &white.gram) && close(&back.cross, &white.cross));
    }

    #[test]
    fn directions_are_of_one_size() {
        let Case { white, basis } = case();
        let spread = |gram: &Array2<f64>| {
            let diagonal = gram.diag();
            let most = diagonal.iter().copied().fold(0.0, f64::max);
            most / diagonal.iter().copied().fold(f64::INFINITY, f64::min)
        };
        let narrow = spread(&basis.apply(&white).unwrap().gram);
        assert!(narrow < 20.0, "{narrow}");
        assert!(spread(&white.gram) > 3.0 * narrow);
    }

    #[test]
    fn the_trace_is_that_of_the_whitened_system() {
        let Case { white, basis } = case();
        let mut system = basis.apply(&white).unwrap();
        let rows = Array2::from_shape_fn((3, 20), |(row, at)| (row * at) as f64 * 0.1);
        system.gram = rows.t().dot(&rows) + Array2::<f64>::eye(20) * 0.5;
        let expected = basis.undo(&system).unwrap().gram.diag().sum();
        let trace = basis.whitened_trace(rows.view(), 0.5).unwrap();
        assert!((trace / expected - 1.0).abs() < 1e-9, "{trace} {expected}");
    }
}
