//! What the coordinator knows of the covariance C of a fleet's standardised rows: its
//! products with the directions that it has asked for.
//!
//! A block Krylov space (Golub and Underwood 1977; Musco and Musco, NeurIPS 2015): the
//! first block spans the class means and random directions; each one after it spans
//! what (C + λ)W = M leaves unsolved of the ridge regression on the classes, and what
//! the products so far say of the largest eigenvectors. A sketch by random directions
//! alone keeps what varies most, and not what tells classes apart.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use common::math::linalg::{LinalgError, top_eigenpairs};

/// Directions V, and CV.
#[derive(Clone, Debug)]
pub(super) struct Subspace {
    /// Class means M apart from the mean of all, each times the root of its share of the
    /// rows; shape (features, classes).
    means: Array2<f64>,
    /// Orthonormal, shape (features, directions).
    basis: Array2<f64>,
    /// Shape (features, directions).
    products: Array2<f64>,
}

impl Subspace {
    /// Of class means (features, classes), each times the root of its share of the rows,
    /// without any products.
    pub(super) fn of(means: Array2<f64>) -> Self {
        let nothing = Array2::zeros((means.nrows(), 0));
        Self {
            means,
            basis: nothing.clone(),
            products: nothing,
        }
    }

    /// The directions to ask for next, orthonormal and outside of those known; at most as
    /// many as `random` has columns, which fill what nothing else does.
    ///
    /// # Errors
    /// If an eigenvalue cannot be found.
    pub(super) fn next(&self, random: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
        let count = random.ncols();
        let wanted = match self.basis.ncols() {
            0 => concatenate![Axis(1), leading(&self.means, count)?.1, random],
            _ => {
                let core = self.core()?;
                let known = core.solve(&self.basis.t().dot(&self.means));
                let reached = self.products.dot(&known) + self.basis.dot(&known) * RIDGE;
                let unsolved = outside(&(&self.means - &reached), &self.basis);
                let (_, first) = leading(&unsolved, count)?;
                let (_, components) = self.components(&core)?;
                concatenate![Axis(1), first, components, random]
            }
        };
        Ok(orthonormal(&wanted, &self.basis, count))
    }

    /// Joins a block of [`Self::next`] and its products.
    pub(super) fn add(&mut self, block: &Array2<f64>, products: &Array2<f64>) {
        self.basis = concatenate![Axis(1), self.basis, *block];
        self.products = concatenate![Axis(1), self.products, *products];
    }

    /// Directions (features, directions) for the rows, and how many of them are
    /// discriminants, which come first: solutions of the ridge regression in the space
    /// known, of unit deviation within the classes. After them the largest principal
    /// components outside of these, `components` of them at most, of deviation
    /// [`COMPONENT`]. `classes` is how many of them there are.
    ///
    /// # Errors
    /// If an eigenvalue cannot be found.
    pub(super) fn directions(
        &self,
        classes: usize,
        components: usize,
    ) -> Result<(Array2<f64>, usize), LinalgError> {
        let core = self.core()?;
        let coefficients = core.solve(&self.basis.t().dot(&self.means));
        let (_, discriminants) = leading(&coefficients, classes.saturating_sub(1))?;
        let covariance = discriminants.t().dot(&core.matrix.dot(&discriminants));
        let discriminants = self.basis.dot(&discriminants);
        let apart = discriminants.t().dot(&self.means);
        let within = symmetric(&(&covariance - &apart.dot(&apart.t())));
        let count = discriminants.ncols();
        let (values, turned) = top_eigenpairs(within.view(), count)?;
        let least = WITHIN_MIN
            * values
                .first()
                .copied()
                .unwrap_or(1.0)
                .max(f64::MIN_POSITIVE);
        let scales = values.mapv(|value| value.max(least).sqrt());
        let first = discriminants.dot(&(&turned / &scales));

        // Directions that devices were told were rounded on the way: what is left of the
        // discriminants in the components would be made as large as these.
        let (values, vectors) = self.components(&core)?;
        let taken = orthonormal(&discriminants, &Array2::zeros((first.nrows(), 0)), count);
        let rest = outside(&(&vectors * &values.mapv(f64::sqrt)), &taken);
        let (values, vectors) = leading(&rest, components)?;
        let least = COMPONENT_MIN * values.first().copied().unwrap_or(0.0);
        let kept = { values.iter() }
            .take_while(|value| **value > least)
            .count();
        let (values, vectors) = (values.slice(s![..kept]), vectors.slice(s![.., ..kept]));
        let second = &vectors * COMPONENT / &values.mapv(f64::sqrt);
        Ok((concatenate![Axis(1), first, second], count))
    }

    /// Largest eigenpairs of C, by Nyström's C ≈ Y(VᵀY)⁻¹Yᵀ, largest first.
    fn components(&self, core: &Core) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
        let kept = { core.values.iter() }.take_while(|value| **value > core.least);
        let kept = kept.count().max(1).min(core.values.len());
        let roots = core.values.slice(s![..kept]).mapv(f64::sqrt);
        let turned = &core.vectors.slice(s![.., ..kept]) / &roots;
        let factor = self.products.dot(&turned);
        leading(&factor, kept)
    }

    fn core(&self) -> Result<Core, LinalgError> {
        let matrix = symmetric(&self.basis.t().dot(&self.products));
        let (values, vectors) = top_eigenpairs(matrix.view(), matrix.nrows())?;
        let least = CORE_MIN * values.first().copied().unwrap_or(0.0).max(1e-12);
        Ok(Core {
            matrix,
            values: values.mapv(|value| value.max(least)),
            vectors,
            least,
        })
    }
}

/// VᵀCV and its eigenpairs, none of them below the least.
struct Core {
    matrix: Array2<f64>,
    values: Array1<f64>,
    vectors: Array2<f64>,
    least: f64,
}

impl Core {
    /// (VᵀCV + λ)⁻¹ times this.
    fn solve(&self, right: &Array2<f64>) -> Array2<f64> {
        let scales = self.values.mapv(|value| 1.0 / (value + RIDGE));
        let turned = self.vectors.t().dot(right);
        self.vectors.dot(&(&turned * &scales.insert_axis(Axis(1))))
    }
}

/// At most `count` left singular vectors of this, largest first, with the squares of their
/// singular values; those that rounding makes are left out.
fn leading(columns: &Array2<f64>, count: usize) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
    let products = symmetric(&columns.t().dot(columns));
    let most = count.min(products.nrows());
    let (values, vectors) = top_eigenpairs(products.view(), most)?;
    let least = SQUARE_MIN
        * values
            .first()
            .copied()
            .unwrap_or(0.0)
            .max(f64::MIN_POSITIVE);
    let kept = { values.iter() }
        .take_while(|value| **value > least)
        .count();
    let values = values.slice(s![..kept]).to_owned();
    let left = columns.dot(&(&vectors.slice(s![.., ..kept]) / &values.mapv(f64::sqrt)));
    Ok((values, left))
}

fn symmetric(matrix: &Array2<f64>) -> Array2<f64> {
    (matrix + &matrix.t()) / 2.0
}

/// What columns have outside of orthonormal ones.
fn outside(columns: &Array2<f64>, basis: &Array2<f64>) -> Array2<f64> {
    columns - &basis.dot(&basis.t().dot(columns))
}

/// At most `count` orthonormal columns that span the first of these, by Gram–Schmidt,
/// twice for each, outside of the orthonormal columns of `basis`; what a column adds less
/// than a thousandth of its length is left out.
pub(super) fn orthonormal(columns: &Array2<f64>, basis: &Array2<f64>, count: usize) -> Array2<f64> {
    let mut kept: Vec<Array1<f64>> = Vec::new();
    for column in columns.columns() {
        if kept.len() == count {
            break;
        }
        let length = column.dot(&column).sqrt();
        let mut left = column.to_owned();
        for _ in 0..2 {
            left = &left - &basis.dot(&basis.t().dot(&left));
            for one in &kept {
                let along = one.dot(&left);
                left.scaled_add(-along, one);
            }
        }
        let new = left.dot(&left).sqrt();
        if new > 1e-3 * length && new > 0.0 {
            kept.push(left / new);
        }
    }
    let mut out = Array2::zeros((columns.nrows(), kept.len()));
    for (mut target, column) in out.columns_mut().into_iter().zip(&kept) {
        target.assign(column);
    }
    out
}

/// Ridge of the regression on the classes, beside a variance of 1 of each feature.
const RIDGE: f64 = 0.1;
/// Deviation of a principal component, where discriminants have 1 within the classes.
const COMPONENT: f64 = 0.7;
/// A component varies by at least this share of the one that varies most.
const COMPONENT_MIN: f64 = 2e-3;
/// Eigenvalues below these shares of the largest are rounding.
const CORE_MIN: f64 = 1e-4;
const SQUARE_MIN: f64 = 1e-10;
/// A discriminant varies by at least this share of the one that varies most within classes.
const WITHIN_MIN: f64 = 0.02;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_distr::{Distribution as _, StandardNormal};

    use common::math::linalg::Cholesky;
    use common::math::random::rng;

    use super::*;

    const FEATURES: usize = 60;

    /// Means of three classes, and a covariance whose eigenvalues fall by a fifth.
    fn problem() -> (Array2<f64>, Array2<f64>) {
        let mut random = rng(3, "subspace");
        let mut normal = |columns| {
            Array2::from_shape_simple_fn((FEATURES, columns), || -> f64 {
                StandardNormal.sample(&mut random)
            })
        };
        let nothing = Array2::zeros((FEATURES, 0));
        let vectors = orthonormal(&normal(FEATURES), &nothing, FEATURES);
        let values = Array1::from_shape_fn(FEATURES, |at| 10.0 * 0.8f64.powi(at as i32) + 0.05);
        let mut means = normal(3);
        let middle = means.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
        means -= &middle;
        means *= 0.1;
        let within = symmetric(&(&vectors * &values).dot(&vectors.t()));
        (within + means.dot(&means.t()), means)
    }

    fn asked(blocks: &[usize]) -> (Subspace, Array2<f64>, Array2<f64>) {
        let (covariance, means) = problem();
        let mut subspace = Subspace::of(means.clone());
        let mut random = rng(4, "blocks");
        for &columns in blocks {
            let drawn = Array2::from_shape_simple_fn((FEATURES, columns), || -> f64 {
                StandardNormal.sample(&mut random)
            });
            let block = subspace.next(drawn.view()).unwrap();
            subspace.add(&block, &covariance.dot(&block));
        }
        (subspace, covariance, means)
    }

    /// How far the plain solution (C + λ)⁻¹M lies outside of the discriminants.
    fn missed(blocks: &[usize]) -> f64 {
        let (subspace, covariance, means) = asked(blocks);
        let ridge = &covariance + &(Array2::<f64>::eye(FEATURES) * RIDGE);
        let plain = { Cholesky::factor(ridge.view()).unwrap() }
            .solve(means.view())
            .unwrap();
        let (directions, count) = subspace.directions(3, 8).unwrap();
        assert_eq!(count, 2);
        let first = directions.slice(s![.., ..count]).to_owned();
        let basis = orthonormal(&first, &Array2::zeros((FEATURES, 0)), count);
        let out = outside(&plain, &basis);
        (out.iter().map(|v| v * v).sum::<f64>() / plain.iter().map(|v| v * v).sum::<f64>()).sqrt()
    }

    #[test]
    fn all_directions_give_plain_ridge_regression() {
        assert!(missed(&[20, 20, 20]) < 1e-6);
        let (one, three) = (missed(&[12]), missed(&[4, 4, 4]));
        assert!(three < 0.7 * one, "{three} of three blocks, {one} of one");
    }

    #[test]
    fn directions_have_the_promised_deviations() {
        let (subspace, covariance, means) = asked(&[20, 20, 20]);
        let (directions, count) = subspace.directions(3, 8).unwrap();
        let within = &covariance - &means.dot(&means.t());
        let first = directions.slice(s![.., ..count]);
        let inside = first.t().dot(&within.dot(&first));
        let apart = (&inside - &Array2::<f64>::eye(count)).mapv(f64::abs);
        assert!(apart.iter().all(|one| *one < 1e-6), "{inside}");
        let second = directions.slice(s![.., count..]);
        assert!(first.t().dot(&second).iter().all(|one| one.abs() < 1e-6));
    }

    #[test]
    fn rounded_directions_are_kept_out_of_discriminants() {
        let (covariance, means) = problem();
        let mut subspace = Subspace::of(means.clone());
        let mut random = rng(4, "blocks");
        let drawn = Array2::from_shape_simple_fn((FEATURES, 9), || -> f64 {
            StandardNormal.sample(&mut random)
        });
        let block = subspace.next(drawn.view()).unwrap();
        let block = block.mapv(|value| (value * 200.0).round() / 200.0);
        subspace.add(&block, &covariance.dot(&block));
        let (directions, count) = subspace.directions(3, 20).unwrap();
        assert_eq!((count, directions.ncols()), (2, 2 + 9));
        let deviations = directions
            .t()
            .dot(&covariance.dot(&directions))
            .diag()
            .mapv(f64::sqrt);
        assert!(deviations.iter().all(|one| *one < 3.0), "{deviations}");
    }

    #[test]
    fn blocks_are_orthonormal_and_outside_of_those_before() {
        let (subspace, ..) = asked(&[5, 7, 3]);
        let products = subspace.basis.t().dot(&subspace.basis);
        let apart = (&products - &Array2::<f64>::eye(15)).mapv(f64::abs);
        assert!(apart.iter().all(|one| *one < 1e-9));
    }
}
