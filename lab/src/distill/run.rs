//! A whole distillation: the choice of features and kernel, the method, and
//! what came of it.

use std::time::Instant;

use serde_json::{Value, json};

use super::label_solve::LabelSolve;
use super::solve::answers;
use super::{
    DistilError, Distilled, FeatureView, FeatureViewPlan, Method, MethodName, Monitor, Problem,
    Rows, Score, Split, StepReport,
};
use crate::data::Dataset;
use crate::plan::hidden_units;
use crate::stage::auto_stage;

/// What a distillation is asked for; what is left open is chosen.
#[derive(Clone, Debug)]
pub struct DistilOptions {
    /// Points of each class.
    pub per_class: usize,
    /// How.
    pub method: MethodName,
    /// Seed of every random choice.
    pub seed: u64,
    /// Feature stage; none lets held-out rows decide.
    pub features: Option<String>,
    /// Hidden layers of the kernel's network; none lets held-out rows decide.
    pub depth: Option<u8>,
    /// Optimiser steps of KIP; none lets the number of points decide.
    pub steps: Option<u32>,
    /// Units of the student's hidden layers; none lets the features decide.
    pub hidden: Option<Vec<u32>>,
    /// Optimiser steps of the student.
    pub student_steps: u32,
}

impl DistilOptions {
    /// The optimiser's steps.
    pub fn steps(&self) -> u32 {
        self.steps.unwrap_or(STEPS)
    }
}

/// A data set through the chosen feature view.
#[derive(Clone, Debug)]
pub struct Session {
    /// Features, normaliser, kernel.
    pub feature_view: FeatureView,
    /// The rows, as the feature view sees them.
    pub problem: Problem,
    /// Which rows they are.
    pub split: Split,
    /// How the feature view was chosen.
    pub chosen: Chosen,
}

/// How features and kernel were chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The feature stage.
    pub stage: String,
    /// The kernel's depth.
    pub depth: u8,
    /// Everything tried, with its score on held-out rows.
    pub tried: Vec<(String, u8, Score)>,
}

/// Chooses features and kernel: of all that the options leave open, those
/// under which centres with solved labels, from a part of the rows, have the
/// least loss on held-out rows. `say` hears of each.
///
/// # Errors
/// If the asked-for features do not fit the data, or rows are too few.
pub fn choose(
    data: &Dataset,
    options: &DistilOptions,
    mut say: impl FnMut(&str),
) -> Result<Session, DistilError> {
    let split = Split::of(&data.train, options.seed)?;
    let mut part = split.clone();
    part.fit
        .truncate(CHOICE_ROWS.max(40 * options.per_class * data.classes.len()));
    let (stages, depths) = (stages(data, options), depths(options));
    let mut tried: Vec<(String, u8, Score)> = Vec::new();
    if stages.len() * depths.len() > 1 {
        for stage in &stages {
            let feature_view = FeatureView::new(data, &part.fit, &plan(options, stage, depths[0]))?;
            let mut problem =
                Problem::new(data, &feature_view, &part, options.per_class, options.seed)?;
            for &depth in &depths {
                let plan = plan(options, stage, depth);
                problem.kernel = feature_view.with_plan(data, &plan)?.kernel();
                let found = LabelSolve.distil(&problem, &mut Silent)?;
                say(&format!(
                    "  {stage}, depth {depth}: {:.2} % of held-out rows",
                    100.0 * found.held_out.accuracy
                ));
                tried.push((stage.clone(), depth, found.held_out));
            }
        }
    }
    let best = tried
        .iter()
        .fold(None, |best: Option<&(String, u8, Score)>, one| match best {
            Some(best) if !one.2.beats(&best.2) => Some(best),
            _ => Some(one),
        });
    let (stage, depth) = match best {
        Some((stage, depth, _)) => (stage.clone(), *depth),
        None => (stages[0].clone(), depths[0]),
    };
    let feature_view = FeatureView::new(data, &split.fit, &plan(options, &stage, depth))?;
    let mut plan = plan(options, &stage, depth);
    if options.hidden.is_none() {
        plan.hidden = vec![units(&feature_view, data.classes.len()).0];
    }
    let feature_view = feature_view.with_plan(data, &plan)?;
    let problem = Problem::new(data, &feature_view, &split, options.per_class, options.seed)?;
    Ok(Session {
        feature_view,
        problem,
        split,
        chosen: Chosen {
            stage,
            depth,
            tried,
        },
    })
}

/// What came of a distillation.
#[derive(Clone, Debug)]
pub struct DistilOutcome {
    /// Of regression on the points, on the test set.
    pub krr_accuracy: f64,
    /// Of the student, on the test set; none if it was not trained.
    pub student_accuracy: Option<f64>,
    /// Bytes of the archive.
    pub bytes: usize,
    /// From the first choice to the archive.
    pub wall_ms: u64,
    /// Training of the student.
    pub student_wall_ms: u64,
    /// Whether it was ended early.
    pub interrupted: bool,
}

impl Session {
    /// Accuracy of regression on the points on the test set.
    ///
    /// # Errors
    /// If regression cannot be solved.
    pub fn krr_accuracy(&self, data: &Dataset, distilled: &Distilled) -> Result<f64, DistilError> {
        let all: Vec<usize> = (0..data.test.len()).collect();
        let test = Rows::of(&data.test, &self.feature_view, &all, data.classes.len())?;
        let alpha = distilled.coefficients(&self.problem)?;
        let inputs = test.inputs.view();
        let said = answers(
            &self.problem.kernel,
            distilled.points.view(),
            &alpha,
            inputs,
        )?;
        Ok(test.accuracy(said.view()))
    }

    /// Accuracy of a student trained from the points, on the test set, and
    /// how long training took in milliseconds.
    ///
    /// # Errors
    /// If training fails.
    pub fn student_accuracy(
        &self,
        data: &Dataset,
        distilled: &Distilled,
        progress: impl FnMut(u32, u32),
    ) -> Result<(f64, u64), DistilError> {
        use common::math::network::Network;
        let begun = Instant::now();
        let trained =
            super::student::train(&self.feature_view, &self.problem, distilled, progress)?;
        let wall_ms = begun.elapsed().as_millis() as u64;
        let test = self.feature_view.see(data.test.inputs.view())?;
        let said = trained.network.predict(test.view())?;
        let said: Vec<u16> = said.into_iter().map(|class| class as u16).collect();
        Ok((crate::metrics::accuracy(&said, &data.test.labels), wall_ms))
    }
}

/// The figures in the stable form that scripts read.
pub fn outcome(
    data: &Dataset,
    options: &DistilOptions,
    session: &Session,
    distilled: &Distilled,
    found: &DistilOutcome,
) -> Value {
    json!({
        "config": {
            "dataset": data.name,
            "method": options.method.to_string(),
            "per_class": options.per_class,
            "points": distilled.classes.len(),
            "seed": options.seed,
            "steps": options.steps(),
        },
        "krr_accuracy": found.krr_accuracy,
        "student_accuracy": found.student_accuracy,
        "held_out_accuracy": distilled.held_out.accuracy,
        "held_out_loss": distilled.held_out.loss,
        "bytes": found.bytes,
        "wall_ms": found.wall_ms,
        "student_wall_ms": found.student_wall_ms,
        "steps_done": distilled.steps,
        "interrupted": found.interrupted,
        "choices": choices(options, session, distilled),
    })
}

/// Each choice with its reason.
fn choices(options: &DistilOptions, session: &Session, distilled: &Distilled) -> Value {
    let chosen = &session.chosen;
    let judged = "centres with solved labels from a part of the training rows had the least loss \
                  with it on held-out training rows";
    let reason = |asked: bool, many: bool| match (asked, many) {
        (true, _) => "asked for",
        (false, true) => judged,
        (false, false) => "the shape of an input leaves no other",
    };
    let many = !chosen.tried.is_empty();
    let tried: Vec<Value> = chosen
        .tried
        .iter()
        .map(|(stage, depth, score)| {
            json!({ "features": stage, "depth": depth,
                "held_out_accuracy": score.accuracy, "held_out_loss": score.loss })
        })
        .collect();
    json!({
        "features": { "value": chosen.stage, "reason": reason(options.features.is_some(), many) },
        "depth": { "value": chosen.depth, "reason": reason(options.depth.is_some(), many) },
        "tried": tried,
        "ridge": { "value": distilled.ridge, "reason": match options.method {
            MethodName::KMeans => "the most right answers on held-out training rows",
            _ => "as good as none; the labels are solved with a penalty chosen on held-out training rows",
        } },
        "stop": { "value": distilled.steps, "reason":
            "the points with the least loss on held-out training rows are kept" },
        "held_out_rows": { "value": session.problem.held_out.len(), "reason":
            "a tenth of the training rows, or a fifth of the people; never the test set" },
        "student": { "value": session.feature_view.task().student().to_string(), "reason":
            if options.hidden.is_some() { "asked for" } else { units(&session.feature_view, session.problem.classes.len()).1 } },
    })
}

fn stages(data: &Dataset, options: &DistilOptions) -> Vec<String> {
    if let Some(stage) = &options.features {
        return vec![stage.clone()];
    }
    vec![auto_stage(data, false).to_string()]
}

fn depths(options: &DistilOptions) -> Vec<u8> {
    match options.depth {
        Some(depth) => vec![depth],
        None => DEPTHS.to_vec(),
    }
}

/// Hidden units of a student that nobody asked for, and why so many.
fn units(feature_view: &FeatureView, classes: usize) -> (u32, &'static str) {
    hidden_units(feature_view.task().features(), classes, false)
}

/// With the least student where none was asked for.
fn plan(options: &DistilOptions, stage: &str, depth: u8) -> FeatureViewPlan {
    FeatureViewPlan {
        stage: stage.to_owned(),
        depth,
        hidden: options.hidden.clone().unwrap_or_else(|| vec![64]),
        student_steps: options.student_steps,
        seed: options.seed,
    }
}

struct Silent;

impl Monitor for Silent {
    fn step(&mut self, _: StepReport) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// Depths tried.
const DEPTHS: [u8; 3] = [1, 2, 3];
/// Rows that a choice is made from, or forty for each point.
const CHOICE_ROWS: usize = 8_000;
/// Optimiser steps of KIP.
const STEPS: u32 = 2_000;
