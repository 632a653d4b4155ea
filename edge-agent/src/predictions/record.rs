//! Predictions in a file that does not grow for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file of lines. Before one would make it too long it is renamed to the same name
/// with `.1`, in the place of an earlier one, and another is begun.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    bytes_max: u64,
    file: File,
    bytes: u64,
}

impl Record {
    /// Goes on with a file, or begins it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            bytes_max,
            file,
            bytes,
        })
    }

    /// Adds a line, in one write: who reads beside sees whole lines, but for the
    /// last of a full disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let text = format!("{line}\n");
        let length = text.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.bytes_max {
            let mut earlier = self.path.clone().into_os_string();
            earlier.push(".1");
            std::fs::rename(&self.path, earlier)?;
            *self = Self::open(&self.path, self.bytes_max)?;
        }
        self.file.write_all(text.as_bytes())?;
        self.bytes += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_keeps_its_newest_lines_within_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mut record = Record::open(&path, 100).unwrap();
        for line in 0..50 {
            record.write(&format!("{{\"line\": {line}}}")).unwrap();
            if line == 20 {
                record = Record::open(&path, 100).unwrap();
            }
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let (newest, before) = (
            read(&path),
            read(&folder.path().join("predictions.jsonl.1")),
        );
        assert!(newest.len() <= 100 && before.len() <= 100);
        let lines: Vec<_> = before.lines().chain(newest.lines()).collect();
        assert_eq!(lines.last(), Some(&"{\"line\": 49}"));
        assert!(lines.len() >= 8, "{lines:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
