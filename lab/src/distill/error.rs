//! Why a data set could not be distilled.

use common::features::FeatureError;
use common::math::cluster::ClusterError;
use common::math::kernel::KernelError;
use common::math::linalg::LinalgError;
use common::math::network::NetworkError;
use common::math::optimiser::OptimiserError;
use common::math::regression::RegressionError;
use common::npz::NpzError;
use common::task::TaskFileError;
use common::teacher::TeacherError;
use coordinator::student::TrainError;

/// Why a data set could not be distilled.
#[derive(Debug, thiserror::Error)]
pub enum DistilError {
    /// Too few rows of a class to hold any out and keep the points.
    #[error(
        "class {class:?} has {rows} training rows to learn from, too few for {needed} points; ask for at most {rows} with --per-class"
    )]
    Rows {
        /// The class.
        class: String,
        /// Its rows.
        rows: usize,
        /// How many it must have.
        needed: usize,
    },
    /// Nothing can be held out.
    #[error(
        "all training rows are needed to learn from; at least 10 rows are needed to hold some out"
    )]
    NothingHeldOut,
    /// A feature stage that does not fit the data.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The task that carries the features and the student does not hold
    /// together.
    #[error("the task is refused: {0}")]
    Task(#[from] TaskFileError),
    /// Rows could not be clustered.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The kernel refused its inputs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A system could not be solved.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
    /// A regression could not be done.
    #[error(transparent)]
    Regression(#[from] RegressionError),
    /// The optimiser's settings are no use.
    #[error(transparent)]
    Optimiser(#[from] OptimiserError),
    /// The teacher of the student does not fit the points.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// The student could not be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The student cannot answer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The distilled points cannot be written or read.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// An archive that does not hold distilled points.
    #[error("not an archive of distilled points: {0}")]
    Archive(String),
}
