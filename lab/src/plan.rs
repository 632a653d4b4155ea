//! What a run is made of: data, devices, and the task they share.

use common::blocks::RawBlocks;
use common::features::{FeatureError, FeatureStage, InputShape, Normaliser};
use common::profile::{Profile, RawFeatureMoments, RawProfile};
use common::task::{ConsensusRule, RawTask, StudentSpec, Task, TaskFileError, USUAL};

use coordinator::aggregate::learn_normaliser;
use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::stage::auto_stage;

/// What the user asked of the task; the rest has defaults.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    /// Feature stage; none lets the shape decide.
    pub features: Option<String>,
    /// The student.
    pub student: StudentSpec,
    /// Points of the transfer set in all.
    pub points: u32,
    /// Points a device sends in a round.
    pub points_per_device: u32,
    /// Whether the coordinator plans points, bits, rank, landmarks and kinds of
    /// contributions; what is said of them here is left out then.
    pub auto_budget: bool,
    /// Bits a value of points and moments.
    pub bits: u8,
    /// `labels`, `moments`, `both` or `points`.
    pub contribute: String,
    /// How soft labels are joined.
    pub consensus: ConsensusRule,
    /// Bytes a device may send in a round.
    pub uplink_bytes_max: u64,
    /// Virtual rows of a device's moments; 0 for as many as the bytes allow.
    pub rank_max: u32,
    /// Whether students also say how unlike their training a row is.
    pub novelty: bool,
    /// Most landmarks beside the points; none leaves it to the stage.
    pub landmarks: Option<u32>,
    /// Optimiser steps of the student.
    pub steps: u32,
    /// Rounds that refine the student after a round.
    pub refinement_steps: u32,
    /// Seed of every random choice.
    pub seed: u64,
    /// Seconds a gathering phase may take.
    pub deadline_s: u32,
    /// Seconds a phase stays open after its quorum.
    pub grace_s: f64,
}

/// The task file for a data set, as a person would write it.
pub fn task_file(data: &Dataset, task_options: &TaskOptions) -> String {
    let stage = task_options
        .features
        .clone()
        .unwrap_or_else(|| auto_stage(data, task_options.novelty).to_string());
    let range = match declared_range(data, &stage) {
        Some([low, high]) => format!("range = [{low:?}, {high:?}]\n"),
        None => String::new(),
    };
    let each = task_options.points_per_device;
    let deadline = task_options.deadline_s;
    format!(
        "name = {name:?}\n{contribute}\n\
         [input]\nshape = {shape:?}\n\n\
         {target}\n\
         [features]\nstage = {stage:?}\n\n\
         [normaliser]\n{range}\n\
         [teacher]\n{landmarks}\n\
         [student]\n{student}\n{novelty}\n\
         [budget]\n{budget}uplink_bytes_max = {bytes}\n\n\
         [distillation]\nsteps = {steps}\nseed = {seed}\n\
         consensus = {consensus:?}\n{refinement}\n\
         [rounds]\ndevices_min = 1\nquorum = 1.0\ngrace_s = {grace:?}\n\
         deadline_s = {{ profile = {deadline}.0, summarise = {deadline}.0, \
         contribute = {deadline}.0, report = {deadline}.0 }}\n",
        name = data.name,
        contribute = match task_options.auto_budget {
            true => String::new(),
            false => format!("contribute = {:?}\n", task_options.contribute),
        },
        budget = match task_options.auto_budget {
            true => "plan = \"auto\"\n".to_owned(),
            false => format!(
                "points_per_device = {each}\npoints_max = {}\nrank_max = {}\nbits = {}\n",
                task_options.points.max(each),
                task_options.rank_max,
                task_options.bits,
            ),
        },
        shape = data.shape,
        target = match data.numbers.as_slice() {
            [] if data.classes == [USUAL] => "[target]\nkind = \"none\"\n".to_owned(),
            [] => format!("[classes]\nnames = {:?}\n", data.classes),
            numbers => format!("[target]\nkind = \"number\"\nvalues = {numbers:?}\n"),
        },
        student = student_lines(&task_options.student),
        novelty = match task_options.novelty {
            true => "novelty = true\n",
            false => "",
        },
        bytes = task_options.uplink_bytes_max,
        landmarks = match task_options.landmarks {
            Some(most) if !task_options.auto_budget => format!("landmarks_max = {most}\n"),
            _ => String::new(),
        },
        steps = task_options.steps,
        refinement = match task_options.refinement_steps {
            0 => String::new(),
            steps => format!("refinement_steps = {steps}\n"),
        },
        seed = task_options.seed,
        consensus = task_options.consensus.name(),
        grace = task_options.grace_s,
    )
}

/// The checked task of [`task_file`].
///
/// # Errors
/// What the options ask for that no task allows.
pub fn task(data: &Dataset, task_options: &TaskOptions) -> Result<Task, TaskFileError> {
    RawTask::parse(&task_file(data, task_options))
}

/// The normaliser of a task whose rows, as features (n × features), are all in
/// one place.
///
/// # Errors
/// Features whose statistics no device could send.
pub fn pooled_normaliser(
    task: &Task,
    features: ArrayView2<'_, f32>,
) -> Result<Normaliser, FeatureError> {
    let raw = RawProfile {
        rows: features.nrows() as u64,
        class_counts: vec![0; task.classes()],
        moments: RawFeatureMoments::of(features).filter(|_| task.learns_normaliser()),
    };
    let learnt = task.learns_normaliser();
    let mut profile = Profile::check(raw, task.stage_features(), task.classes(), learnt)
        .map_err(|_| FeatureError::Immense)?;
    if task.learns_quantiles() {
        let rows_min = task.definition().budget.cluster_size_min;
        let blocks = RawBlocks::of(features, rows_min);
        profile = profile
            .with_blocks(blocks, rows_min)
            .map_err(|_| FeatureError::Immense)?;
    }
    Ok(learn_normaliser(task, &[profile])?.normaliser)
}

fn student_lines(student: &StudentSpec) -> String {
    match student {
        StudentSpec::Mlp { hidden } => format!("hidden = {hidden:?}"),
        StudentSpec::Cnn { channels, hidden } => {
            format!("kind = \"cnn\"\nchannels = {channels:?}\nhidden = {hidden:?}")
        }
    }
}

/// Points a device sends in a round where `points` are spread over all of
/// them.
pub fn spread(points: u32, agents: usize, rounds: u32) -> u32 {
    let senders = u32::try_from(agents.max(1)).unwrap_or(u32::MAX);
    points
        .div_ceil(senders.saturating_mul(rounds.max(1)))
        .max(1)
}

/// The range of a stage's features, where the data has one.
fn declared_range(data: &Dataset, stage: &str) -> Option<[f32; 2]> {
    let stage: FeatureStage = stage.parse().ok()?;
    let shape = data.shape.iter().map(|&side| side as usize).collect();
    let shape = InputShape::new(shape).ok()?;
    stage.range(&shape, data.range?).ok().flatten()
}

/// Units of the one hidden layer of a student that nobody chose, and why. Where
/// there are few features it costs little to be wide, and many classes or
/// crooked borders between them need it: on tables of 20 and 30 features, 20
/// and 2 classes, students of 64 units gave their teacher's answer for 94.6 and
/// 95.0 % of training rows, of 200 units for 96.8 and 97.2 %; on letters of 16
/// features, 26 classes, those of 256 units for 95.8 % of test rows, of 372 for 96.7.
pub fn hidden_units(features: usize, classes: usize, image: bool) -> (u32, &'static str) {
    if image || features > FEW_FEATURES {
        return (
            UNITS_OF_MANY,
            "200 hidden units for many features or images",
        );
    }
    let units = WEIGHTS_OF_FEW / (features + classes).max(1);
    let units = units
        .max(UNITS_A_CLASS * classes)
        .clamp(UNITS_MIN, UNITS_MAX);
    let units = units / UNITS_MIN * UNITS_MIN;
    (
        units as u32,
        "as many hidden units, 64 to 512, as 16,000 weights make, and two for each class",
    )
}

/// Up to this many features the weights decide.
const FEW_FEATURES: usize = 300;
/// Hidden units for more features, and for images.
const UNITS_OF_MANY: u32 = 200;
/// Weights of a student of few features, a byte each on the wire.
const WEIGHTS_OF_FEW: usize = 16_000;
/// Hidden units for each class, at least: with 100 classes of 64 features a
/// student of 64 units gave its teacher's answer for 91.8 % of test rows, of 192
/// for 95.8 %.
const UNITS_A_CLASS: usize = 2;
/// Fewest hidden units; others are multiples.
const UNITS_MIN: usize = 64;
/// Most hidden units of a student of few features.
const UNITS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn students_of_fewer_features_are_wider() {
        let units = |features, classes, image| hidden_units(features, classes, image).0;
        assert_eq!(units(212, 6, false), 64, "windows of six channels");
        assert_eq!(units(91, 10, false), 128);
        assert_eq!(units(31, 20, false), 256);
        assert_eq!(units(2, 2, false), 512);
        assert_eq!(units(300, 1_000, false), 512);
        assert_eq!(units(65, 100, false), 192);
        assert_eq!(units(301, 2, false), 200);
        assert_eq!(units(90, 10, true), 200);
    }

    #[test]
    fn the_carried_data_sets_give_valid_tasks() {
        let task_options = TaskOptions {
            features: None,
            student: StudentSpec::Mlp { hidden: vec![64] },
            points: 300,
            points_per_device: 15,
            auto_budget: false,
            bits: 8,
            contribute: "both".into(),
            consensus: ConsensusRule::Weighted,
            uplink_bytes_max: 100_000,
            rank_max: 0,
            novelty: false,
            landmarks: None,
            steps: 100,
            refinement_steps: 0,
            seed: 0,
            deadline_s: 60,
            grace_s: 5.0,
        };
        let har = task(&Dataset::open("har").unwrap(), &task_options).unwrap();
        assert!(har.learns_normaliser() && har.features() < 300);
        let digits = task(&Dataset::open("digits").unwrap(), &task_options).unwrap();
        assert!(!digits.learns_normaliser());
        assert_eq!(digits.features(), 90);
    }
}
