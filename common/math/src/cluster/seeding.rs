//! Where the centres start.

use ndarray::Array2;
use rand::Rng;

use super::data::{Data, squared_distance};

/// Picks up to `clusters` rows by k-means++ (Arthur and Vassilvitskii 2007):
/// each with a chance in proportion to its weight and its squared distance to
/// the nearest one picked before. Fewer when all the rest coincide with
/// picked ones. Costs 3·rows·clusters·features operations.
pub(super) fn seed(data: &Data<'_>, clusters: usize, rng: &mut impl Rng) -> Array2<f32> {
    let mut chances: Vec<f64> = (0..data.len()).map(|row| data.weight(row)).collect();
    let mut distances = vec![f32::INFINITY; data.len()];
    let mut picked = Vec::with_capacity(clusters);
    while picked.len() < clusters {
        let Some(pick) = draw(&chances, rng) else {
            break;
        };
        picked.push(pick);
        crate::liveness::heartbeat();
        let centre = data.row(pick);
        for (row, distance) in distances.iter_mut().enumerate() {
            *distance = distance.min(squared_distance(data.row(row), centre));
            chances[row] = data.weight(row) * f64::from(*distance);
        }
    }
    let mut centres = Array2::zeros((picked.len(), data.features()));
    for (mut centre, &row) in centres.rows_mut().into_iter().zip(&picked) {
        centre
            .iter_mut()
            .zip(data.row(row))
            .for_each(|(to, &from)| *to = from);
    }
    centres
}

/// Draws an index with a chance in proportion to its entry, or none if all
/// are zero.
fn draw(chances: &[f64], rng: &mut impl Rng) -> Option<usize> {
    let total: f64 = chances.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let mut left = rng.random::<f64>() * total;
    let mut last = None;
    for (index, &chance) in chances.iter().enumerate() {
        if chance > 0.0 {
            last = Some(index);
            left -= chance;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}
