//! What a fleet would reach for how many bytes, in one process: the outcome
//! of a simulated run, or of several with different seeds.

use std::sync::Arc;
use std::time::Instant;

use ndarray::Array2;
use serde_json::{Map, Value, json};

use common::features::FeatureStage;
use common::model::Release;
use common::task::{ConsensusRule, StudentSpec, Support, Task};
use common::teacher::Teacher;
use common::wire::codec::decode_blob;
use coordinator::intake;

use crate::budget::{Fixed, Kinds, Plan, ROWS_A_POINT, Setting, plan};
use crate::data::{Dataset, Partition, PartitionError, partition};
use crate::demo::measure_baselines;
use crate::metrics::{accuracy, macro_f1};
use crate::outcome::{RoundOutcome, RunOutcome};
use crate::plan::{Wishes, auto_stage, filtered_stage, hidden_units, task};
use crate::privacy;
use crate::progress::Progress;
use crate::report::{Detail, DetailError};
use crate::simulation::{DeviceBytes, RoundResult, Simulation, SimulationError};

/// What a simulation is asked for; what is left open is chosen.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// How rows are spread; none stands for `natural` where the data says
    /// whose they are, and `dirichlet:0.1` elsewhere.
    pub partition: Option<Partition>,
    /// Devices; ignored for `natural`.
    pub agents: usize,
    /// Rounds; points are spread over them.
    pub rounds: u32,
    /// Points of the transfer set in all; none lets the bytes decide.
    pub points: Option<u32>,
    /// Bits a value of points and moments; none lets the bytes decide.
    pub bits: Option<u8>,
    /// The student; none lets the features decide.
    pub student: Option<StudentSpec>,
    /// Feature stage; none lets the shape decide.
    pub features: Option<String>,
    /// What devices send beside points; `both` leaves it to the plan whether
    /// anything is.
    pub contribute: Kinds,
    /// How later rounds make the transfer set better; `Auto` leaves it to the
    /// plan.
    pub support: Support,
    /// How soft labels are joined.
    pub consensus: ConsensusRule,
    /// Share of the devices that send adversarial labels.
    pub liars: f64,
    /// Bytes a device may send in all, everything counted.
    pub uplink_bytes_max: u64,
    /// Virtual rows of moments; none lets the bytes decide.
    pub rank_max: Option<u32>,
    /// Landmarks beside the points; none lets the bytes decide.
    pub landmarks: Option<u32>,
    /// Optimiser steps of the student.
    pub steps: u32,
    /// Below how many rows a device says nothing; none lets the data decide.
    pub rows_min: Option<u64>,
    /// Leave the baselines out.
    pub no_baselines: bool,
    /// Gather what a report shows beyond the figures.
    pub detail: bool,
}

/// Why a simulation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The data cannot be spread that way.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The task does not hold together.
    #[error("the task is refused: {0}")]
    Task(#[from] common::task::TaskFileError),
    /// The fleet failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// What a report shows could not be gathered.
    #[error(transparent)]
    Detail(#[from] DetailError),
    /// A baseline could not be trained.
    #[error(transparent)]
    Baseline(#[from] crate::baseline::BaselineError),
    /// The teacher or the student cannot be tried.
    #[error("the result cannot be tried: {0}")]
    Result(String),
    /// The outcome cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// One seed's run.
#[derive(Debug)]
pub struct SimulateResult {
    /// The figures, with `choices`.
    pub outcome: Value,
    /// The last round's student.
    pub release: Arc<Release>,
    /// What a report shows, if it was asked for.
    pub detail: Option<Detail>,
}

/// Runs one seed.
///
/// # Errors
/// The first thing that does not work.
pub fn run(
    data: &Dataset,
    options: &SimulateOptions,
    seed: u64,
    progress: &mut Progress,
) -> Result<SimulateResult, SimulateError> {
    let natural = if data.train.users.is_some() {
        Partition::Natural
    } else {
        Partition::Dirichlet(0.1)
    };
    let how = options.partition.unwrap_or(natural);
    let classes = data.classes.len();
    let parts = partition(&data.train, classes, how, options.agents, seed)?;
    let (checked, chosen) = checked_task(data, options, parts.len(), seed)?;
    let train = data.train.clone();
    let (privacy, privacy_reason) = privacy::choose(&train.labels, &parts, options.rows_min);
    let mut simulation = Simulation::new(checked.clone(), train, parts.clone(), privacy, seed)?;
    progress.stage(&format!("seed {seed}: {} devices, {how}", parts.len()));
    if progress.is_live() {
        let mut told = progress.clone();
        simulation.watch(move |seen| told.simulated(&seen));
    }
    simulation.corrupt(options.liars, seed);
    simulation.connect()?;
    let mut rounds = Vec::new();
    let mut last = None;
    for round in 1..=options.rounds.max(1) {
        progress.stage(&format!("  round {round} of {}", options.rounds.max(1)));
        let begun = Instant::now();
        let result = simulation.round()?;
        let wall_ms = begun.elapsed().as_millis() as u64;
        let teacher = open_teacher(&simulation, &result)?;
        rounds.push(measure(&checked, data, &result, &teacher, wall_ms)?);
        last = Some((result, teacher));
    }
    let (result, teacher) =
        last.ok_or_else(|| SimulateError::Result("there was no round".to_owned()))?;
    let detail = if options.detail {
        progress.stage("  looking at devices, mistakes and points");
        Some(Detail::gather(&simulation, &result, data, &parts)?)
    } else {
        None
    };
    let baselines = if options.no_baselines {
        None
    } else {
        Some(measure_baselines(&checked, data, &parts, seed, progress)?)
    };
    let outcome = RunOutcome {
        config: json!({
            "dataset": data.name, "partition": how.to_string(), "agents": parts.len(),
            "rounds": options.rounds, "points": chosen.plan.points_max, "seed": seed,
            "features": checked.definition().features.to_string(),
            "feature_count": checked.features(),
            "student": checked.student().to_string(), "rank_max": chosen.plan.rank,
        }),
        rounds,
        baselines,
    };
    let mut outcome = serde_json::to_value(outcome)?;
    outcome["choices"] = choices(&checked, &chosen, &teacher.teacher);
    outcome["choices"]["rows_min"] = json!({ "value": privacy.rows_min, "reason": privacy_reason });
    outcome["wire"] = wire(&result.bytes);
    Ok(SimulateResult {
        outcome,
        release: result.release,
        detail,
    })
}

/// The outcomes of several seeds as one: means under the same keys, maxima
/// under those that end in `_max`, and beside each its standard deviation
/// (of the sample) under the key with `_std`. What is not a number is the
/// first one's.
pub fn summarise(outcomes: &[Value]) -> Value {
    let Some(first) = outcomes.first() else {
        return Value::Null;
    };
    match first {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (key, value) in fields {
                let all: Vec<Value> = outcomes.iter().map(|one| one[key].clone()).collect();
                match numbers(&all) {
                    Some(_) if FIXED.contains(&key.as_str()) => {
                        out.insert(key.clone(), value.clone());
                    }
                    Some(numbers) => {
                        let (mean, deviation) = spread(&numbers);
                        let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let shown = if key.ends_with("_max") { highest } else { mean };
                        out.insert(key.clone(), json!(shown));
                        out.insert(format!("{key}_std"), json!(deviation));
                    }
                    None if key == "config" => {
                        let mut config = value.clone();
                        let seeds = outcomes.iter().map(|one| one[key]["seed"].clone());
                        config["seeds"] = seeds.collect();
                        out.insert(key.clone(), config);
                    }
                    None => {
                        out.insert(key.clone(), summarise(&all));
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) if items.iter().any(Value::is_object) => (0..items.len())
            .map(|at| {
                summarise(
                    &outcomes
                        .iter()
                        .map(|one| one[at].clone())
                        .collect::<Vec<_>>(),
                )
            })
            .collect(),
        other => other.clone(),
    }
}

fn numbers(values: &[Value]) -> Option<Vec<f64>> {
    values.iter().map(Value::as_f64).collect()
}

fn spread(values: &[f64]) -> (f64, f64) {
    let many = values.len() as f64;
    let mean = values.iter().sum::<f64>() / many;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (many - 1.0).max(1.0)).sqrt())
}

/// Numbers that name something.
const FIXED: [&str; 2] = ["round", "seed"];

/// What was chosen before the run, and why.
struct Chosen {
    plan: Plan,
    features_reason: String,
    student_reason: String,
}

fn checked_task(
    data: &Dataset,
    options: &SimulateOptions,
    agents: usize,
    seed: u64,
) -> Result<(Task, Chosen), SimulateError> {
    let asked = options.features.clone().filter(|stage| stage != "auto");
    let fixed = Fixed {
        points: options.points,
        rank: options.rank_max,
        landmarks: options.landmarks,
        bits: options.bits,
        contribute: options.contribute,
        support: options.support,
    };
    let convolves = matches!(options.student, Some(StudentSpec::Cnn { .. }));
    let (stages, reason) = stages(data, asked, convolves);
    let last = stages.len() - 1;
    for (index, stage) in stages.into_iter().enumerate() {
        let mut wishes = Wishes {
            features: Some(stage),
            student: options
                .student
                .clone()
                .unwrap_or(StudentSpec::Mlp { hidden: vec![64] }),
            points: 2,
            points_per_device: 1,
            bits: 8,
            contribute: fixed.contribute.to_string(),
            support: Support::Clusters,
            consensus: options.consensus,
            uplink_bytes_max: options.uplink_bytes_max,
            rank_max: 0,
            landmarks: Some(0),
            steps: options.steps,
            seed,
            deadline_s: 600,
            grace_s: 1.0,
        };
        let mut sketch = task(data, &wishes)?;
        let image = reason == IMAGE || data.shape.len() >= 3;
        let (units, units_reason) = hidden_units(sketch.features(), sketch.classes(), image);
        if options.student.is_none() {
            let hidden = vec![units];
            wishes.student = StudentSpec::Mlp { hidden };
            sketch = task(data, &wishes)?;
        }
        let setting = Setting {
            features: sketch.features(),
            classes: sketch.classes(),
            devices: agents,
            rounds: options.rounds.max(1),
            rows: data.train.labels.len(),
            lists: matches!(sketch.definition().features, FeatureStage::Lifted { .. }),
            learns_normaliser: sketch.learns_normaliser(),
            learns_curves: sketch.learns_curves(),
            parameters: sketch.student().parameters(),
            uplink_bytes: options.uplink_bytes_max,
        };
        let plan = plan(&setting, fixed);
        let senders = agents.max(1) * setting.rounds as usize;
        let wanted = POINTS_WANTED.min(setting.rows / ROWS_A_POINT);
        if index < last && (plan.points_per_device as usize * senders) < wanted {
            continue;
        }
        wishes.points = plan.points_max;
        wishes.points_per_device = plan.points_per_device;
        wishes.bits = plan.bits;
        wishes.rank_max = plan.rank;
        wishes.landmarks = Some(plan.landmarks);
        wishes.contribute = plan.contribute.to_string();
        wishes.support = plan.support;
        let chosen = Chosen {
            plan,
            features_reason: reason.to_owned(),
            student_reason: if options.student.is_some() {
                ASKED
            } else {
                units_reason
            }
            .to_owned(),
        };
        return Ok((task(data, &wishes)?, chosen));
    }
    Err(SimulateError::Result(
        "there is no feature stage to try".to_owned(),
    ))
}

/// Feature stages to try, richest first, and why.
fn stages(data: &Dataset, asked: Option<String>, convolves: bool) -> (Vec<String>, &'static str) {
    let filtered = filtered_stage(data).filter(|_| convolves);
    let auto = match (asked, filtered) {
        (Some(stage), Some(filtered)) if stage == "raw" => {
            let fine = if filtered == "series" {
                FINE_SERIES
            } else {
                filtered
            };
            return (vec![fine.to_owned()], FIRST_LAYER);
        }
        (Some(stage), _) => return (vec![stage], ASKED),
        (None, Some("series")) => return (vec![FINE_SERIES.to_owned()], SERIES),
        (None, _) => auto_stage(data).to_owned(),
    };
    match (auto.as_str(), &data.shape[..]) {
        ("patches", [height, width, ..]) if *height.min(width) >= 16 => {
            let narrower = ["patches/1:5x8x5", "patches/1:5x5x4"].map(str::to_owned);
            (std::iter::once(auto).chain(narrower).collect(), IMAGE)
        }
        ("patches", _) => (vec![auto], IMAGE),
        ("window", _) => (vec![auto], "a long series of channels is a window"),
        ("lifted", _) => (
            vec![auto],
            if data.shape.len() > 1 {
                "a short series is a list of values; a constant beside them keeps its length"
            } else {
                "a constant beside a list of features keeps its length"
            },
        ),
        _ => (vec![auto], "a list of features is taken as it is"),
    }
}

const ASKED: &str = "asked for";
const SERIES: &str = "a convolution needs neighbours: a long series is seen in eight stretches";
/// The kernel of raw values caps the teacher, and with it any student.
const FIRST_LAYER: &str = "the kernel of raw values caps the teacher, so the network's first \
                           layer is a bank of fixed filters that the kernel sees through too";
/// Stretches fine enough for a convolution along time.
const FINE_SERIES: &str = "series/1:16x6x8";
const IMAGE: &str = "images are seen through fixed filters, by as many cells as leave bytes for \
                     enough points";
/// Points in all below which an image is better seen by fewer cells.
const POINTS_WANTED: usize = 2_000;

struct Opened {
    teacher: Teacher,
    normaliser: common::features::Normaliser,
}

fn open_teacher(simulation: &Simulation, result: &RoundResult) -> Result<Opened, SimulateError> {
    let task = simulation.task();
    let [teacher, transfer, normaliser] = result
        .teacher
        .map(|name| simulation.blob(name).unwrap_or_default());
    let set = intake::transfer_set(task, &transfer).map_err(|e| unusable(&e))?;
    let raw = decode_blob(&teacher).map_err(|e| unusable(&e))?;
    Ok(Opened {
        teacher: Teacher::on(raw, &set, task.classes()).map_err(|e| unusable(&e))?,
        normaliser: intake::normaliser(task, &normaliser).map_err(|e| unusable(&e))?,
    })
}

fn measure(
    task: &Task,
    data: &Dataset,
    result: &RoundResult,
    opened: &Opened,
    wall_ms: u64,
) -> Result<RoundOutcome, SimulateError> {
    let inputs = data.test.inputs.view();
    let said = result.release.predict(inputs).map_err(|e| unusable(&e))?;
    let stage = &task.definition().features;
    let features = stage
        .compute(task.input_shape(), inputs)
        .map_err(|e| unusable(&e))?;
    let view = opened
        .normaliser
        .apply(features.view())
        .map_err(|e| unusable(&e))?;
    let answers: Array2<f32> = opened
        .teacher
        .answers(view.view())
        .map_err(|e| unusable(&e))?;
    let largest = |row: ndarray::ArrayView1<'_, f32>| {
        (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u16
    };
    let taught: Vec<u16> = answers.rows().into_iter().map(largest).collect();
    let mean = |of: &dyn Fn(&DeviceBytes) -> u64| {
        result.bytes.iter().map(|one| of(one) as f64).sum::<f64>()
            / result.bytes.len().max(1) as f64
    };
    let sent = result.bytes.iter().map(|one| one.up.udp_bytes());
    Ok(RoundOutcome {
        round: result.round,
        student_accuracy: accuracy(&said, &data.test.labels),
        student_macro_f1: macro_f1(&said, &data.test.labels, data.classes.len()),
        teacher_accuracy: accuracy(&taught, &data.test.labels),
        student_teacher_agreement: accuracy(&said, &taught),
        uplink_bytes_mean: mean(&|one| one.up.udp_bytes()),
        uplink_bytes_max: sent.max().unwrap_or(0),
        downlink_bytes_mean: mean(&|one| one.down.udp_bytes()),
        handshake_bytes_mean: 0.0,
        wall_ms,
    })
}

fn unusable(cause: &dyn std::fmt::Display) -> SimulateError {
    SimulateError::Result(cause.to_string())
}

/// Each choice with its reason.
fn choices(task: &Task, chosen: &Chosen, teacher: &Teacher) -> Value {
    let definition = task.definition();
    let facts = teacher.facts();
    let choice = |value: Value, reason: &str| json!({ "value": value, "reason": reason });
    let plan = &chosen.plan;
    let ridge = if facts.held_out_error < 0.0 {
        "fixed: centres carry no noise that could tell".to_owned()
    } else {
        let error = facts.held_out_error;
        format!("generalised cross-validation of the summed moments, estimated error {error:.5}")
    };
    let tempered = if definition.distillation.temperature > 0.0 {
        ASKED
    } else {
        "samples around each point are most likely of its class"
    };
    let relevance = match definition.method.relevance {
        true => "the points say how much each feature of a list counts",
        false => {
            "stages of images and windows know what they look at, and points that move \
                  take features alike"
        }
    };
    json!({
        "features": choice(json!(definition.features.to_string()), &chosen.features_reason),
        "relevance": choice(json!(definition.method.relevance), relevance),
        "student": choice(json!(task.student().to_string()), &chosen.student_reason),
        "points": choice(json!(plan.points_max), &plan.points_reason),
        "points_per_device": choice(json!(plan.points_per_device), &plan.points_reason),
        "bits": choice(json!(plan.bits), &plan.bits_reason),
        "rank": choice(json!(plan.rank), &plan.rank_reason),
        "landmarks": choice(json!(plan.landmarks), &plan.landmarks_reason),
        "contribute": choice(json!(plan.contribute.to_string()), &plan.contribute_reason),
        "support": choice(json!(plan.support.name()), &plan.support_reason),
        "consensus": choice(json!(definition.method.consensus.rule.name()), ASKED),
        "lambda": choice(json!(facts.lambda), &ridge),
        "temperature": choice(json!(teacher.temperature()), tempered),
        "stream": choice(json!("mixtures of points"),
            "half mixtures of any two points, half around one towards its neighbours"),
    })
}

/// Mean messages and packets of a device, beside the UDP bytes.
fn wire(bytes: &[DeviceBytes]) -> Value {
    let mean = |of: &dyn Fn(&DeviceBytes) -> u64| {
        bytes.iter().map(|one| of(one) as f64).sum::<f64>() / bytes.len().max(1) as f64
    };
    json!({
        "uplink_message_bytes": mean(&|one| one.up.message_bytes),
        "uplink_packets": mean(&|one| one.up.packets),
        "uplink_acknowledgements": mean(&|one| one.up.acknowledgements),
        "downlink_message_bytes": mean(&|one| one.down.message_bytes),
        "downlink_packets": mean(&|one| one.down.packets),
        "downlink_acknowledgements": mean(&|one| one.down.acknowledgements),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options() -> SimulateOptions {
        SimulateOptions {
            partition: Some(Partition::Iid),
            agents: 3,
            rounds: 1,
            points: Some(60),
            bits: None,
            student: Some(StudentSpec::Mlp { hidden: vec![16] }),
            features: None,
            contribute: Kinds::Moments,
            support: Support::Auto,
            consensus: ConsensusRule::Weighted,
            liars: 0.0,
            uplink_bytes_max: 100_000,
            rank_max: Some(20),
            landmarks: None,
            steps: 200,
            rows_min: None,
            no_baselines: true,
            detail: false,
        }
    }

    /// Everything is chosen from what was transmitted: whatever can be
    /// chosen, in each of these.
    #[test]
    fn corrupt_test_labels_give_the_same_student_bit_for_bit() {
        let data = Dataset::open("digits").unwrap();
        let mut corrupt = data.clone();
        for label in &mut corrupt.test.labels {
            *label = (*label + 3) % 10;
        }
        let planned = SimulateOptions {
            points: None,
            rank_max: None,
            landmarks: None,
            student: None,
            contribute: Kinds::Both,
            uplink_bytes_max: 30_000,
            ..options()
        };
        let convolving = SimulateOptions {
            student: Some(StudentSpec::Cnn {
                channels: vec![4],
                hidden: vec![8],
            }),
            features: Some("auto".to_owned()),
            ..planned.clone()
        };
        let moved = SimulateOptions {
            rounds: 2,
            support: Support::Gradient,
            ..options()
        };
        let labelled = SimulateOptions {
            rounds: 2,
            contribute: Kinds::Labels,
            consensus: ConsensusRule::Median,
            liars: 0.3,
            ..options()
        };
        for asked in [options(), planned, convolving, moved, labelled] {
            let mut progress = Progress::new(true);
            let one = run(&data, &asked, 5, &mut progress).unwrap();
            let other = run(&corrupt, &asked, 5, &mut progress).unwrap();
            assert_eq!(one.release.as_raw(), other.release.as_raw(), "{asked:?}");
            assert_eq!(one.outcome["choices"], other.outcome["choices"]);
            let right = |found: &SimulateResult| {
                let last = found.outcome["rounds"]
                    .as_array()
                    .unwrap()
                    .last()
                    .unwrap()
                    .clone();
                last["student_accuracy"].as_f64().unwrap()
            };
            assert!(right(&one) > right(&other), "the labels did change");
        }
    }

    #[test]
    fn moving_the_points_makes_the_teacher_of_a_few_better() {
        let data = Dataset::open("digits").unwrap();
        let asked = SimulateOptions {
            partition: Some(Partition::Shards(2)),
            agents: 5,
            rounds: 4,
            points: Some(20),
            support: Support::Gradient,
            uplink_bytes_max: 200_000,
            ..options()
        };
        let mut progress = Progress::new(true);
        let found = run(&data, &asked, 1, &mut progress).unwrap();
        assert_eq!(found.outcome["choices"]["support"]["value"], "gradient");
        let rounds = found.outcome["rounds"].as_array().unwrap();
        let teacher = |round: usize| rounds[round]["teacher_accuracy"].as_f64().unwrap();
        assert!(teacher(3) > teacher(0), "{} {}", teacher(0), teacher(3));
        let bytes = |round: usize| rounds[round]["uplink_bytes_max"].as_f64().unwrap();
        // A byte a feature of each point, and the statistics anew.
        let moved = 20.0 * found.outcome["config"]["feature_count"].as_f64().unwrap();
        assert!(bytes(1) - bytes(0) > moved, "{} {}", bytes(0), bytes(1));
    }

    #[test]
    fn a_robust_consensus_bears_liars_that_the_mean_follows() {
        let data = Dataset::open("digits").unwrap();
        let right = |consensus, liars| {
            let asked = SimulateOptions {
                agents: 10,
                contribute: Kinds::Labels,
                steps: 600,
                consensus,
                liars,
                ..options()
            };
            let found = run(&data, &asked, 2, &mut Progress::new(true)).unwrap();
            found.outcome["rounds"][0]["student_accuracy"]
                .as_f64()
                .unwrap()
        };
        let honest = right(ConsensusRule::Weighted, 0.0);
        let drawn = right(ConsensusRule::Weighted, 0.2);
        let borne = right(ConsensusRule::Median, 0.2);
        assert!(honest > 0.8 && drawn < 0.5, "{honest} {drawn}");
        assert!(borne > honest - 0.05, "{borne} against {honest}");
    }

    #[test]
    fn devices_of_one_class_each_make_one_student_of_all() {
        let data = Dataset::open("digits").unwrap();
        let options = SimulateOptions {
            partition: Some(Partition::Shards(1)),
            agents: 10,
            steps: 1_000,
            ..options()
        };
        let mut progress = Progress::new(true);
        let found = run(&data, &options, 3, &mut progress).unwrap();
        let right = &found.outcome["rounds"][0]["student_accuracy"];
        assert!(right.as_f64().unwrap() > 0.85, "{right}");
    }

    /// Nothing is told of the few, and the others go on.
    #[test]
    fn devices_with_too_few_rows_are_done_without() {
        let mut data = Dataset::open("digits").unwrap();
        let rows = data.train.labels.len();
        // The first device has three rows, fewer than any cluster may have,
        // and the second one class of three.
        let owner = |row: usize| match row {
            0..3 => 0,
            3..203 => 1,
            _ => 2 + row as u32 % 3,
        };
        let train = std::sync::Arc::make_mut(&mut data.train);
        train.users = Some((0..rows).map(owner).collect());
        let options = SimulateOptions {
            partition: Some(Partition::Natural),
            steps: 1_000,
            detail: true,
            ..options()
        };
        let mut progress = Progress::new(true);
        let found = run(&data, &options, 3, &mut progress).unwrap();
        assert_eq!(found.release.as_raw().lineage.len(), 4);
        let right = &found.outcome["rounds"][0]["student_accuracy"];
        assert!(right.as_f64().unwrap() > 0.85, "{right}");
    }

    /// The figures are in `docs/results.md`; this guards their order.
    #[test]
    fn eight_bits_lose_next_to_nothing_against_sixteen() {
        let data = Dataset::open("digits").unwrap();
        let mut progress = Progress::new(true);
        let mut right = |bits: u8| -> f64 {
            let options = SimulateOptions {
                partition: Some(Partition::Dirichlet(0.1)),
                agents: 10,
                points: Some(200),
                rank_max: Some(64),
                uplink_bytes_max: 400_000,
                bits: Some(bits),
                steps: 1_000,
                ..options()
            };
            let seeds = 0..4;
            let many = seeds.end as f64;
            let of = |seed| {
                let found = run(&data, &options, seed, &mut progress).unwrap();
                found.outcome["rounds"][0]["student_accuracy"].as_f64()
            };
            seeds.map(of).map(Option::unwrap).sum::<f64>() / many
        };
        let (eight, sixteen) = (right(8), right(16));
        assert!(eight > sixteen - 0.005, "{eight} against {sixteen}");
        assert!(sixteen > 0.95, "{sixteen}");
    }

    #[test]
    fn several_seeds_become_means_maxima_and_deviations() {
        let of = |seed: u64, mean: f64, max: u64| {
            json!({ "config": { "seed": seed }, "baselines": null,
                "rounds": [{ "round": 1, "a_mean": mean, "b_max": max }] })
        };
        let all = summarise(&[of(0, 1.0, 5), of(1, 3.0, 4)]);
        let round = &all["rounds"][0];
        assert_eq!(
            (&round["round"], &round["a_mean"]),
            (&json!(1), &json!(2.0))
        );
        assert_eq!(round["b_max"], json!(5.0));
        assert!((round["a_mean_std"].as_f64().unwrap() - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(all["config"]["seeds"], json!([0, 1]));
    }

    /// After two rounds with everyone, the last device is forgotten; another
    /// fleet never had it.
    #[test]
    fn the_student_after_a_device_is_forgotten_is_that_of_a_fleet_that_never_had_it() {
        let data = Dataset::open("digits").unwrap();
        let options = SimulateOptions {
            partition: Some(Partition::Dirichlet(0.5)),
            agents: 5,
            contribute: Kinds::Both,
            ..options()
        };
        let parts = partition(&data.train, 10, Partition::Dirichlet(0.5), 5, 2).unwrap();
        let (task, _) = checked_task(&data, &options, parts.len(), 2).unwrap();
        let fleet = |parts: &[Vec<usize>]| {
            let (privacy, _) = privacy::choose(&data.train.labels, parts, Some(2));
            let train = data.train.clone();
            let mut fleet =
                Simulation::new(task.clone(), train, parts.to_vec(), privacy, 2).unwrap();
            fleet.connect().unwrap();
            fleet
        };
        let mut whole = fleet(&parts);
        let with = whole.round().unwrap();
        whole.round().unwrap();
        whole.forget(4);
        let after = whole.round().unwrap();
        let without = fleet(&parts[..4]).round().unwrap();
        let raw = |result: &RoundResult| result.release.as_raw().clone();
        assert_eq!(raw(&after).weights, raw(&without).weights, "bit for bit");
        assert_eq!(raw(&after).normaliser, raw(&without).normaliser);
        assert_eq!(raw(&after).lineage, raw(&without).lineage);
        assert_eq!(after.teacher, without.teacher, "so are the teachers");
        assert_ne!(raw(&after).weights, raw(&with).weights);
    }
}
