//! Contributions of the right form and size that mean nothing.

use common::math::random::rng;
use common::round::Kind as Contribution;
use common::summary::RawPoints;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::Built;
use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};

use super::super::{Attack, Kind, Plot};
use super::{recode, with_moments};
use crate::simulation::{Heard, Lie};

pub(in super::super) const NOISE: Attack = Attack {
    name: "noise",
    about: "liars send random points and moments, as large as their own would be",
    kind: Kind::Lying(|scene| {
        Ok(Plot {
            lie: Box::new(Noise { seed: scene.seed }),
            aim: None,
        })
    }),
};

struct Noise {
    seed: u64,
}

impl Lie for Noise {
    fn sends(&self, heard: &Heard<'_>, answer: Built) -> Built {
        let seed = self.seed;
        let (device, round) = (heard.device, heard.round);
        let of = |what: &str| format!("noise of {device} in {round}: {what}");
        let mut answer = with_moments(answer, |raw| {
            recode(&mut raw.carried, |values| {
                alike(&values, seed, &of("carried"))
            });
            recode(&mut raw.targets, |values| {
                alike(&values, seed, &of("targets"))
            });
            recode(&mut raw.factor, |values| {
                alike(&values, seed, &of("factor"))
            });
        });
        for entry in &mut answer.entries {
            if entry.kind == Contribution::Summary
                && let Ok(mut raw) = decode_blob::<RawPoints>(&entry.bytes)
            {
                recode(&mut raw.inputs, |values| {
                    alike(&values, seed, &of("points"))
                });
                entry.bytes = encode(&raw);
            }
        }
        answer
    }
}

/// Normal values in the same shape, each row as long as it was.
fn alike(values: &Array2<f32>, seed: u64, stream: &str) -> Array2<f32> {
    let mut random = rng(seed, stream);
    let mut drawn: Array2<f32> =
        Array2::from_shape_simple_fn(values.dim(), || StandardNormal.sample(&mut random));
    for (mut row, was) in drawn.rows_mut().into_iter().zip(values.rows()) {
        let (is, was) = (row.dot(&row).sqrt(), was.dot(&was).sqrt());
        // A little less: rounding must not lift it beyond what is possible.
        row *= 0.98 * was / is.max(f32::MIN_POSITIVE);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_long_as_what_it_stands_for() {
        let values = Array2::from_shape_fn((3, 50), |(row, column)| (row + column) as f32);
        let noise = alike(&values, 1, "noise");
        for (one, other) in noise.rows().into_iter().zip(values.rows()) {
            let share = one.dot(&one).sqrt() / other.dot(&other).sqrt();
            assert!((share - 0.98).abs() < 1e-4, "{share}");
            assert!(one.dot(&other).abs() < 0.6 * other.dot(&other));
        }
    }
}
