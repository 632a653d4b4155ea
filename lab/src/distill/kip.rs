//! Kernel inducing points with learnt labels.
//!
//! Over points S and labels Y, f(x) = K(x,S)·(K(S,S) + ρI)⁻¹·Y. Labels that
//! may be anything make α = (K(S,S) + ρI)⁻¹·Y anything, so the search is over
//! S and α, and Y follows from α in the end. The loss
//! ½·mean((K(X,S)α − T)²) + ½λ·tr(αᵀK(S,S)α), the second term averaged alike,
//! is quadratic in α, so every step solves for α exactly, on moments averaged
//! over the last batches; gradient descent on Y, whose gradient A⁻¹K·(…) is as
//! badly scaled as K(S,S), would take thousands of steps to the same place.
//! At that α the gradient in S with α held still is the whole one (envelope
//! theorem), and the points move along it by Adam.
//!
//! Source: Nguyen, Chen & Lee 2021 (KIP); Nguyen, Novak, Xiao & Lee 2021
//! (learnt labels).

use ndarray::{Array2, s};

use common::math::optimiser::{Adam, AdamParams, Schedule};
use common::math::regression::{MomentSystem, data_term};

use super::kmeans::centres;
use super::label_solve::with_labels;
use super::method::{Distilled, Method, Monitor, StepReport};
use super::solve::{Solved, solve};
use super::{DistilError, Problem};

/// Gradient descent from k-means centres.
#[derive(Clone, Copy, Debug)]
pub struct Kip {
    /// Optimiser steps.
    pub steps: u32,
}

impl Method for Kip {
    fn distil(
        &self,
        problem: &Problem,
        monitor: &mut dyn Monitor,
    ) -> Result<Distilled, DistilError> {
        let (points, classes) = centres(problem)?;
        let mut descent = Descent::new(problem, points, self.steps)?;
        let mut best = descent.judge(problem)?;
        let mut best_points = descent.points.clone();
        let report = |step, loss, held_out| StepReport {
            step,
            steps: self.steps,
            loss,
            held_out,
        };
        monitor.step(report(0, best.score.loss, Some(best.score)));
        let every = (self.steps / JUDGEMENTS).max(1);
        let mut done = 0;
        while done < self.steps && !monitor.stopped() {
            let loss = descent.step(problem)?;
            done += 1;
            let judged = if done % every == 0 || done == self.steps {
                let now = descent.judge(problem)?;
                let score = now.score;
                if score.beats(&best.score) {
                    best_points.assign(&descent.points);
                    best = now;
                }
                Some(score)
            } else {
                None
            };
            monitor.step(report(done, loss, judged));
        }
        let solved = solve(problem, best_points.view(), usize::MAX)?;
        Ok(with_labels(problem, best_points, classes, &solved, done))
    }
}

/// Points and coefficients on their way.
struct Descent {
    points: Array2<f32>,
    /// λ a row.
    lambda: f64,
    /// Moments averaged over the last batches.
    moments: Option<MomentSystem>,
    adam: Adam<f32>,
    batch: usize,
    at: usize,
}

impl Descent {
    fn new(problem: &Problem, points: Array2<f32>, steps: u32) -> Result<Self, DistilError> {
        let settings = AdamParams {
            learning_rate: RATE,
            schedule: Schedule::Cosine {
                steps: u64::from(steps.max(2)),
                warmup_steps: u64::from(steps / 50),
                floor: 0.01,
            },
            ..AdamParams::default()
        };
        let adam = Adam::new(settings.check()?, points.len());
        let batch = (BATCH_PER_POINT * points.nrows()).clamp(BATCH_MIN, BATCH_MAX);
        Ok(Self {
            points,
            lambda: 0.0,
            moments: None,
            adam,
            batch: batch.min(problem.fit.len()),
            at: 0,
        })
    }

    /// The best coefficients for the points as they are, and how they do on
    /// held-out rows; goes on with their λ.
    fn judge(&mut self, problem: &Problem) -> Result<Solved, DistilError> {
        let solved = solve(problem, self.points.view(), JUDGE_ROWS)?;
        self.lambda = solved.lambda_per_row;
        Ok(solved)
    }

    /// α for the points as they are, on these rows and those before.
    fn coefficients(
        &mut self,
        problem: &Problem,
        rows: std::ops::Range<usize>,
    ) -> Result<Array2<f64>, DistilError> {
        let mut now = MomentSystem::gather(
            &problem.kernel,
            self.points.view(),
            problem.fit.inputs.slice(s![rows.clone(), ..]),
            problem.fit.targets.slice(s![rows, ..]),
        )?;
        if let Some(before) = &self.moments {
            now.gram.scaled_add(KEEP, &before.gram);
            now.cross.scaled_add(KEEP, &before.cross);
            now.rows += KEEP * before.rows;
        }
        let alpha = now.solve_absolute(self.lambda * now.rows, 0.0)?.alpha;
        self.moments = Some(now);
        Ok(alpha)
    }

    /// One step on the next rows; returns ½·mean((f − t)²) before it.
    fn step(&mut self, problem: &Problem) -> Result<f64, DistilError> {
        let rows = self.next_rows(problem, self.batch);
        let alpha = self.coefficients(problem, rows.clone())?;
        let (count, classes) = (rows.len() as f64, alpha.ncols() as f64);
        let alpha = alpha.mapv(|value| value as f32);
        let term = data_term(
            &problem.kernel,
            self.points.view(),
            alpha.view(),
            problem.fit.inputs.slice(s![rows.clone(), ..]),
            problem.fit.targets.slice(s![rows, ..]),
        )?;
        let mut gradient = term.d_support;
        gradient.mapv_inplace(|value| value / (count * classes) as f32);
        // The penalty, with both arguments of K(S,S) moving.
        let weight = (0.5 * self.lambda / classes) as f32;
        problem
            .kernel
            .pass(self.points.view(), self.points.view())?
            .backward_symmetric(&(alpha.dot(&alpha.t()) * weight), &mut gradient)?;
        if let (Some(points), Some(gradient)) =
            (self.points.as_slice_mut(), gradient.as_slice_mut())
        {
            self.adam.step(points, gradient);
        }
        Ok(term.loss / (count * classes))
    }

    /// The next this many rows; they are in random order.
    fn next_rows(&mut self, problem: &Problem, count: usize) -> std::ops::Range<usize> {
        let count = count.min(problem.fit.len());
        if self.at + count > problem.fit.len() {
            self.at = 0;
        }
        self.at += count;
        self.at - count..self.at
    }
}

/// Adam's rate at the start; coordinates of inputs have a mean square of one.
const RATE: f64 = 0.01;
/// How much of the moments so far a step keeps.
const KEEP: f64 = 0.75;
/// How often held-out rows are asked, in all.
const JUDGEMENTS: u32 = 20;
/// Rows a step for each point, within the bounds below.
const BATCH_PER_POINT: usize = 16;
const BATCH_MIN: usize = 1_000;
const BATCH_MAX: usize = 2_500;
/// Rows that solve for α where held-out rows are asked.
const JUDGE_ROWS: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::Dataset;
    use crate::distill::{DistilOptions, LabelSolve, MethodName, Session, choose};

    fn session() -> Session {
        let options = DistilOptions {
            per_class: 2,
            method: MethodName::Kip,
            seed: 1,
            features: Some("raw".into()),
            depth: Some(1),
            steps: None,
            hidden: None,
            student_steps: 50,
        };
        choose(&Dataset::open("digits").unwrap(), &options, |_| ()).unwrap()
    }

    struct StopAfter(u32, u32);

    impl Monitor for StopAfter {
        fn step(&mut self, report: StepReport) {
            self.1 = report.step;
        }

        fn stopped(&self) -> bool {
            self.1 >= self.0
        }
    }

    #[test]
    fn descent_beats_the_centres_it_began_with() {
        let problem = session().problem;
        let mut never = StopAfter(u32::MAX, 0);
        let start = LabelSolve.distil(&problem, &mut never).unwrap();
        let found = Kip { steps: 60 }.distil(&problem, &mut never).unwrap();
        assert!(found.held_out.loss < start.held_out.loss);
        assert_eq!(found.points.dim(), start.points.dim());
        let again = Kip { steps: 60 }.distil(&problem, &mut never).unwrap();
        assert_eq!(found.points, again.points);
    }

    #[test]
    fn an_early_end_keeps_what_was_found() {
        let problem = session().problem;
        let found = Kip { steps: 1_000 }
            .distil(&problem, &mut StopAfter(7, 0))
            .unwrap();
        assert_eq!(found.steps, 7);
        assert!(found.held_out.accuracy > 0.5);
    }
}
