//! Dense symmetric linear algebra in f64: Cholesky with jitter, and
//! eigenpairs. The one file that names the LAPACK binding.

use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Data, Ix2, s};
use ndarray_linalg::{
    Cholesky as _, CholeskyInplace as _, Diag, Eigh as _, SolveTriangularInto as _, UPLO,
};

/// A matrix could not be factored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinalgError {
    /// A square matrix was expected.
    #[error("expected a square matrix, got {rows} x {columns}")]
    NotSquare {
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// The two halves of the matrix differ by more than rounding.
    #[error(
        "matrix is not symmetric: entries [{row}, {column}] and [{column}, {row}] differ by {difference:e}"
    )]
    NotSymmetric {
        /// Row of the first offending entry.
        row: usize,
        /// Its column.
        column: usize,
        /// Absolute difference.
        difference: f64,
    },
    /// An entry is NaN or infinite.
    #[error("entry [{row}, {column}] is not finite")]
    NonFinite {
        /// Row of the entry.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// No Cholesky factor exists, even with the largest jitter.
    #[error(
        "matrix of size {size} is not positive definite, even with {jitter:e} added to its diagonal"
    )]
    NotPositiveDefinite {
        /// Rows of the matrix.
        size: usize,
        /// Largest jitter tried.
        jitter: f64,
    },
    /// A right-hand side has the wrong height.
    #[error("expected a right-hand side of {expected} rows, got {got}")]
    RightSide {
        /// Rows of the factored matrix.
        expected: usize,
        /// Rows that came.
        got: usize,
    },
    /// The library failed on an input that passed every check.
    #[error("linear algebra library failed: {0}")]
    Library(String),
}

/// A = L·Lᵀ of a symmetric positive definite matrix, with as much added to
/// its diagonal as that took.
#[derive(Debug, Clone)]
pub struct Cholesky {
    lower: Array2<f64>,
    jitter: f64,
}

impl Cholesky {
    /// Factors `a` (m×m), first as it is, then with 1e-12 of its mean
    /// diagonal entry added to the diagonal, and ten times as much on every
    /// failure, up to 1e-4. Cost m³/3 a try.
    pub fn factor(a: ArrayView2<'_, f64>) -> Result<Self, LinalgError> {
        check_symmetric(a)?;
        let size = a.nrows();
        if size == 0 {
            return Ok(Self {
                lower: a.to_owned(),
                jitter: 0.0,
            });
        }
        let scale = a.diag().sum() / size as f64;
        let mut jitter = 0.0;
        let mut relative = JITTER_FIRST;
        loop {
            let mut shifted = a.to_owned();
            shifted.diag_mut().map_inplace(|value| *value += jitter);
            // A factor of a hopeless matrix can come back with NaN and no
            // complaint; its diagonal shows it.
            if let Ok(lower) = shifted.cholesky(UPLO::Lower)
                && lower
                    .diag()
                    .iter()
                    .all(|value| value.is_finite() && *value > 0.0)
            {
                return Ok(Self { lower, jitter });
            }
            if scale <= 0.0 || relative > JITTER_MAX {
                return Err(LinalgError::NotPositiveDefinite { size, jitter });
            }
            jitter = relative * scale;
            relative *= 10.0;
        }
    }

    /// Factors a large `a` (m×m) where it lies: no second matrix is made, and
    /// nothing is added to its diagonal. Cost m³/3; symmetry is the caller's
    /// promise, only the lower triangle counts.
    ///
    /// # Errors
    /// If it is not square, not finite or not positive definite as it is.
    pub fn factor_in_place(mut a: Array2<f64>) -> Result<Self, LinalgError> {
        let (rows, columns) = a.dim();
        if rows != columns {
            return Err(LinalgError::NotSquare { rows, columns });
        }
        if let Some(((row, column), _)) = a.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(LinalgError::NonFinite { row, column });
        }
        let refused = LinalgError::NotPositiveDefinite {
            size: rows,
            jitter: 0.0,
        };
        if rows > 0 {
            a.cholesky_inplace(UPLO::Lower)
                .map_err(|_| refused.clone())?;
        }
        let definite = |value: &f64| value.is_finite() && *value > 0.0;
        if a.diag().iter().all(definite) {
            Ok(Self {
                lower: a,
                jitter: 0.0,
            })
        } else {
            Err(refused)
        }
    }

    /// What was added to the diagonal, in the matrix's own units; 0 if it
    /// needed nothing.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// L, m×m; what stands above the diagonal is zero.
    pub fn lower(&self) -> ArrayView2<'_, f64> {
        self.lower.view()
    }

    /// L⁻¹·b for b of m×C. Cost m²C.
    ///
    /// # Errors
    /// If b has another number of rows.
    pub fn solve_lower(&self, b: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        solve(&self.lower, UPLO::Lower, b)
    }

    /// L⁻ᵀ·b for b of m×C. Cost m²C.
    ///
    /// # Errors
    /// If b has another number of rows.
    pub fn solve_upper(&self, b: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        solve(&self.lower.t(), UPLO::Upper, b)
    }

    /// A⁻¹·b for b of m×C. Cost 2m²C.
    pub fn solve(&self, b: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        let half = self.solve_lower(b)?;
        self.solve_upper(half.view())
    }
}

/// Eigenvalues in ascending order (m) and, as columns, orthonormal
/// eigenvectors (m×m) of a symmetric matrix. Cost about 9m³.
pub fn symmetric_eigen(a: ArrayView2<'_, f64>) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
    check_symmetric(a)?;
    if a.is_empty() {
        return Ok((Array1::zeros(0), Array2::zeros((0, 0))));
    }
    a.to_owned().eigh(UPLO::Lower).map_err(library)
}

/// The `count` largest eigenvalues, largest first (r), and their eigenvectors
/// as columns (m×r), with r = min(`count`, m). Cost as [`symmetric_eigen`].
pub fn top_eigenpairs(
    a: ArrayView2<'_, f64>,
    count: usize,
) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
    let (values, vectors) = symmetric_eigen(a)?;
    let from = values.len().saturating_sub(count);
    let values = values.slice(s![from..;-1]).to_owned();
    let vectors = vectors
        .slice(s![.., from..;-1])
        .as_standard_layout()
        .into_owned();
    Ok((values, vectors))
}

/// Square, finite, and symmetric up to the rounding of sums in f32.
pub fn check_symmetric(a: ArrayView2<'_, f64>) -> Result<(), LinalgError> {
    let (rows, columns) = a.dim();
    if rows != columns {
        return Err(LinalgError::NotSquare { rows, columns });
    }
    let mut largest = 0.0_f64;
    for ((row, column), value) in a.indexed_iter() {
        if !value.is_finite() {
            return Err(LinalgError::NonFinite { row, column });
        }
        largest = largest.max(value.abs());
    }
    for row in 0..rows {
        for column in 0..row {
            let difference = (a[[row, column]] - a[[column, row]]).abs();
            if difference > SYMMETRY_MAX * largest {
                return Err(LinalgError::NotSymmetric {
                    row,
                    column,
                    difference,
                });
            }
        }
    }
    Ok(())
}

/// T⁻¹·b for a triangular T.
fn solve<S: Data<Elem = f64>>(
    triangle: &ArrayBase<S, Ix2>,
    half: UPLO,
    b: ArrayView2<'_, f64>,
) -> Result<Array2<f64>, LinalgError> {
    let expected = triangle.nrows();
    if b.nrows() != expected {
        return Err(LinalgError::RightSide {
            expected,
            got: b.nrows(),
        });
    }
    if b.is_empty() {
        return Ok(b.to_owned());
    }
    let b = b.as_standard_layout().into_owned();
    triangle
        .solve_triangular_into(half, Diag::NonUnit, b)
        .map_err(library)
}

fn library(error: ndarray_linalg::error::LinalgError) -> LinalgError {
    LinalgError::Library(error.to_string())
}

/// First jitter, relative to the mean diagonal entry.
const JITTER_FIRST: f64 = 1e-12;
/// Last jitter; more would change the problem, not its rounding. The slack
/// forgives the rounding of repeated multiplication by ten.
const JITTER_MAX: f64 = 1.001e-4;
/// Largest difference of mirrored entries, relative to the largest entry.
const SYMMETRY_MAX: f64 = 1e-5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::{Axis, array};
    use proptest::prelude::*;

    use super::*;

    /// M·Mᵀ + I of a matrix with the given entries.
    fn definite(size: usize, entries: &[f64]) -> Array2<f64> {
        let m = Array2::from_shape_fn((size, size), |(i, j)| entries[i * size + j]);
        m.dot(&m.t()) + Array2::<f64>::eye(size)
    }

    proptest! {
        #[test]
        fn a_solution_solves((size, entries, sides) in (1..8_usize).prop_flat_map(|size| {
            let entries = prop::collection::vec(-1.0..1.0_f64, size * size);
            (Just(size), entries, prop::collection::vec(-1.0..1.0_f64, size * 3))
        })) {
            let a = definite(size, &entries);
            let b = Array2::from_shape_fn((size, 3), |(i, j)| sides[i * 3 + j]);
            let factor = Cholesky::factor(a.view()).unwrap();
            prop_assert_eq!(factor.jitter(), 0.0);
            let x = factor.solve(b.view()).unwrap();
            prop_assert!((a.dot(&x) - &b).iter().all(|value| value.abs() <= 1e-10));
            // The same in the other memory order.
            let turned = b.t().to_owned();
            let y = factor.solve(turned.t()).unwrap();
            prop_assert!((&x - &y).iter().all(|value| value.abs() <= 1e-12));
        }

        #[test]
        fn eigenpairs_rebuild_the_matrix((size, entries) in (1..8_usize).prop_flat_map(|size| {
            (Just(size), prop::collection::vec(-1.0..1.0_f64, size * size))
        })) {
            let a = definite(size, &entries);
            let (values, vectors) = symmetric_eigen(a.view()).unwrap();
            prop_assert!(values.windows(2).into_iter().all(|pair| pair[0] <= pair[1]));
            let rebuilt = (&vectors * &values).dot(&vectors.t());
            prop_assert!((&rebuilt - &a).iter().all(|value| value.abs() <= 1e-10));
            let (top, frame) = top_eigenpairs(a.view(), 2).unwrap();
            prop_assert_eq!(frame.dim(), (size, 2.min(size)));
            prop_assert_eq!(top[0], values[size - 1]);
            let apart = a.dot(&frame) - &frame * &top;
            prop_assert!(apart.iter().all(|value| value.abs() <= 1e-10));
        }
    }

    #[test]
    fn a_singular_matrix_is_factored_with_a_reported_jitter() {
        let row = array![[1.0, 2.0, 3.0]];
        let a = row.t().dot(&row) - Array2::<f64>::eye(3) * 1e-9;
        let factor = Cholesky::factor(a.view()).unwrap();
        assert!(
            factor.jitter() > 1e-9 && factor.jitter() < 1e-6,
            "{}",
            factor.jitter()
        );
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        let a = array![[1.0, 2.0], [2.0, 1.0]];
        assert!(matches!(
            Cholesky::factor(a.view()),
            Err(LinalgError::NotPositiveDefinite { size: 2, .. })
        ));
        let negative = array![[-1.0]];
        let refused = Cholesky::factor(negative.view());
        assert!(matches!(
            refused,
            Err(LinalgError::NotPositiveDefinite {
                size: 1,
                jitter: 0.0
            })
        ));
    }

    #[test]
    fn bad_matrices_are_refused_before_the_library_sees_them() {
        let wide = Array2::<f64>::zeros((2, 3));
        let lopsided = array![[1.0, 0.5], [0.0, 1.0]];
        let nan = array![[1.0, f64::NAN], [f64::NAN, 1.0]];
        let not_square = LinalgError::NotSquare {
            rows: 2,
            columns: 3,
        };
        let not_symmetric = LinalgError::NotSymmetric {
            row: 1,
            column: 0,
            difference: 0.5,
        };
        let not_finite = LinalgError::NonFinite { row: 0, column: 1 };
        for (a, expected) in [
            (wide, not_square),
            (lopsided, not_symmetric),
            (nan, not_finite),
        ] {
            assert_eq!(Cholesky::factor(a.view()).unwrap_err(), expected);
            assert_eq!(symmetric_eigen(a.view()).unwrap_err(), expected);
            assert_eq!(top_eigenpairs(a.view(), 1).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_right_side_of_the_wrong_height_is_refused() {
        let factor = Cholesky::factor(Array2::<f64>::eye(3).view()).unwrap();
        let expected = LinalgError::RightSide {
            expected: 3,
            got: 2,
        };
        assert_eq!(factor.solve(Array2::zeros((2, 1)).view()), Err(expected));
    }

    #[test]
    fn empty_matrices_are_no_special_case() {
        let none = Array2::<f64>::zeros((0, 0));
        assert!(
            Cholesky::factor(none.view())
                .unwrap()
                .solve(none.view())
                .unwrap()
                .is_empty()
        );
        assert_eq!(symmetric_eigen(none.view()).unwrap().1.len_of(Axis(0)), 0);
    }
}
