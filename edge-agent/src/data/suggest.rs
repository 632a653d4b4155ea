//! From files to a task: what columns, classes and rates there are.

mod media;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use common::features::InputShape;
use common::task::folded;
use csv::StringRecord;

use super::source::{Mapping, TimeFormat, inner_name, unpacking};
use super::table::{Cells, DecimalSigns, TIME_NAMES, is_row, number, once, place_of, without_unit};
use super::text::{Ending, Lines, Text};
use super::{Folder, FolderError, Format, LabelSource, ParseError, Place, Schema};

/// Why no task can be suggested.
#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file cannot be read.
    #[error("{file}: {error}")]
    File {
        /// Its name.
        file: String,
        /// Why.
        error: Box<ParseError>,
    },
    /// No table among the files.
    #[error(
        "{folder} holds no CSV file, and no folders named as classes with pictures or WAV files; a \
         task can be suggested from these only"
    )]
    NoTable {
        /// The folder.
        folder: String,
    },
    /// No column holds classes.
    #[error(
        "no column of {file} looks like a label ({columns}); name it: data.label_column in agent.toml"
    )]
    NoLabel {
        /// The file.
        file: String,
        /// Its columns.
        columns: String,
    },
    /// No column holds anything to learn from.
    #[error("no column of {file} holds numbers or few words besides the label")]
    NoColumns {
        /// The file.
        file: String,
    },
}

/// An annotated task file for the tables of a folder or, without any, for the pictures or
/// sounds in its folders, by these rules:
///
/// - the first file says which columns there are, all say which classes;
/// - the label is the column that the owner names, else one of a usual name,
///   else the last column of 2 to 20 words;
/// - a column of numbers is an input, one of 2 to 20 words a categorical one;
///   times, numbers of rows and names of groups are left out;
/// - rows with times that come twice a second or faster are a series; its
///   window is the power of two of samples next to 2.56 s, 32 to 256;
/// - pictures keep their size where all have the same, of at most 64, and are 32 × 32
///   otherwise; a window of sound is as long as nine of ten recordings, 1 s at most.
///
/// # Errors
/// If there is no table, or nothing in it that could be learnt.
pub fn suggest(
    folder: &Path,
    mapping: &Mapping,
    label_column: &str,
) -> Result<String, SuggestError> {
    let names = Folder::names(folder, mapping)?;
    let is_table = |name: &&std::ffi::OsString| {
        let format = Format::of(&inner_name(Path::new(name)));
        matches!(format, None | Some(Format::Csv))
    };
    let files: Vec<_> = names.iter().filter(is_table).take(FILES_MAX).collect();
    let mut first: Option<Table> = None;
    let (mut classes, mut bad) = (BTreeSet::new(), None);
    for name in files {
        let path = folder.join(name);
        let file = name.to_string_lossy().into_owned();
        let Ok(mut bytes) = std::fs::File::open(&path) else {
            continue;
        };
        let table = match Table::read(&path, &mut bytes, mapping) {
            Ok(table) => table,
            // A bad file costs itself, unless there is no other.
            Err(error) => {
                let error = Box::new(error);
                bad.get_or_insert(SuggestError::File { file, error });
                continue;
            }
        };
        let label = match &first {
            Some(first) => place_of(&table.names, &first.names[first.label.unwrap_or(0)]),
            None => table.label(label_column),
        };
        if let Some(label) = label {
            classes.extend(table.words(label));
        } else if first.is_none() {
            return Err(SuggestError::NoLabel {
                file,
                columns: table.names.join(", "),
            });
        }
        first.get_or_insert(Table {
            label,
            file,
            ..table
        });
    }
    let (path, folder) = (folder, || folder.display().to_string());
    let none = || bad.unwrap_or_else(|| SuggestError::NoTable { folder: folder() });
    let Some(table) = first else {
        let none = none();
        let found = matches!(none, SuggestError::NoTable { .. });
        let found = found.then(|| media::suggest(path, mapping)).transpose()?;
        return found.flatten().ok_or(none);
    };
    table.task(&classes)
}

/// The first rows of a table.
struct Table {
    file: String,
    names: Vec<String>,
    records: Vec<StringRecord>,
    decimal: u8,
    label: Option<usize>,
}

impl Table {
    /// Reads the start of a file, whatever its length.
    fn read(path: &Path, file: &mut dyn Read, mapping: &Mapping) -> Result<Self, ParseError> {
        let source = unpacking(path, file);
        let lines = Lines::new(source, mapping.encoding, Ending::Open);
        let mut lines = lines.with_block_bytes(START_BYTES);
        let text = Text {
            lines: lines.block(&mut Vec::new())?,
            tail: Vec::new(),
        };
        let shape = InputShape::new(vec![1]).map_err(|_| ParseError::NoHeader)?;
        let schema = Schema::new(shape, vec!["?".to_owned()]).map_err(|_| ParseError::NoHeader)?;
        let schema = schema
            .with_labels(LabelSource::None)
            .with_mapping(mapping.clone());
        let mut cells = Cells::of(text, &schema);
        let header = cells.header(&schema)?;
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        for place in (0..names.len()).filter(|&place| !names[place].is_empty()) {
            once(&names, place)?;
        }
        let again = |record: &StringRecord| {
            let cells = record
                .iter()
                .map(|cell| cell.trim().trim_start_matches('\u{feff}'));
            cells.eq(names.iter().map(String::as_str))
        };
        let (mut records, mut record) = (cells.records(), StringRecord::new());
        let mut kept = Vec::new();
        while kept.len() < RECORDS_MAX
            && let Some((_, read)) = records.next(&mut record)
        {
            read?;
            kept.push(record.clone());
        }
        if is_row(&names, &kept) {
            return Err(ParseError::NumericHeader);
        }
        // Files that were joined have a header in their middle.
        kept.retain(|record| !again(record));
        let mut signs = DecimalSigns::default();
        for cell in kept.iter().flat_map(StringRecord::iter) {
            signs.look(cell, || Place::Line(2));
        }
        Ok(Self {
            file: String::new(),
            names,
            records: kept,
            decimal: mapping.decimal.map_or_else(|| signs.sign(), Ok)?,
            label: None,
        })
    }

    /// The cells of a column that hold something.
    fn cells(&self, place: usize) -> impl Iterator<Item = &str> {
        let cells = self
            .records
            .iter()
            .filter_map(move |record| record.get(place));
        cells
            .map(str::trim)
            .filter(|cell| !super::missing::is_missing(cell))
    }

    fn words(&self, place: usize) -> BTreeSet<String> {
        self.cells(place).map(str::to_owned).collect()
    }

    fn is_numeric(&self, place: usize) -> bool {
        let mut cells = self.cells(place).peekable();
        cells.peek().is_some() && cells.all(|cell| number(cell, self.decimal).is_some())
    }

    fn has_gaps(&self, place: usize) -> bool {
        self.cells(place).count() < self.records.len()
    }

    fn label(&self, label_column: &str) -> Option<usize> {
        let usual = [label_column].into_iter().chain(LABEL_NAMES);
        let named = usual.clone().find_map(|name| place_of(&self.names, name));
        let few = |place: &usize| {
            let words = self.words(*place).len();
            (2..=WORDS_MAX).contains(&words) && !self.is_numeric(*place)
        };
        named.or_else(|| (0..self.names.len()).rev().find(few))
    }

    fn time(&self) -> Option<usize> {
        let named = TIME_NAMES
            .iter()
            .find_map(|name| place_of(&self.names, name));
        let is_date = |place: &usize| {
            let mut cells = self.cells(*place).peekable();
            cells.peek().is_some() && cells.all(|cell| TimeFormat::Iso8601.parse(cell).is_ok())
        };
        named.or_else(|| (0..self.names.len()).find(is_date))
    }

    /// Rows a second, where times rise evenly enough to say.
    fn rate_hz(&self, time: usize) -> Option<f64> {
        let mut cells = self.cells(time).peekable();
        let format = TimeFormat::shown_by(cells.peek()?);
        let times: Vec<i64> = cells.map_while(|cell| format.parse(cell).ok()).collect();
        let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let mut steps: Vec<i64> = steps.filter(|&step| step > 0).collect();
        steps.sort_unstable();
        let usual = *steps.get(steps.len() / 2)? as f64;
        // Without gaps; the mean, for clocks that are coarser than a step.
        let near: Vec<f64> = { steps.iter() }
            .map(|&step| step as f64)
            .filter(|step| (step / usual - 1.0).abs() < 0.5)
            .collect();
        let rate = near.len() as f64 * 1e9 / near.iter().sum::<f64>();
        // Three digits are what a clock tells.
        let scale = 10f64.powf(2.0 - rate.log10().floor());
        Some((rate * scale).round() / scale)
    }

    /// Whether a column counts rows or names groups of them.
    fn is_bookkeeping(&self, place: usize) -> bool {
        let name = folded(&self.names[place]);
        if name.is_empty() || ROW_NAMES.contains(&name.as_str()) || name.ends_with("_id") {
            return true;
        }
        let counted: Option<Vec<i64>> = self.cells(place).map(|cell| cell.parse().ok()).collect();
        let rises = |counted: &Vec<i64>| {
            counted.len() > 2
                && counted
                    .windows(2)
                    .all(|pair| pair[1].checked_sub(pair[0]) == Some(1))
        };
        counted.as_ref().is_some_and(rises)
    }

    fn task(&self, classes: &BTreeSet<String>) -> Result<String, SuggestError> {
        let time = self.time();
        let rate = time.and_then(|time| self.rate_hz(time));
        let rate = rate.filter(|rate| *rate >= SERIES_HZ_MIN);
        let (mut columns, mut left_out, mut gaps) = (Vec::new(), Vec::new(), false);
        for (place, name) in self.names.iter().enumerate() {
            if Some(place) == self.label {
                continue;
            }
            let words = self.words(place);
            let few = (2..=WORDS_MAX).contains(&words.len());
            let known = match self.is_numeric(place) {
                true => true,
                false => few && rate.is_none(),
            };
            if !known || Some(place) == time || self.is_bookkeeping(place) {
                left_out.push(name.as_str());
                continue;
            }
            let (plain, unit) = without_unit(name);
            let mut column = format!("{{ name = {}", quoted(plain));
            if let Some(unit) = unit {
                let _ = write!(column, ", unit = {}", quoted(unit));
            }
            if !self.is_numeric(place) {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                let _ = write!(column, ", values = [{}]", words.join(", "));
            }
            columns.push(format!("    {column} }},"));
            gaps |= self.has_gaps(place);
        }
        if columns.is_empty() {
            let file = self.file.clone();
            return Err(SuggestError::NoColumns { file });
        }
        Ok(self.text(classes, rate, &columns, &left_out, gaps))
    }

    fn text(
        &self,
        classes: &BTreeSet<String>,
        rate: Option<f64>,
        columns: &[String],
        left_out: &[&str],
        gaps: bool,
    ) -> String {
        let (columns, rows) = (columns.join("\n"), self.records.len());
        let label = &self.names[self.label.unwrap_or(0)];
        let mut text = format!(
            "# Suggested from the first {rows} rows of {} and the labels of all tables there;\n\
             # read it before you use it.\nname = \"my-task\"\n\n[input]\n",
            self.file
        );
        if !left_out.is_empty() {
            let _ = writeln!(text, "# Left out: {}.", left_out.join(", "));
        }
        match rate {
            Some(rate) => {
                let samples = (rate * WINDOW_S).log2().round().clamp(5.0, 8.0).exp2();
                let window = samples / rate;
                let _ = write!(
                    text,
                    "kind = \"series\"\nchannels = [\n{columns}\n]\n\
                     rate_hz = {rate}      # as the times of the rows say\n\
                     window_s = {window}   # {samples} samples; a new window every half of that\n"
                );
            }
            None => {
                let _ = write!(text, "kind = \"table\"\ncolumns = [\n{columns}\n]\n");
                if gaps {
                    text.push_str(
                        "missing = \"skip-row\"    # some cells are empty; or \"mean\"\n",
                    );
                }
            }
        }
        let names: Vec<String> = classes.iter().map(|class| quoted(class)).collect();
        let _ = write!(text, "\n[classes]\nnames = [{}]\n", names.join(", "));
        if label != "label" {
            let _ = write!(
                text,
                "\n# And in agent.toml of each device:\n# [data]\n# label_column = {}\n",
                quoted(label)
            );
        }
        text
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const LABEL_NAMES: [&str; 9] = [
    "label", "class", "target", "state", "status", "activity", "y", "zustand", "klasse",
];
const ROW_NAMES: [&str; 12] = [
    "id",
    "index",
    "row",
    "nr",
    "no",
    "unnamed:_0",
    "machine",
    "device",
    "person",
    "subject",
    "user",
    "session",
];
const FILES_MAX: usize = 100;
const RECORDS_MAX: usize = 20_000;
/// What is read of a file, about.
const START_BYTES: usize = 8 << 20;
const WORDS_MAX: usize = 20;
const SERIES_HZ_MIN: f64 = 2.0;
const WINDOW_S: f64 = 2.56;

#[cfg(test)]
mod tests;
