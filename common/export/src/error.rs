//! Why a student is not exported.

use std::path::PathBuf;

use host::exit::{ExitCode, Failure};
use host::npz::NpzError;
use protocol::features::FeatureError;
use protocol::ids::BlobHash;
use protocol::model::Release;

/// Why a student is not exported. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file name whose ending names no format.
    #[error("{name:?} names no format; end it in .onnx, .npz, .safetensors or .c")]
    Ending {
        /// The file's name.
        name: String,
    },
    /// The stage is not known here.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A student whose rows go through a model first.
    #[error(
        "the student of task {task} begins behind the model {model}, so that it is no whole \
         student: devices answer with both (`alambic-agent predict`, or the predictions' socket)"
    )]
    Backbone {
        /// The task's name.
        task: String,
        /// The model.
        model: BlobHash,
    },
    /// A spectrum whose matrices would be out of all proportion.
    #[error(
        "windows of {steps} steps have no factor near their square root, so that their spectrum takes a matrix of more than {max} values; choose a length with small factors"
    )]
    Spectrum {
        /// Steps of a window.
        steps: usize,
        /// Most values of a matrix.
        max: usize,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), match source.kind() {
        std::io::ErrorKind::AlreadyExists => "; --force replaces it",
        _ => "",
    })]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file that cannot be written as NPZ.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A file that cannot be written as safetensors.
    #[error("as safetensors: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// A program without a name for C.
    #[error(
        "{name:?} gives no name for C: use a file name of letters, digits and underscores that begins with a letter"
    )]
    Identifier {
        /// The file's stem.
        name: String,
    },
}

/// That a student takes raw inputs, as one for other programs has to.
pub(crate) fn whole(release: &Release) -> Result<(), ExportError> {
    let definition = release.task().definition();
    match &definition.backbone {
        None => Ok(()),
        Some(backbone) => Err(ExportError::Backbone {
            task: definition.name.clone(),
            model: backbone.model,
        }),
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let code = match &error {
            ExportError::Ending { .. } | ExportError::Identifier { .. } => ExitCode::Usage,
            ExportError::File { source, .. } => ExitCode::of_file(source),
            _ => ExitCode::Failed,
        };
        Self::new(code, error.to_string())
    }
}
