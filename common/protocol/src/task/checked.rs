//! The checked task: a definition whose parts fit one another.

use crate::codec::DecodeError;
use crate::features::InputShape;
use crate::ids::{BlobHash, TaskHash};
use crate::limits::{BLOB_BYTES_MAX, CLASSES_MAX, FEATURES_MAX, POINTS_MAX};
use crate::round::{Kind, Phase};
use crate::task::backbone::Backbone;
use crate::task::definition::{
    Budget, Distillation, Normalisation, Rounds, StandingRounds, StudentSpec, TaskDefinition,
};
use crate::task::groups;
use crate::task::input::InputKind;
use crate::task::projection;
use crate::task::target::{self, Target, USUAL};
use math::network::{CnnShape, ConvolutionShape, MlpShape, NetworkError, Padding, StudentShape};

/// A task whose parts fit one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    definition: TaskDefinition,
    shape: InputShape,
    stage_shape: InputShape,
    stage_features: usize,
    features: usize,
    student: StudentShape,
    bytes: Vec<u8>,
    hash: TaskHash,
}

/// Why a task was refused.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A value outside what its key allows.
    #[error("{key} is {value}, allowed is {allowed}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The bytes are not a task.
    #[error("the task does not decode: {0}")]
    Decode(#[from] DecodeError),
}

pub(super) fn allowed(
    holds: bool,
    key: &'static str,
    value: impl ToString,
    allowed: impl Into<String>,
) -> Result<(), TaskError> {
    if holds {
        Ok(())
    } else {
        Err(TaskError::Value {
            key,
            value: value.to_string(),
            allowed: allowed.into(),
        })
    }
}

impl Task {
    /// Holds a definition against its limits.
    ///
    /// # Errors
    /// The first key whose value does not fit, with what is allowed.
    pub fn check(definition: TaskDefinition) -> Result<Self, TaskError> {
        let d = &definition;
        let name_fits = !d.name.is_empty()
            && d.name.len() <= 64
            && d.name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        allowed(
            name_fits,
            "name",
            &d.name,
            "1 to 64 letters, digits, '-', '_' or '.'",
        )?;
        let sides: Vec<usize> = d.input_shape.iter().map(|&side| side as usize).collect();
        let shape = InputShape::new(sides).map_err(|error| TaskError::Value {
            key: "input.shape",
            value: format!("{:?}", d.input_shape),
            allowed: error.to_string(),
        })?;
        d.input.check(&d.input_shape, shape.values())?;
        let stage_shape = match &d.backbone {
            None => shape.clone(),
            Some(backbone) => {
                backbone.check(d)?;
                list_of(d.stage_values(backbone))?
            }
        };
        projection::check(d)?;
        let stage_features =
            d.features
                .features(&stage_shape)
                .map_err(|error| TaskError::Value {
                    key: "features.stage",
                    value: d.features.to_string(),
                    allowed: format!("one that takes these inputs: {error}"),
                })?;
        allowed(
            stage_features <= FEATURES_MAX,
            "features.stage",
            stage_features,
            format!("at most {FEATURES_MAX} features"),
        )?;
        match d.target {
            Target::Class => check_classes(&d.classes, d.novelty)?,
            Target::Number(_) => target::check(d)?,
        }
        check_normalisation(d.normalisation)?;
        let depth = d.teacher.depth;
        allowed((1..=8).contains(&depth), "teacher.depth", depth, "1 to 8")?;
        let (features, layout) = match &d.backbone {
            Some(backbone) if d.learns_directions => (backbone.directions as usize, None),
            _ => (
                stage_features,
                d.features.layout(&stage_shape).ok().flatten(),
            ),
        };
        let student = check_student(
            &d.student,
            features,
            layout,
            d.target.outputs(d.classes.len()),
        )?;
        check_budget(&d.budget)?;
        check_distillation(&d.distillation)?;
        check_rounds(&d.rounds)?;
        check_standing(d.standing, d.auto_budget)?;
        check_method(d)?;
        groups::check(&d.groups)?;
        let bytes = definition.to_bytes();
        let hash = TaskHash(BlobHash::of(&bytes).0);
        Ok(Self {
            definition,
            shape,
            stage_shape,
            stage_features,
            features,
            student,
            bytes,
            hash,
        })
    }

    /// A task from the bytes of [`Self::bytes`].
    ///
    /// # Errors
    /// If they are not a task, or one that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TaskError> {
        Self::check(TaskDefinition::from_bytes(bytes)?)
    }

    /// This definition under the bytes and the name of another.
    pub(super) fn named_as(self, other: &Self) -> Self {
        Self {
            bytes: other.bytes.clone(),
            hash: other.hash,
            ..self
        }
    }

    /// The canonical bytes, whose hash names the task.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The task's name everywhere but in front of people.
    pub fn hash(&self) -> TaskHash {
        self.hash
    }

    /// What the task fixes.
    pub fn definition(&self) -> &TaskDefinition {
        &self.definition
    }

    /// Shape of one raw input.
    pub fn input_shape(&self) -> &InputShape {
        &self.shape
    }

    /// Shape of what the feature stage sees of an input: the input itself, or what
    /// the task's backbone makes of it.
    pub fn stage_shape(&self) -> &InputShape {
        &self.stage_shape
    }

    /// What one input is.
    pub fn input(&self) -> &InputKind {
        &self.definition.input
    }

    /// Features that the stage makes of an input and profiles describe: those of
    /// [`Self::features`], unless a projection is learnt behind them.
    pub fn stage_features(&self) -> usize {
        self.stage_features
    }

    /// Features the kernel and the student see.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Groups of labelled rows that are described apart: the classes, or one of
    /// all rows where the task asks for no class.
    pub fn classes(&self) -> usize {
        self.definition.target.groups(self.definition.classes.len())
    }

    /// What teachers and students answer: a number for each class, or the numbers
    /// that the task asks for.
    pub fn outputs(&self) -> usize {
        self.definition
            .target
            .outputs(self.definition.classes.len())
    }

    /// What it asks of a row.
    pub fn target(&self) -> &Target {
        &self.definition.target
    }

    /// The student's shape.
    pub fn student(&self) -> &StudentShape {
        &self.student
    }

    /// Whether devices send feature sums.
    pub fn learns_normaliser(&self) -> bool {
        !matches!(self.definition.normalisation, Normalisation::Range { .. })
    }

    /// Whether profiles carry block means.
    pub fn learns_quantiles(&self) -> bool {
        matches!(
            self.definition.normalisation,
            Normalisation::Quantiles { .. }
        )
    }
}

/// The shape of a list of values that a model makes.
fn list_of(values: u32) -> Result<InputShape, TaskError> {
    InputShape::new(vec![values as usize]).map_err(|error| TaskError::Value {
        key: "features.width",
        value: values.to_string(),
        allowed: error.to_string(),
    })
}

/// `novelty` says whether students have a score, without which one class would leave
/// them nothing to say.
fn check_classes(classes: &[String], novelty: bool) -> Result<(), TaskError> {
    let many = classes.len();
    let unlabelled = novelty && classes == [USUAL];
    allowed(
        unlabelled || (2..=CLASSES_MAX).contains(&many),
        "classes.names",
        format!("{many} names"),
        format!("2 to {CLASSES_MAX}; rows without labels have target.kind \"none\""),
    )?;
    for (index, name) in classes.iter().enumerate() {
        let earlier = &classes[..index];
        // Labels are read without the spaces around them.
        let is_written = name.trim() == name && !name.chars().any(char::is_control);
        let fits = is_written && !name.is_empty() && name.len() <= 64 && !earlier.contains(name);
        allowed(
            fits,
            "classes.names",
            format!("{name:?}"),
            "distinct names of 1 to 64 bytes, with no space at either end and no control \
             characters",
        )?;
        let number = |name: &str| name.parse::<f64>().ok().filter(|number| number.is_finite());
        let same = number(name).and_then(|found| {
            let is_same = |other: &&String| number(other) == Some(found);
            earlier.iter().find(is_same)
        });
        allowed(
            same.is_none(),
            "classes.names",
            format!("{name:?} beside {:?}", same.map_or("", String::as_str)),
            "names that are not one number written in two ways",
        )?;
    }
    Ok(())
}

fn check_normalisation(normalisation: Normalisation) -> Result<(), TaskError> {
    match normalisation {
        Normalisation::Learnt { clip } | Normalisation::Quantiles { clip } => allowed(
            clip.is_finite() && (1.0..=100.0).contains(&clip),
            "normaliser.clip",
            clip,
            "1 to 100 standard deviations",
        ),
        Normalisation::Range { low, high } => allowed(
            low.is_finite() && high.is_finite() && low < high,
            "normaliser.range",
            format!("[{low}, {high}]"),
            "two finite numbers, the smaller first",
        ),
    }
}

fn check_student(
    student: &StudentSpec,
    inputs: usize,
    layout: Option<[usize; 3]>,
    outputs: usize,
) -> Result<StudentShape, TaskError> {
    let units = |numbers: &[u32]| numbers.iter().map(|&units| units as usize).collect();
    let (key, value, shape) = match student {
        StudentSpec::Mlp { hidden } => {
            let shape = MlpShape {
                inputs,
                hidden: units(hidden),
                outputs,
            };
            ("student.hidden", hidden, StudentShape::Mlp(shape))
        }
        StudentSpec::Cnn { channels, hidden } => {
            let input = layout.ok_or_else(|| TaskError::Value {
                key: "student.kind",
                value: "cnn".to_owned(),
                allowed:
                    "\"mlp\" for features without neighbours; \"cnn\" stands on features.stage \
                          \"patches\" or \"series\", or \"raw\" images and series"
                        .to_owned(),
            })?;
            let shape = CnnShape {
                input,
                convolutions: convolutions(input, channels),
                hidden: units(hidden),
                outputs,
            };
            ("student.channels", channels, StudentShape::Cnn(shape))
        }
    };
    let refused = |allowed: String| TaskError::Value {
        key,
        value: format!("{value:?}"),
        allowed,
    };
    let check = |error: NetworkError| refused(error.to_string());
    shape.check().map_err(check)?;
    // Weights travel at one byte each, and are kept as f32 beside the task.
    let bytes = shape.parameters() as u64 * 4;
    if bytes > BLOB_BYTES_MAX / 2 {
        return Err(refused(format!(
            "weights of at most {} bytes",
            BLOB_BYTES_MAX / 2
        )));
    }
    Ok(shape)
}

/// Windows of 3 that keep the size of their input, and pools of 2 along every
/// side that has 4 cells or more.
fn convolutions(input: [usize; 3], channels: &[u32]) -> Vec<ConvolutionShape> {
    let mut sides = [input[0], input[1]];
    let mut shapes = Vec::with_capacity(channels.len());
    for &channels in channels {
        let pool = sides.map(|side| if side >= 4 { 2 } else { 1 });
        shapes.push(ConvolutionShape {
            channels: channels as usize,
            kernel: sides.map(|side| side.min(3)),
            padding: Padding::Same,
            pool,
        });
        sides = [sides[0] / pool[0], sides[1] / pool[1]];
    }
    shapes
}

fn check_budget(budget: &Budget) -> Result<(), TaskError> {
    let points = budget.points_max as usize;
    allowed(
        (1..=POINTS_MAX).contains(&points),
        "budget.points_max",
        points,
        format!("1 to {POINTS_MAX}"),
    )?;
    allowed(
        (1..=budget.points_max).contains(&budget.points_per_device),
        "budget.points_per_device",
        budget.points_per_device,
        "1 to budget.points_max",
    )?;
    allowed(
        (1_000..=BLOB_BYTES_MAX).contains(&budget.uplink_bytes_max),
        "budget.uplink_bytes_max",
        budget.uplink_bytes_max,
        format!("1000 to {BLOB_BYTES_MAX}"),
    )?;
    allowed(
        (4..=16).contains(&budget.bits),
        "budget.bits",
        budget.bits,
        "4 to 16",
    )?;
    allowed(
        (2..=16).contains(&budget.label_bits),
        "budget.label_bits",
        budget.label_bits,
        "2 to 16",
    )?;
    allowed(
        budget.cluster_size_min >= 2,
        "budget.cluster_size_min",
        budget.cluster_size_min,
        "2 or more: a point of one row is that row",
    )
}

fn check_distillation(distillation: &Distillation) -> Result<(), TaskError> {
    let temperature = distillation.temperature;
    allowed(
        temperature == 0.0 || (0.01..=100.0).contains(&temperature),
        "distillation.temperature",
        temperature,
        "0 (chosen) or 0.01 to 100",
    )?;
    let steps = distillation.steps;
    allowed(
        (1..=10_000_000).contains(&steps),
        "distillation.steps",
        steps,
        "1 to 10000000",
    )?;
    let batch = distillation.batch;
    allowed(
        (1..=65_536).contains(&batch),
        "distillation.batch",
        batch,
        "1 to 65536",
    )?;
    let rate = distillation.learning_rate;
    allowed(
        rate > 0.0 && rate <= 1.0,
        "distillation.learning_rate",
        rate,
        "above 0, at most 1",
    )
}

fn check_method(task: &TaskDefinition) -> Result<(), TaskError> {
    let solves = task.contribute.kinds().contains(&Kind::Moments);
    let landmarks = task.method.landmarks_max;
    let steps = task.refinement_steps;
    allowed(
        steps == 0 || task.reports_on_labels() && steps <= REFINEMENT_STEPS_MAX,
        "distillation.refinement_steps",
        steps,
        format!(
            "0 to {REFINEMENT_STEPS_MAX}, and 0 unless the task asks for numbers or has several classes, and has rounds that wait for \
             reports"
        ),
    )?;
    allowed(
        landmarks == 0 || solves && landmarks <= LANDMARKS_MAX,
        "teacher.landmarks_max",
        landmarks,
        "0 to 2000, and 0 unless contribute is \"moments\" or \"both\"",
    )?;
    let sharpening = task.method.consensus.sharpening;
    allowed(
        (0.1..=10.0).contains(&sharpening),
        "distillation.sharpening",
        sharpening,
        "0.1 to 10",
    )
}

impl TaskDefinition {
    /// Values of a model's output that the feature stage sees.
    pub(super) fn stage_values(&self, backbone: &Backbone) -> u32 {
        match self.learns_directions {
            true => backbone.width,
            false => backbone.values(),
        }
    }

    /// Whether rows have labels of several classes, and devices report on students.
    fn reports_on_labels(&self) -> bool {
        (!self.target.is_class() || self.classes.len() > 1) && self.standing.is_none()
    }
}

/// Most steps that refine a student: each takes a round, and as many directions of
/// each device's rows as there are classes but one.
const REFINEMENT_STEPS_MAX: u32 = 8;

/// Most landmarks: with as many points a solve takes minutes.
const LANDMARKS_MAX: u32 = 2_000;

fn check_rounds(rounds: &Rounds) -> Result<(), TaskError> {
    allowed(
        rounds.devices_min >= 1,
        "rounds.devices_min",
        rounds.devices_min,
        "1 or more",
    )?;
    allowed(
        rounds.quorum > 0.0 && rounds.quorum <= 1.0,
        "rounds.quorum",
        rounds.quorum,
        "above 0, at most 1",
    )?;
    for phase in Phase::ALL.into_iter().filter(|phase| phase.gathers()) {
        let deadline = rounds.deadline_ms[phase as usize];
        allowed(
            (100..=7 * 24 * 3_600_000).contains(&deadline),
            "rounds.deadline_s",
            format!("{} s for {phase}", deadline as f64 / 1000.0),
            "0.1 s to 7 days",
        )?;
    }
    let interval = rounds.interval_ms.unwrap_or(1_000);
    allowed(
        interval >= 100,
        "rounds.interval_s",
        interval as f64 / 1000.0,
        "0.1 s or more",
    )
}

fn check_standing(standing: Option<StandingRounds>, auto_budget: bool) -> Result<(), TaskError> {
    let Some(standing) = standing else {
        return Ok(());
    };
    // Its first profiles are of the few devices that are awake.
    allowed(
        !auto_budget,
        "budget.plan",
        "auto",
        "\"fixed\" where rounds.mode is \"standing\": say points_max and points_per_device",
    )?;
    allowed(
        standing.rows_new >= 1,
        "rounds.rows_new",
        standing.rows_new,
        "1 or more",
    )?;
    allowed(
        standing.interval_ms >= 100,
        "rounds.interval_s",
        standing.interval_ms as f64 / 1000.0,
        "0.1 s or more",
    )
}

#[cfg(test)]
mod tests;
