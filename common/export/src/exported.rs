//! An exported student's files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::ExportError;

/// An exported student.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Endings and contents of the files.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What a person should know about them.
    pub note: Option<String>,
}

impl Exported {
    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Writes the files under `path`, the first as it is called there, the
    /// others with their own endings, and says where they are.
    ///
    /// # Errors
    /// [`ExportError::File`], also for a file that exists unless it is to be
    /// replaced.
    pub fn write(&self, path: &Path, replace: bool) -> Result<Vec<PathBuf>, ExportError> {
        let mut options = OpenOptions::new();
        match replace {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        let mut written = Vec::new();
        for (index, (ending, bytes)) in self.files.iter().enumerate() {
            let path = match index {
                0 => path.to_owned(),
                _ => path.with_extension(ending),
            };
            let mut file = || options.write(true).open(&path)?.write_all(bytes);
            file().map_err(|source| ExportError::File {
                path: path.clone(),
                source,
            })?;
            written.push(path);
        }
        Ok(written)
    }
}
