//! What is chosen before a run, from shapes and counts, and why.

use serde_json::{Value, json};

use common::task::{StudentSpec, Task, USUAL};
use common::teacher::Teacher;
use edge_agent::work::SAMPLE_ROWS_MEAN;

use super::stages::ChosenStage;
use super::{SimulateError, SimulateOptions};
use crate::data::Dataset;
use crate::plan::{TaskOptions, hidden_units, task};
use crate::privacy;
use crate::stage::{ASKED, Stages, stages};
use coordinator::budget::{Fixed, Kinds, Plan, Setting, plan, rows_a_point};

/// What was chosen before the run, and why.
pub(crate) struct Chosen {
    pub(super) plan: Plan,
    features_reason: String,
    student_reason: String,
}

/// The task that suits the data and the options.
pub(crate) fn checked_task(
    data: &Dataset,
    options: &SimulateOptions,
    parts: &[Vec<usize>],
    by_devices: Option<&ChosenStage>,
    seed: u64,
) -> Result<(Task, Chosen), SimulateError> {
    let agents = parts.len();
    let (policy, _) = privacy::choose(
        (data.train.inputs.view(), &data.train.labels),
        parts,
        options.privacy(),
    );
    let rows_a_point_min = (SAMPLE_ROWS_MEAN * policy.cluster_size_min) as usize;
    let asked = options.features.clone().filter(|stage| stage != "auto");
    let fixed = Fixed {
        points: options.points,
        rank: options.rank_max,
        landmarks: options.landmarks,
        bits: options.bits,
        // Without labels there is nothing to say of the points.
        contribute: match data.classes == [USUAL] {
            true => Kinds::Points,
            false => options.contribute,
        },
    };
    let kinds = [options.convolves(), options.scores_novelty()];
    let other = by_devices.and_then(ChosenStage::other);
    let Stages {
        stages,
        reason,
        image,
    } = stages(data, asked, other, kinds);
    let last = stages.len() - 1;
    for (index, stage) in stages.into_iter().enumerate() {
        let mut task_options = TaskOptions {
            features: Some(stage),
            student: options
                .student
                .clone()
                .unwrap_or(StudentSpec::Mlp { hidden: vec![64] }),
            points: 2,
            points_per_device: 1,
            auto_budget: false,
            bits: 8,
            contribute: match fixed.contribute {
                // Soft labels are of classes.
                Kinds::Both if !data.numbers.is_empty() => Kinds::Moments.to_string(),
                kinds => kinds.to_string(),
            },
            consensus: options.consensus,
            uplink_bytes_max: options.uplink_bytes_max,
            rank_max: 0,
            novelty: options.scores_novelty(),
            landmarks: Some(0),
            steps: options.steps,
            refinement_steps: 0,
            seed,
            deadline_s: 600,
            grace_s: 1.0,
        };
        let mut sketch = task(data, &task_options)?;
        let (units, units_reason) = hidden_units(sketch.features(), sketch.outputs(), image);
        if options.student.is_none() {
            let hidden = vec![units];
            task_options.student = StudentSpec::Mlp { hidden };
            sketch = task(data, &task_options)?;
        }
        let setting = Setting {
            features: sketch.features(),
            classes: sketch.outputs(),
            devices: agents,
            rounds: options.rounds.max(1),
            rows: data.train.labels.len(),
            lists: sketch.definition().features.is_measured(),
            learns_normaliser: sketch.learns_normaliser(),
            directions: privacy::directions(
                data.train.labels.len() / agents.max(1),
                options.privacy(),
            ),
            rows_a_point_min,
            learns_quantiles: sketch.learns_quantiles(),
            parameters: sketch.student().parameters(),
            last_layer: can_refine(&sketch, options)
                .then(|| (sketch.student().before_last() + 1) * sketch.outputs()),
            uplink_bytes: options.uplink_bytes_max,
        };
        let plan = plan(&setting, fixed);
        let senders = agents.max(1) * setting.rounds as usize;
        let wanted = POINTS_WANTED.min(setting.rows / rows_a_point(rows_a_point_min));
        if index < last && (plan.points_per_device as usize * senders) < wanted {
            continue;
        }
        task_options.refinement_steps = options.refinement_steps.unwrap_or(plan.refinement_steps);
        task_options.points = plan.points_max;
        task_options.points_per_device = plan.points_per_device;
        task_options.bits = plan.bits;
        task_options.rank_max = plan.rank;
        task_options.landmarks = Some(plan.landmarks);
        task_options.contribute = plan.contribute.to_string();
        let chosen = Chosen {
            plan,
            features_reason: match by_devices {
                Some(chosen) if chosen.other().is_some() => chosen.choice.to_string(),
                Some(chosen) => format!("{reason}; {}", chosen.choice),
                None => reason.to_owned(),
            },
            student_reason: if options.student.is_some() {
                ASKED
            } else {
                units_reason
            }
            .to_owned(),
        };
        return Ok((task(data, &task_options)?, chosen));
    }
    Err(SimulateError::Result(
        "there is no feature stage to try".to_owned(),
    ))
}

/// The feature stage and the student that suit the data, as a simulation would
/// choose them by shapes and counts alone.
///
/// # Errors
/// If none does.
pub fn suited(
    data: &Dataset,
    parts: &[Vec<usize>],
    seed: u64,
) -> Result<(String, StudentSpec), Box<dyn std::error::Error>> {
    let options = SimulateOptions {
        agents: parts.len(),
        ..SimulateOptions::default()
    };
    let (task, _) = checked_task(data, &options, parts, None, seed)?;
    let definition = task.definition();
    Ok((definition.features.to_string(), definition.student.clone()))
}

/// Points in all below which an image is better seen by fewer cells.
const POINTS_WANTED: usize = 2_000;

/// Each choice with its reason.
pub(super) fn choices(task: &Task, chosen: &Chosen, teacher: &Teacher) -> Value {
    let definition = task.definition();
    let facts = teacher.facts();
    let choice = |value: Value, reason: &str| json!({ "value": value, "reason": reason });
    let plan = &chosen.plan;
    let ridge = if facts.held_out_error < 0.0 {
        "fixed: centres carry no noise that could tell".to_owned()
    } else if chosen.plan.contribute == Kinds::Points && task.target().is_class() {
        let error = facts.held_out_error;
        format!("points that are left out one by one, their squared error {error:.5}")
    } else {
        let error = facts.held_out_error;
        format!("generalised cross-validation of the summed moments, estimated error {error:.5}")
    };
    let tempered = if !task.target().is_class() {
        "numbers are not tempered"
    } else if definition.distillation.temperature > 0.0 {
        ASKED
    } else {
        "samples around each point are most likely of its class"
    };
    let refinement = match definition.refinement_steps == plan.refinement_steps {
        true => plan.refinement_reason.as_str(),
        false => ASKED,
    };
    let feature_weights = match definition.method.feature_weights {
        true => "the points say how much each feature of a list counts",
        false => "stages of images and windows know what they look at",
    };
    json!({
        "features": choice(json!(definition.features.to_string()), &chosen.features_reason),
        "feature_weights": choice(json!(definition.method.feature_weights), feature_weights),
        "student": choice(json!(task.student().to_string()), &chosen.student_reason),
        "points": choice(json!(plan.points_max), &plan.points_reason),
        "points_per_device": choice(json!(plan.points_per_device), &plan.points_reason),
        "bits": choice(json!(plan.bits), &plan.bits_reason),
        "rank": choice(json!(plan.rank), &plan.rank_reason),
        "landmarks": choice(json!(plan.landmarks), &plan.landmarks_reason),
        "contribute": choice(json!(plan.contribute.to_string()), &plan.contribute_reason),
        "refinement_steps": choice(json!(definition.refinement_steps), refinement),
        "consensus": choice(json!(definition.method.consensus.rule.name()), ASKED),
        "lambda": choice(json!(facts.lambda), &ridge),
        "temperature": choice(json!(teacher.temperature()), tempered),
        "stream": choice(json!("mixtures of points"),
            "half mixtures of any two points, half around one towards its neighbours"),
    })
}

/// Whether devices send gradients of the task's students, so that these are refined.
fn can_refine(task: &Task, options: &SimulateOptions) -> bool {
    let rounds_wait = options.standing.is_none();
    let is_told = options.protection.is_none();
    let is_labelled = !task.target().is_class() || task.classes() > 1;
    is_labelled && rounds_wait && is_told
}
