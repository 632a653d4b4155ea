//! Synthetic inputs that stay where data can be, drawn from the transfer set
//! alone.
//!
//! Half of them mix two points and add noise as wide as their spreads, which
//! shows the student the space between classes. The other half lie around
//! one point, spread along the directions in which the points of its class
//! differ, which follows the data where it fills few dimensions. All are
//! brought back to the norm that the normaliser gives every input.

use ndarray::{Array1, Array2, ArrayViewMut1, Axis};
use rand::Rng;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use common::math::random::rng;
use common::summary::Points;

/// Width of the noise around mixtures, in spreads.
const MIX_NOISE: f32 = 1.0;
/// Width of the part along class directions, in spreads.
const ALONG: f32 = 1.4 * 0.8;
/// Width of the part in all directions beside it, in spreads.
const ACROSS: f32 = 1.4 * 0.6;
/// Largest share of the second point in a mixture.
const MIX_MAX: f32 = 0.5;

/// An endless source of synthetic inputs.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    points: &'a Points,
    chooser: Option<WeightedIndex<f64>>,
    directions: Vec<Directions>,
    random: ChaCha8Rng,
}

/// Deviations of one class's points from their mean, scaled so that a
/// standard normal mix of them has unit expected square.
#[derive(Clone, Debug)]
struct Directions {
    rows: Array2<f32>,
}

impl<'a> Stream<'a> {
    /// A stream over a transfer set; the same seed draws the same inputs.
    pub fn new(points: &'a Points, classes: usize, seed: u64) -> Self {
        let counts = points.counts.iter().map(|&count| f64::from(count));
        Self {
            points,
            chooser: WeightedIndex::new(counts).ok(),
            directions: (0..classes)
                .map(|class| Directions::of(points, class))
                .collect(),
            random: rng(seed, "stream"),
        }
    }

    /// The next `rows` inputs, shape (rows, features). Cost of a row: its
    /// class's points times the features, and one draw a feature.
    pub fn take(&mut self, rows: usize) -> Array2<f32> {
        let mut inputs = Array2::zeros((rows, self.points.inputs.ncols()));
        for (index, row) in inputs.axis_iter_mut(Axis(0)).enumerate() {
            if index % 2 == 0 {
                self.mix(row)
            } else {
                self.around(row)
            }
        }
        inputs
    }

    fn mix(&mut self, mut row: ArrayViewMut1<'_, f32>) {
        let (one, other) = (self.choose(), self.choose());
        let share = self.random.random_range(0.0..MIX_MAX);
        let spread = (1.0 - share) * self.points.spreads[one] + share * self.points.spreads[other];
        let width = MIX_NOISE * spread / root(row.len());
        let (a, b) = (self.points.inputs.row(one), self.points.inputs.row(other));
        for ((value, &a), &b) in row.iter_mut().zip(&a).zip(&b) {
            let noise: f32 = StandardNormal.sample(&mut self.random);
            *value = (1.0 - share) * a + share * b + width * noise;
        }
        rescale(row);
    }

    fn around(&mut self, mut row: ArrayViewMut1<'_, f32>) {
        let point = self.choose();
        let spread = self.points.spreads[point];
        let directions = &self.directions[usize::from(self.points.classes[point])].rows;
        row.assign(&self.points.inputs.row(point));
        if directions.nrows() > 0 {
            let mix: Array1<f32> = (0..directions.nrows())
                .map(|_| StandardNormal.sample(&mut self.random))
                .collect();
            row.scaled_add(ALONG * spread, &mix.dot(directions));
        }
        let width = ACROSS * spread / root(row.len());
        for value in &mut row {
            let noise: f32 = StandardNormal.sample(&mut self.random);
            *value += width * noise;
        }
        rescale(row);
    }

    /// A point, as likely as the rows it stands for.
    fn choose(&mut self) -> usize {
        match &self.chooser {
            Some(chooser) => chooser.sample(&mut self.random),
            None => 0,
        }
    }
}

impl Directions {
    fn of(points: &Points, class: usize) -> Self {
        let members: Vec<usize> = (0..points.len())
            .filter(|&i| usize::from(points.classes[i]) == class)
            .collect();
        let total: f32 = members.iter().map(|&i| points.counts[i] as f32).sum();
        let mut rows = points.inputs.select(Axis(0), &members);
        let mut mean = Array1::zeros(rows.ncols());
        for (row, &i) in rows.rows().into_iter().zip(&members) {
            mean.scaled_add(points.counts[i] as f32 / total, &row);
        }
        for (mut row, &i) in rows.rows_mut().into_iter().zip(&members) {
            row -= &mean;
            row *= (points.counts[i] as f32 / total).sqrt();
        }
        let norm = rows.iter().map(|value| value * value).sum::<f32>().sqrt();
        if norm > 1e-12 {
            rows /= norm;
        } else {
            rows = Array2::zeros((0, rows.ncols()));
        }
        Self { rows }
    }
}

fn root(features: usize) -> f32 {
    (features.max(1) as f32).sqrt()
}

/// To a mean square of one, as the normaliser does.
fn rescale(mut row: ArrayViewMut1<'_, f32>) {
    let norm = row.dot(&row).sqrt();
    if norm > 1e-12 {
        let factor = root(row.len()) / norm;
        row.mapv_inplace(|value| value * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Points {
        Points {
            inputs: ndarray::array![[2.0, 0.0], [1.9, 0.3], [0.0, 2.0]],
            classes: vec![0, 0, 1],
            counts: vec![10, 10, 20],
            spreads: vec![0.1, 0.1, 0.1],
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_inputs_of_the_right_norm() {
        let points = points();
        let one = Stream::new(&points, 2, 7).take(100);
        assert_eq!(one, Stream::new(&points, 2, 7).take(100));
        assert_ne!(one, Stream::new(&points, 2, 8).take(100));
        for row in one.rows() {
            assert!((row.dot(&row) - 2.0).abs() < 1e-4);
        }
    }

    #[test]
    fn inputs_around_points_stay_near_them() {
        let points = points();
        let drawn = Stream::new(&points, 2, 7).take(400);
        for row in drawn.rows().into_iter().skip(1).step_by(2) {
            let angle = row[1].atan2(row[0]);
            let between = (0.8..=0.9).contains(&angle);
            assert!(!between, "nothing lies half-way between the classes: {row}");
        }
    }
}
