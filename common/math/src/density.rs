//! How dense points lie around an input, beside how dense they lie around its
//! nearest points.

use ndarray::{Array2, ArrayView2, Axis};

use crate::shape::{ShapeError, check_count};

/// Points of a space of few dimensions, each with the square of what lies outside
/// that space, and the density around each of them.
///
/// The local outlier factor of Breunig, Kriegel, Ng and Sander (SIGMOD 2000): the
/// reachability distance of an input from a point is its distance, or that of the
/// point from its own k-th neighbour if that is larger; the density around it is
/// the reciprocal of the mean over the k nearest points.
#[derive(Clone, Debug)]
pub struct LocalDensity {
    points: Array2<f32>,
    squares: Vec<f64>,
    rests: Vec<f64>,
    neighbours: usize,
    /// Distance of each point from its k-th neighbour.
    reach: Vec<f64>,
    /// Density around each point.
    density: Vec<f64>,
}

/// Where an input lies beside the points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Log of the mean distance to its nearest points.
    pub away: f64,
    /// Log of its local outlier factor: 0 where points lie as dense around it as
    /// around its neighbours, more where it is in a gap.
    pub sparse: f64,
}

impl LocalDensity {
    /// Of points (m × q) and the squared length of each outside of their space;
    /// none of fewer than three points. Costs m²·q operations.
    ///
    /// # Errors
    /// If there are not as many squares as points.
    pub fn of(points: Array2<f32>, rests: &[f32]) -> Result<Option<Self>, ShapeError> {
        check_count("squares outside", points.nrows(), rests.len())?;
        if points.nrows() < POINTS_MIN {
            return Ok(None);
        }
        let neighbours = NEIGHBOURS.min((points.nrows() - 1) / 2).max(1);
        let mut density = Self {
            squares: squares(points.view()),
            rests: rests.iter().map(|&rest| f64::from(rest)).collect(),
            neighbours,
            reach: Vec::new(),
            density: Vec::new(),
            points,
        };
        let near = density.near(density.points.view(), &density.rests, true);
        density.reach = near.iter().map(|near| near[neighbours - 1].0).collect();
        density.density = near
            .iter()
            .map(|near| 1.0 / density.mean_reach(near))
            .collect();
        Ok(Some(density))
    }

    /// How many points.
    pub fn len(&self) -> usize {
        self.points.nrows()
    }

    /// Whether there are no points; there is always one at least.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Where inputs (n × q) lie, with the squared length of each outside the
    /// space. Costs n·m·q operations.
    ///
    /// # Errors
    /// If a shape does not fit.
    pub fn places(
        &self,
        inputs: ArrayView2<'_, f32>,
        rests: &[f32],
    ) -> Result<Vec<Place>, ShapeError> {
        check_count("dimensions", self.points.ncols(), inputs.ncols())?;
        check_count("squares outside", inputs.nrows(), rests.len())?;
        let rests: Vec<f64> = rests.iter().map(|&rest| f64::from(rest)).collect();
        let near = self.near(inputs, &rests, false);
        Ok(near.iter().map(|near| self.place(near)).collect())
    }

    /// Where the points themselves lie, each without itself and `wider` (a square
    /// for each) from all others; where rows at that distance from their point lie.
    ///
    /// # Errors
    /// If there are not as many squares as points.
    pub fn own_places(&self, wider: &[f32]) -> Result<Vec<Place>, ShapeError> {
        check_count("squares of points", self.len(), wider.len())?;
        let rests: Vec<f64> = self
            .rests
            .iter()
            .zip(wider)
            .map(|(rest, &more)| rest + f64::from(more))
            .collect();
        let near = self.near(self.points.view(), &rests, true);
        Ok(near.iter().map(|near| self.place(near)).collect())
    }

    fn place(&self, near: &[(f64, usize)]) -> Place {
        let closest = &near[..near.len().min(CLOSEST)];
        let away = closest.iter().map(|one| one.0).sum::<f64>() / closest.len() as f64;
        let around = near.iter().map(|one| self.density[one.1]).sum::<f64>() / near.len() as f64;
        Place {
            away: away.max(DISTANCE_MIN).ln(),
            sparse: (around * self.mean_reach(near)).max(DISTANCE_MIN).ln(),
        }
    }

    fn mean_reach(&self, near: &[(f64, usize)]) -> f64 {
        let reach = |&(distance, point): &(f64, usize)| distance.max(self.reach[point]);
        let mean = near.iter().map(reach).sum::<f64>() / near.len() as f64;
        mean.max(DISTANCE_MIN)
    }

    /// The nearest points of each input, nearest first; `own` leaves out the point
    /// of the same index.
    fn near(
        &self,
        inputs: ArrayView2<'_, f32>,
        rests: &[f64],
        own: bool,
    ) -> Vec<Vec<(f64, usize)>> {
        let mut all = Vec::with_capacity(inputs.nrows());
        for (block, rows) in inputs.axis_chunks_iter(Axis(0), BLOCK).enumerate() {
            let dots = rows.dot(&self.points.t());
            let lengths = squares(rows);
            for (at, length) in lengths.iter().enumerate() {
                let index = block * BLOCK + at;
                let distance = |point: usize| {
                    let inside = length + self.squares[point] - 2.0 * f64::from(dots[[at, point]]);
                    (inside.max(0.0) + rests[index] + self.rests[point]).sqrt()
                };
                let mut near: Vec<(f64, usize)> = (0..self.len())
                    .filter(|&point| !(own && point == index))
                    .map(|point| (distance(point), point))
                    .collect();
                let by_distance = |one: &(f64, usize), other: &(f64, usize)| {
                    one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
                };
                near.select_nth_unstable_by(self.neighbours - 1, by_distance);
                near.truncate(self.neighbours);
                near.sort_unstable_by(by_distance);
                all.push(near);
            }
            crate::liveness::heartbeat();
        }
        all
    }
}

fn squares(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    let square =
        |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|&value| f64::from(value).powi(2)).sum();
    rows.rows().into_iter().map(square).collect()
}

/// Fewest points that have a density.
const POINTS_MIN: usize = 3;
/// Neighbours whose densities are compared, as is usual; half of few points.
const NEIGHBOURS: usize = 20;
/// Nearest points whose distance counts.
const CLOSEST: usize = 10;
/// Inputs whose distances are held at a time.
const BLOCK: usize = 512;
/// Distances below this count as zero.
const DISTANCE_MIN: f64 = 1e-6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::{Array1, array};
    use rand::Rng;

    /// A dense and a thin group of points, far from one another.
    fn groups() -> Array2<f32> {
        let mut random = crate::random::rng(1, "groups");
        Array2::from_shape_fn((120, 2), |(row, column)| {
            let (wide, place) = if row < 60 { (0.1, 0.0) } else { (1.0, 20.0) };
            place * f32::from(u8::from(column == 0)) + wide * random.random_range(-1.0f32..1.0)
        })
    }

    #[test]
    fn density_is_relative_to_neighbours() {
        let points = groups();
        let rests = vec![0.0; points.nrows()];
        let density = LocalDensity::of(points, &rests).unwrap().unwrap();
        let inputs = array![[0.0f32, 0.0], [20.0, 0.0], [0.0, 0.8]];
        let places = density.places(inputs.view(), &[0.0; 3]).unwrap();
        assert!(places[0].sparse.abs() < 0.3, "{places:?}");
        assert!(places[1].sparse.abs() < 0.3, "{places:?}");
        assert!(places[2].sparse > 1.0, "{places:?}");
        assert!(places[1].away > places[0].away);
    }

    #[test]
    fn the_factor_is_that_of_its_definition() {
        let points = groups();
        let rests = vec![0.0; points.nrows()];
        let density = LocalDensity::of(points.clone(), &rests).unwrap().unwrap();
        let k = density.neighbours;
        let apart = |one: ndarray::ArrayView1<'_, f32>, other: ndarray::ArrayView1<'_, f32>| {
            let difference: Array1<f32> = &one - &other;
            f64::from(difference.dot(&difference)).sqrt()
        };
        let nearest = |row: ndarray::ArrayView1<'_, f32>, own: usize| {
            let others = (0..points.nrows()).filter(|&point| point != own);
            let mut all: Vec<(f64, usize)> = others
                .map(|point| (apart(row, points.row(point)), point))
                .collect();
            all.sort_by(|one, other| one.0.total_cmp(&other.0));
            all.truncate(k);
            all
        };
        let reachable = |row: ndarray::ArrayView1<'_, f32>, own: usize| {
            let near = nearest(row, own);
            let reach = |&(distance, point): &(f64, usize)| {
                distance.max(nearest(points.row(point), point)[k - 1].0)
            };
            near.iter().map(reach).sum::<f64>() / k as f64
        };
        let input = array![0.3f32, 0.2];
        let around: f64 = nearest(input.view(), usize::MAX)
            .iter()
            .map(|one| 1.0 / reachable(points.row(one.1), one.1))
            .sum();
        let expected = (around / k as f64 * reachable(input.view(), usize::MAX)).ln();
        let rows = input.view().insert_axis(Axis(0));
        let got = density.places(rows, &[0.0]).unwrap()[0].sparse;
        assert!((got - expected).abs() < 1e-3, "{got} and {expected}");
    }

    #[test]
    fn distance_from_the_subspace_lowers_density() {
        let points = groups();
        let rests = vec![0.0; points.nrows()];
        assert!(LocalDensity::of(points.clone(), &rests[1..]).is_err());
        let two = points.slice(ndarray::s![..2, ..]).to_owned();
        assert!(LocalDensity::of(two, &rests[..2]).unwrap().is_none());
        let density = LocalDensity::of(points, &rests).unwrap().unwrap();
        let inputs = array![[0.0f32, 0.0]];
        let near = density.places(inputs.view(), &[0.0]).unwrap()[0];
        let far = density.places(inputs.view(), &[4.0]).unwrap()[0];
        assert!(far.away > near.away && far.sparse > near.sparse);
        assert!(density.places(array![[0.0f32]].view(), &[0.0]).is_err());
        assert!(density.places(inputs.view(), &[]).is_err());
    }
}
