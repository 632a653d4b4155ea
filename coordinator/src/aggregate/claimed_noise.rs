//! Devices that claim noise which their samples do not show.

use ndarray::{Array2, ArrayView1, ArrayView2, s};
use rand::seq::index::sample;

use common::math::linalg::{LinalgError, top_eigenpairs};
use common::math::random::rng;
use common::summary::Points;

/// Takes claims of noise back that samples do not show: such a device's samples
/// count, and are judged, as if they lay where they say. Returns the places of those
/// devices.
///
/// Noise of differential privacy has the same strength in every direction, while rows
/// of all devices lie close to few. So of the square of a sample that noise moved, a
/// share lies outside the directions of other devices' samples which theirs do not
/// have there, and the more, the more noise is claimed ([`Points::certainty`]). A
/// device is taken at its word where at least half of what it claims is seen.
/// Nothing can be told, and every claim stands, where fewer than four
/// devices claim no noise, or where features are so few that samples fill them.
///
/// Cost: the eigenvectors of a matrix of 400² at most.
///
/// # Errors
/// If no eigenvectors are found.
pub fn take_back_false_noise(summaries: &mut [Points]) -> Result<Vec<usize>, LinalgError> {
    let noisy: Vec<usize> = (0..summaries.len())
        .filter(|&at| summaries[at].mean_certainty() < CLAIMED)
        .collect();
    if noisy.is_empty() {
        return Ok(noisy);
    }
    let sure = summaries
        .iter()
        .filter(|one| one.mean_certainty() >= CLAIMED);
    let sure: Vec<&Points> = sure.filter(|one| !one.is_empty()).collect();
    let Some(directions) = directions(&sure)? else {
        return Ok(Vec::new());
    };
    let told: Vec<usize> = { noisy.into_iter() }
        .filter(|&at| !shows(&summaries[at], &directions))
        .collect();
    for &at in &told {
        let points = &mut summaries[at];
        for (spread, row) in points.spreads.iter_mut().zip(points.inputs.rows()) {
            let features = row.len() as f64;
            *spread = (features - square(row)).max(0.0).sqrt() as f32;
        }
    }
    Ok(told)
}

/// Where rows of devices that claim no noise lie.
struct Directions {
    /// Directions × features, orthonormal.
    basis: Array2<f64>,
    /// The share of the square of such devices' samples that lies outside.
    outside: f64,
    /// The same of noise.
    outside_of_noise: f64,
}

/// Directions from half of the samples, and what the other half leaves outside; none
/// where that tells nothing.
fn directions(sure: &[&Points]) -> Result<Option<Directions>, LinalgError> {
    let rows: usize = sure.iter().map(|points| points.len()).sum();
    let (Some(first), true) = (sure.first(), sure.len() >= DEVICES_MIN) else {
        return Ok(None);
    };
    let features = first.inputs.ncols();
    let all = sure.iter().flat_map(|points| points.inputs.outer_iter());
    let all: Vec<ArrayView1<'_, f32>> = all.collect();
    let mut random = rng(SEED, "claimed-noise");
    let taken = sample(&mut random, rows, rows.min(2 * SAMPLES_MAX)).into_vec();
    let most = (features / 4).min(taken.len() / 4).min(DIRECTIONS_MAX);
    if most == 0 {
        return Ok(None);
    }
    let of = |places: &[usize]| {
        Array2::from_shape_fn((places.len(), features), |(row, column)| {
            f64::from(all[places[row]][column])
        })
    };
    let (made_from, seen) = taken.split_at(taken.len() / 2);
    let (made_from, seen) = (of(made_from), of(seen));
    let basis = principal(made_from.view(), most)?;
    let found = Directions {
        outside: outside(seen.view(), &basis),
        outside_of_noise: 1.0 - basis.nrows() as f64 / features as f64,
        basis,
    };
    let tells = found.outside_of_noise - found.outside >= TELLING_MIN;
    Ok(tells.then_some(found))
}

/// The first principal directions of rows (n × features), as rows.
fn principal(rows: ArrayView2<'_, f64>, most: usize) -> Result<Array2<f64>, LinalgError> {
    let products = rows.dot(&rows.t());
    // Rounding aside it is symmetric; halves make it so to the last bit.
    let products = (&products + &products.t()) / 2.0;
    let (values, vectors) = top_eigenpairs(products.view(), most)?;
    let first = values.first().copied().unwrap_or(0.0);
    let kept = values.iter().take_while(|&&value| value > 1e-9 * first);
    let kept = kept.count();
    let mut basis = vectors.slice(s![.., ..kept]).t().dot(&rows);
    for (mut row, value) in basis.rows_mut().into_iter().zip(&values) {
        row /= value.sqrt();
    }
    Ok(basis)
}

/// The share of the square of rows (n × features) that lies outside of the basis.
fn outside(rows: ArrayView2<'_, f64>, basis: &Array2<f64>) -> f64 {
    let all: f64 = rows.iter().map(|one| one * one).sum();
    let inside: f64 = rows.dot(&basis.t()).iter().map(|one| one * one).sum();
    1.0 - inside / all.max(f64::MIN_POSITIVE)
}

/// Whether a device's samples show the noise that it claims.
fn shows(points: &Points, directions: &Directions) -> bool {
    // Long samples are those that noise made long: each counts by its square.
    let rows = points.inputs.mapv(f64::from);
    let seen = outside(rows.view(), &directions.basis) - directions.outside;
    let seen = seen / (directions.outside_of_noise - directions.outside);
    let squares = points.inputs.rows().into_iter().map(square);
    let (mut claimed, mut all) = (0.0, 0.0);
    for (index, square) in squares.enumerate() {
        claimed += square * (1.0 - points.certainty(index));
        all += square;
    }
    seen >= SHOWN_MIN * claimed / all.max(f64::MIN_POSITIVE)
}

fn square(row: ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// Of the halves: a fleet is judged the same whenever it is.
const SEED: u64 = 0;
/// A device claims noise whose samples are less certain in the mean.
const CLAIMED: f64 = 0.9;
/// The share of the noise claimed that has to be seen.
const SHOWN_MIN: f64 = 0.5;
/// Fewest devices without noise that say where rows lie.
const DEVICES_MIN: usize = 4;
/// Most samples from which directions are made.
const SAMPLES_MAX: usize = 400;
/// Most directions.
const DIRECTIONS_MAX: usize = 32;
/// How much more of noise than of samples has to lie outside the directions.
const TELLING_MIN: f64 = 0.3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::Rng as _;

    const FEATURES: usize = 64;

    /// Samples of four places along two directions, of rows with a spread of
    /// their own, moved by noise of this deviation.
    fn device(seed: u64, noise: f32) -> Points {
        let mut random = rng(seed, "noise");
        let mut drawn = |scale: f32| scale * random.random_range(-1.7f32..1.7);
        let inputs = Array2::from_shape_fn((12, FEATURES), |(at, side)| {
            let on = if side % 4 == at % 4 { 1.4 } else { 0.2 };
            on + drawn(0.1)
        });
        let square = |row: ArrayView1<'_, f32>| row.dot(&row);
        let spread = |row| (FEATURES as f32 - square(row)).max(0.0).sqrt();
        let spreads = inputs.outer_iter().map(spread).collect();
        Points {
            inputs: inputs.mapv(|value| value + drawn(noise)),
            classes: vec![0; 12],
            counts: vec![10; 12],
            spreads,
            targets: None,
        }
    }

    /// The device as if it had added noise.
    fn claiming(mut points: Points, certainty: f64) -> Points {
        for (spread, row) in points.spreads.iter_mut().zip(points.inputs.rows()) {
            let left = FEATURES as f64 - certainty * square(row);
            *spread = left.sqrt() as f32;
        }
        points
    }

    fn fleet(others: Vec<Points>) -> Vec<Points> {
        let honest = (0..6).map(|seed| device(seed, 0.0));
        honest.chain(others).collect()
    }

    #[test]
    fn noise_that_is_seen_is_believed() {
        let mut summaries = fleet(vec![device(7, 0.5), device(8, 0.6)]);
        let before = summaries.clone();
        assert!(before[6].mean_certainty() < 0.9, "it claims noise");
        assert!(take_back_false_noise(&mut summaries).unwrap().is_empty());
        assert_eq!(summaries, before);
    }

    #[test]
    fn noise_that_is_only_claimed_is_taken_back() {
        let mut summaries = fleet(vec![claiming(device(7, 0.0), 0.4), device(8, 0.5)]);
        assert!(summaries[6].mean_certainty() < 0.5);
        assert_eq!(take_back_false_noise(&mut summaries).unwrap(), [6]);
        assert_eq!(summaries[6].mean_certainty(), 1.0);
        assert!(summaries[7].mean_certainty() < 0.9);
    }

    #[test]
    fn nothing_is_told_where_everyone_has_noise() {
        let mut summaries: Vec<Points> = (0..8).map(|seed| device(seed, 0.6)).collect();
        summaries.push(claiming(device(9, 0.0), 0.4));
        assert!(take_back_false_noise(&mut summaries).unwrap().is_empty());
    }
}
