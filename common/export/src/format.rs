//! The formats that a student can be written in.

use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use protocol::model::Release;

use crate::error::ExportError;
use crate::exported::Exported;
use crate::{archive, c, onnx};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ONNX, for runtimes.
    Onnx,
    /// NPZ, for NumPy.
    Npz,
    /// Safetensors, for PyTorch, JAX and others.
    Safetensors,
    /// C99: a source and its header.
    C,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Onnx, Self::Npz, Self::Safetensors, Self::C];

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

    /// The format of a file that is to be written later, which could be now.
    ///
    /// # Errors
    /// A name that the format cannot have, or a folder that is not there.
    pub fn of_new_file(path: &Path) -> Result<Self, ExportError> {
        let format = Self::of_path(path)?;
        if format == Self::C {
            c::name(path)?;
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        match folder.is_dir() {
            true => Ok(format),
            false => Err(ExportError::File {
                path: folder.to_owned(),
                source: ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Its name, which is the ending of its files' names.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Npz => "npz",
            Self::Safetensors => "safetensors",
            Self::C => "c",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|format| format.ending() == name);
        known.ok_or_else(|| {
            format!(
                "unknown format {name:?}; choose one of {}",
                Self::ALL.map(Self::ending).join(", ")
            )
        })
    }
}

/// A release as the files of a format, which are to be written to `path`: the
/// names in C begin with its stem.
///
/// # Errors
/// What the format cannot express.
pub fn export(release: &Release, format: Format, path: &Path) -> Result<Exported, ExportError> {
    let one = |bytes| Exported {
        files: vec![(format.ending(), bytes)],
        note: None,
    };
    Ok(match format {
        Format::Onnx => one(onnx::model(release)?),
        Format::Npz => one(archive::npz(release)?),
        Format::Safetensors => one(archive::safetensors(release)?),
        Format::C => c::source(release, path)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_cannot_be_is_refused_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Format::of_new_file(&folder.path().join(name));
        assert_eq!(at("student.onnx").unwrap(), Format::Onnx);
        assert_eq!(at("student_2.c").unwrap(), Format::C);
        assert!(matches!(
            at("2-student.c"),
            Err(ExportError::Identifier { .. })
        ));
        assert!(matches!(at("student.pt"), Err(ExportError::Ending { .. })));
        assert!(matches!(
            at("missing/student.onnx"),
            Err(ExportError::File { source, .. }) if source.kind() == ErrorKind::NotFound
        ));
    }
}
