//! The formats that a student can be written in.

use std::path::Path;

use protocol::model::Release;

use crate::{ExportError, archive, onnx};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ONNX, for runtimes.
    Onnx,
    /// NPZ, for NumPy.
    Npz,
    /// Safetensors, for PyTorch, JAX and others.
    Safetensors,
}

/// An exported student.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Endings and contents of the files.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What a person should know about them.
    pub note: Option<String>,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Onnx, Self::Npz, Self::Safetensors];

    /// The format that a file's name ends in.
    ///
    /// # Errors
    /// [`ExportError::Ending`], for a name that ends in none.
    pub fn of_path(path: &Path) -> Result<Self, ExportError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let known = |format: &Self| Some(format.ending()) == ending;
        Self::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| ExportError::Ending {
                name: path.display().to_string(),
            })
    }

    /// The ending of its files' names.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Npz => "npz",
            Self::Safetensors => "safetensors",
        }
    }
}

/// A release as the files of a format.
///
/// # Errors
/// What the format cannot express.
pub fn export(release: &Release, format: Format) -> Result<Exported, ExportError> {
    let one = |bytes| Exported {
        files: vec![(format.ending(), bytes)],
        note: None,
    };
    Ok(match format {
        Format::Onnx => one(onnx::model(release)?),
        Format::Npz => one(archive::npz(release)?),
        Format::Safetensors => one(archive::safetensors(release)?),
    })
}
