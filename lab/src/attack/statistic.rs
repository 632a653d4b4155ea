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
    pub(super) inputs: Array2<f32>,
    /// In the basis of moments, rows × support.
    basis: Array2<f64>,
    pub(super) labels: Vec<u16>,
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

/// What all devices sent, to hold one of them against.
pub(super) struct Everyone {
    /// ΣG, support × support; none where nobody sent moments.
    gram: Option<Array2<f64>>,
    /// For each ridge, ΣG + εI and the teacher that it gives.
    solved: Vec<(Cholesky, Array2<f64>)>,
}

impl Everyone {
    /// The sums over all devices. Cost rank·m² a device, and m³ a ridge.
    ///
    /// # Errors
    /// If they cannot be solved.
    pub(super) fn of(observed: &Observed) -> Result<Self, AttackError> {
        let sent = observed.devices.iter();
        let sums = sent.filter_map(|one| Some([one.gram()?, one.cross()?]));
        let sums = sums.reduce(|[gram, cross], [more, other]| [gram + more, cross + other]);
        let Some([gram, cross]) = sums else {
            return Ok(Self {
                gram: None,
                solved: Vec::new(),
            });
        };
        let solve = |share: &f64| {
            let factor = ridged(&gram, share * mean_diagonal(&gram))?;
            let beta = factor.solve(cross.view()).map_err(unreadable)?;
            Ok((factor, beta))
        };
        let solved = RIDGES
            .iter()
            .map(solve)
            .collect::<Result<_, AttackError>>()?;
        Ok(Self {
            gram: Some(gram),
            solved,
        })
    }
}

/// A statistic's name and its value for each row.
pub(super) type Scores = Vec<(String, Vec<f64>)>;

/// Every statistic that the device's contributions allow. Always the same ones in the same order, for devices that
/// sent the same kinds. Cost: about 10·m³ + 20·rows·m².
pub(super) fn statistics(
    device: &Received,
    everyone: &Everyone,
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
        of_moments(device, [&gram, &cross], everyone, asked, &mut scores)?;
    }
    Ok(scores)
}

/// Leverages φᵀ(G + εI)⁻¹φ for several ε, alone, against those in all devices'
/// sum and with the labels; the error of the teacher that the device's moments
/// alone would give, alone and against that of all devices'; and how much of φ
/// G holds.
fn of_moments(
    device: &Received,
    [gram, cross]: [&Array2<f64>; 2],
    everyone: &Everyone,
    asked: &Asked,
    scores: &mut Scores,
) -> Result<(), AttackError> {
    let targets = targets(&asked.labels, cross.ncols());
    let phi = &asked.basis;
    let lengths = squares(phi);
    let mean = mean_diagonal(gram);
    let (joint, joint_rows) = joined(device, gram, cross, phi, &targets, mean);
    let joint_lengths = squares(&joint_rows);
    let held = energies(gram, phi);
    scores.push(("energy for its length".to_owned(), share(&held, &lengths)));
    if let Some(all) = &everyone.gram {
        let whole = energies(all, phi);
        scores.push((
            "energy against all devices'".to_owned(),
            share(&held, &whole),
        ));
    }
    for (at, ridge) in RIDGES.into_iter().enumerate() {
        let factor = ridged(gram, ridge * mean)?;
        let own = leverages(&factor, phi)?;
        let both = leverages(&ridged(&joint, ridge * mean)?, &joint_rows)?;
        let beta = factor.solve(cross.view()).map_err(unreadable)?;
        let missed = squares(&(&targets - &phi.dot(&beta)));
        let mut tell = |name: &str, values: Vec<f64>| {
            scores.push((format!("{name}, ridge {ridge:e}"), values));
        };
        if let Some((all, teacher)) = everyone.solved.get(at) {
            tell(
                "leverage against all devices'",
                negative(share(&own, &leverages(all, phi)?)),
            );
            let others = squares(&(&targets - &phi.dot(teacher)));
            tell(
                "error of its own teacher against all devices'",
                (&others - &missed).to_vec(),
            );
        }
        tell("leverage", negative(own.to_vec()));
        tell("leverage for its length", negative(share(&own, &lengths)));
        tell(
            "leverage with the label",
            negative(share(&both, &joint_lengths)),
        );
        tell("error of its own teacher", negative(missed.to_vec()));
    }
    Ok(())
}

/// ‖row‖² of each row.
pub(super) fn squares(rows: &Array2<f64>) -> Array1<f64> {
    rows.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// φᵀGφ of each row.
fn energies(gram: &Array2<f64>, phi: &Array2<f64>) -> Array1<f64> {
    let pairs = phi.dot(gram);
    let pairs = pairs.rows().into_iter().zip(phi.rows());
    pairs.map(|(through, row)| through.dot(&row)).collect()
}

fn share(of: &Array1<f64>, by: &Array1<f64>) -> Vec<f64> {
    let pairs = of.iter().zip(by);
    pairs.map(|(of, by)| of / by.max(1e-12)).collect()
}

fn negative(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| -value).collect()
}

fn mean_diagonal(gram: &Array2<f64>) -> f64 {
    gram.diag().mean().unwrap_or(1.0).max(1e-12)
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
