//! What a round of one task would make of a folder's files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::task::Task;
use serde::Serialize;

use crate::backbone::{BackboneError, Opened};
use crate::cli::run::seed;
use crate::cli::teacher::{PRIVACY_ADVICE, UNDER_PRIVACY, WORSE_ADVICE};
use crate::cli::{ExitCode, Failure};
use crate::config::Config;
use crate::data::{
    Account, Dataset, FileError, Folder, FolderError, Scan, Split, SplitRule, StandsFor,
};
use crate::driver::local::{TeacherAccount, known_answers, teach};
use crate::identity::Identity;
use crate::state::StateDir;
use crate::work::TeacherChoice;

/// What a round of one task would make of the files.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    task: String,
    #[serde(serialize_with = "common::path_text::path")]
    folder: PathBuf,
    files: Vec<FileCheck>,
    refused: Vec<RefusedFile>,
    /// Files with the content of another.
    #[serde(serialize_with = "common::path_text::paths")]
    duplicates: Vec<PathBuf>,
    classes: Vec<ClassCheck>,
    unlabelled: usize,
    /// What the owner's model makes of rows without a label, where there is one.
    teacher: Option<TeacherAccount>,
    /// Rows or windows to learn from, and those held out.
    training: usize,
    held_out: usize,
    /// Rows to learn from that were read, where a sample of them is held.
    sampled_from: Option<u64>,
    /// Copies of rows, which count once.
    copies: usize,
    /// Why nothing would leave this device, if so.
    stands_in_the_way: Option<String>,
    /// Lines for `[data]` in agent.toml.
    mend: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileCheck {
    #[serde(serialize_with = "common::path_text::path")]
    path: PathBuf,
    rows: usize,
    used: usize,
    unused: Vec<UnusedRows>,
    columns: Vec<ColumnCheck>,
    recordings: Option<RecordingCheck>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UnusedRows {
    reason: &'static str,
    text: String,
    count: usize,
    /// The first three.
    places: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ColumnCheck {
    column: Option<String>,
    from: String,
    scale: f64,
    offset: f64,
    least: Option<f64>,
    largest: Option<f64>,
    missing_share: f64,
    constant: bool,
}

#[derive(Debug, Serialize)]
struct RecordingCheck {
    stretches: usize,
    rate_hz: f64,
    gaps: usize,
    gap_s: f64,
}

#[derive(Debug, Serialize)]
struct RefusedFile {
    #[serde(serialize_with = "common::path_text::path")]
    path: PathBuf,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ClassCheck {
    name: String,
    rows: u64,
    /// Fewer than the policy asks for: nothing is told of it.
    too_few: bool,
}

impl Check {
    pub(super) fn of(config: &Config, task: &Task, path: &Path) -> Result<Self, Failure> {
        let schema = config.reading().schema(task);
        let schema = schema.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
        let mut folder = Folder::new(path, schema);
        let (scan, way) = match folder.scan() {
            Ok(scan) => (scan, None),
            Err(FolderError::NoRows {
                reason,
                files,
                quarantined,
                ..
            }) => {
                let scan = Scan {
                    files,
                    quarantined,
                    ..Scan::default()
                };
                (scan, Some(format!("no rows: {reason}")))
            }
            // Said where a bad file of rows is said as well.
            Err(error @ FolderError::Labels { .. }) => (Scan::default(), Some(error.to_string())),
            Err(error) => return Err(Failure::new(ExitCode::Usage, error.to_string())),
        };
        let read: usize = scan.files.iter().map(|file| file.rows).sum();
        let split = folder.into_split(SplitRule::default().for_input(task.input()));
        let rows = |split: &Split| split.training.rows() + split.held_out.rows();
        let apart = rows(&split);
        let mut split = split.without_copies();
        let teacher = taught(config, task, &mut split);
        let rows_min = config.policy.rows_min();
        let counts = split.training.class_counts(task.classes());
        let names = task.definition().classes.iter();
        let told = |class: u16, rows: u64| match (&split.stands_for, rows) {
            (Some(sample), 1..) => sample.told(Some(class), rows),
            _ => rows,
        };
        let classes: Vec<ClassCheck> = (0..)
            .zip(names.zip(counts))
            .map(|(class, (name, rows))| ClassCheck {
                name: name.clone(),
                rows: told(class, rows),
                too_few: (1..rows_min).contains(&rows),
            })
            .collect();
        let labels = split.training.labels();
        let unlabelled = labels.iter().filter(|label| label.is_none()).count();
        let speaks = classes.iter().any(|class| class.rows >= rows_min);
        let few = !speaks && (unlabelled as u64) < rows_min && read > 0;
        let few = few.then(|| {
            format!(
                "too few: no class has the {rows_min} distinct rows that policy.rows_min asks for; \
                 wait for more data"
            )
        });
        let mut mend: Vec<String> = scan
            .quarantined
            .iter()
            .filter_map(|one| mend(&one.error))
            .collect();
        mend.sort();
        mend.dedup();
        Ok(Self {
            task: task.definition().name.clone(),
            folder: path.to_owned(),
            files: scan.files.iter().map(FileCheck::of).collect(),
            refused: { scan.quarantined.into_iter() }
                .map(|one| RefusedFile {
                    path: one.path,
                    reason: one.error.to_string(),
                })
                .collect(),
            duplicates: scan.duplicates,
            classes,
            unlabelled,
            teacher,
            training: split.training.rows(),
            held_out: split.held_out.rows(),
            sampled_from: split.stands_for.as_ref().map(StandsFor::rows),
            copies: apart - rows(&split),
            stands_in_the_way: way.or(few),
            mend,
        })
    }

    pub(super) fn is_fine(&self) -> bool {
        let teaches = |teacher: &TeacherAccount| teacher.problem.is_none();
        self.refused.is_empty()
            && self.stands_in_the_way.is_none()
            && self.teacher.as_ref().is_none_or(teaches)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let folder = self.folder.display();
        // Writing into a string cannot fail.
        let _ = writeln!(text, "task {}, folder {folder}", self.task);
        for file in &self.files {
            file.write(&self.folder, &mut text);
        }
        for refused in &self.refused {
            let path = shown(&refused.path, &self.folder);
            let _ = writeln!(text, "  {path}: NOT USED: {}", refused.reason);
        }
        for path in &self.duplicates {
            let path = shown(path, &self.folder);
            let _ = writeln!(
                text,
                "  {path}: has the content of another file and is left out"
            );
        }
        let classes = self.classes.iter().map(|class| {
            let few = if class.too_few { " (too few)" } else { "" };
            format!("{} {}{few}", class.name, class.rows)
        });
        if let Some(rows) = self.sampled_from {
            let _ = writeln!(
                text,
                "{rows} rows to learn from are more than are held: a sample of {} is \
                 (data.memory_mib_max); classes are counted over all",
                self.training
            );
        }
        let _ = writeln!(
            text,
            "to learn from: {}: {}; {} unlabelled; {} held out; {} copies left out",
            self.training,
            classes.collect::<Vec<_>>().join(", "),
            self.unlabelled,
            self.held_out,
            self.copies,
        );
        if let Some(teacher) = &self.teacher {
            let _ = writeln!(text, "teacher: {}", visible(&teacher.to_string()));
            if let Some(advice) = &teacher.advice {
                let _ = writeln!(text, "  {advice}");
            }
        }
        if let Some(way) = &self.stands_in_the_way {
            let _ = writeln!(text, "nothing leaves this device: {}", visible(way));
        }
        if !self.mend.is_empty() {
            let _ = writeln!(text, "to mend it, write into agent.toml:\n\n[data]");
            for line in &self.mend {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

/// Labels rows by the owner's model, as a round would.
fn taught(config: &Config, task: &Task, split: &mut Split) -> Option<TeacherAccount> {
    let TeacherChoice::Model(choice) = &config.teacher else {
        return None;
    };
    if config.policy.budget().is_some() {
        return Some(TeacherAccount {
            task: task.definition().name.clone(),
            file: choice.file.clone(),
            problem: Some(UNDER_PRIVACY.to_owned()),
            advice: Some(PRIVACY_ADVICE.to_owned()),
            ..TeacherAccount::default()
        });
    }
    let state = StateDir::at(&config.state);
    // The same rows are compared as in a round, if the device has joined.
    let seed = Identity::load(&state).map_or(0, |identity| seed(&identity));
    if let Err(error) = through_model(&state, task, split) {
        return Some(TeacherAccount {
            task: task.definition().name.clone(),
            file: choice.file.clone(),
            problem: Some(error.to_string()),
            advice: Some(error.advice().to_owned()),
            ..TeacherAccount::default()
        });
    }
    let mut account = teach(choice, task, split, seed, &mut known_answers(&state));
    if account.problem.is_none() && !account.used && account.unlabelled > 0 {
        account.advice = Some(WORSE_ADVICE.to_owned());
    }
    Some(account)
}

/// Has the rows to learn from seen through the task's model, if it has one.
fn through_model(state: &StateDir, task: &Task, split: &mut Split) -> Result<(), BackboneError> {
    if let Some(mut model) = Opened::of(state, task)? {
        let seen = model.rows(split.training.inputs())?;
        let empty = Dataset::empty(split.training.inputs().ncols());
        let rows = std::mem::replace(&mut split.training, empty);
        split.training = rows.with_seen(seen);
    }
    Ok(())
}

fn mend(error: &FileError) -> Option<String> {
    match error {
        FileError::Parse(error) => error.mend(),
        FileError::Bytes { .. }
        | FileError::Unreadable { .. }
        | FileError::NoFile { .. }
        | FileError::DanglingLink => None,
    }
}

fn shown(path: &Path, folder: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    visible(&path.display().to_string())
}

/// A text whose control characters are written out: names of files are anybody's,
/// and a terminal does what they say.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => visible.extend(character.escape_default()),
            false => visible.push(character),
        }
    }
    visible
}

impl FileCheck {
    fn of(file: &crate::data::FolderFile) -> Self {
        let Account {
            rows,
            used,
            unused,
            columns,
            recordings,
        } = &file.account;
        Self {
            path: file.path.clone(),
            rows: *rows,
            used: *used,
            unused: { unused.iter() }
                .map(|(why, (count, places))| UnusedRows {
                    reason: why.code(),
                    text: why.to_string(),
                    count: *count,
                    places: places.clone(),
                })
                .collect(),
            columns: { columns.iter() }
                .map(|column| {
                    let numbers = column.values > 0 && !column.words;
                    let cells = (column.values + column.missing).max(1);
                    ColumnCheck {
                        column: column.wanted.clone(),
                        from: column.from.clone(),
                        scale: column.scale,
                        offset: column.offset,
                        least: numbers.then_some(column.least),
                        largest: numbers.then_some(column.largest),
                        missing_share: column.missing as f64 / cells as f64,
                        constant: column.is_constant(),
                    }
                })
                .collect(),
            recordings: recordings.map(|found| RecordingCheck {
                stretches: found.stretches,
                rate_hz: found.rate_hz,
                gaps: found.gaps,
                gap_s: found.gap_s,
            }),
            notes: file.notes.iter().map(ToString::to_string).collect(),
        }
    }

    fn write(&self, folder: &Path, text: &mut String) {
        let what = match self.recordings {
            Some(_) => "windows",
            None => "rows",
        };
        let path = shown(&self.path, folder);
        let (used, rows) = (self.used, self.rows);
        let _ = writeln!(text, "  {path}: {used} {what} of {rows} lines are used");
        for unused in &self.unused {
            let places = unused.places.join("; ");
            let _ = writeln!(text, "    {} {} ({places})", unused.count, unused.text);
        }
        if let Some(found) = &self.recordings {
            let _ = writeln!(
                text,
                "    {} stretches of {:.3} samples a second; {} gaps of {:.1} s in all",
                found.stretches, found.rate_hz, found.gaps, found.gap_s
            );
        }
        for column in self.columns.iter().take(COLUMNS_SHOWN) {
            column.write(text);
        }
        if self.columns.len() > COLUMNS_SHOWN {
            let more = self.columns.len() - COLUMNS_SHOWN;
            let _ = writeln!(text, "    and {more} more columns");
        }
        for note in &self.notes {
            let _ = writeln!(text, "    {note}");
        }
    }
}

impl ColumnCheck {
    fn write(&self, text: &mut String) {
        let mut line = self.column.clone().unwrap_or_else(|| self.from.clone());
        if self
            .column
            .as_ref()
            .is_some_and(|column| *column != self.from)
        {
            let _ = write!(line, " from {:?}", self.from);
        }
        if self.scale != 1.0 {
            let _ = write!(line, " times {}", self.scale);
        }
        if self.offset != 0.0 {
            let _ = write!(line, " plus {}", self.offset);
        }
        if let (Some(least), Some(largest)) = (self.least, self.largest) {
            let _ = write!(line, ": {least} to {largest}");
        }
        if self.missing_share > 0.0 {
            let _ = write!(line, ", {:.1} % missing", 100.0 * self.missing_share);
        }
        if self.constant {
            line.push_str(", constant: it tells nothing");
        }
        let _ = writeln!(text, "    {line}");
    }
}

const COLUMNS_SHOWN: usize = 40;
