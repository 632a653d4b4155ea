//! k-means with weights and a minimum cluster size.

use ndarray::{Array2, ArrayView2, Axis};
use rand::Rng;

use super::data::{Data, Members};
use super::fill::fill;
use super::seeding::seed;
use super::{ClusterError, Clusters};

/// What k-means can be told.
///
/// | name | default | range |
/// |---|---|---|
/// | `clusters` | 10 | 1 or more |
/// | `iterations_max` | 50 | 1 or more |
/// | `cluster_size_min` | 5 | 1 or more |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeansParams {
    /// The most centres.
    pub clusters: usize,
    /// The most Lloyd iterations before small clusters are looked after, and
    /// between two times that some are dissolved.
    pub iterations_max: usize,
    /// The fewest rows a centre may stand for, also after weighting: a
    /// cluster of many rows in which one outweighs all others counts as one.
    pub cluster_size_min: usize,
}

impl Default for KMeansParams {
    fn default() -> Self {
        Self {
            clusters: 10,
            iterations_max: 50,
            cluster_size_min: 5,
        }
    }
}

impl KMeansParams {
    /// Holds every setting against its range.
    ///
    /// # Errors
    /// The first setting that is zero.
    pub fn check(self) -> Result<KMeans, ClusterError> {
        let settings = [
            ("clusters", self.clusters),
            ("iterations_max", self.iterations_max),
            ("cluster_size_min", self.cluster_size_min),
        ];
        match settings.into_iter().find(|&(_, value)| value == 0) {
            None => Ok(KMeans(self)),
            Some((key, value)) => Err(ClusterError::Setting {
                key,
                value,
                allowed: "1 or more",
            }),
        }
    }
}

/// [`KMeansParams`] that were found to lie in their ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeans(KMeansParams);

impl KMeans {
    /// Clusters `rows` (rows, features), each counted with its weight (1 if
    /// there are none), by k-means++ and Lloyd's iteration.
    ///
    /// Every centre is the weighted mean of at least `cluster_size_min` rows,
    /// and of at least that many after weighting: (Σw)²/Σw². Without weights a
    /// cluster that is too small is filled with rows that its neighbours can
    /// spare. With them it is dissolved into its neighbours and the iteration
    /// goes on, so there may be fewer centres than asked for; in both cases
    /// there are no more than the rows can fill, and none where all of them
    /// together are too few.
    ///
    /// The same generator gives the same clusters. An iteration costs
    /// 2·rows·clusters·features operations in BLAS; memory beside the rows
    /// and the centres does not grow with the number of features or clusters
    /// times the rows.
    ///
    /// # Errors
    /// If a row or a weight is not finite, a weight is negative, or there are
    /// more or fewer weights than rows.
    pub fn fit(
        &self,
        rows: ArrayView2<'_, f32>,
        weights: Option<&[f32]>,
        rng: &mut impl Rng,
    ) -> Result<Clusters, ClusterError> {
        let data = Data::new(rows, weights)?;
        let size_min = self.0.cluster_size_min as f64 * (1.0 - ROUNDING);
        let affordable = (data.whole().effective() / size_min) as usize;
        let clusters = self.0.clusters.min(affordable);
        if clusters == 0 {
            return Ok(Clusters::none(data.features()));
        }
        let mut fitted = lloyd(&data, seed(&data, clusters, rng), self.0.iterations_max);
        let small = |members: &Members| members.effective() < size_min;
        if !data.weighted() && fitted.members.iter().any(small) {
            fitted = fill(&data, fitted, self.0.cluster_size_min);
        }
        loop {
            let mut by_size: Vec<usize> = (0..fitted.members.len())
                .filter(|&cluster| small(&fitted.members[cluster]))
                .collect();
            if by_size.is_empty() {
                break;
            }
            // Half of the small ones at a time: the other half may grow on
            // what these leave.
            by_size.sort_by(|&a, &b| {
                let size = |cluster: usize| fitted.members[cluster].effective();
                size(a).total_cmp(&size(b))
            });
            by_size.truncate(by_size.len().div_ceil(2));
            let kept = without(&fitted.centres, |cluster| by_size.contains(&cluster));
            fitted = lloyd(&data, kept, self.0.iterations_max);
        }
        Ok(fitted.describe(&data))
    }
}

/// Centres that are the means of their members.
pub(super) struct Fitted {
    pub(super) centres: Array2<f32>,
    pub(super) members: Vec<Members>,
    pub(super) assignment: Vec<u32>,
}

impl Fitted {
    fn describe(self, data: &Data<'_>) -> Clusters {
        let scatter = data.scatter(&self.centres, &self.assignment);
        let spread = |(scatter, members): (f64, &Members)| (scatter / members.weight).sqrt() as f32;
        Clusters {
            counts: self.members.iter().map(|members| members.rows).collect(),
            spreads: scatter.into_iter().zip(&self.members).map(spread).collect(),
            centres: self.centres,
            assignment: self.assignment,
        }
    }
}

/// Lloyd's iteration from given centres (at least one) until no row moves.
/// Centres whose members weigh nothing are dropped; some row must have a
/// weight.
pub(super) fn lloyd(data: &Data<'_>, mut centres: Array2<f32>, iterations_max: usize) -> Fitted {
    let mut assignment = vec![u32::MAX; data.len()];
    let mut iteration = 0;
    loop {
        let moved = data.assign(&centres, &mut assignment);
        let (means, members) = data.means(&assignment, centres.nrows());
        iteration += 1;
        crate::liveness::heartbeat();
        if members.iter().any(|members| members.weight <= 0.0) {
            // Each drop leaves fewer centres, so this cannot go on for ever.
            centres = without(&means, |cluster| members[cluster].weight <= 0.0);
            assignment.fill(u32::MAX);
            continue;
        }
        if moved == 0 || iteration >= iterations_max {
            return Fitted {
                centres: means,
                members,
                assignment,
            };
        }
        centres = means;
    }
}

/// The centres that are not to be dropped.
fn without(centres: &Array2<f32>, dropped: impl Fn(usize) -> bool) -> Array2<f32> {
    let kept: Vec<usize> = (0..centres.nrows()).filter(|&row| !dropped(row)).collect();
    centres.select(Axis(0), &kept)
}

/// How far an effective size may fall short by rounding alone.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;
    use proptest::prelude::*;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::random::rng;

    fn kmeans(clusters: usize, cluster_size_min: usize) -> KMeans {
        KMeansParams {
            clusters,
            cluster_size_min,
            ..KMeansParams::default()
        }
        .check()
        .unwrap()
    }

    fn normal_rows(rows: usize, features: usize, seed: u64) -> Array2<f32> {
        let mut rng = rng(seed, "rows");
        Array2::from_shape_simple_fn((rows, features), || StandardNormal.sample(&mut rng))
    }

    #[test]
    fn separate_groups_are_found_with_their_counts_and_spreads() {
        let mut rows = normal_rows(300, 2, 1) * 0.1;
        for (index, mut row) in rows.rows_mut().into_iter().enumerate() {
            row[0] += [1000.0, 1010.0, 1000.0][index % 3];
            row[1] += [0.0, 0.0, 10.0][index % 3];
        }
        let clusters = kmeans(3, 5)
            .fit(rows.view(), None, &mut rng(1, "fit"))
            .unwrap();
        assert_eq!(clusters.counts, [100, 100, 100]);
        for spread in &clusters.spreads {
            assert!((spread - 0.1414).abs() < 0.02, "{spread}");
        }
        for index in 3..300 {
            assert_eq!(clusters.assignment[index], clusters.assignment[index % 3]);
        }
    }

    #[test]
    fn fewer_rows_than_the_minimum_give_no_centre() {
        let rows = normal_rows(4, 3, 2);
        let clusters = kmeans(2, 5)
            .fit(rows.view(), None, &mut rng(2, "fit"))
            .unwrap();
        assert_eq!(clusters, Clusters::none(3));
        let nothing = Array2::zeros((0, 3));
        let clusters = kmeans(2, 1)
            .fit(nothing.view(), None, &mut rng(2, "fit"))
            .unwrap();
        assert_eq!(clusters, Clusters::none(3));
    }

    #[test]
    fn a_single_heavy_row_gets_no_centre_of_its_own() {
        let rows = normal_rows(40, 2, 3);
        let mut weights = vec![1e-3; 40];
        weights[7] = 1.0;
        let clusters = kmeans(4, 5)
            .fit(rows.view(), Some(&weights), &mut rng(3, "fit"))
            .unwrap();
        assert_eq!(clusters, Clusters::none(2));
    }

    #[test]
    fn rows_without_weight_pull_no_centre() {
        let rows = array![[0.0_f32], [1.0], [100.0], [101.0]];
        let clusters = kmeans(1, 1)
            .fit(rows.view(), Some(&[1.0, 1.0, 0.0, 0.0]), &mut rng(4, "fit"))
            .unwrap();
        assert_eq!(clusters.centres, array![[0.5]]);
        assert!((clusters.spreads[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn identical_rows_give_one_centre() {
        let rows = Array2::from_elem((30, 4), 2.5_f32);
        let clusters = kmeans(5, 2)
            .fit(rows.view(), None, &mut rng(5, "fit"))
            .unwrap();
        assert_eq!(clusters.counts, [30]);
        assert_eq!(clusters.spreads, [0.0]);
    }

    #[test]
    fn the_same_seed_gives_the_same_clusters() {
        let rows = normal_rows(500, 12, 6);
        let fit = || {
            kmeans(20, 3)
                .fit(rows.view(), None, &mut rng(6, "fit"))
                .unwrap()
        };
        assert_eq!(fit(), fit());
    }

    #[test]
    fn bad_rows_weights_and_settings_are_refused() {
        let rows = array![[0.0_f32, f32::NAN]];
        let refused = kmeans(1, 1).fit(rows.view(), None, &mut rng(7, "fit"));
        assert!(matches!(
            refused,
            Err(ClusterError::NonFinite {
                row: 0,
                feature: 1,
                ..
            })
        ));
        let rows = array![[0.0_f32], [1.0]];
        let fit =
            |weights: &[f32]| kmeans(1, 1).fit(rows.view(), Some(weights), &mut rng(7, "fit"));
        assert!(matches!(
            fit(&[1.0]),
            Err(ClusterError::Shape(shape)) if shape.got == [1]
        ));
        assert!(matches!(
            fit(&[1.0, -1.0]),
            Err(ClusterError::Negative { row: 1, .. })
        ));
        let params = KMeansParams {
            cluster_size_min: 0,
            ..KMeansParams::default()
        };
        let refused = params.check();
        assert!(matches!(
            refused,
            Err(ClusterError::Setting {
                key: "cluster_size_min",
                ..
            })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_centre_is_the_mean_of_enough_rows(
            rows in 1..120usize,
            clusters in 1..30usize,
            size_min in 1..12usize,
            weighted: bool,
            seed: u64,
        ) {
            let data = normal_rows(rows, 3, seed);
            let weights: Vec<f32> = normal_rows(rows, 1, seed ^ 1).iter().map(|w| w * w).collect();
            let weights = weighted.then_some(&weights[..]);
            let found = kmeans(clusters, size_min)
                .fit(data.view(), weights, &mut rng(seed, "fit"))
                .unwrap();
            prop_assert!(found.centres.nrows() <= clusters);
            prop_assert_eq!(found.counts.len(), found.centres.nrows());
            prop_assert_eq!(weighted || rows < size_min || found.centres.nrows() > 0, true);
            for (cluster, centre) in found.centres.rows().into_iter().enumerate() {
                let members: Vec<usize> = (0..rows)
                    .filter(|&row| found.assignment[row] as usize == cluster)
                    .collect();
                prop_assert!(members.len() >= size_min);
                prop_assert_eq!(members.len(), found.counts[cluster] as usize);
                let weight = |row: usize| weights.map_or(1.0, |w| f64::from(w[row]));
                let total: f64 = members.iter().map(|&row| weight(row)).sum();
                for (feature, &value) in centre.iter().enumerate() {
                    let sum: f64 = members
                        .iter()
                        .map(|&row| weight(row) * f64::from(data[(row, feature)]))
                        .sum();
                    prop_assert!((sum / total - f64::from(value)).abs() < 1e-5);
                }
            }
        }
    }
}
