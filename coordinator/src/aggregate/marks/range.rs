//! The range of each feature among the samples of all but one.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

/// Of each feature, the two devices' samples that reach farthest either way.
pub(super) struct Ranges {
    /// Lowest and highest, each with its owner and that of all other owners.
    features: Vec<[Reach; 2]>,
}

#[derive(Clone, Copy)]
struct Reach {
    most: f32,
    owner: Option<usize>,
    rest: f32,
}

impl Ranges {
    pub(super) fn of(seen: ArrayView2<'_, f32>, owners: &[Option<usize>]) -> Self {
        // Of each owner the lowest, turned, and the highest.
        let mut reached: BTreeMap<Option<usize>, Vec<[f32; 2]>> = BTreeMap::new();
        for (row, owner) in seen.rows().into_iter().zip(owners) {
            let least = || vec![[f32::NEG_INFINITY; 2]; seen.ncols()];
            let own = reached.entry(*owner).or_insert_with(least);
            for (reach, &value) in own.iter_mut().zip(row) {
                *reach = [reach[0].max(-value), reach[1].max(value)];
            }
        }
        let none = Reach {
            most: f32::NEG_INFINITY,
            owner: None,
            rest: f32::NEG_INFINITY,
        };
        let mut features = vec![[none; 2]; seen.ncols()];
        for (owner, values) in reached {
            for (feature, values) in features.iter_mut().zip(values) {
                for (reach, value) in feature.iter_mut().zip(values) {
                    match value > reach.most {
                        true => {
                            *reach = Reach {
                                most: value,
                                owner,
                                rest: reach.most,
                            };
                        }
                        false => reach.rest = reach.rest.max(value),
                    }
                }
            }
        }
        Self { features }
    }

    /// These samples of a device, with every feature within the others' range.
    pub(super) fn inside(
        &self,
        seen: ArrayView2<'_, f32>,
        device: usize,
        samples: &[usize],
    ) -> Array2<f32> {
        let of = |reach: &Reach| match reach.owner == Some(device) {
            true => reach.rest,
            false => reach.most,
        };
        Array2::from_shape_fn((samples.len(), seen.ncols()), |(at, feature)| {
            let [low, high] = &self.features[feature];
            seen[[samples[at], feature]].max(-of(low)).min(of(high))
        })
    }

    /// How far these samples of a device lie outside of the others' range.
    pub(super) fn excess(
        &self,
        seen: ArrayView2<'_, f32>,
        device: usize,
        samples: &[usize],
    ) -> Array2<f64> {
        let mut excess = self.inside(seen, device, samples).mapv(f64::from);
        for (mut row, &sample) in excess.rows_mut().into_iter().zip(samples) {
            for (one, &value) in row.iter_mut().zip(seen.row(sample)) {
                *one = f64::from(value) - *one;
            }
        }
        excess
    }
}

/// How far each sample lies from the nearest of another owner.
pub(super) fn nearest(seen: ArrayView2<'_, f32>, owners: &[Option<usize>]) -> Vec<f64> {
    let wide = seen.mapv(f64::from);
    let squares: Vec<f64> = wide.rows().into_iter().map(|row| row.dot(&row)).collect();
    let products = wide.dot(&wide.t());
    let of = |at: usize| {
        let others = (0..owners.len()).filter(|other| owners[*other] != owners[at]);
        let square = |other: usize| squares[at] + squares[other] - 2.0 * products[[at, other]];
        others
            .map(square)
            .fold(f64::INFINITY, f64::min)
            .max(0.0)
            .sqrt()
    };
    (0..owners.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_device_is_held_to_the_range_of_the_others() {
        let seen = array![[0.0f32, 5.0], [1.0, 5.0], [3.0, 9.0], [-1.0, 6.0]];
        let owners = [Some(0), Some(1), Some(2), None];
        let ranges = Ranges::of(seen.view(), &owners);
        assert_eq!(ranges.inside(seen.view(), 2, &[2]), array![[1.0, 6.0]]);
        assert_eq!(ranges.excess(seen.view(), 2, &[2]), array![[2.0, 3.0]]);
        assert_eq!(ranges.excess(seen.view(), 0, &[0]), array![[0.0, 0.0]]);
        let near = nearest(seen.view(), &owners);
        assert_eq!(near[..2], [1.0, 1.0]);
        assert!((near[3] - 2f64.sqrt()).abs() < 1e-9);
    }
}
