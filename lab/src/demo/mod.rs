//! The main job with real processes: one coordinator and many agents over
//! loopback QUIC, then a table of what came of it.

mod baselines;
mod error;
mod fleet;
mod process;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use common::ids::{BlobHash, TaskHash};
use common::model::Release;
use common::task::StudentSpec;
use common::trust::release::SignedRelease;
use coordinator::admin::{AdminError, Client};
use coordinator::status::Status;

use crate::data::{Asked, Dataset, DatasetError, Partition, PartitionError, partition};
use crate::outcome::{Reached, RoundOutcome, RunOutcome};
use crate::plan::{TaskOptions, spread, task, task_file};
use crate::progress::Progress;
use crate::reached::reached;

pub use baselines::measure as measure_baselines;
pub use error::FleetError;
pub use fleet::{Fleet, Memory, watch_signals};
pub use process::{Environment, program};
pub use table::render;

/// Chooses what devices need before the coordinator has heard of their rows: a
/// feature stage and a student, for rows in these parts and a seed.
pub type Choose =
    fn(&Dataset, &[Vec<usize>], u64) -> Result<(String, StudentSpec), Box<dyn std::error::Error>>;

/// What a demo is asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// `har`, `digits` or an NPZ file.
    pub dataset: String,
    /// What its rows are labelled with.
    pub target: Asked,
    /// How rows are spread; none stands for `natural` where the data says
    /// whose they are, and `dirichlet:0.1` elsewhere.
    pub partition: Option<Partition>,
    /// Devices; ignored for `natural`.
    pub agents: usize,
    /// Rounds.
    pub rounds: u32,
    /// Points of the transfer set in all.
    pub points: u32,
    /// Where the coordinator plans what bytes are spent on instead: what chooses
    /// the feature stage and the student.
    pub auto_budget: Option<Choose>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Leave everything running, and say how to stop it.
    pub keep: bool,
    /// Where coordinator and agents keep their state; a new folder under the
    /// temporary one if none.
    pub folder: Option<PathBuf>,
    /// Leave the baselines out.
    pub no_baselines: bool,
}

/// Why a demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The data set was refused.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// It cannot be spread that way.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The task does not hold together.
    #[error("the task is refused: {0}")]
    Task(#[from] common::task::TaskFileError),
    /// No feature stage and student could be chosen.
    #[error("{0}")]
    Choice(String),
    /// A process could not be run.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The coordinator did not answer as it should.
    #[error("the coordinator: {0}")]
    Admin(#[from] AdminError),
    /// A round ended without a student.
    #[error("round {round} ended without a student; see {log}")]
    NoStudent {
        /// The round.
        round: u64,
        /// The coordinator's log.
        log: String,
    },
    /// The released student does not check out.
    #[error("the released student is refused: {0}")]
    Release(String),
    /// A baseline could not be trained.
    #[error(transparent)]
    Baseline(#[from] crate::baseline::BaselineError),
    /// A person pressed Ctrl-C.
    #[error("interrupted; every process was stopped")]
    Interrupted,
}

/// What a demo leaves behind.
#[derive(Debug)]
pub struct DemoResult {
    /// The figures.
    pub outcome: RunOutcome,
    /// Milliseconds each phase of the last round took.
    pub phase_ms: Vec<(String, u64)>,
    /// The folder with the fleet's state, if it is still there.
    pub folder: PathBuf,
    /// Length of the signed student.
    pub release_bytes: u64,
    /// Resident memory in bytes: coordinator's peak, and the largest peak and
    /// idle figure of an agent.
    pub memory: fleet::Memory,
    /// The fleet, still running if it was to be kept.
    pub fleet: Option<Fleet>,
}

/// Runs the demo. `progress` shows it live.
///
/// # Errors
/// The first thing that goes wrong; every process is stopped then.
pub fn run(options: &DemoOptions, progress: &mut Progress) -> Result<DemoResult, DemoError> {
    let data = Dataset::open_asking(&options.dataset, options.target)?;
    let how = options.partition.unwrap_or(Partition::usual(&data.train));
    let parts = partition(
        &data.train,
        data.classes.len(),
        how,
        options.agents,
        options.seed,
    )?;
    let (features, student) = match options.auto_budget {
        Some(choose) => {
            let chosen = choose(&data, &parts, options.seed);
            let (stage, student) = chosen.map_err(|error| DemoError::Choice(error.to_string()))?;
            (Some(stage), student)
        }
        None => (None, StudentSpec::Mlp { hidden: vec![64] }),
    };
    let task_options = TaskOptions {
        features,
        student,
        points: options.points,
        points_per_device: spread(options.points, parts.len(), options.rounds),
        auto_budget: options.auto_budget.is_some(),
        bits: 8,
        // As the planner chooses where rows allow few directions of moments.
        contribute: "points".to_owned(),
        consensus: common::task::ConsensusRule::Weighted,
        uplink_bytes_max: 100_000,
        rank_max: 60,
        novelty: false,
        landmarks: None,
        steps: 3_000,
        refinement_steps: 0,
        seed: options.seed,
        deadline_s: 120,
        grace_s: 20.0,
    };
    let text = task_file(&data, &task_options);
    let checked = task(&data, &task_options)?;

    let mut fleet = Fleet::start(options.folder.clone(), progress)?;
    let mut client = fleet.client()?;
    let token = client.create_token(3_600_000, parts.len() as u32)?;
    let summary = client.create_task(&text)?;
    fleet.add_agents(&data, &parts, &token, progress)?;
    fleet.wait_connected(&mut client, parts.len(), progress)?;

    let mut rounds = Vec::new();
    let mut phase_ms = Vec::new();
    let mut release_bytes = 0;
    for round in 1..=u64::from(options.rounds) {
        progress.stage(&format!("round {round}"));
        let started = Instant::now();
        client.run_round(Some(&summary.name), |step| progress.round(step))?;
        let status = client.status()?;
        let ended = status.tasks.iter().find(|one| one.task == summary.task);
        let ended = ended.and_then(|task| task.history.last());
        let wall_ms = ended.map_or(started.elapsed().as_millis() as u64, |ended| ended.wall_ms);
        if let Some(ended) = ended {
            phase_ms = ended
                .phase_ms
                .iter()
                .map(|(phase, ms)| (phase.to_string(), *ms))
                .collect();
        }
        let log = fleet.coordinator_log();
        let (_, bytes) = client
            .release(Some(&summary.name), None)
            .map_err(|_| DemoError::NoStudent { round, log })?;
        release_bytes = bytes.len() as u64;
        let release = open(&bytes, &fleet)?;
        let blobs = TeacherBlobs::fetch(&mut client, &status, summary.task)?;
        let reached = tried(&release, &blobs, &data)?;
        rounds.push(round_outcome(round, wall_ms, reached, &status));
        fleet.check_interrupted()?;
    }
    let memory = fleet.memory();
    let baselines = if options.no_baselines {
        None
    } else {
        Some(measure_baselines(
            &checked,
            &data,
            &parts,
            options.seed,
            progress,
        )?)
    };
    fleet.check_interrupted()?;
    progress.finish();
    let config = json!({
        "dataset": options.dataset, "partition": how.to_string(), "agents": parts.len(),
        "rounds": options.rounds, "points": task_options.points,
        "auto_budget": task_options.auto_budget, "seed": options.seed,
        "features": checked.definition().features.to_string(),
        "feature_count": checked.features(), "student": checked.student().to_string(),
        "rank_max": task_options.rank_max,
    });
    let folder = fleet.folder().to_owned();
    let fleet = if options.keep {
        Some(fleet)
    } else {
        fleet.stop();
        None
    };
    let outcome = RunOutcome {
        config,
        rounds,
        baselines,
    };
    Ok(DemoResult {
        outcome,
        phase_ms,
        folder,
        release_bytes,
        memory,
        fleet,
    })
}

/// Verifies the release as a device does.
fn open(bytes: &[u8], fleet: &Fleet) -> Result<Release, DemoError> {
    let refused = |error: String| DemoError::Release(error);
    let signed = SignedRelease::from_bytes(bytes).map_err(|error| refused(error.to_string()))?;
    let key = fleet.release_key()?;
    let payload = signed
        .verify(&[key])
        .map_err(|error| refused(error.to_string()))?;
    Release::from_bytes(payload).map_err(|error| refused(error.to_string()))
}

/// What the global teacher is made of.
struct TeacherBlobs {
    normaliser: Vec<u8>,
    transfer: Vec<u8>,
    teacher: Vec<u8>,
}

impl TeacherBlobs {
    fn fetch(client: &mut Client, status: &Status, task: TaskHash) -> Result<Self, DemoError> {
        let found = status.tasks.iter().find(|one| one.task == task);
        let mut bytes = |name: Option<BlobHash>| {
            let name = name.ok_or_else(|| DemoError::Release("it has no teacher".to_owned()))?;
            Ok::<_, DemoError>(client.blob(name)?)
        };
        Ok(Self {
            normaliser: bytes(found.and_then(|task| task.normaliser))?,
            transfer: bytes(found.and_then(|task| task.transfer))?,
            teacher: bytes(found.and_then(|task| task.teacher))?,
        })
    }
}

/// How right student and teacher are on the test set.
fn tried(release: &Release, blobs: &TeacherBlobs, data: &Dataset) -> Result<Reached, DemoError> {
    let task = release.task();
    let refused = |error: &dyn std::fmt::Display| DemoError::Release(error.to_string());
    let set =
        coordinator::validation::transfer_set(task, &blobs.transfer).map_err(|e| refused(&e))?;
    let scales =
        coordinator::validation::scales(task, &blobs.normaliser).map_err(|e| refused(&e))?;
    let raw = common::wire::codec::decode_blob(&blobs.teacher).map_err(|e| refused(&e))?;
    let teacher =
        common::teacher::Teacher::on(raw, &set, task.outputs()).map_err(|e| refused(&e))?;
    reached(data, release, &teacher, &scales).map_err(|e| refused(&e))
}

fn round_outcome(round: u64, wall_ms: u64, reached: Reached, status: &Status) -> RoundOutcome {
    let devices = status.devices.len().max(1) as f64;
    let mean = |of: &dyn Fn(&coordinator::status::DeviceStatus) -> u64| {
        status
            .devices
            .iter()
            .map(|device| of(device) as f64)
            .sum::<f64>()
            / devices
    };
    RoundOutcome {
        round,
        reached,
        accuracy_by_refinement: Vec::new(),
        rmse_by_refinement: Vec::new(),
        classes_untold: 0,
        novelty_auc: None,
        uplink_bytes_mean: mean(&|device| device.uplink_bytes),
        uplink_bytes_max: status
            .devices
            .iter()
            .map(|d| d.uplink_bytes)
            .max()
            .unwrap_or(0),
        downlink_bytes_mean: mean(&|device| device.downlink_bytes),
        handshake_bytes_mean: mean(&|device| device.handshake_bytes),
        wall_ms,
    }
}
