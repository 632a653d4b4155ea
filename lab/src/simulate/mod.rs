//! What a fleet would reach for how many bytes, in one process: the outcome
//! of a simulated run, or of several with different seeds.

mod choice;
mod measured;
mod projection;
mod protection;
mod stages;
mod standing;
mod student;
mod summary;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use common::model::Release;
use common::task::{ConsensusRule, StudentSpec, USUAL};

use crate::data::{Dataset, Partition, PartitionError, partition};
use crate::demo::measure_baselines;
use crate::federated;
use crate::labelling::{self, Labelled, LabellingError};
use crate::outcome::RunOutcome;
use crate::points::PointTable;
use crate::privacy;
use crate::progress::Progress;
use crate::projection::ProjectionError;
use crate::report::{Detail, DetailError};
use crate::simulation::{Simulation, SimulationError};
use coordinator::budget::Kinds;

pub(crate) use choice::checked_task;
use choice::choices;
pub use choice::suited;
use measured::{measure, open_teacher, wire};
pub use protection::Asked;
use stages::ChosenStage;
pub(crate) use stages::chosen_stage;
pub use standing::{Standing, parse_awake};
pub use student::parse_student;
pub use summary::summarise;

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
    /// Feature stage; none lets the devices decide, on rows of theirs.
    pub features: Option<String>,
    /// What devices send beside points; `both` leaves it to the plan whether
    /// anything is.
    pub contribute: Kinds,
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
    /// Most rounds that refine the student after each round; none lets the bytes decide.
    pub refinement_steps: Option<u32>,
    /// Below how many rows a device says nothing; none lets the data decide.
    pub rows_min: Option<u64>,
    /// Rows for each direction that a device tells of them; an agent's default
    /// if absent.
    pub rows_per_direction: Option<u32>,
    /// Devices that ask for differential privacy; none for a fleet without.
    pub protection: Option<Asked>,
    /// Whether the student also says how unlike its training a row is.
    pub novelty: bool,
    /// A class that nobody trains on, whose test rows are to be recognised as
    /// new.
    pub leave_out: Option<String>,
    /// Fewest rows behind a distilled sample; the default of an agent's policy
    /// if left out.
    pub cluster_size_min: Option<u32>,
    /// Leave the baselines out.
    pub no_baselines: bool,
    /// Rounds of other federated methods beside the baselines; none leaves them out.
    pub federated_rounds: Option<u32>,
    /// Which rows have a label, and who labels the others.
    pub labels: labelling::Asked,
    /// Whether devices first make a projection of inputs of many values
    /// together: the outputs of a backbone.
    pub project: bool,
    /// A standing task and devices that sleep, in place of rounds.
    pub standing: Option<Standing>,
    /// Gather what a report shows beyond the figures.
    pub detail: bool,
}

impl SimulateOptions {
    /// The same with the contributions that devices make under differential
    /// privacy, if that is asked for: nothing beside points.
    pub(crate) fn as_told(&self) -> Self {
        let mut told = self.clone();
        if told.protection.is_some() {
            told.contribute = Kinds::Points;
        }
        told
    }

    /// Whether the student is a convolution.
    fn convolves(&self) -> bool {
        matches!(self.student, Some(StudentSpec::Cnn { .. }))
    }

    /// Whether the student is to score novelty.
    fn scores_novelty(&self) -> bool {
        self.novelty || self.leave_out.is_some()
    }

    /// What they ask of the devices' policy.
    pub(crate) fn privacy(&self) -> privacy::Asked {
        privacy::Asked {
            rows_min: self.rows_min,
            rows_per_direction: self.rows_per_direction,
            cluster_size_min: self.cluster_size_min,
        }
    }
}

impl Default for SimulateOptions {
    /// What `simulate` does where nothing is asked for, without baselines.
    fn default() -> Self {
        Self {
            partition: None,
            agents: 10,
            rounds: 1,
            points: None,
            bits: None,
            student: None,
            features: None,
            contribute: Kinds::default(),
            consensus: ConsensusRule::default(),
            liars: 0.0,
            uplink_bytes_max: 100_000,
            rank_max: None,
            landmarks: None,
            steps: 6_000,
            refinement_steps: None,
            rows_min: None,
            rows_per_direction: None,
            protection: None,
            novelty: false,
            leave_out: None,
            cluster_size_min: None,
            no_baselines: true,
            federated_rounds: None,
            labels: labelling::Asked::default(),
            project: false,
            standing: None,
            detail: false,
        }
    }
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
    /// Another federated method failed.
    #[error(transparent)]
    Federated(#[from] federated::FederatedError),
    /// The devices could make no projection together.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// Rows could not be labelled.
    #[error(transparent)]
    Labelling(#[from] LabellingError),
    /// A baseline could not be trained.
    #[error(transparent)]
    Baseline(#[from] crate::baseline::BaselineError),
    /// The class to leave out is unknown, or fewer than three classes exist.
    #[error("class {name:?} cannot be left out; there are: {classes}")]
    LeaveOut {
        /// What was named.
        name: String,
        /// The classes.
        classes: String,
    },
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
    /// The last round's transfer set.
    pub points: PointTable,
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
    let left = match &options.leave_out {
        Some(name) => {
            let unknown = || SimulateError::LeaveOut {
                name: name.clone(),
                classes: data.classes.join(", "),
            };
            Some(data.without_class(name).ok_or_else(unknown)?)
        }
        None => None,
    };
    let data = left.as_ref().map_or(data, |(kept, _)| kept);
    let novel = left.as_ref().map(|(_, novel)| novel);
    let usual = match Partition::usual(&data.train) {
        // There are no classes to be spread unevenly.
        Partition::Dirichlet(_) if data.classes == [USUAL] => Partition::Iid,
        usual => usual,
    };
    let how = options.partition.unwrap_or(usual);
    let options = &options.as_told();
    let classes = data.classes.len();
    let parts = partition(&data.train, classes, how, options.agents, seed)?;
    let (privacy, privacy_reason) = privacy::choose(
        (data.train.inputs.view(), &data.train.labels),
        &parts,
        options.privacy(),
    );
    if options.protection.is_some()
        && (options.project || options.labels != labelling::Asked::default())
    {
        let what = "a backbone's projection and labels are not told under differential privacy; \
                    leave out --epsilon, or --features onnx:, --labelled and the teachers";
        return Err(SimulateError::Result(what.to_owned()));
    }
    let projected = projection::made(data, options, (&parts, privacy), seed, progress)?;
    let mut within = options.clone();
    let data = match &projected {
        Some((projection, data)) => {
            within.uplink_bytes_max = projection::left(projection, options.uplink_bytes_max);
            data
        }
        None => data,
    };
    let by_devices = chosen_stage(data, &within, (&parts, privacy), seed, progress)?;
    let by_devices = by_devices.as_ref();
    let spent = by_devices.map_or(0, ChosenStage::sent_max);
    within.uplink_bytes_max = within.uplink_bytes_max.saturating_sub(spent).max(1);
    let (checked, chosen) = checked_task(data, &within, &parts, by_devices, seed)?;
    let fleet = labelling::Fleet {
        data,
        task: &checked,
        parts: &parts,
        privacy,
        uplink_bytes: options.uplink_bytes_max / 2,
    };
    let labelled = labelling::label(fleet, &options.labels, seed, progress)?;
    let (checked, chosen) = match labelled.as_ref().map(Labelled::spent).unwrap_or(0) {
        0 => (checked, chosen),
        spent => {
            within.uplink_bytes_max = within.uplink_bytes_max.saturating_sub(spent).max(1);
            checked_task(data, &within, &parts, by_devices, seed)?
        }
    };
    let checked = match options.standing {
        Some(standing) => standing.task(&checked, parts.iter().map(Vec::len).sum())?,
        None => checked,
    };
    let train = data.train.clone();
    let mut simulation = Simulation::new(checked.clone(), train, parts.clone(), privacy, seed)?;
    let protection = options.protection.map(|asked| asked.of(&checked, seed));
    if let Some(protection) = protection {
        simulation.protect(protection);
    }
    progress.stage(&format!("seed {seed}: {} devices, {how}", parts.len()));
    if progress.is_live() {
        let mut told = progress.clone();
        simulation.watch(move |seen| told.simulated(&seen));
    }
    if let Some(labelled) = &labelled {
        simulation.know(labelled.labelling.clone());
        for (device, sent) in labelled.sent.iter().enumerate() {
            simulation.charge(device, sent, &labelled.received[device]);
        }
    }
    if let Some((projection, _)) = &projected {
        for (device, sent) in projection.sent.iter().enumerate() {
            simulation.charge(device, sent, &projection.published);
        }
    }
    if let Some(by_devices) = by_devices {
        for (device, &bytes) in by_devices.sent.iter().enumerate().filter(|one| *one.1 > 0) {
            simulation.charge(device, &[bytes], &[]);
        }
    }
    simulation.corrupt(options.liars, seed);
    let mut rounds = Vec::new();
    let mut last = None;
    let mut told = Value::Null;
    if let Some(standing) = options.standing {
        let mut stood = standing.begin(&mut simulation, parts.len(), seed);
        let mut begun = Instant::now();
        while let Some(result) = stood.next(&mut simulation, progress)? {
            let teacher = open_teacher(&simulation, &result)?;
            let wall_ms = begun.elapsed().as_millis() as u64;
            let measured = measure((data, novel), &result, &teacher, wall_ms)?;
            stood.note(&simulation, &measured)?;
            rounds.push(measured);
            last = Some((result, teacher));
            begun = Instant::now();
        }
        told = stood.told(standing);
    } else {
        simulation.connect()?;
    }
    let asked = if options.standing.is_some() {
        0
    } else {
        options.rounds.max(1)
    };
    for round in 1..=asked {
        progress.stage(&format!("  round {round} of {}", options.rounds.max(1)));
        let begun = Instant::now();
        let result = simulation.round()?;
        let wall_ms = begun.elapsed().as_millis() as u64;
        let teacher = open_teacher(&simulation, &result)?;
        rounds.push(measure((data, novel), &result, &teacher, wall_ms)?);
        let untold = measured::untold(data, &teacher.set);
        if !untold.is_empty() {
            progress.stage(&format!(
                "  no device tells of {}: none has {} rows of it to learn from, copies counted once \
                 (--rows-min), and the student never answers it",
                untold.join(", "),
                privacy.rows_min
            ));
        }
        last = Some((result, teacher));
    }
    let (result, teacher) =
        last.ok_or_else(|| SimulateError::Result("there was no round".to_owned()))?;
    let points = PointTable::of_round(&checked, &teacher.set, &teacher.teacher, &teacher.scales);
    let points = points.map(|points| points.as_long_as(data.train.inputs.view()));
    let points =
        points.ok_or_else(|| SimulateError::Result("the teacher has no points".to_owned()))?;
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
    if let Some(rounds) = options.federated_rounds.filter(|_| !options.no_baselines) {
        if !checked.target().is_class() {
            let what = "the other federated methods are for classes; leave out --baselines";
            return Err(SimulateError::Result(what.to_owned()));
        }
        let rivals = federated::measure(&checked, data, &parts, rounds, seed, progress)?;
        outcome["baselines"]["federated"] = serde_json::to_value(rivals)?;
    }
    outcome["choices"] = choices(&checked, &chosen, &teacher.teacher);
    outcome["choices"]["rows_min"] = json!({ "value": privacy.rows_min, "reason": privacy_reason });
    if let (Some(offset), Some(moved)) = (&data.offset, data.moved()) {
        outcome["choices"]["offset"] = json!({ "value": offset, "reason": moved });
    }
    if let Some(by_devices) = by_devices {
        outcome["choices"]["features_by_devices"] = by_devices.told();
    }
    if let Some((projection, _)) = &projected {
        outcome["choices"]["projection"] = projection::choice(projection);
    }
    if let Some(labelled) = labelled {
        outcome["labels"] = labelled.told;
    }
    if let Some(protection) = protection {
        outcome["privacy"] = protection::told(&protection, parts.len());
    }
    if options.standing.is_some() {
        outcome["standing"] = told;
    }
    outcome["wire"] = wire(&result.bytes);
    let newest = outcome["rounds"]
        .as_array_mut()
        .and_then(|all| all.last_mut());
    if let Some(newest) = newest {
        newest["devices_excluded"] = json!(simulation.excluded().len());
    }
    for (device, why) in simulation.why_excluded() {
        let why = why.describe(&data.classes);
        progress.stage(&format!("  device {device} was left out: {why}"));
    }
    Ok(SimulateResult {
        outcome,
        release: result.release,
        points,
        detail,
    })
}

#[cfg(test)]
mod tests;
