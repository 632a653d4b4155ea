//! Inputs whose features lie where a device's moments say that rows are.

use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use common::math::linalg::Cholesky;

use super::AttackError;
use super::observed::{Embedding, unreadable};

/// Looks for rows x that minimise φ(x)ᵀ·ε(G + εI)⁻¹·φ(x)/‖φ(x)‖², the share of
/// φ(x) in directions of which G knows nothing. Where a device has fewer rows
/// than there are directions, its rows are zeros of that, and mostly the only
/// ones.
pub(super) struct Search<'a> {
    embedding: &'a Embedding,
    /// ε(G + εI)⁻¹, support × support.
    unknown: Array2<f64>,
    /// ‖x‖, where all rows have the same.
    length: Option<f64>,
}

/// A row that may have been described.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// As the kernel sees it.
    pub(super) row: Array1<f64>,
    /// What was minimised.
    pub(super) missed: f64,
}

impl<'a> Search<'a> {
    /// In `gram`, G of one device, whose rank is at most `rank`. Cost m³.
    pub(super) fn of(
        embedding: &'a Embedding,
        gram: &Array2<f64>,
        rank: usize,
        length: Option<f64>,
    ) -> Result<Self, AttackError> {
        let support = gram.nrows();
        let ridge = RIDGE * gram.diag().sum() / rank.clamp(1, support) as f64;
        let ridge = ridge.max(1e-9);
        let mut ridged = gram.clone();
        ridged.diag_mut().map_inplace(|value| *value += ridge);
        let factor = Cholesky::factor(ridged.view()).map_err(unreadable)?;
        let inverse = factor
            .solve(Array2::eye(support).view())
            .map_err(unreadable)?;
        Ok(Self {
            embedding,
            unknown: inverse * ridge,
            length,
        })
    }

    /// Descends from each of the starts (rows × features, as the kernel sees
    /// them). Cost a step: four products of starts × m². `step` hears of each.
    pub(super) fn descend(
        &self,
        mut rows: Array2<f64>,
        mut step: impl FnMut(),
    ) -> Result<Vec<Candidate>, AttackError> {
        let mut adam = Adam::of(rows.dim());
        self.project(&mut rows);
        for at in 0..STEPS {
            let (_, gradient) = self.missed(&rows)?;
            let left = 1.0 - at as f64 / STEPS as f64;
            adam.step(&mut rows, &gradient, RATE * left);
            self.project(&mut rows);
            step();
        }
        let (missed, _) = self.missed(&rows)?;
        let found = rows.rows().into_iter().zip(missed);
        Ok(found
            .map(|(row, missed)| Candidate {
                row: row.to_owned(),
                missed,
            })
            .collect())
    }

    /// What is minimised, and its gradient.
    fn missed(&self, rows: &Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), AttackError> {
        let phi = self.embedding.features(rows.view())?;
        let mut slope = phi.dot(&self.unknown);
        let mut missed = Vec::with_capacity(rows.nrows());
        for (mut slope, phi) in slope.rows_mut().into_iter().zip(phi.rows()) {
            let square = phi.dot(&phi).max(1e-12);
            let share = slope.dot(&phi) / square;
            slope.scaled_add(-share, &phi);
            slope *= 2.0 / square;
            missed.push(share);
        }
        let kernel = slope.dot(&self.embedding.lower);
        let gradient = self.embedding.ntk.backward(
            self.embedding.seen.view(),
            rows.view(),
            kernel.reversed_axes().as_standard_layout().into_owned(),
        );
        Ok((missed, gradient.map_err(unreadable)?))
    }

    fn project(&self, rows: &mut Array2<f64>) {
        if let Some(length) = self.length {
            for mut row in rows.rows_mut() {
                let is = row.dot(&row).sqrt().max(1e-12);
                row *= length / is;
            }
        }
    }
}

/// The length that all rows share, if they do.
pub(super) fn common_length(rows: &Array2<f64>) -> Option<f64> {
    let lengths: Array1<f64> = rows.rows().into_iter().map(length).collect();
    let mean = lengths.mean()?;
    lengths
        .iter()
        .all(|length| (length - mean).abs() < 1e-3 * mean)
        .then_some(mean)
}

/// The best candidates, no two of them nearer than `apart`.
pub(super) fn distinct(mut found: Vec<Candidate>, apart: f64, most: usize) -> Vec<Candidate> {
    found.sort_by(|one, other| one.missed.total_cmp(&other.missed));
    let mut kept: Vec<Candidate> = Vec::new();
    for one in found {
        if kept.len() == most {
            break;
        }
        let far = |other: &Candidate| distance(one.row.view(), other.row.view()) >= apart;
        if kept.iter().all(far) {
            kept.push(one);
        }
    }
    kept
}

/// The median over some of the rows of how far the nearest other one lies.
pub(super) fn typical_distance(rows: &Array2<f64>) -> f64 {
    let asked = rows.nrows().min(ASKED);
    let mut nearest: Vec<f64> = (0..asked)
        .map(|at| at * rows.nrows() / asked.max(1))
        .map(|at| {
            let others = rows.rows().into_iter().enumerate();
            let others = others.filter(|(other, _)| *other != at);
            others
                .map(|(_, other)| distance(rows.row(at), other))
                .fold(f64::INFINITY, f64::min)
        })
        .collect();
    nearest.sort_by(f64::total_cmp);
    nearest.get(asked / 2).copied().unwrap_or(0.0)
}

/// How far the nearest of the candidates lies from each row.
pub(super) fn misses(rows: &Array2<f64>, candidates: &[ArrayView1<'_, f64>]) -> Vec<f64> {
    let nearest = |row: ArrayView1<'_, f64>| {
        let far = candidates.iter().map(|&one| distance(row, one));
        far.fold(f64::INFINITY, f64::min)
    };
    rows.rows().into_iter().map(nearest).collect()
}

pub(super) fn distance(one: ArrayView1<'_, f64>, other: ArrayView1<'_, f64>) -> f64 {
    let pairs = one.iter().zip(other);
    pairs
        .map(|(one, other)| (one - other).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn length(row: ArrayView1<'_, f64>) -> f64 {
    row.dot(&row).sqrt()
}

/// Adam (Kingma & Ba 2015) on every row by itself.
struct Adam {
    mean: Array2<f64>,
    square: Array2<f64>,
    steps: i32,
}

impl Adam {
    fn of(shape: (usize, usize)) -> Self {
        Self {
            mean: Array2::zeros(shape),
            square: Array2::zeros(shape),
            steps: 0,
        }
    }

    fn step(&mut self, rows: &mut Array2<f64>, gradient: &Array2<f64>, rate: f64) {
        self.steps += 1;
        let (first, second) = (
            1.0 - 0.9f64.powi(self.steps),
            1.0 - 0.99f64.powi(self.steps),
        );
        self.mean
            .zip_mut_with(gradient, |mean, slope| *mean = 0.9 * *mean + 0.1 * slope);
        self.square.zip_mut_with(gradient, |square, slope| {
            *square = 0.99 * *square + 0.01 * slope * slope
        });
        for (at, mut row) in rows.axis_iter_mut(Axis(0)).enumerate() {
            let mean = self.mean.slice(s![at, ..]);
            // One scale a row: its direction is the gradient's.
            let size = (self.square.slice(s![at, ..]).mean().unwrap_or(0.0) / second).sqrt();
            row.scaled_add(-rate / first / size.max(1e-30), &mean);
        }
    }
}

/// ε as a share of the mean eigenvalue that G can have.
const RIDGE: f64 = 1e-2;
pub(super) const STEPS: usize = 300;
/// Of an input whose values are about 1.
const RATE: f64 = 0.05;
/// Rows whose neighbours are looked for.
const ASKED: usize = 300;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::kernel::Ntk;
    use common::math::random::rng;
    use ndarray::array;
    use rand::Rng;

    /// Rows in `features` dimensions, each as long as √features.
    fn rows(count: usize, features: usize, stream: &str) -> Array2<f64> {
        let mut random = rng(5, stream);
        let mut rows: Array2<f64> =
            Array2::from_shape_simple_fn((count, features), || random.random_range(-1.0..1.0));
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            row *= (features as f64).sqrt() / length;
        }
        rows
    }

    #[test]
    fn the_rows_of_a_whole_gram_matrix_are_found() {
        let (points, described) = (rows(60, 8, "points"), rows(6, 8, "rows"));
        let seen = points.mapv(|value| value as f32);
        let embedding = Embedding::of(Ntk::new(2), seen.view(), &[1; 60]).unwrap();
        let phi = embedding.features(described.view()).unwrap();
        let gram = phi.t().dot(&phi);
        let length = common_length(&described);
        let search = Search::of(&embedding, &gram, 6, length).unwrap();
        let found = search.descend(rows(120, 8, "starts"), || ()).unwrap();
        let found = distinct(found, 0.1, 6);
        let views: Vec<_> = found.iter().map(|one| one.row.view()).collect();
        let typical = typical_distance(&rows(300, 8, "others"));
        let misses = misses(&described, &views);
        let near = misses.iter().filter(|miss| **miss < 0.1 * typical).count();
        assert!(near >= 4, "{misses:?} of {typical}");
        // Without what it knows of, it finds nothing.
        let others = rows(6, 8, "other rows");
        let misses = super::misses(&others, &views);
        assert!(
            misses.iter().all(|miss| *miss > 0.1 * typical),
            "{misses:?}"
        );
    }

    #[test]
    fn candidates_that_are_alike_count_once() {
        let found = [[0.0, 3.0], [0.1, 1.0], [5.0, 2.0]].map(|[place, missed]| Candidate {
            row: array![place],
            missed,
        });
        let kept = distinct(found.to_vec(), 1.0, 9);
        let places: Vec<f64> = kept.iter().map(|one| one.row[0]).collect();
        assert_eq!(places, [0.1, 5.0]);
        assert_eq!(distinct(found.to_vec(), 1.0, 1).len(), 1);
    }

    #[test]
    fn the_typical_distance_is_the_median_of_the_nearest() {
        let rows = array![[0.0], [1.0], [3.0], [6.0]];
        assert_eq!(typical_distance(&rows), 2.0);
        assert_eq!(misses(&rows, &[array![2.0].view()]), [2.0, 1.0, 1.0, 4.0]);
        assert_eq!(common_length(&array![[3.0, 4.0], [5.0, 0.0]]), Some(5.0));
        assert_eq!(common_length(&rows), None);
    }
}
