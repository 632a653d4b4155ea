//! A model of the device's owner that labels rows which have no label.

use std::collections::BTreeMap;
use std::fmt;

use common::task::Task;
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::holdings::Source;
use super::in_process::InProcess;
use super::of_state;
use crate::backbone::KnownOutputs;
use crate::data::{Dataset, Split};
use crate::driver::backend::BackendError;
use crate::policy::RowHash;
use crate::state::{StateDir, StateError};
use crate::teacher::{ModelChoice, ModelError, ModelTeacher, Said, TeacherComparison, tried};
use crate::work::TeacherChoice;

/// What came of the device's own model on the rows of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherAccount {
    /// The task's name.
    pub task: String,
    /// The model's file.
    pub file: String,
    /// Whether it labels rows.
    pub used: bool,
    /// Why not, where it cannot.
    pub problem: Option<String>,
    /// What to do about that.
    pub advice: Option<String>,
    /// Labelled rows that it was compared on, which it has not seen.
    pub compared: u64,
    /// Those that it is right on.
    pub right: u64,
    /// Those that a local teacher is right on that learnt from the others; none
    /// where they are too few to tell.
    pub local_right: Option<u64>,
    /// Rows to learn from without a label of their own.
    pub unlabelled: u64,
    /// Those that it labels.
    pub labelled: u64,
}

impl fmt::Display for TeacherAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, task, .. } = self;
        if let Some(problem) = &self.problem {
            return write!(f, "NOT USED for task {task}: {problem}");
        }
        let compared = TeacherComparison {
            rows: self.compared,
            model: self.right,
            local: self.local_right,
        };
        match (self.used, self.unlabelled) {
            (false, 0) => write!(f, "{file} has nothing to label for task {task}"),
            (false, _) => write!(f, "NOT USED for task {task}: {file} is {compared}"),
            (true, unlabelled) => write!(
                f,
                "{file} labels {} of {unlabelled} rows without a label for task {task} \
                 ({compared})",
                self.labelled
            ),
        }
    }
}

/// What the model said of rows before, so that each goes through it once.
pub fn known_answers(state: &StateDir) -> KnownOutputs {
    KnownOutputs::load(state, ANSWERS)
}

/// The outputs for these rows, from before or anew. A row with a value that is
/// missing has none.
fn outputs_of(
    known: &mut KnownOutputs,
    model: &mut ModelTeacher,
    rows: &Dataset,
    asked: &[usize],
) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
    *known = std::mem::take(known).keyed(model.key());
    let names = RowHash::of_inputs(rows.inputs());
    let mut found = Vec::with_capacity(asked.len());
    for &row in asked {
        let values = rows.inputs().row(row).to_vec();
        if values.iter().any(|value| !value.is_finite()) {
            found.push(None);
            continue;
        }
        let outputs = known.of_row(names[row], || model.outputs(&values))?;
        found.push(Some(outputs.to_vec()));
    }
    Ok(found)
}

/// Labels the rows to learn from that have no label by the owner's model, if it
/// fits the task and is right on as many labelled rows as a local teacher. Rows
/// that have a label keep it, and held-out rows are left alone: a model's word is
/// no evidence of how a student does.
pub fn teach(
    choice: &ModelChoice,
    task: &Task,
    split: &mut Split,
    seed: u64,
    known: &mut KnownOutputs,
) -> TeacherAccount {
    let labels = split.training.labels();
    let count = labels.iter().filter(|label| label.is_none()).count() as u64;
    let mut account = TeacherAccount {
        task: task.definition().name.clone(),
        file: choice.file.clone(),
        unlabelled: count,
        ..TeacherAccount::default()
    };
    let failed = |account: TeacherAccount, problem: String, advice: &str| TeacherAccount {
        problem: Some(problem),
        advice: Some(advice.to_owned()),
        ..account
    };
    let mut model = match ModelTeacher::open(choice, task) {
        Ok(model) => model,
        Err(error) => return failed(account, error.to_string(), error.advice()),
    };
    if count == 0 {
        return account;
    }
    let said = match said(&mut model, &split.training, seed, known) {
        Ok(said) => said,
        Err(error) => return failed(account, error.to_string(), error.advice()),
    };
    let compared = {
        let (rows, labels) = (&split.training, split.training.labels());
        let truth: Vec<u16> = { said.compared.iter() }
            .filter_map(|&row| labels[row])
            .collect();
        let inputs = rows.stage_inputs().select(Axis(0), &said.compared);
        let classes = said.of_compared.as_slice();
        TeacherComparison::of(task, inputs.view(), &truth, classes, seed)
    };
    match compared {
        Ok(compared) => {
            (account.compared, account.right) = (compared.rows, compared.model);
            account.local_right = compared.local;
            account.used = compared.is_as_good();
        }
        Err(error) => {
            let advice = "check that the data folder holds what the task expects";
            return failed(account, error.to_string(), advice);
        }
    }
    if account.used {
        account.labelled = said.labels(split, task.classes());
    }
    account
}

/// What the model says of the rows without a label, and of some of the others.
struct Asked {
    unlabelled: Vec<usize>,
    of_unlabelled: Vec<Said>,
    compared: Vec<usize>,
    of_compared: Vec<Option<u16>>,
}

fn said(
    model: &mut ModelTeacher,
    rows: &Dataset,
    seed: u64,
    known: &mut KnownOutputs,
) -> Result<Asked, ModelError> {
    let labels = rows.labels();
    let (own, unlabelled): (Vec<usize>, Vec<usize>) =
        (0..rows.rows()).partition(|&row| labels[row].is_some());
    let chosen = tried(own.len(), seed);
    let compared: Vec<usize> = chosen.into_iter().map(|at| own[at]).collect();
    let all: Vec<usize> = unlabelled.iter().chain(&compared).copied().collect();
    let outputs = outputs_of(known, model, rows, &all)?;
    let answered: Vec<Vec<f32>> = outputs.iter().flatten().cloned().collect();
    let mut answers = model.said(&answered).into_iter();
    let mut said: Vec<Said> = { outputs.iter() }
        .map(|outputs| outputs.as_ref().and_then(|_| answers.next().flatten()))
        .collect();
    let of_compared = said.split_off(unlabelled.len());
    let class = |said: Said| said.map(|(class, _)| class);
    Ok(Asked {
        unlabelled,
        of_unlabelled: said,
        compared,
        of_compared: of_compared.into_iter().map(class).collect(),
    })
}

impl Asked {
    /// Labels the rows to learn from, and says how many.
    fn labels(self, split: &mut Split, classes: usize) -> u64 {
        let rows = &split.training;
        let mut labels = rows.labels().to_vec();
        let mut soft = Array2::zeros((labels.len(), classes));
        for (row, label) in labels.iter().enumerate() {
            if let Some(place) = label.and_then(|label| soft.get_mut([row, usize::from(label)])) {
                *place = 1.0;
            }
        }
        let mut labelled = 0;
        for (row, said) in self.unlabelled.into_iter().zip(self.of_unlabelled) {
            if let Some((class, shares)) = said {
                labels[row] = Some(class);
                soft.row_mut(row).assign(&ArrayView1::from(&shares));
                labelled += 1;
            }
        }
        let empty = Dataset::empty(rows.inputs().ncols());
        let rows = std::mem::replace(&mut split.training, empty);
        split.training = rows.with_answers(labels, soft);
        labelled
    }
}

impl<S: Source> InProcess<S> {
    /// The rows of a task as its feature stage sees them, those to learn from labelled
    /// by the owner's model where they have no label and there is a model that is good
    /// enough.
    pub(super) fn rows(&self, task: &Task) -> Result<Split, BackendError> {
        let mut split = self.source.load(task)?;
        self.see(task, &mut split)?;
        let TeacherChoice::Model(choice) = &self.settings.teacher else {
            return Ok(split);
        };
        let mut known = known_answers(&self.state);
        let account = teach(choice, task, &mut split, self.settings.seed, &mut known);
        match account.problem.is_some() || (!account.used && account.unlabelled > 0) {
            true => warn!("the device's own teacher is {account}"),
            false => info!("the device's own teacher: {account}"),
        }
        let kept = known.keep(&self.state, ANSWERS, VALUES_KEPT_MAX);
        kept.and_then(|()| remember(&self.state, task, account))
            .map_err(of_state)?;
        Ok(split)
    }
}

impl<S: Source> InProcess<S> {
    /// The rows of a task to learn from, as they are described: no model is asked that
    /// says nothing of their labels.
    pub(super) fn described_rows(&self, task: &Task) -> Result<Dataset, BackendError> {
        let split = match &self.settings.teacher {
            TeacherChoice::Model(_) => self.rows(task)?,
            TeacherChoice::Kernel | TeacherChoice::Network(_) => self.source.load(task)?,
        };
        Ok(split.training)
    }
}

/// What came of the owner's model, by task, as work found it last.
///
/// # Errors
/// If the file cannot be read. A file that does not parse counts as none.
pub fn teacher_accounts(state: &StateDir) -> Result<BTreeMap<String, TeacherAccount>, StateError> {
    let bytes = state.read(ACCOUNTS)?;
    let accounts = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(accounts.unwrap_or_default())
}

fn remember(state: &StateDir, task: &Task, account: TeacherAccount) -> Result<(), StateError> {
    let mut accounts = teacher_accounts(state)?;
    let name = task.hash().to_string();
    if accounts.get(&name) == Some(&account) {
        return Ok(());
    }
    accounts.insert(name, account);
    let text = serde_json::to_vec_pretty(&accounts).expect("numbers and strings can be written");
    state.write_lightly(ACCOUNTS, &text)
}

/// What came of the owner's model, by task.
const ACCOUNTS: &str = "teacher.json";
/// What it said of each row.
const ANSWERS: &str = "teacher.answers";
/// Most values that are kept of that: 8 MiB.
const VALUES_KEPT_MAX: usize = 2 << 20;
