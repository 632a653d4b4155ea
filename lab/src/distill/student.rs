//! A student from distilled points, trained as the coordinator trains one.

use ndarray::{Array2, Axis};

use common::math::network::softmax_rows;
use common::math::regression::kernel_ridge;
use common::summary::Points;
use common::teacher::{RawTeacher, Teacher, TeacherFacts};
use coordinator::student::{Trained, train_student};

use super::problem::Rows;
use super::solve::answers;
use super::{DistilError, Distilled, FeatureView, Problem};

/// Trains the feature view's student on the labelled stream around the points;
/// `progress` hears of steps done and planned.
///
/// # Errors
/// If regression on the points cannot be solved or training fails.
pub fn train(
    feature_view: &FeatureView,
    problem: &Problem,
    distilled: &Distilled,
    progress: impl FnMut(u32, u32),
) -> Result<Trained, DistilError> {
    let alpha = distilled.coefficients(problem)?;
    let raw = RawTeacher {
        depth: problem.kernel.depth(),
        alpha: alpha.iter().map(|&value| value as f32).collect(),
        temperature: temperature(problem, distilled, &alpha)?,
        facts: TeacherFacts::default(),
    };
    let teacher = Teacher::check(raw, distilled.points.clone(), problem.classes.len())?;
    let (counts, spreads) = members(&problem.fit, distilled);
    let points = Points {
        inputs: distilled.points.clone(),
        classes: distilled.classes.clone(),
        counts,
        spreads,
        targets: None,
    };
    Ok(train_student(
        feature_view.task(),
        &points,
        &teacher,
        progress,
    )?)
}

impl Distilled {
    /// α = (K(S,S) + ρ·tr/m·I)⁻¹·Y, m × C.
    ///
    /// # Errors
    /// If the system cannot be solved.
    pub fn coefficients(&self, problem: &Problem) -> Result<Array2<f64>, DistilError> {
        let kernel = problem.kernel.symmetric(self.points.mapv(f64::from).view());
        Ok(kernel_ridge(kernel.view(), self.labels.view(), self.ridge)?)
    }
}

/// The temperature under which held-out rows are most likely of their class.
fn temperature(
    problem: &Problem,
    distilled: &Distilled,
    alpha: &Array2<f64>,
) -> Result<f32, DistilError> {
    let held = &problem.held_out;
    let inputs = held.inputs.view();
    let answers = answers(&problem.kernel, distilled.points.view(), alpha, inputs)?;
    let loss = |temperature: f64| -> f64 {
        let mut probabilities = answers.clone();
        softmax_rows(probabilities.view_mut(), temperature);
        let rows = probabilities.rows().into_iter().zip(&held.labels);
        rows.map(|(row, &label)| -f64::from(row[usize::from(label)].max(1e-9)).ln())
            .sum()
    };
    let best = TEMPERATURES
        .into_iter()
        .min_by(|one, other| loss(*one).total_cmp(&loss(*other)));
    Ok(best.unwrap_or(0.15) as f32)
}

/// How many rows lie nearest to each point among those of its class, and the
/// root of their mean squared distance.
pub(super) fn members(rows: &Rows, distilled: &Distilled) -> (Vec<u32>, Vec<f32>) {
    let m = distilled.classes.len();
    let (mut counts, mut squares) = (vec![0u32; m], vec![0f64; m]);
    for (row, (point, square)) in nearest(rows, distilled).into_iter().enumerate() {
        debug_assert_eq!(rows.labels[row], distilled.classes[point]);
        counts[point] += 1;
        squares[point] += f64::from(square);
    }
    let total: f64 = squares.iter().sum::<f64>() / rows.len().max(1) as f64;
    let spreads = counts.iter().zip(&squares).map(|(&count, &square)| {
        let mean = if count == 0 {
            total
        } else {
            square / f64::from(count)
        };
        mean.sqrt() as f32
    });
    let spreads = spreads.collect();
    (
        counts.into_iter().map(|count| count.max(1)).collect(),
        spreads,
    )
}

/// For each row, the nearest point of its class and the squared distance.
/// Rows of a class without points are nearest to point 0.
pub(super) fn nearest(rows: &Rows, distilled: &Distilled) -> Vec<(usize, f32)> {
    let mut found = vec![(0, 0.0); rows.len()];
    let classes = distilled.classes.iter().copied().max().unwrap_or(0);
    for class in 0..=classes {
        let own: Vec<usize> = (0..distilled.classes.len())
            .filter(|&point| distilled.classes[point] == class)
            .collect();
        let members = rows.of_class(class);
        let points = distilled.points.select(Axis(0), &own);
        let norms: Vec<f32> = points.rows().into_iter().map(|p| p.dot(&p)).collect();
        for chunk in members.chunks(2_000) {
            let inputs = rows.inputs.select(Axis(0), chunk);
            let dots = inputs.dot(&points.t());
            for ((&row, dots), input) in chunk.iter().zip(dots.rows()).zip(inputs.rows()) {
                let own_norm = input.dot(&input);
                let distance = |at: usize| (own_norm - 2.0 * dots[at] + norms[at]).max(0.0);
                let best = (0..own.len()).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                if let Some(at) = best {
                    found[row] = (own[at], distance(at));
                }
            }
        }
    }
    found
}

/// Temperatures tried, as the coordinator does.
const TEMPERATURES: [f64; 6] = [0.05, 0.1, 0.125, 0.15, 0.2, 0.25];
