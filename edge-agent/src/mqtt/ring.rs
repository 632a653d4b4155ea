//! Recordings in files of which the oldest go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// CSV files that are written one after the other; the oldest are removed where
/// all are larger than allowed.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    bytes_max: u64,
    label: String,
    next: u64,
    open: Option<Open>,
}

/// The file that is being written.
#[derive(Debug)]
struct Open {
    file: BufWriter<File>,
    columns: Vec<String>,
    bytes: u64,
}

impl Ring {
    /// A ring in a folder, which is made if it is missing. Every file has the
    /// column `label`, empty where readings have none.
    ///
    /// # Errors
    /// If the folder cannot be used; it names it.
    pub fn open(folder: &Path, bytes_max: u64, label: &str) -> io::Result<Self> {
        let mut ring = Self {
            folder: folder.to_owned(),
            bytes_max,
            label: label.to_owned(),
            next: 0,
            open: None,
        };
        fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
        ring.next = ring.files()?.last().map_or(0, |(number, ..)| number + 1);
        Ok(ring)
    }

    /// Adds a row. A column that the file has not begins another file.
    ///
    /// # Errors
    /// If it cannot be written; then a new file is begun with the next row.
    pub fn write(&mut self, row: &BTreeMap<String, String>) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if self.takes(&open, row) => open,
            before => self.begin(before, row)?,
        };
        let cells = open.columns.iter();
        let cells = cells.map(|column| row.get(column).map_or("", String::as_str));
        let line = line(cells)?;
        open.file
            .write_all(&line)
            .map_err(|error| named(&self.folder, error))?;
        open.bytes += line.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Hands what was written to the system.
    ///
    /// # Errors
    /// If it takes it not.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(open) => open
                .file
                .flush()
                .map_err(|error| named(&self.folder, error)),
            None => Ok(()),
        }
    }

    fn takes(&self, open: &Open, row: &BTreeMap<String, String>) -> bool {
        let known = |column: &String| open.columns.binary_search(column).is_ok();
        open.bytes < self.part_bytes() && row.keys().all(known)
    }

    fn part_bytes(&self) -> u64 {
        (self.bytes_max / PARTS).max(PART_BYTES_MIN)
    }

    fn begin(&mut self, before: Option<Open>, row: &BTreeMap<String, String>) -> io::Result<Open> {
        let mut columns: Vec<String> = row.keys().cloned().collect();
        if let Some(mut before) = before {
            before
                .file
                .flush()
                .map_err(|error| named(&self.folder, error))?;
            // Columns that come and go would make a file of each row.
            if columns.len() + before.columns.len() <= COLUMNS_MAX {
                columns.extend(before.columns);
            }
        }
        columns.push(self.label.clone());
        columns.sort();
        columns.dedup();
        self.make_room()?;
        let path = self.folder.join(format!("{PREFIX}{:012}.csv", self.next));
        self.next += 1;
        let file = File::create_new(&path).map_err(|error| named(&path, error))?;
        let mut file = BufWriter::new(file);
        let header = line(columns.iter().map(String::as_str))?;
        file.write_all(&header)
            .map_err(|error| named(&path, error))?;
        Ok(Open {
            file,
            columns,
            bytes: header.len() as u64,
        })
    }

    /// Removes the oldest files, so that one more fits.
    fn make_room(&self) -> io::Result<()> {
        let files = self.files()?;
        let mut bytes: u64 = files.iter().map(|(.., bytes)| bytes).sum();
        let mut left = files.len();
        for (_, path, own) in files {
            if bytes + self.part_bytes() <= self.bytes_max && left < FILES_MAX {
                break;
            }
            fs::remove_file(&path).map_err(|error| named(&path, error))?;
            bytes -= own;
            left -= 1;
        }
        Ok(())
    }

    /// Number, path and length of each file, the oldest first.
    fn files(&self) -> io::Result<Vec<(u64, PathBuf, u64)>> {
        let mut files = Vec::new();
        let entries = fs::read_dir(&self.folder).map_err(|error| named(&self.folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| named(&self.folder, error))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| {
                let number = name.strip_prefix(PREFIX)?.strip_suffix(".csv")?;
                number.parse().ok()
            });
            if let (Some(number), Ok(metadata)) = (number, entry.metadata()) {
                files.push((number, entry.path(), metadata.len()));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    // A first cell that begins as a comment is no comment.
    let mut writer = { csv::WriterBuilder::new() }
        .comment(Some(b'#'))
        .from_writer(Vec::new());
    // Lines in a cell would be lines of the file to who reads it by lines.
    let cells = cells.map(|cell| cell.replace(['\n', '\r'], " "));
    writer.write_record(cells).map_err(io::Error::other)?;
    writer.into_inner().map_err(|error| error.into_error())
}

const PREFIX: &str = "mqtt-";
/// A full ring has so many files.
const PARTS: u64 = 16;
const PART_BYTES_MIN: u64 = 4 << 10;
/// Most files, however short.
const FILES_MAX: usize = 256;
const COLUMNS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(cells: &[(&str, &str)]) -> BTreeMap<String, String> {
        let cells = cells.iter();
        cells
            .map(|(name, cell)| ((*name).to_owned(), (*cell).to_owned()))
            .collect()
    }

    #[test]
    fn a_new_column_begins_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 1 << 20, "label").unwrap();
        ring.write(&row(&[("b", "1"), ("a", "x,\ny")])).unwrap();
        ring.write(&row(&[("a", "2")])).unwrap();
        ring.write(&row(&[("c", "3")])).unwrap();
        ring.flush().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            read("mqtt-000000000000.csv"),
            "a,b,label\n\"x, y\",1,\n2,,\n"
        );
        assert_eq!(read("mqtt-000000000001.csv"), "a,b,c,label\n,,3,\n");
        // Another start goes on behind what is there.
        let mut ring = Ring::open(folder.path(), 1 << 20, "label").unwrap();
        ring.write(&row(&[("a", "4")])).unwrap();
        ring.flush().unwrap();
        assert_eq!(read("mqtt-000000000002.csv"), "a,label\n4,\n");
    }

    #[test]
    fn a_cell_that_begins_as_a_comment_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 1 << 20, "label").unwrap();
        ring.write(&row(&[("#", "#1"), ("a", "2")])).unwrap();
        ring.flush().unwrap();
        let text = fs::read_to_string(folder.path().join("mqtt-000000000000.csv")).unwrap();
        assert_eq!(text, "\"#\",a,label\n\"#1\",2,\n");
    }

    #[test]
    fn the_oldest_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("own.csv"), "a,label\n1,\n").unwrap();
        let bytes_max = 64 << 10;
        let mut ring = Ring::open(folder.path(), bytes_max, "label").unwrap();
        for at in 0..20_000 {
            ring.write(&row(&[("a", &at.to_string())])).unwrap();
        }
        ring.flush().unwrap();
        let files = ring.files().unwrap();
        let bytes: u64 = files.iter().map(|(.., bytes)| bytes).sum();
        assert!(bytes <= bytes_max && bytes > bytes_max / 2, "{bytes}");
        assert!(files[0].0 > 0);
        let last = fs::read_to_string(&files.last().unwrap().1).unwrap();
        assert!(last.ends_with("19999,\n"));
        assert!(folder.path().join("own.csv").exists());
    }
}
