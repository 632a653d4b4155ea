//! What every way of distilling has in common.

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;

use super::kip::Kip;
use super::kmeans::KMeansCentres;
use super::label_solve::LabelSolve;
use super::solve::Score;
use super::{DistilError, Problem};

/// A way of distilling a data set.
pub trait Method {
    /// Distils `problem`. `monitor` hears how it goes and may end it early;
    /// what is returned then is the best so far.
    ///
    /// # Errors
    /// If the rows cannot be clustered or a system cannot be solved.
    fn distil(
        &self,
        problem: &Problem,
        monitor: &mut dyn Monitor,
    ) -> Result<Distilled, DistilError>;
}

/// Hears how a distillation goes.
pub trait Monitor {
    /// After a step: its loss, and the score on held-out rows where it was
    /// measured.
    fn step(&mut self, progress: StepReport);

    /// Whether to end with the best so far.
    fn stopped(&self) -> bool;
}

/// One step of an optimisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done.
    pub step: u32,
    /// Steps planned.
    pub steps: u32,
    /// ½·mean((f − t)²) on the step's rows.
    pub loss: f64,
    /// On held-out rows, where it was measured.
    pub held_out: Option<Score>,
}

/// Points that stand for a data set under kernel ridge regression.
#[derive(Clone, Debug)]
pub struct Distilled {
    /// Inputs in the view of the feature view, m × d, class after class.
    pub points: Array2<f32>,
    /// Soft labels, m × C; a row of probabilities less 1/C in spirit, but
    /// learnt labels go below 0 and above 1.
    pub labels: Array2<f64>,
    /// The class each point stands for.
    pub classes: Vec<u16>,
    /// Ridge of K(S,S), relative to its mean diagonal entry.
    pub ridge: f64,
    /// How regression on the points does on held-out rows.
    pub held_out: Score,
    /// Optimiser steps done.
    pub steps: u32,
}

/// The methods, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodName {
    /// Kernel inducing points with learnt labels.
    Kip,
    /// Centres of each class with its label.
    KMeans,
    /// Centres of each class with labels in closed form.
    LabelSolve,
}

impl MethodName {
    /// The method; `steps` are the optimiser's, if it has one.
    pub fn method(self, steps: u32) -> Box<dyn Method> {
        match self {
            Self::Kip => Box::new(Kip { steps }),
            Self::KMeans => Box::new(KMeansCentres),
            Self::LabelSolve => Box::new(LabelSolve),
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kip => "kip",
            Self::KMeans => "kmeans",
            Self::LabelSolve => "label-solve",
        })
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Kip, Self::KMeans, Self::LabelSolve]
            .into_iter()
            .find(|method| method.to_string() == name)
            .ok_or_else(|| format!("{name:?} is no method; write kip, kmeans or label-solve"))
    }
}
