//! A data set as the folders of its devices' owners.

use std::fs;
use std::path::{Path, PathBuf};

use common::npz::{self, Array, NpzError, Values};

use crate::data::{Dataset, Part};

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The array writer refused them.
    #[error("a device's rows cannot be written: {0}")]
    Rows(#[from] NpzError),
    /// The disk did.
    #[error("{path}: {cause}", path = path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Something is there already.
    #[error("{} is there already; name a new folder or remove it", .0.display())]
    Exists(PathBuf),
}

/// The file with the test rows.
pub const TEST: &str = "test.npz";

/// The name of a device's folder, counted from 0.
pub fn name(device: usize) -> String {
    format!("device-{device:03}")
}

/// Makes `folder` with `device-000/rows.npz` and so on, one for each list of
/// training rows, and `test.npz` with the test rows.
///
/// # Errors
/// If the folder exists, or cannot be written.
pub fn write(data: &Dataset, parts: &[Vec<usize>], folder: &Path) -> Result<(), FolderError> {
    if folder.exists() {
        return Err(FolderError::Exists(folder.to_owned()));
    }
    for (index, rows) in parts.iter().enumerate() {
        let device = folder.join(name(index));
        fs::create_dir_all(&device).map_err(|cause| FolderError::File {
            path: device.clone(),
            cause,
        })?;
        write_rows(&device.join("rows.npz"), data, data.train.select(rows))?;
    }
    write_rows(&folder.join(TEST), data, data.test.clone())
}

/// One file with inputs `X` in the data set's shape and labels or numbers `y`.
///
/// # Errors
/// If it cannot be written.
pub fn write_rows(path: &Path, data: &Dataset, part: Part) -> Result<(), FolderError> {
    let mut shape = vec![part.len()];
    shape.extend(data.shape.iter().map(|&side| side as usize));
    let inputs = Array::new(shape, Values::F32(part.inputs.iter().copied().collect()))?;
    let labels = match part.numbers {
        Some(numbers) => {
            let shape = numbers.shape().to_vec();
            Array::new(shape, Values::F32(numbers.iter().copied().collect()))?
        }
        None => Array::new(vec![part.len()], Values::U16(part.labels))?,
    };
    let bytes = npz::write(&[("X", &inputs), ("y", &labels)])?;
    fs::write(path, bytes).map_err(|cause| FolderError::File {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_written_folder_holds_every_row_once() {
        let data = Dataset::open("digits").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("devices");
        write(&data, &[vec![0, 2], vec![1]], &out).unwrap();
        let mut rows = Vec::new();
        for name in ["device-000/rows.npz", "device-001/rows.npz"] {
            let bytes = fs::read(out.join(name)).unwrap();
            rows.push(
                npz::Archive::open(&bytes)
                    .unwrap()
                    .array("y")
                    .unwrap()
                    .rows(),
            );
        }
        assert_eq!(rows, [2, 1]);
        assert!(out.join("test.npz").exists());
        assert!(matches!(
            write(&data, &[], &out),
            Err(FolderError::Exists(_))
        ));
    }
}
