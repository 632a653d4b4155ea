//! Merging the centres of many devices into fewer.

use ndarray::ArrayView2;
use rand::Rng;

use super::data::Data;
use super::kmeans::lloyd;
use super::seeding::seed;
use super::{ClusterError, Clusters, check_list};

/// Merges centres (rows, features) into at most `clusters` by k-means in
/// which each weighs as much as the examples it stands for. Counts add up,
/// and spreads pool by the law of total variance: the squared spread of a
/// merged centre c is Σ n_i(s_i² + ‖c_i − c‖²)/Σ n_i, which is what the
/// examples themselves would have given. If there are no more centres than
/// asked for, they come back as they are.
///
/// Cost as [`super::KMeans::fit`]. A centre that stands for no example is
/// left out of every mean but still assigned.
///
/// # Errors
/// If a centre or a spread is not finite, a spread is negative, the lists
/// differ in length, `clusters` is zero, or the counts add up to more than a
/// `u32`.
pub fn merge_centres(
    centres: ArrayView2<'_, f32>,
    counts: &[u32],
    spreads: &[f32],
    clusters: usize,
    rng: &mut impl Rng,
) -> Result<Clusters, ClusterError> {
    if clusters == 0 {
        return Err(ClusterError::Setting {
            key: "clusters",
            value: 0,
            allowed: "1 or more",
        });
    }
    let rows = centres.nrows();
    let weights: Vec<f32> = counts.iter().map(|&count| count as f32).collect();
    check_list("counts", &weights, rows)?;
    check_list("spreads", spreads, rows)?;
    let data = Data::new(centres, Some(&weights))?;
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if total > u64::from(u32::MAX) {
        return Err(ClusterError::TooManyRows {
            got: total,
            max: u64::from(u32::MAX),
        });
    }
    if rows <= clusters {
        return Ok(Clusters {
            centres: centres.to_owned(),
            counts: counts.to_vec(),
            spreads: spreads.to_vec(),
            assignment: (0..rows as u32).collect(),
        });
    }
    if total == 0 {
        return Ok(Clusters::none(centres.ncols()));
    }
    let merged = lloyd(&data, seed(&data, clusters, rng), ITERATIONS_MAX);
    let mut scatter = data.scatter(&merged.centres, &merged.assignment);
    let mut merged_counts = vec![0; merged.members.len()];
    for (index, &cluster) in merged.assignment.iter().enumerate() {
        let (count, spread) = (f64::from(counts[index]), f64::from(spreads[index]));
        scatter[cluster as usize] += count * spread * spread;
        merged_counts[cluster as usize] += counts[index];
    }
    let pooled = scatter.iter().zip(&merged_counts);
    Ok(Clusters {
        spreads: pooled
            .map(|(scatter, &count)| (scatter / f64::from(count)).sqrt() as f32)
            .collect(),
        counts: merged_counts,
        centres: merged.centres,
        assignment: merged.assignment,
    })
}

const ITERATIONS_MAX: usize = 50;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::{Array2, Axis, array};
    use proptest::prelude::*;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::random::rng;

    #[test]
    fn few_centres_come_back_as_they_are() {
        let centres = array![[1.0_f32, 2.0], [3.0, 4.0]];
        let merged = merge_centres(centres.view(), &[3, 4], &[0.1, 0.2], 2, &mut rng(1, "m"));
        assert_eq!(
            merged.unwrap(),
            Clusters {
                centres,
                counts: vec![3, 4],
                spreads: vec![0.1, 0.2],
                assignment: vec![0, 1],
            }
        );
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let centres = array![[1.0_f32], [3.0]];
        let merge = |counts: &[u32], spreads: &[f32], clusters| {
            merge_centres(centres.view(), counts, spreads, clusters, &mut rng(1, "m"))
        };
        assert!(matches!(
            merge(&[1], &[0.0, 0.0], 1),
            Err(ClusterError::Shape(shape)) if shape.what == "counts"
        ));
        assert!(matches!(
            merge(&[1, 1], &[0.0, -1.0], 1),
            Err(ClusterError::Negative {
                what: "spreads",
                ..
            })
        ));
        assert!(matches!(
            merge(&[u32::MAX, 1], &[0.0, 0.0], 1),
            Err(ClusterError::TooManyRows { .. })
        ));
        assert!(matches!(
            merge(&[1, 1], &[0.0, 0.0], 0),
            Err(ClusterError::Setting {
                key: "clusters",
                ..
            })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn merging_all_gives_the_mean_and_spread_of_the_examples(
            sizes in prop::collection::vec(1..20usize, 2..8),
            seed: u64,
        ) {
            let mut numbers = rng(seed, "examples");
            let mut normal = || -> f32 { StandardNormal.sample(&mut numbers) };
            let mut centres = Array2::zeros((sizes.len(), 2));
            let (mut counts, mut spreads, mut all) = (vec![], vec![], vec![]);
            for (group, &size) in sizes.iter().enumerate() {
                let examples = Array2::from_shape_simple_fn((size, 2), &mut normal);
                let centre = examples.mean_axis(Axis(0)).unwrap();
                let scatter = (&examples - &centre).mapv(|x| x * x).sum();
                centres.row_mut(group).assign(&centre);
                counts.push(size as u32);
                spreads.push((scatter / size as f32).sqrt());
                all.extend(examples);
            }
            let all = Array2::from_shape_vec((all.len() / 2, 2), all).unwrap();
            let centre = all.mean_axis(Axis(0)).unwrap();
            let scatter = (&all - &centre).mapv(|x| x * x).sum();
            let merged =
                merge_centres(centres.view(), &counts, &spreads, 1, &mut rng(seed, "m")).unwrap();
            prop_assert_eq!(merged.counts, vec![all.nrows() as u32]);
            prop_assert!((merged.spreads[0] - (scatter / all.nrows() as f32).sqrt()).abs() < 1e-4);
            for feature in 0..2 {
                prop_assert!((merged.centres[(0, feature)] - centre[feature]).abs() < 1e-4);
            }
        }
    }
}
