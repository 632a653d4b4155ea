//! What a task fixes.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::features::FeatureStage;
use crate::round::Kind;
use crate::task::backbone::Backbone;
use crate::task::input::InputKind;
use crate::task::method::Method;
use crate::task::target::Target;

/// Everything a task fixes, as it is hashed and as it travels: the fields up to
/// `method` one after the other, then a section for each of the others that is
/// not what it is by default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskDefinition {
    /// A name for people.
    pub name: String,
    /// Shape of one raw input.
    pub input_shape: Vec<u32>,
    /// Class names, in the order of their labels; none unless it asks for a
    /// class.
    pub classes: Vec<String>,
    /// What turns raw inputs into features.
    pub features: FeatureStage,
    /// How features are brought to one scale.
    pub normalisation: Normalisation,
    /// The kernel of local and global teachers.
    pub teacher: TeacherSpec,
    /// The network that every device runs.
    pub student: StudentSpec,
    /// What may be sent.
    pub budget: Budget,
    /// What devices answer on the transfer set.
    pub contribute: Contribute,
    /// How the student is trained.
    pub distillation: Distillation,
    /// When rounds begin and phases close.
    pub rounds: Rounds,
    /// That contributions count whenever they come, and when they are enough
    /// for a student; none of a task whose rounds wait for their devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingRounds>,
    /// Which of several methods it takes.
    pub method: Method,
    /// What one input is.
    #[serde(skip_serializing_if = "InputKind::is_plain")]
    pub input: InputKind,
    /// What it asks of a row.
    #[serde(skip_serializing_if = "Target::is_class")]
    pub target: Target,
    /// Whether students also say how unlike their training a row is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub novelty: bool,
    /// By how many steps a released student's last layer is moved towards the
    /// devices' own rows.
    #[serde(skip_serializing_if = "is_none")]
    pub refinement_steps: u32,
    /// Whether the coordinator plans what the bytes are spent on, once devices
    /// said how many rows they hold. Until then the budget holds the most that
    /// any plan may say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_budget: bool,
    /// Groups of devices that it is for, ascending; none of a task for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// A frozen model that inputs go through before the feature stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Backbone>,
    /// Whether the directions that the model's values are projected onto are learnt from
    /// what devices say of their rows, not drawn.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learns_directions: bool,
}

/// Whether a count is zero, so that it is left out of JSON.
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// How features are brought to one scale for all devices.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// Mean and standard deviation over all devices, learnt in the profile
    /// phase; values beyond `clip` standard deviations are cut.
    Learnt {
        /// Standard deviations kept on either side.
        clip: f32,
    },
    /// The features' range is known; no feature sums leave the devices.
    Range {
        /// Smallest value.
        low: f32,
        /// Largest value.
        high: f32,
    },
    /// As `Learnt`, and features with heavy tails are bent first, for which
    /// profiles carry block means.
    Quantiles {
        /// Standard deviations kept on either side.
        clip: f32,
    },
}

/// The kernel of the teachers: the neural tangent kernel of a fully
/// connected ReLU network.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct TeacherSpec {
    /// Hidden layers of the network whose kernel it is.
    pub depth: u8,
}

/// The student's architecture.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StudentSpec {
    /// A multi-layer perceptron on the features.
    Mlp {
        /// Units of each hidden layer.
        hidden: Vec<u32>,
    },
    /// A convolutional network on the features as an image or a series:
    /// windows of 3 × 3 (or 3 steps), each followed by a pool of 2 along
    /// every side of 4 or more.
    Cnn {
        /// Channels of each convolution.
        channels: Vec<u32>,
        /// Units of each hidden layer after them.
        hidden: Vec<u32>,
    },
}

/// What may be sent, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Budget {
    /// Distilled points a device may send in one round.
    pub points_per_device: u32,
    /// Points of the transfer set in all.
    pub points_max: u32,
    /// Bytes a device's contributions may take in one round, all together.
    pub uplink_bytes_max: u64,
    /// Pseudo-rows of a device's moments; 0 stands for as many as the bytes
    /// allow.
    pub rank_max: u32,
    /// Bits a value of points and moments.
    pub bits: u8,
    /// Bits a probability of soft labels.
    pub label_bits: u8,
    /// Fewest rows a distilled point may stand for.
    pub cluster_size_min: u32,
}

/// What devices answer on the transfer set; a task file names it as JSON does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contribute {
    /// Soft labels only.
    Labels,
    /// Moments only.
    Moments,
    /// Both.
    Both,
    /// Neither: the teacher is solved from the points themselves.
    #[default]
    Points,
}

impl Contribute {
    /// The kinds it stands for.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Labels => &[Kind::Labels],
            Self::Moments => &[Kind::Moments],
            Self::Both => &[Kind::Labels, Kind::Moments],
            Self::Points => &[],
        }
    }
}

/// How the student is trained.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Distillation {
    /// Temperature of the teacher's answers; 0 lets the coordinator choose.
    pub temperature: f32,
    /// Optimiser steps.
    pub steps: u32,
    /// Synthetic inputs a step.
    pub batch: u32,
    /// Learning rate at the start of the schedule.
    pub learning_rate: f32,
    /// Seed of every random choice the coordinator makes.
    pub seed: u64,
}

/// When rounds begin and phases close.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Rounds {
    /// Fewest devices whose contributions make a phase count.
    pub devices_min: u32,
    /// Share of the devices waited for that starts the grace time.
    pub quorum: f32,
    /// Milliseconds a gathering phase may take, by [`Phase`](crate::round::Phase).
    pub deadline_ms: [u64; 7],
    /// Milliseconds a phase stays open after its quorum.
    pub grace_ms: u64,
    /// Milliseconds between automatic rounds; none means by hand.
    pub interval_ms: Option<u64>,
    /// Devices with new data that let a later automatic round start.
    pub new_data_devices_min: u32,
}

/// When what devices sent a standing task is made into a student.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct StandingRounds {
    /// Rows of contributions that no student stands on yet, which are enough.
    pub rows_new: u64,
    /// Milliseconds after which fewer are enough.
    pub interval_ms: u64,
}
