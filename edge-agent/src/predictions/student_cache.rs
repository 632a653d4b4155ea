//! The students that answer: those in the slots, read again when a slot has
//! changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use common::ids::TaskHash;
use common::model::Release;

use super::answer::Refusal;
use crate::backbone::process::ModelProcess;
use crate::driver::local::{STUDENTS, open_all, verified};
use crate::slots::POINTER_FILE;
use crate::state::StateDir;
use crate::trust::Trust;

/// The students in use, by task. Cheap to ask: a look at the pointers' files
/// says whether anything has changed.
#[derive(Debug)]
pub struct StudentCache {
    state: StateDir,
    held: Mutex<Held>,
    models: ModelProcess,
}

#[derive(Debug, Default)]
struct Held {
    seen: Vec<Seen>,
    students: BTreeMap<TaskHash, Arc<Release>>,
}

/// A pointer's file. It is replaced by a rename, so each change is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    file: Option<(u64, i64, i64)>,
}

/// Digits of a hash that may stand for it.
const HASH_DIGITS_MIN: usize = 4;

impl StudentCache {
    /// The students in a state directory, verified with the fleet's keys.
    /// Reads nothing before the first question.
    pub fn new(state: StateDir) -> Self {
        Self {
            models: ModelProcess::new(state.clone()),
            state,
            held: Mutex::default(),
        }
    }

    /// What runs the models that rows of their tasks go through.
    pub fn models(&self) -> &ModelProcess {
        &self.models
    }

    /// The student of a task: by name, hash or first digits of it; none
    /// stands for the only one. Anyone who holds it keeps it, whatever is
    /// installed meanwhile.
    ///
    /// # Errors
    /// [`Refusal::NoStudent`] or [`Refusal::Ambiguous`].
    pub fn student(&self, task: Option<&str>) -> Result<Arc<Release>, Refusal> {
        let students = self.students();
        let Some(name) = task else {
            let mut all = students.values();
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(only.clone()),
                (None, _) => Err(Refusal::NoStudent(NONE_YET.to_owned())),
                (Some(_), Some(_)) => Err(Refusal::Ambiguous(names(&students))),
            };
        };
        let is_named = |release: &&Arc<Release>| {
            let task = release.task();
            task.definition().name == name
                || (name.len() >= HASH_DIGITS_MIN && task.hash().to_string().starts_with(name))
        };
        students.values().find(is_named).cloned().ok_or_else(|| {
            Refusal::NoStudent(match students.is_empty() {
                true => NONE_YET.to_owned(),
                false => format!(
                    "no student of task {name:?} is installed, but of: {}",
                    names(&students)
                ),
            })
        })
    }

    /// All students in use.
    pub fn students(&self) -> BTreeMap<TaskHash, Arc<Release>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&self.state.file(STUDENTS));
        if held.seen != seen {
            held.students = self.read(&held.students);
            held.seen = seen;
        }
        held.students.clone()
    }

    /// Reads the slots. What cannot be read or believed is left out; the log
    /// says why.
    fn read(&self, known: &BTreeMap<TaskHash, Arc<Release>>) -> BTreeMap<TaskHash, Arc<Release>> {
        let slots = match open_all(&self.state) {
            Ok(slots) => slots,
            Err(error) => {
                tracing::warn!("the installed students cannot be read: {error}");
                return known.clone();
            }
        };
        let signers = Trust::known_signers_in(&self.state).unwrap_or_else(|error| {
            tracing::warn!("{error}; {}", error.advice());
            Vec::new()
        });
        let mut students = BTreeMap::new();
        for (task, slots) in slots {
            let (version, bytes) = match slots.current() {
                Ok(Some(current)) => current,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!("{error}; {}", error.advice());
                    continue;
                }
            };
            match known.get(&task) {
                Some(same) if same.version() == version => {
                    students.insert(task, same.clone());
                }
                _ => match verified(&bytes, &signers) {
                    Ok(release) => {
                        tracing::info!(task = %task.short(), %version, "answers with this student");
                        students.insert(task, Arc::new(release));
                    }
                    Err(error) => tracing::warn!("{error}"),
                },
            }
        }
        students
    }
}

/// The pointers below a folder of slots.
fn look(folder: &Path) -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let pointers = entries.filter_map(|entry| {
        let path = entry.ok()?.path().join(POINTER_FILE);
        let file = std::fs::metadata(&path).ok();
        let file = file.map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        Some(Seen { path, file })
    });
    let mut seen: Vec<Seen> = pointers.collect();
    seen.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    seen
}

fn names(students: &BTreeMap<TaskHash, Arc<Release>>) -> String {
    let tasks = students.values().map(|release| release.task());
    let names = tasks.map(|task| format!("{} ({})", task.definition().name, task.hash().short()));
    names.collect::<Vec<_>>().join(", ")
}

const NONE_YET: &str =
    "no student is installed yet; one comes with the first round, or with `alambic-agent pull`";
