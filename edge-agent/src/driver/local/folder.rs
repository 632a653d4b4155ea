//! Rows out of the data folder, read anew for each piece of work so that
//! nothing stays in memory between two.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bincode::{Decode, Encode};
use common::task::Task;
use common::withheld::WithheldCode;
use tracing::{info, warn};

use super::explained;
use super::holdings::Source;
use crate::data::{
    Dataset, FileStamp, Folder, FolderError, LabelSource, Mapping, SAMPLE_ROWS_MAX, Schema,
    SchemaError, Split, SplitRule, Unused,
};
use crate::driver::BackendError;

/// The data folder of the configuration, if there is one.
#[derive(Debug)]
pub struct FolderSource {
    path: Option<PathBuf>,
    reading: Reading,
    looked: Mutex<Option<Vec<FileStamp>>>,
}

/// How files are read, whatever the task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Reading {
    /// The column that holds the label.
    pub label_column: String,
    /// How files become what a task wants.
    pub mapping: Mapping,
    /// Most MiB of rows that are held, four bytes a value of the input or, where they are
    /// more, of what the task's model makes of it; of more, a sample.
    pub memory_mib_max: u32,
}

impl Reading {
    /// What files of a task look like.
    ///
    /// # Errors
    /// If the task's classes are too many to name.
    pub fn schema(&self, task: &Task) -> Result<Schema, SchemaError> {
        let schema = Schema::of_task(task)?;
        let held_max = (self.memory_mib_max as usize) << 18;
        // What a model makes of rows is held beside them, and may be more.
        let values = task.input_shape().values();
        let wider = values.max(task.stage_shape().values());
        let inputs_max = (held_max / wider).max(1) * values;
        Ok(schema
            .with_held_max(inputs_max, SAMPLE_ROWS_MAX)
            .with_values_max(held_max.max(WHOLE_FILE_VALUES_MAX))
            .with_labels(LabelSource::Column(self.label_column.clone()))
            .with_mapping(self.mapping.clone()))
    }
}

impl FolderSource {
    /// The folder at `path`, whose files are read so. Nothing is read yet.
    pub fn new(path: Option<PathBuf>, reading: Reading) -> Self {
        Self {
            path,
            reading,
            looked: Mutex::new(None),
        }
    }

    /// Remembers what is there now as looked at: somebody else reads it.
    pub fn look_now(&self) {
        if let Some(path) = &self.path {
            self.look(path);
        }
    }

    fn path(&self) -> Result<&Path, BackendError> {
        let advice = "set data.folder in agent.toml, or start with --data FOLDER; until then \
             this device only receives students";
        let path = self.path.as_deref();
        path.ok_or_else(|| {
            of_data(
                WithheldCode::NoFolder,
                &"no data folder is set",
                String::new(),
                advice,
            )
        })
    }

    /// Names, lengths and times of the files of the folder; nothing for one
    /// that cannot be read.
    fn stamps(&self, path: &Path) -> Vec<FileStamp> {
        Folder::stamps(path, &self.reading.mapping).unwrap_or_default()
    }

    /// Remembers what is there now, before it is read.
    fn look(&self, path: &Path) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        *looked = Some(self.stamps(path));
    }
}

fn of_data(
    code: WithheldCode,
    what: &dyn std::fmt::Display,
    told: String,
    advice: impl Into<String>,
) -> BackendError {
    BackendError::Data {
        code,
        what: what.to_string(),
        told,
        advice: advice.into(),
    }
}

impl Source for FolderSource {
    fn glance(&self) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.as_ref() != Some(&self.stamps(path))
    }

    fn probe(&self) -> Result<(), BackendError> {
        let path = self.path()?;
        self.look(path);
        std::fs::read_dir(path).map(|_| ()).map_err(|error| {
            let what = format!("data folder {}: {error}", path.display());
            let advice = "create it, or correct data.folder and its permissions";
            of_data(WithheldCode::NoData, &what, error.to_string(), advice)
        })
    }

    fn load(&self, task: &Task) -> Result<Split, BackendError> {
        let folder = self.scan(task)?;
        let rule = SplitRule::default().for_input(task.input());
        let split = folder.into_split(rule);
        if let Some(sample) = &split.stands_for {
            info!(
                rows = sample.rows(),
                held = split.training.rows(),
                "more rows to learn from than are held, so a sample of them is; \
                 data.memory_mib_max says how many"
            );
        }
        let rows = |split: &Split| split.training.rows() + split.held_out.rows();
        let read = rows(&split);
        let split = split.without_copies();
        if rows(&split) < read {
            let copies = read - rows(&split);
            info!(rows = read, copies, "copies of rows count once");
        }
        Ok(split)
    }

    fn all(&self, task: &Task) -> Result<Dataset, BackendError> {
        let all_learn = SplitRule {
            one_in: 0,
            ..SplitRule::default()
        };
        let split = self.scan(task)?.into_split(all_learn);
        if split.stands_for.is_some() {
            // Which rows a sample holds depends on the others, so one row would
            // change the sums by more than itself.
            let what = "more rows than are held at once, and a sample of them has no part in \
                        differential privacy";
            let advice = "raise data.memory_mib_max, and MemoryMax of the service, or move old \
                          files out of the data folder";
            return Err(explained(&what, advice));
        }
        Ok(split.training)
    }
}

impl FolderSource {
    /// Reads what is there.
    fn scan(&self, task: &Task) -> Result<Folder, BackendError> {
        let path = self.path()?;
        self.look(path);
        let schema = self.reading.schema(task);
        let schema =
            schema.map_err(|error| explained(&error, "ask the operator to correct the task"))?;
        let mut folder = Folder::new(path, schema);
        let scan = folder.scan().map_err(|error| {
            let refused = matches!(&error, FolderError::Labels { .. })
                || matches!(&error, FolderError::NoRows { files, quarantined, .. }
                    if !files.is_empty() || !quarantined.is_empty());
            let code = match refused {
                true => WithheldCode::DataRefused,
                false => WithheldCode::NoData,
            };
            let advice = "the agent goes on and looks again when a file changes; \
                 `alambic-agent data check` says more";
            of_data(code, &error, error.told(), advice)
        })?;
        for refused in &scan.quarantined {
            warn!("{} is not used: {}", refused.path.display(), refused.error);
        }
        for file in &scan.files {
            // What is left of recordings is no fault of theirs.
            if file.account.unused.keys().any(|why| *why != Unused::Rest) {
                warn!(
                    "{}: not used: {}",
                    file.path.display(),
                    file.account.explain()
                );
            }
            for note in file.notes.iter().filter(|note| note.is_warning()) {
                warn!("{}: {note}", file.path.display());
            }
        }
        Ok(folder)
    }
}

/// Most values of a file that is read whole: 48 MiB.
const WHOLE_FILE_VALUES_MAX: usize = 48 << 18;
