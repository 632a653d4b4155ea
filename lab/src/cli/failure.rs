//! Why a command came to nothing, and the exit code for it.

use std::path::PathBuf;

use common::exit::{self, CommandError, ExitCode};
use lab::attack::AttackError;
use lab::backbone::BackboneError;
use lab::data::{DatasetError, PartitionError};
use lab::demo::DemoError;
use lab::distill::DistilError;
use lab::folders::FolderError;
use lab::load::{BareError, LoadError};
use lab::simulate::SimulateError;
use lab::simulation::SimulationError;
use lab::survive::Broken;
use lab::sweep::GridError;
use onnx::OnnxError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A report's chart cannot be drawn.
    #[error("cannot draw the report: {0}")]
    Chart(#[from] draw::ChartError),
    /// A report's page shows classes.
    #[error(
        "a report shows classes; for numbers and rows without labels leave --report out and take --json FILE"
    )]
    ReportOfNumbers,
    /// A student behind a backbone is no whole student.
    #[error(
        "--student-out writes a student from a raw input on, and with onnx: features it begins \
         after the backbone and the projection; leave one of them out"
    )]
    StudentOfBackbone,
    /// A student of inputs that are not the file's.
    #[error(
        "--student-out writes a student for the inputs as they are in the file, in single \
         precision; {0}, and here too"
    )]
    StudentOfMovedInputs(String),
    /// The data set could not be put through a model.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The data set was refused.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The load came to nothing.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The bare sender could not send.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// The data set could not be distilled.
    #[error(transparent)]
    Distil(#[from] DistilError),
    /// Ctrl-C; what was found so far is written.
    #[error("interrupted; the best points so far are in {}", kept.display())]
    Interrupted {
        /// Where they are.
        kept: PathBuf,
    },
    /// Ctrl-C before all seeds were run; the figures are those of the others.
    #[error("interrupted after {done} of {seeds} seeds")]
    SeedsMissing {
        /// Seeds that were run.
        done: usize,
        /// Seeds that were asked for.
        seeds: usize,
    },
    /// Ctrl-C; the same command goes on from here.
    #[error("interrupted; the same command goes on where {} stands", kept.display())]
    SweepStopped {
        /// Where the outcomes are.
        kept: PathBuf,
    },
    /// The sweep's file was refused.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A cell's options are not those of a simulation.
    #[error("cell {cell}: {what}")]
    Cell {
        /// Its name.
        cell: String,
        /// What is wrong with it.
        what: String,
    },
    /// Some cells failed; the others are written.
    #[error("{failed} of {cells} cells failed; mend them and run the same command again")]
    CellsFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        cells: usize,
    },
    /// A table could not be made.
    #[error("cannot make the table: {0}")]
    Table(#[from] csv::Error),
    /// The simulation failed.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The attack came to nothing.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// There is no such attack.
    #[error("there is no attack {0:?}; `alambic-lab attack --help` lists them")]
    UnknownAttack(String),
    /// A promise was broken.
    #[error(transparent)]
    Broken(#[from] Box<Broken>),
    /// The rows cannot be spread that way.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// No task fits the files.
    #[error(transparent)]
    Suggest(#[from] edge_agent::data::SuggestError),
    /// The folders cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The figures cannot be written.
    #[error("cannot write {path}: {cause}", path = path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// What ends every program alike.
    #[error(transparent)]
    Program(#[from] exit::Failure),
    /// The figures are no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl CommandError for Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Dataset(error)
            | Self::Demo(DemoError::Dataset(error))
            | Self::Load(LoadError::Fleet(DemoError::Dataset(error))) => of_data(error),
            Self::Program(failure) => failure.exit_code(),
            Self::Backbone(BackboneError::Data(error)) => of_data(error),
            Self::Backbone(BackboneError::Model(OnnxError::Read { cause, .. })) => {
                ExitCode::of_file(cause)
            }
            Self::Backbone(_)
            | Self::StudentOfBackbone
            | Self::StudentOfMovedInputs(_)
            | Self::Simulate(
                SimulateError::Labelling(_)
                | SimulateError::Projection(_)
                | SimulateError::LeaveOut { .. },
            ) => ExitCode::Usage,
            Self::Grid(GridError::Read { cause, .. }) => ExitCode::of_file(cause),
            Self::Partition(_)
            | Self::Simulate(SimulateError::Partition(_) | SimulateError::Task(_))
            | Self::Demo(DemoError::Partition(_) | DemoError::Task(_))
            | Self::Distil(DistilError::Rows { .. } | DistilError::NothingHeldOut)
            | Self::Folder(FolderError::Exists(_)) => ExitCode::Usage,
            Self::Write { cause, .. } | Self::Folder(FolderError::File { cause, .. }) => {
                ExitCode::of_file(cause)
            }
            Self::Demo(DemoError::Interrupted)
            | Self::Load(LoadError::Interrupted | LoadError::Fleet(DemoError::Interrupted))
            | Self::Interrupted { .. }
            | Self::SeedsMissing { .. }
            | Self::SweepStopped { .. } => ExitCode::Interrupted,
            Self::Attack(
                AttackError::Option { .. }
                | AttackError::Partition(_)
                | AttackError::Simulate(SimulateError::Task(_)),
            )
            | Self::UnknownAttack(_)
            | Self::Suggest(_)
            | Self::Grid(_)
            | Self::Cell { .. }
            | Self::Load(LoadError::TooMany { .. } | LoadError::Token(_)) => ExitCode::Usage,
            Self::Simulate(SimulateError::Simulation(SimulationError::NoStudent { .. }))
            | Self::Attack(AttackError::Fleet { .. }) => ExitCode::QuorumNotMet,
            _ => ExitCode::Failed,
        }
    }
}

fn of_data(error: &DatasetError) -> ExitCode {
    match error {
        DatasetError::Read { cause, .. } => ExitCode::of_file(cause),
        DatasetError::Npz { .. } | DatasetError::Array { .. } | DatasetError::Device { .. } => {
            ExitCode::Usage
        }
    }
}
