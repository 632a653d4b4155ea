//! Devices in the few directions in which they are judged.

use ndarray::{Array1, Array2, ArrayView2, s};

use common::labels::Labels;
use common::math::linalg::{Cholesky, symmetric_eigen};
use common::math::regression::{MomentSystem, RegressionError};
use common::moments::Moments;
use common::task::Task;
use common::transfer::TransferSet;

use super::basis::Basis;
use super::mislabelled::{self, Mislabelled};
use super::trimmed::{Contradiction, Evidence, Trimmed};

/// The directions that matter to most devices, and what is needed to bring
/// their moments and labels there.
#[derive(Clone, Debug)]
pub struct Judge {
    /// From rows in which moments travel to directions, m×p.
    projection: Array2<f64>,
    /// The points of the transfer set in these directions, points × p.
    points: Array2<f64>,
    /// Rows that each point stands for.
    counts: Vec<f64>,
    /// u with uᵀφ(x) ≈ 1 for every row.
    constant: Array1<f64>,
    /// Targets of a row: one a class, or one a number.
    outputs: usize,
    /// Whether they are classes.
    classes: bool,
}

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Devices whose labels contradict the others'.
    pub contradictions: Vec<Contradiction>,
    /// Devices of the rest with a class that is another one to the others.
    pub mislabelled: Vec<Mislabelled>,
}

/// Gram matrices of all devices, each as large as any other, in the basis in
/// which moments travel: so that none chooses the directions by its size.
#[derive(Clone, Debug)]
pub struct Directions {
    gram: Array2<f64>,
    devices: usize,
}

impl Directions {
    /// Of no device on so many points and landmarks.
    pub fn new(support: usize) -> Self {
        Self {
            gram: Array2::zeros((support, support)),
            devices: 0,
        }
    }

    /// Folds a device's moments in. Cost rank·m².
    pub fn add(&mut self, moments: &Moments) {
        let factor = moments.factor.mapv(f64::from);
        let rest = f64::from(moments.remainder);
        let held = factor.iter().map(|one| one * one).sum::<f64>();
        let trace = held + rest * factor.ncols() as f64;
        self.devices += 1;
        if trace <= 0.0 {
            return;
        }
        self.gram.scaled_add(1.0 / trace, &factor.t().dot(&factor));
        let mut diagonal = self.gram.diag_mut();
        diagonal.map_inplace(|sum| *sum += rest / trace);
    }
}

impl Judge {
    /// With the directions that hold most of all devices' rows: as many as keep
    /// a fleet's sums in `VALUES_MAX` numbers, and `DIRECTIONS_MAX` at
    /// most. Cost about 14m³.
    ///
    /// # Errors
    /// If shapes differ or no eigenvectors are found.
    pub fn new(
        task: &Task,
        basis: &Basis,
        set: &TransferSet,
        directions: Directions,
        labels: usize,
    ) -> Result<Self, RegressionError> {
        let (support, outputs) = (set.support(), task.outputs());
        let devices = directions.devices + labels;
        let gram = match directions.devices {
            // Labels speak of the points alone.
            0 => {
                let features = basis.whitener.features();
                let points = features.slice(s![..set.points.len(), ..]);
                points.t().dot(&points)
            }
            _ => {
                let sent = MomentSystem {
                    gram: directions.gram,
                    cross: Array2::zeros((support, outputs)),
                    support: Array2::eye(support),
                    rows: 1.0,
                    target_square: 0.0,
                };
                basis.whitened(&sent)?.gram
            }
        };
        let fit = (VALUES_MAX / devices.max(1)).isqrt();
        let count = fit.clamp(DIRECTIONS_MIN, DIRECTIONS_MAX).min(support);
        // Eigenvalues ascend.
        let (_, vectors) = symmetric_eigen(gram.view())?;
        let chosen = vectors.slice(s![.., support - count..]);
        let points = basis.whitener.features();
        let points = points.slice(s![..set.points.len(), ..]).dot(&chosen);
        let counts: Vec<f64> = set.points.counts.iter().map(|&one| one.into()).collect();
        Ok(Self {
            projection: basis.towards(chosen)?,
            constant: constant(points.view(), &counts)?,
            points,
            counts,
            outputs,
            classes: task.target().is_class(),
        })
    }

    /// A device's moments as evidence. Cost rank·m·p + m·p².
    pub fn moments(&self, moments: &Moments) -> Evidence {
        let rows = moments.factor.mapv(f64::from).dot(&self.projection);
        let rest = self.projection.t().dot(&self.projection) * f64::from(moments.remainder);
        let gram = rows.t().dot(&rows) + rest;
        let carried = rows.slice(s![..moments.targets.nrows(), ..]);
        let cross = carried.t().dot(&moments.targets.mapv(f64::from));
        self.evidence(gram, cross, moments.target_square, moments.rows as f64)
    }

    /// What a device's labels say of the points, each as often as the rows it
    /// stands for and as far as the device knows it, in all for as many rows as
    /// the device counts for. Cost points·p².
    pub fn labels(&self, labels: &Labels, rows: f64) -> Evidence {
        let near = labels.nearness.iter().zip(&self.counts);
        let weights: Vec<f64> = near.map(|(&near, count)| f64::from(near) * count).collect();
        let all: f64 = weights.iter().sum();
        let scale = if all > 0.0 { rows / all } else { 0.0 };
        let centre = 1.0 / self.outputs as f64;
        let mut phi = self.points.clone();
        let mut said = labels.probabilities.mapv(|one| f64::from(one) - centre);
        for (at, weight) in weights.iter().enumerate() {
            let root = (weight * scale).sqrt();
            phi.row_mut(at).mapv_inplace(|value| value * root);
            said.row_mut(at).mapv_inplace(|value| value * root);
        }
        let square = said.iter().map(|value| value * value).sum();
        self.evidence(phi.t().dot(&phi), phi.t().dot(&said), square, rows)
    }

    /// Judges devices by their evidence, in any order that stays the same, beside what
    /// was known `before` they spoke.
    ///
    /// # Errors
    /// If their sums cannot be solved.
    pub fn verdict(
        &self,
        devices: &[Evidence],
        before: Option<&Evidence>,
    ) -> Result<Verdict, RegressionError> {
        let mut trimmed = Trimmed::new(devices, before)?;
        if self.classes {
            trimmed = trimmed.of_classes(self.constant.view());
        }
        let Some(agreement) = trimmed.agreement()? else {
            return Ok(Verdict::default());
        };
        let contradictions = agreement.contradictions;
        if !self.classes {
            // Of numbers there is no class to be another one.
            return Ok(Verdict {
                contradictions,
                mislabelled: Vec::new(),
            });
        }
        let mut out: Vec<usize> = contradictions.iter().map(|one| one.device).collect();
        let constant = self.constant.view();
        let mut trusted = agreement.core;
        let mut mislabelled = Vec::new();
        for _ in 0..LOOKS {
            let teacher = (trusted.as_slice(), trimmed.sum(&trusted), trimmed.lambda());
            let found = mislabelled::mislabelled(devices, &out, teacher, constant)?;
            if found.is_empty() {
                break;
            }
            out.extend(found.iter().map(|one| one.device));
            mislabelled.extend(found);
            // Without those, more devices can be asked about the others.
            trusted = (0..devices.len()).map(|at| !out.contains(&at)).collect();
        }
        mislabelled.sort_unstable_by_key(|one: &Mislabelled| one.device);
        Ok(Verdict {
            contradictions,
            mislabelled,
        })
    }

    /// Rows of a class c are uᵀΣφ over them, and Σφ over them is what B holds
    /// of c and 1/C of Σφ ≈ G·u over all.
    fn evidence(
        &self,
        gram: Array2<f64>,
        cross: Array2<f64>,
        target_square: f64,
        rows: f64,
    ) -> Evidence {
        if !self.classes {
            return Evidence {
                gram,
                cross,
                // Rows that happen to lie near the mean are no easier to answer.
                unanswered: target_square.max(rows * self.outputs as f64),
                target_square,
                rows,
                class_rows: vec![rows],
                certainty: 1.0,
            };
        }
        let all = gram.dot(&self.constant).dot(&self.constant) / self.outputs as f64;
        let of_class = self.constant.dot(&cross);
        let mut class_rows: Vec<f64> = of_class.iter().map(|one| (one + all).max(0.0)).collect();
        let told: f64 = class_rows.iter().sum();
        for class in &mut class_rows {
            *class *= if told > 0.0 { rows / told } else { 0.0 };
        }
        Evidence {
            gram,
            cross,
            unanswered: target_square,
            target_square,
            rows,
            class_rows,
            certainty: 1.0,
        }
    }
}

/// u of the ridge regression of 1 on the points, as often as the rows that
/// each stands for.
fn constant(points: ArrayView2<'_, f64>, counts: &[f64]) -> Result<Array1<f64>, RegressionError> {
    let mut weighted = points.to_owned();
    for (mut row, &count) in weighted.rows_mut().into_iter().zip(counts) {
        row *= count;
    }
    let mut system = points.t().dot(&weighted);
    let mirrored = system.t().to_owned();
    system.zip_mut_with(&mirrored, |one, &other| *one = 0.5 * (*one + other));
    let ridge = CONSTANT_RIDGE * system.diag().sum() / system.nrows().max(1) as f64;
    let ridge = ridge.max(f64::MIN_POSITIVE);
    system.diag_mut().map_inplace(|value| *value += ridge);
    let right = weighted
        .sum_axis(ndarray::Axis(0))
        .insert_axis(ndarray::Axis(1));
    let solved = Cholesky::factor(system.view())?.solve(right.view())?;
    Ok(solved.column(0).to_owned())
}

/// How often devices with a class that is another to the others are looked for.
const LOOKS: usize = 3;
/// Most directions: classes are told apart in far fewer.
const DIRECTIONS_MAX: usize = 128;
const DIRECTIONS_MIN: usize = 16;
/// Most numbers that the gram matrices of all devices may take.
const VALUES_MAX: usize = 1 << 26;
/// Of the mean eigenvalue.
const CONSTANT_RIDGE: f64 = 1e-3;
