//! What is known of the covariance C of a fleet's standardised rows: its products with
//! some directions, and the directions for a linear projection that follow from them.
//!
//! Products come in blocks or in one sketch. Of blocks, each chosen from those before, a
//! block Krylov space (Golub and Underwood 1977; Musco and Musco, NeurIPS 2015): the
//! first block spans the class means and random directions; each one after it spans
//! what (C + λ)W = M leaves unsolved of the ridge regression on the classes, and what
//! the products so far say of the largest eigenvectors. A sketch by random directions
//! alone keeps what varies most, and not what tells classes apart: of one sketch C is
//! taken to be what it holds (Nyström) and a variance of each feature by itself beside
//! that, which makes up for most of it.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

use crate::linalg::{Cholesky, LinalgError, top_eigenpairs};

/// Directions V, and CV.
#[derive(Clone, Debug)]
pub struct Subspace {
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
    pub fn of(means: Array2<f64>) -> Self {
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
    pub fn next(&self, random: ArrayView2<'_, f64>) -> Result<Array2<f64>, LinalgError> {
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
    pub fn add(&mut self, block: &Array2<f64>, products: &Array2<f64>) {
        self.basis = concatenate![Axis(1), self.basis, *block];
        self.products = concatenate![Axis(1), self.products, *products];
    }

    /// Directions (features, directions) for the rows, and how many of them are
    /// discriminants, which come first: solutions of the ridge regression in the space
    /// known, of unit deviation within the classes. After them the largest principal
    /// components outside of these, `components` of them at most, of deviation
    /// `COMPONENT`. `classes` is how many of them there are.
    ///
    /// # Errors
    /// If an eigenvalue cannot be found.
    pub fn directions(
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
        let first = scaled(&discriminants, &(&covariance - &apart.dot(&apart.t())))?;
        let count = first.ncols();
        let (values, vectors) = self.components(&core)?;
        let factor = &vectors * &values.mapv(f64::sqrt);
        let second = beside(&discriminants, &factor, components)?;
        Ok((concatenate![Axis(1), first, second], count))
    }

    /// Products with directions that nobody chose: `sketch` (features, columns), which need
    /// not be orthonormal, and C times it.
    ///
    /// # Errors
    /// If the columns of the sketch depend on one another.
    pub fn of_sketch(
        means: Array2<f64>,
        sketch: &Array2<f64>,
        products: &Array2<f64>,
    ) -> Result<Self, LinalgError> {
        // S = VLᵀ with LLᵀ = SᵀS, so V = SL⁻ᵀ and CV = (CS)L⁻ᵀ.
        let factor = Cholesky::factor(symmetric(&sketch.t().dot(sketch)).view())?;
        let orthonormal = |of: &Array2<f64>| -> Result<Array2<f64>, LinalgError> {
            Ok(factor.solve_lower(of.t())?.reversed_axes())
        };
        Ok(Self {
            means,
            basis: orthonormal(sketch)?,
            products: orthonormal(products)?,
        })
    }

    /// As many directions as `drawn` (features, directions) has, as [`Self::directions`]
    /// orders and scales them, where all products are of one sketch; and how many of
    /// them are discriminants. `variances` are those of the features: 1, or 0 for one
    /// that does not vary.
    ///
    /// The covariance within the classes, C − MMᵀ, is taken to be UΛUᵀ + R: the sketch's
    /// largest eigenpairs, and in the diagonal R what these leave of each feature's
    /// variance. Discriminants solve (UΛUᵀ + R + λ)W = M by Woodbury's identity, outside of
    /// what was asked for too; with C instead the solutions span the same space.
    /// Where discriminants and components are too few, drawn directions are taken. Cost:
    /// features · directions².
    ///
    /// # Errors
    /// If an eigenvalue cannot be found.
    pub fn filled_directions(
        &self,
        classes: usize,
        drawn: ArrayView2<'_, f64>,
        variances: ArrayView1<'_, f64>,
    ) -> Result<(Array2<f64>, usize), LinalgError> {
        let count = drawn.ncols();
        // What is made of C may say less along a direction than lies between the classes;
        // what is made of what lies within them is never below zero.
        let within = Self {
            products: &self.products - &self.means.dot(&self.means.t().dot(&self.basis)),
            ..self.clone()
        };
        let pairs = match within.basis.ncols() {
            0 => (Array1::zeros(0), Array2::zeros((self.means.nrows(), 0))),
            _ => within.components(&within.core()?)?,
        };
        let between = { self.means.rows().into_iter() }.map(|row| row.dot(&row));
        let variances = &variances - &Array1::from_iter(between);
        let within = Modelled::of(pairs, variances.view());
        let solved = within.solve(&self.means)?;
        let (_, discriminants) = leading(&solved, classes.saturating_sub(1).min(count))?;
        let first = scaled(&discriminants, &within.along(&discriminants))?;
        let found = first.ncols();
        let (values, vectors) = &within.pairs;
        let factor = concatenate![Axis(1), vectors * &values.mapv(f64::sqrt), self.means];
        let second = beside(&discriminants, &factor, count - found)?;
        let both = concatenate![Axis(1), first, second];
        let nothing = Array2::zeros((both.nrows(), 0));
        let taken = orthonormal(&both, &nothing, count);
        let mut filled = orthonormal(&drawn.to_owned(), &taken, count - both.ncols());
        let deviations = within.along(&filled);
        for (mut column, &variance) in filled.columns_mut().into_iter().zip(deviations.diag()) {
            column *= COMPONENT / variance.max(within.least()).sqrt();
        }
        // Where features are few, nothing may be left to draw: zeros tell nothing.
        let mut all = Array2::zeros((both.nrows(), count));
        let every = both.columns().into_iter().chain(filled.columns());
        for (mut target, column) in all.columns_mut().into_iter().zip(every) {
            target.assign(&column);
        }
        Ok((all, found))
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

/// A covariance UΛUᵀ + R, with R diagonal.
struct Modelled {
    /// Λ and U, shape (features, eigenpairs).
    pairs: (Array1<f64>, Array2<f64>),
    /// The diagonal of R.
    rest: Array1<f64>,
}

impl Modelled {
    /// Of these eigenpairs, and features of these variances.
    fn of(pairs: (Array1<f64>, Array2<f64>), variances: ArrayView1<'_, f64>) -> Self {
        let (values, vectors) = &pairs;
        let told = vectors.mapv(|value| value * value).dot(values);
        let rest = (&variances - &told).mapv(|value| value.max(0.0));
        Self { rest, pairs }
    }

    /// (UΛUᵀ + R + λ)⁻¹ times this.
    fn solve(&self, right: &Array2<f64>) -> Result<Array2<f64>, LinalgError> {
        let (values, vectors) = &self.pairs;
        let inverse = self.rest.mapv(|value| 1.0 / (value + RIDGE));
        let inverse = inverse.insert_axis(Axis(1));
        let (alone, turned) = (right * &inverse, vectors * &inverse);
        if values.is_empty() {
            return Ok(alone);
        }
        let mut small = vectors.t().dot(&turned);
        for (at, value) in values.iter().enumerate() {
            small[[at, at]] += 1.0 / value.max(f64::MIN_POSITIVE);
        }
        let factor = Cholesky::factor(symmetric(&small).view())?;
        let shared = factor.solve(vectors.t().dot(&alone).view())?;
        Ok(alone - turned.dot(&shared))
    }

    /// The covariance of directions.
    fn along(&self, directions: &Array2<f64>) -> Array2<f64> {
        let (values, vectors) = &self.pairs;
        let seen = vectors.t().dot(directions);
        let rest = &self.rest.view().insert_axis(Axis(1)) * directions;
        let scaled = &seen * &values.view().insert_axis(Axis(1));
        seen.t().dot(&scaled) + directions.t().dot(&rest)
    }

    /// A drawn direction is scaled as if it varied by this much at least.
    fn least(&self) -> f64 {
        let largest = self.pairs.0.first().copied().unwrap_or(0.0);
        (COMPONENT_MIN * largest).max(RIDGE)
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

/// Discriminants turned and scaled to unit deviation within the classes; `within` is the
/// covariance of rows along them from their classes' means.
fn scaled(discriminants: &Array2<f64>, within: &Array2<f64>) -> Result<Array2<f64>, LinalgError> {
    let (values, turned) = top_eigenpairs(symmetric(within).view(), discriminants.ncols())?;
    let largest = values.first().copied().unwrap_or(1.0);
    let least = WITHIN_MIN * largest.max(WITHIN_MIN);
    let scales = values.mapv(|value| value.max(least).sqrt());
    Ok(discriminants.dot(&(&turned / &scales)))
}

/// The largest principal components outside of the discriminants, `count` at most, of the
/// covariance FFᵀ of the factor F. Directions that devices were told were rounded on the
/// way: what is left of the discriminants in the components would be made as large as
/// these.
fn beside(
    discriminants: &Array2<f64>,
    factor: &Array2<f64>,
    count: usize,
) -> Result<Array2<f64>, LinalgError> {
    let nothing = Array2::zeros((discriminants.nrows(), 0));
    let taken = orthonormal(discriminants, &nothing, discriminants.ncols());
    let (values, vectors) = leading(&outside(factor, &taken), count)?;
    let least = COMPONENT_MIN * values.first().copied().unwrap_or(0.0);
    let kept = { values.iter() }
        .take_while(|value| **value > least)
        .count();
    let (values, vectors) = (values.slice(s![..kept]), vectors.slice(s![.., ..kept]));
    Ok(&vectors * COMPONENT / &values.mapv(f64::sqrt))
}

/// Standardised means of the classes that somebody spoke of, apart from the mean of all,
/// each times the root of its share of the rows; shape (features, classes). What is
/// told: class, rows it counts for, and its mean in features as they are, whose mean and
/// deviation over all rows are these.
pub fn class_means<'a>(
    told: impl IntoIterator<Item = (usize, f64, ArrayView1<'a, f64>)>,
    classes: usize,
    mean: ArrayView1<'_, f64>,
    deviation: ArrayView1<'_, f64>,
) -> Array2<f64> {
    let mut sums = Array2::<f64>::zeros((mean.len(), classes));
    let mut rows = vec![0.0; classes];
    for (class, count, one) in told {
        sums.column_mut(class).scaled_add(count, &one);
        rows[class] += count;
    }
    let known: Vec<usize> = (0..classes).filter(|&class| rows[class] > 0.0).collect();
    let mut means = sums.select(Axis(1), &known);
    let all: f64 = rows.iter().sum();
    let mut middle = Array1::<f64>::zeros(mean.len());
    for (mut own, &class) in means.columns_mut().into_iter().zip(&known) {
        own /= rows[class];
        own -= &mean;
        own /= &deviation;
        middle.scaled_add(rows[class] / all, &own);
    }
    for (mut own, &class) in means.columns_mut().into_iter().zip(&known) {
        own -= &middle;
        own *= (rows[class] / all).sqrt();
    }
    means
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
pub fn orthonormal(columns: &Array2<f64>, basis: &Array2<f64>, count: usize) -> Array2<f64> {
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

    use crate::random::rng;

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

    /// How far the plain solution lies outside of the discriminants of one sketch, and
    /// outside of those in its span.
    fn missed_by_sketch(columns: usize) -> (f64, f64) {
        let (covariance, means) = problem();
        let deviation = covariance.diag().mapv(f64::sqrt).insert_axis(Axis(1));
        let covariance = &covariance / &deviation.dot(&deviation.t());
        let means = means / &deviation;
        let mut random = rng(4, "sketch");
        let mut drawn = |columns| {
            Array2::from_shape_simple_fn((FEATURES, columns), || -> f64 {
                StandardNormal.sample(&mut random)
            })
        };
        let (sketch, fill) = (drawn(columns), drawn(12));
        let subspace =
            Subspace::of_sketch(means.clone(), &sketch, &covariance.dot(&sketch)).unwrap();
        let ones = Array1::ones(FEATURES);
        let (directions, count) = subspace
            .filled_directions(3, fill.view(), ones.view())
            .unwrap();
        assert_eq!((count, directions.ncols()), (2, 12));
        assert!(directions.iter().all(|value| value.is_finite()));
        let ridge = &covariance + &(Array2::<f64>::eye(FEATURES) * RIDGE);
        let plain = { Cholesky::factor(ridge.view()).unwrap() }
            .solve(means.view())
            .unwrap();
        let missed = |directions: &Array2<f64>| {
            let first = directions.slice(s![.., ..2]).to_owned();
            let basis = orthonormal(&first, &Array2::zeros((FEATURES, 0)), 2);
            let square = |of: &Array2<f64>| of.iter().map(|v| v * v).sum::<f64>();
            (square(&outside(&plain, &basis)) / square(&plain)).sqrt()
        };
        let in_span = match columns {
            0 => 1.0,
            _ => missed(&subspace.directions(3, 8).unwrap().0),
        };
        (missed(&directions), in_span)
    }

    #[test]
    fn a_wider_sketch_gives_better_discriminants() {
        let (none, some, most) = (
            missed_by_sketch(0),
            missed_by_sketch(15),
            missed_by_sketch(40),
        );
        let all = missed_by_sketch(FEATURES);
        println!("{none:?} {some:?} {most:?} {all:?}");
        assert!(
            some.0 < 0.9 * none.0,
            "{some:?} of 15 columns, {none:?} of none"
        );
        assert!(
            most.0 < 0.8 * some.0,
            "{most:?} of 40 columns, {some:?} of 15"
        );
        assert!(all.0 < 1e-2, "{all:?} of all");
        assert!(some.0 < 0.7 * some.1, "{some:?} of 15 columns");
    }

    /// What is not told of the covariance must not make it smaller than what lies between
    /// the classes.
    #[test]
    fn far_classes_and_few_columns_give_finite_directions() {
        let (covariance, means) = problem();
        let far = &means * 40.0;
        let covariance = &covariance + &far.dot(&far.t());
        let deviation = covariance.diag().mapv(f64::sqrt).insert_axis(Axis(1));
        let covariance = &covariance / &deviation.dot(&deviation.t());
        let far = far / &deviation;
        let mut random = rng(4, "far");
        let mut drawn = |columns| {
            Array2::from_shape_simple_fn((FEATURES, columns), || -> f64 {
                StandardNormal.sample(&mut random)
            })
        };
        let (sketch, fill) = (drawn(2), drawn(8));
        let subspace = Subspace::of_sketch(far, &sketch, &covariance.dot(&sketch)).unwrap();
        let ones = Array1::ones(FEATURES);
        let (directions, count) =
            { subspace.filled_directions(3, fill.view(), ones.view()) }.unwrap();
        assert_eq!((count, directions.ncols()), (2, 8));
        assert!(
            directions.iter().all(|value| value.abs() < 1e3),
            "{directions}"
        );
    }
}
