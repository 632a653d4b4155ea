//! A task: what the fleet learns together, and by which rules.
//!
//! [`RawTask`] is the file a person writes. [`Task::check`] turns it into a
//! [`Task`] whose parts fit one another; its bytes travel to the devices,
//! and its hash names it everywhere.

mod backbone;
mod budget;
mod checked;
mod definition;
mod file;
mod groups;
mod input;
mod keys;
mod method;
mod planned;
mod projection;
mod sections;
mod target;

pub use backbone::{Backbone, Condenser, ModelFiles, ModelMeasured};
pub use checked::{Task, TaskError};
pub use definition::{
    Budget, Contribute, Distillation, Normalisation, Rounds, StandingRounds, StudentSpec,
    TaskDefinition, TeacherSpec,
};
pub use file::{RawTask, TaskFileError};
pub use input::{ArrayInput, Column, InputKind, Missing, SeriesInput, TableInput, folded};
pub use keys::{TASK_KEYS, TaskDefault, TaskKey, task_reference};
pub use method::{Consensus, ConsensusRule, Method};
pub use planned::BudgetPlan;
pub use projection::{LearntProjection, SKETCH_BITS};
pub use target::{NumberSpec, Target, USUAL};
