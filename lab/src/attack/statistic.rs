//! Figures by which a coordinator may tell whether a device described a row:
//! each higher where it more likely did.

use ndarray::{Array1, Array2, Axis, concatenate, s};

use common::math::linalg::Cholesky;

use super::AttackError;
use super::observed::{Observed, Received, unreadable};

/// Rows that are asked about.
pub(super) struct Asked {
    /// Features before the normaliser, rows × features.
    features: Array2<f32>,
    /// Normalised, rows × features.
    inputs: Array2<f32>,
    /// In the basis of moments, rows × support.
    basis: Array2<f64>,
    labels: Vec<u16>,
}

impl Asked {
    /// Of raw inputs, whose labels the coordinator knows as well.
    pub(super) fn of(
        observed: &Observed,
        inputs: ndarray::ArrayView2<'_, f32>,
        labels: Vec<u16>,
    ) -> Result<Self, AttackError> {
        let [features, inputs] = observed.normalised(inputs)?;
        let basis = observed
            .embedding
            .features(observed.seen(inputs.view()).view())?;
        Ok(Self {
            features,
            inputs,
            basis,
            labels,
        })
    }
}

/// A statistic's name and its value for each row.
pub(super) type Scores = Vec<(String, Vec<f64>)>;

/// Every statistic that the device's contributions allow. `all` is the sum of
/// all devices' G. Always the same ones in the same order, for devices that
/// sent the same kinds. Cost: about 10·m³ + 20·rows·m².
pub(super) fn statistics(
    device: &Received,
    all: Option<&Array2<f64>>,
    asked: &Asked,
) -> Result<Scores, AttackError> {
    let mut scores = Scores::new();
    if let Some(points) = &device.points {
        scores.push(("nearness to a point of its class".to_owned(), {
            let near = |(row, &label): (ndarray::ArrayView1<'_, f32>, &u16)| {
                { points.inputs.rows().into_iter().zip(&points.classes) }
                    .filter(|(_, class)| **class == label)
                    .map(|(point, _)| -square(&(&point - &row)))
                    .fold(f64::NEG_INFINITY, f64::max)
            };
            let rows = asked.inputs.rows().into_iter().zip(&asked.labels);
            rows.map(near).collect()
        }));
    }
    if let Some(moments) = device.profile.as_ref().and_then(|one| one.moments()) {
        scores.push(("likelihood under the profile".to_owned(), {
            let likely = |row: ndarray::ArrayView1<'_, f32>| {
                { row.iter().zip(&moments.mean).zip(&moments.variance) }
                    .map(|((value, mean), variance)| {
                        let variance = f64::from(*variance).max(1e-12);
                        -f64::from(value - mean).powi(2) / variance
                    })
                    .sum()
            };
            asked.features.rows().into_iter().map(likely).collect()
        }));
    }
    if let (Some(gram), Some(cross)) = (device.gram(), device.cross()) {
        of_moments(device, &gram, &cross, all, asked, &mut scores)?;
    }
    Ok(scores)
}

/// Leverages φᵀ(G + εI)⁻¹φ for several ε, alone, against those in all devices'
/// sum and with the labels; and the error of the teacher that the device's
/// moments alone would give.
fn of_moments(
    device: &Received,
    gram: &Array2<f64>,
    cross: &Array2<f64>,
    all: Option<&Array2<f64>>,
    asked: &Asked,
    scores: &mut Scores,
) -> Result<(), AttackError> {
    let classes = cross.ncols();
    let targets = targets(&asked.labels, classes);
    let phi = &asked.basis;
    let lengths: Array1<f64> = phi.rows().into_iter().map(|row| row.dot(&row)).collect();
    let mean = gram.diag().mean().unwrap_or(1.0).max(1e-12);
    let (joint, joint_rows) = joined(device, gram, cross, phi, &targets, mean);
    let joint_lengths: Array1<f64> = joint_rows
        .rows()
        .into_iter()
        .map(|row| row.dot(&row))
        .collect();
    for share in RIDGES {
        let factor = ridged(gram, share * mean)?;
        let own = leverages(&factor, phi)?;
        let divided = |one: &Array1<f64>, by: &Array1<f64>| -> Vec<f64> {
            let pairs = one.iter().zip(by);
            pairs.map(|(one, by)| -one / by.max(1e-12)).collect()
        };
        let mut tell = |name: &str, values: Vec<f64>| {
            scores.push((format!("{name}, ridge {share:e}"), values));
        };
        tell("leverage", own.iter().map(|value| -value).collect());
        tell("leverage for its length", divided(&own, &lengths));
        if let Some(all) = all {
            let mean = all.diag().mean().unwrap_or(1.0).max(1e-12);
            let whole = leverages(&ridged(all, share * mean)?, phi)?;
            tell("leverage against all devices'", divided(&own, &whole));
        }
        let both = leverages(&ridged(&joint, share * mean)?, &joint_rows)?;
        tell("leverage with the label", divided(&both, &joint_lengths));
        let beta = factor.solve(cross.view()).map_err(unreadable)?;
        let missed = &targets - &phi.dot(&beta);
        let error = |row: ndarray::ArrayView1<'_, f64>| -row.dot(&row);
        tell(
            "error of its own teacher",
            missed.rows().into_iter().map(error).collect(),
        );
    }
    Ok(())
}

/// [[G, sB], [sBᵀ, s²TᵀT]] and the rows (φ, s·t) that it sums, with s such
/// that labels weigh as much as features.
fn joined(
    device: &Received,
    gram: &Array2<f64>,
    cross: &Array2<f64>,
    phi: &Array2<f64>,
    targets: &Array2<f64>,
    mean: f64,
) -> (Array2<f64>, Array2<f64>) {
    let (points, classes) = cross.dim();
    let mut joint = Array2::zeros((points + classes, points + classes));
    let told = device.moments.as_ref().map(|moments| {
        let targets = moments.targets.mapv(f64::from);
        targets.t().dot(&targets)
    });
    let told = told.unwrap_or_else(|| Array2::zeros((classes, classes)));
    let weight = mean / told.diag().mean().unwrap_or(1.0).max(1e-12);
    let root = weight.sqrt();
    joint.slice_mut(s![..points, ..points]).assign(gram);
    joint
        .slice_mut(s![..points, points..])
        .assign(&(cross * root));
    joint
        .slice_mut(s![points.., ..points])
        .assign(&(&cross.t() * root));
    joint
        .slice_mut(s![points.., points..])
        .assign(&(told * weight));
    let rows = concatenate(Axis(1), &[phi.view(), (targets * root).view()]);
    (joint, rows.expect("both have one row a row asked about"))
}

fn targets(labels: &[u16], classes: usize) -> Array2<f64> {
    Array2::from_shape_fn((labels.len(), classes), |(row, class)| {
        let own = f64::from(u8::from(usize::from(labels[row]) == class));
        own - 1.0 / classes as f64
    })
}

fn ridged(matrix: &Array2<f64>, ridge: f64) -> Result<Cholesky, AttackError> {
    let mut ridged = matrix.clone();
    ridged.diag_mut().map_inplace(|value| *value += ridge);
    Cholesky::factor(ridged.view()).map_err(unreadable)
}

fn leverages(factor: &Cholesky, rows: &Array2<f64>) -> Result<Array1<f64>, AttackError> {
    let half = factor.solve_lower(rows.t()).map_err(unreadable)?;
    Ok(half
        .columns()
        .into_iter()
        .map(|column| column.dot(&column))
        .collect())
}

fn square(values: &Array1<f32>) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// Ridges that are tried, as shares of the mean of G's diagonal.
const RIDGES: [f64; 5] = [1e-5, 1e-3, 1e-2, 1e-1, 1.0];
