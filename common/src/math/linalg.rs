//! Dense symmetric linear algebra in f64: Cholesky with jitter, and
//! eigenpairs. The one file that names the LAPACK binding.

use ndarray::{Array1, Array2, ArrayView2, s};
use ndarray_linalg::{Cholesky as _, Diag, Eigh as _, SolveTriangularInto as _, UPLO};

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
        let scale = a.diag().sum() / size.max(1) as f64;
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
            if !(scale > 0.0) || relative > JITTER_MAX {
                return Err(LinalgError::NotPositiveDefinite { size, jitter });
            }
            jitter = relative * scale;
            relative *= 10.0;
        }
    }

    /// What was added to the diagonal, in the matrix's own units; 0 if it
    /// needed nothing.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// L⁻¹·b for b of m×C. Cost m²C.
    ///
    /// # Errors
    /// If b has another number of rows.
    pub fn solve_lower(&self, b: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        let expected = self.lower.nrows();
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
        self.lower
            .solve_triangular_into(UPLO::Lower, Diag::NonUnit, b)
            .map_err(library)
    }

    /// L⁻ᵀ·b for b of m×C. Cost m²C.
    ///
    /// # Errors
    /// If b has another number of rows.
    pub fn solve_upper(&self, b: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        let expected = self.lower.nrows();
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
        let upper = self.lower.t().to_owned();
        upper
            .solve_triangular_into(UPLO::Upper, Diag::NonUnit, b)
            .map_err(library)
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
