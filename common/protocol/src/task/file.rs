//! The task file that a person writes.

use serde::Deserialize;

use super::backbone::{ModelFiles, ModelMeasured, RawFeatures};
use super::budget::{self, RawBudget};
use super::checked::{Task, TaskError};
use super::definition::{
    Contribute, Distillation, Normalisation, Rounds, StandingRounds, StudentSpec, TaskDefinition,
    TeacherSpec,
};
use super::groups;
use super::input::{ArrayInput, InputKind, RawInput};
use super::method::{Consensus, ConsensusRule, Method};
use super::target::{RawTarget, Target};
use crate::features::{FeatureStage, InputShape, Modality};
use crate::round::{Kind, Phase};

/// A task file. Unknown keys are refused; what is left out has a default.
/// [`TASK_KEYS`](super::TASK_KEYS) lists every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTask {
    name: String,
    #[serde(default)]
    groups: Option<Vec<String>>,
    input: RawInput,
    #[serde(default)]
    classes: Option<RawClasses>,
    #[serde(default)]
    target: RawTarget,
    #[serde(default)]
    features: RawFeatures,
    #[serde(default)]
    normaliser: RawNormaliser,
    #[serde(default)]
    teacher: RawTeacher,
    #[serde(default)]
    student: RawStudent,
    #[serde(default, deserialize_with = "budget::table_or_word")]
    budget: RawBudget,
    #[serde(default)]
    contribute: Option<Contribute>,
    #[serde(default)]
    distillation: RawDistillation,
    #[serde(default)]
    rounds: RawRounds,
}

/// Why a task file was refused.
#[derive(Debug, thiserror::Error)]
pub enum TaskFileError {
    /// Not TOML, a key that is unknown or missing, or a value of the wrong
    /// type; the message names key and line.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value that does not fit.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The model that inputs go through cannot be used.
    #[error("features.model: {0}")]
    Model(String),
}

impl RawTask {
    /// Reads and checks a task file's text.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key and what is allowed.
    pub fn parse(text: &str) -> Result<Task, TaskFileError> {
        Self::parse_measuring(text, &|files| files.as_written())
    }

    /// The same where `measure` looks at the model that inputs go through, if the
    /// task has one.
    ///
    /// # Errors
    /// As [`Self::parse`], and what `measure` finds.
    pub fn parse_measuring(
        text: &str,
        measure: &dyn Fn(&ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError>,
    ) -> Result<Task, TaskFileError> {
        let definition = toml::from_str::<Self>(text)?.definition(measure)?;
        Ok(Task::check(definition)?)
    }

    fn definition(
        self,
        measure: &dyn Fn(&ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError>,
    ) -> Result<TaskDefinition, TaskFileError> {
        let (input, input_shape) = self.input.checked()?;
        let unlabelled = self.target.is_none();
        let novelty = self.student.novelty || unlabelled;
        let (range, student) = (self.normaliser.range, self.student.checked()?);
        let convolves = matches!(student, StudentSpec::Cnn { .. });
        let names = self.classes.map(|classes| classes.names);
        let (classes, target) = self.target.checked(names)?;
        let rate = match &input {
            InputKind::Series(series) => Some(series.rate_hz.round() as u32),
            InputKind::Array(_) | InputKind::Table(_) => None,
        };
        let learns_directions = self.features.learns_directions();
        let (named, backbone) = self.features.checked((&input_shape, rate), measure)?;
        let by_default = || match &backbone {
            None => default_stage(&input, &input_shape, &target, convolves, range),
            // Directions are learnt of the values as they are.
            Some(_) if learns_directions => FeatureStage::Raw,
            Some(backbone) => {
                let list = InputKind::Array(ArrayInput::default());
                default_stage(&list, &[backbone.values()], &target, false, range)
            }
        };
        let stage = named.unwrap_or_else(|| match novelty && !learns_directions {
            true => by_default().lifted_for_novelty(),
            false => by_default(),
        });
        let normalisation = self.normaliser.checked(stage, unlabelled)?;
        let distillation = self.distillation;
        let auto_budget = self.budget.is_planned();
        if auto_budget {
            nothing_beside("teacher.landmarks_max", self.teacher.landmarks_max)?;
        }
        let budget = self.budget.checked()?;
        let by_default = match target {
            // Without labels there is nothing to say of the points.
            Target::Class if unlabelled => Contribute::Points,
            Target::Class if auto_budget => Contribute::Both,
            Target::Class => Contribute::Points,
            Target::Number(_) => Contribute::Moments,
        };
        let contribute = self.contribute.unwrap_or(by_default);
        let standing = self.rounds.standing()?;
        let refines = auto_budget && !unlabelled && standing.is_none();
        let by_default = if refines { REFINEMENT_STEPS_PLANNED } else { 0 };
        let refinement_steps = distillation.refinement_steps.unwrap_or(by_default);
        let feature_weights = self.teacher.feature_weights;
        // Without labels no feature tells more than another.
        let feature_weights = feature_weights.unwrap_or(stage.is_measured() && !unlabelled);
        let landmarks = match stage.is_measured() && contribute.kinds().contains(&Kind::Moments) {
            true => LANDMARKS_OF_LISTS,
            false => 0,
        };
        Ok(TaskDefinition {
            name: self.name,
            input_shape,
            classes,
            features: stage,
            normalisation,
            teacher: TeacherSpec {
                depth: self.teacher.depth,
            },
            student,
            budget,
            contribute,
            distillation: Distillation {
                temperature: distillation.temperature,
                steps: distillation.steps,
                batch: distillation.batch,
                learning_rate: distillation.learning_rate,
                seed: distillation.seed,
            },
            standing,
            rounds: self.rounds.checked()?,
            method: Method {
                consensus: Consensus {
                    rule: distillation.consensus,
                    sharpening: distillation.sharpening,
                },
                feature_weights,
                landmarks_max: self.teacher.landmarks_max.unwrap_or(landmarks),
            },
            input,
            target,
            novelty,
            refinement_steps,
            auto_budget,
            backbone,
            learns_directions,
            groups: groups::checked(self.groups)?,
        })
    }
}

/// Most steps that refine a student of a task whose budget is planned: of fifteen
/// tables, most gained by the first three, and held-out rows say which is the last.
const REFINEMENT_STEPS_PLANNED: u32 = 4;

/// What the coordinator plans, a person leaves to it.
pub(super) fn nothing_beside<T: ToString>(
    key: &'static str,
    set: Option<T>,
) -> Result<(), TaskError> {
    match set {
        None => Ok(()),
        Some(value) => Err(TaskError::Value {
            key,
            value: value.to_string(),
            allowed: "nothing, beside budget.plan = \"auto\"".to_owned(),
        }),
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClasses {
    names: Vec<String>,
}

/// The stage of a task file that names none, which the kind of input and its
/// shape decide: one for convolutions where the student is one, and raw values where their range is
/// known and only statistics could scale what the shape asks for.
fn default_stage(
    input: &InputKind,
    shape: &[u32],
    target: &Target,
    convolves: bool,
    range: Option<[f32; 2]>,
) -> FeatureStage {
    let sides = shape.iter().map(|&side| side as usize).collect();
    // Another shape is refused with the task.
    let Ok(shape) = InputShape::new(sides) else {
        return FeatureStage::Raw;
    };
    let modality = match input {
        InputKind::Array(_) => shape.modality(),
        InputKind::Table(_) => Modality::List,
        InputKind::Series(_) => Modality::Series,
    };
    let under = FeatureStage::default_under_convolution(&shape, modality);
    let under = under.filter(|_| convolves);
    let stage = under.unwrap_or_else(|| match target {
        Target::Class => FeatureStage::default_for(&shape, modality),
        Target::Number(_) => FeatureStage::default_for_numbers(&shape, modality, range.is_some()),
    });
    let scaled = range.is_none_or(|range| matches!(stage.range(&shape, range), Ok(Some(_))));
    if scaled { stage } else { FeatureStage::Raw }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawNormaliser {
    range: Option<[f32; 2]>,
    clip: f32,
    #[serde(alias = "curves")]
    quantiles: Option<bool>,
}

/// Landmarks of lists of measurements: with 300 points beside them a solve takes
/// a second or two.
const LANDMARKS_OF_LISTS: u32 = 300;

impl RawNormaliser {
    /// Quantile transforms bring far values near, which are all that rows without labels have to
    /// be told by.
    fn checked(self, stage: FeatureStage, unlabelled: bool) -> Result<Normalisation, TaskError> {
        let clip = self.clip;
        match (self.range, self.quantiles) {
            (Some(_), Some(true)) => Err(TaskError::Value {
                key: "normaliser.quantiles",
                value: "true".to_owned(),
                allowed: "nothing, beside normaliser.range".to_owned(),
            }),
            (Some([low, high]), _) => Ok(Normalisation::Range { low, high }),
            (None, quantiles) if quantiles.unwrap_or(stage.is_measured() && !unlabelled) => {
                Ok(Normalisation::Quantiles { clip })
            }
            (None, _) => Ok(Normalisation::Learnt { clip }),
        }
    }
}

impl Default for RawNormaliser {
    fn default() -> Self {
        Self {
            range: None,
            clip: 5.0,
            quantiles: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTeacher {
    depth: u8,
    #[serde(alias = "relevance")]
    feature_weights: Option<bool>,
    landmarks_max: Option<u32>,
}

impl Default for RawTeacher {
    fn default() -> Self {
        Self {
            depth: 2,
            feature_weights: None,
            landmarks_max: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawStudentKind {
    #[default]
    Mlp,
    Cnn,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStudent {
    kind: RawStudentKind,
    hidden: Vec<u32>,
    channels: Option<Vec<u32>>,
    novelty: bool,
}

impl RawStudent {
    fn checked(self) -> Result<StudentSpec, TaskError> {
        let hidden = self.hidden;
        match (self.kind, self.channels) {
            (RawStudentKind::Mlp, None) => Ok(StudentSpec::Mlp { hidden }),
            (RawStudentKind::Mlp, Some(channels)) => Err(TaskError::Value {
                key: "student.channels",
                value: format!("{channels:?}"),
                allowed: "nothing, unless student.kind is \"cnn\"".to_owned(),
            }),
            (RawStudentKind::Cnn, channels) => Ok(StudentSpec::Cnn {
                channels: channels.unwrap_or_else(|| vec![16, 32]),
                hidden,
            }),
        }
    }
}

impl Default for RawStudent {
    fn default() -> Self {
        Self {
            kind: RawStudentKind::Mlp,
            hidden: vec![64],
            channels: None,
            novelty: false,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDistillation {
    temperature: f32,
    steps: u32,
    batch: u32,
    learning_rate: f32,
    seed: u64,
    consensus: ConsensusRule,
    sharpening: f32,
    refinement_steps: Option<u32>,
}

impl Default for RawDistillation {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            steps: 4_000,
            batch: 256,
            learning_rate: 4e-3,
            seed: 0,
            consensus: ConsensusRule::default(),
            sharpening: Consensus::default().sharpening,
            refinement_steps: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRounds {
    mode: Mode,
    rows_new: Option<u64>,
    devices_min: u32,
    quorum: f32,
    deadline_s: RawDeadlines,
    grace_s: f64,
    interval_s: Option<f64>,
    new_data_devices_min: u32,
}

/// Whether rounds wait for their devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// A round waits for the devices that are there.
    #[default]
    Synchronous,
    /// Contributions count whenever they come.
    Standing,
}

impl Default for RawRounds {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            rows_new: None,
            devices_min: 2,
            quorum: 0.8,
            deadline_s: RawDeadlines::default(),
            grace_s: 10.0,
            interval_s: None,
            new_data_devices_min: 1,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDeadlines {
    profile: f64,
    summarise: f64,
    contribute: f64,
    report: f64,
}

impl Default for RawDeadlines {
    fn default() -> Self {
        Self {
            profile: 600.0,
            summarise: 600.0,
            contribute: 600.0,
            report: 600.0,
        }
    }
}

/// What is enough for a standing task's student: a thousand rows, and fewer
/// after an hour.
const ROWS_NEW: u64 = 1_000;
const STANDING_INTERVAL_S: f64 = 3_600.0;

impl RawRounds {
    fn standing(&self) -> Result<Option<StandingRounds>, TaskError> {
        match (self.mode, self.rows_new) {
            (Mode::Synchronous, None) => Ok(None),
            (Mode::Synchronous, Some(rows)) => Err(TaskError::Value {
                key: "rounds.rows_new",
                value: rows.to_string(),
                allowed: "nothing, unless rounds.mode is \"standing\"".to_owned(),
            }),
            (Mode::Standing, rows) => Ok(Some(StandingRounds {
                rows_new: rows.unwrap_or(ROWS_NEW),
                interval_ms: milliseconds(
                    "rounds.interval_s",
                    self.interval_s.unwrap_or(STANDING_INTERVAL_S),
                )?,
            })),
        }
    }

    fn checked(self) -> Result<Rounds, TaskError> {
        let mut deadline_ms = [0; 7];
        for (phase, seconds) in [
            (Phase::Profile, self.deadline_s.profile),
            (Phase::Summarise, self.deadline_s.summarise),
            (Phase::Contribute, self.deadline_s.contribute),
            (Phase::Report, self.deadline_s.report),
        ] {
            deadline_ms[phase as usize] = milliseconds("rounds.deadline_s", seconds)?;
        }
        Ok(Rounds {
            devices_min: self.devices_min,
            quorum: self.quorum,
            deadline_ms,
            grace_ms: milliseconds("rounds.grace_s", self.grace_s)?,
            interval_ms: self
                .interval_s
                .filter(|_| self.mode == Mode::Synchronous)
                .map(|seconds| milliseconds("rounds.interval_s", seconds))
                .transpose()?,
            new_data_devices_min: self.new_data_devices_min,
        })
    }
}

fn milliseconds(key: &'static str, seconds: f64) -> Result<u64, TaskError> {
    if seconds.is_finite() && (0.0..=1e9).contains(&seconds) {
        Ok((seconds * 1000.0).round() as u64)
    } else {
        Err(TaskError::Value {
            key,
            value: seconds.to_string(),
            allowed: "a number of seconds, 0 to 1e9".to_owned(),
        })
    }
}
