//! From a request's body to its answer, without any network.

use std::collections::BTreeMap;

use common::ids::TaskHash;
use common::model::{Answers, Release};
use common::novelty::NOVEL;
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::inputs::Nested;
use crate::backbone::process::ModelProcess;

/// What a program asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Many rows.
    inputs: Option<Nested>,
    /// One row.
    input: Option<Nested>,
    /// The task's name, its hash or at least 4 digits of it, if students of several are
    /// installed.
    pub(super) task: Option<String>,
    /// Whether the probabilities of all classes are wanted.
    #[serde(default)]
    all: bool,
}

/// What it is answered.
#[derive(Debug, Serialize)]
pub struct Answered {
    /// The student's task.
    pub task: TaskHash,
    /// The student's version.
    pub version: String,
    /// An answer for each row, in order.
    pub rows: Vec<Row>,
}

/// The answer for one row.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The most likely class, where the task asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// The numbers that the task asks for, by name and in their units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<BTreeMap<String, f32>>,
    /// How unlike anything the student was trained on the row is, 0 to 1, where
    /// the task wants that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub novelty: Option<f32>,
    /// The same in words, where it is unlike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
    /// Probabilities of all classes in the task's order, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<f32>>,
}

/// Why a question is not answered. The messages say what to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is not what is asked for.
    #[error("the body is not understood: {0}; send {{\"inputs\": [[…], …]}} or {{\"input\": […]}}")]
    Body(String),
    /// Neither or both of `input` and `inputs`.
    #[error("send either `inputs`, a list of rows, or `input`, one row")]
    Inputs,
    /// Rows of another shape.
    #[error(
        "rows of shape {got:?} do not fit task {task}: a row is {expected:?}, or its {values} values in one list"
    )]
    Shape {
        /// The task's name.
        task: String,
        /// What one row is.
        expected: Vec<usize>,
        /// Its values.
        values: usize,
        /// What came.
        got: Vec<usize>,
    },
    /// No student is installed, or none of this task.
    #[error("{0}")]
    NoStudent(String),
    /// Students of several tasks are installed.
    #[error("students of several tasks are installed; name one as `task`: {0}")]
    Ambiguous(String),
    /// A bug, or a damaged student.
    #[error("the student could not answer: {0}")]
    Student(String),
}

impl Question {
    /// The question in a body.
    ///
    /// # Errors
    /// [`Refusal::Body`], which says what to send.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|error| Refusal::Body(error.to_string()))
    }

    /// Values that are asked about.
    pub fn values(&self) -> usize {
        let nested = self.inputs.iter().chain(&self.input);
        nested.map(|nested| nested.values.len()).sum()
    }

    /// What a student says; where its task has a model that rows go through, that of
    /// `models`. Cost: its features and its network, for each row.
    ///
    /// # Errors
    /// [`Refusal`], for rows that do not fit its task.
    pub fn answer(
        &self,
        release: &Release,
        models: Option<&ModelProcess>,
    ) -> Result<Answered, Refusal> {
        let definition = release.task().definition();
        let (nested, sides) = match (&self.inputs, &self.input) {
            (Some(nested), None) => (nested, nested.sides.get(1..).unwrap_or_default()),
            (None, Some(nested)) => (nested, &nested.sides[..]),
            _ => return Err(Refusal::Inputs),
        };
        let shape = release.task().input_shape();
        let values = shape.values();
        let rows = match (&self.inputs, nested.sides.first()) {
            (Some(_), Some(&rows)) => rows,
            (Some(_), None) => return Err(Refusal::Inputs),
            (None, _) => 1,
        };
        let fits = sides == shape.sides() || sides == [values];
        if rows > 0 && !fits {
            return Err(Refusal::Shape {
                task: definition.name.clone(),
                expected: shape.sides().to_vec(),
                values,
                got: sides.to_vec(),
            });
        }
        let inputs = ArrayView2::from_shape((rows, values), &nested.values)
            .map_err(|error| Refusal::Student(error.to_string()))?;
        answer_rows((release, models), inputs, self.all)
    }
}

/// What a student says of rows, n × values, seen through its task's model if it has one; of classes all probabilities if
/// `all` is set.
///
/// # Errors
/// [`Refusal::Student`], for rows that do not fit its task as well.
pub(super) fn answer_rows(
    (release, models): (&Release, Option<&ModelProcess>),
    inputs: ArrayView2<'_, f32>,
    all: bool,
) -> Result<Answered, Refusal> {
    let student = |error: &dyn std::fmt::Display| Refusal::Student(error.to_string());
    let seen = match (&release.task().definition().backbone, models) {
        (None, _) => None,
        (Some(_), Some(models)) => {
            let seen = models.rows(release.task(), inputs);
            Some(seen.map_err(|error| student(&error))?)
        }
        (Some(_), None) => return Err(student(&"its rows go through a model, and none is here")),
    };
    let inputs = seen.as_ref().map_or(inputs, |seen| seen.view());
    let answers = release.answers(inputs).map_err(|error| student(&error))?;
    let novelty = release.novelty(inputs).map_err(|error| student(&error))?;
    let rows = match &answers {
        Answers::Classes(of_rows) => {
            let rows = of_rows.rows().into_iter();
            rows.map(|row| class(release, row, all)).collect()
        }
        Answers::Numbers(of_rows) => {
            let rows = of_rows.rows().into_iter();
            rows.map(|row| numbers(release, row)).collect()
        }
    };
    Ok(Answered::of(release, rows, novelty))
}

fn class(release: &Release, row: ArrayView1<'_, f32>, all: bool) -> Row {
    let larger = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
    let class = (0..row.len()).fold(0, larger);
    Row {
        class: Some(release.task().definition().classes[class].clone()),
        probability: Some(row[class]),
        numbers: None,
        novelty: None,
        note: None,
        probabilities: all.then(|| row.to_vec()),
    }
}

impl Answered {
    fn of(release: &Release, mut rows: Vec<Row>, novelty: Option<Vec<f32>>) -> Self {
        for (row, score) in rows.iter_mut().zip(novelty.into_iter().flatten()) {
            row.novelty = Some(score);
            row.note = (score >= NOVEL).then_some(UNLIKE);
        }
        Self {
            task: release.task().hash(),
            version: release.version().to_string(),
            rows,
        }
    }
}

/// What is said of a row that is unlike.
pub const UNLIKE: &str = "unlike anything it was trained on";

fn numbers(release: &Release, row: ArrayView1<'_, f32>) -> Row {
    let names = release.task().target().numbers().iter();
    let named = names
        .zip(row)
        .map(|(spec, &value)| (spec.name.clone(), value));
    Row {
        class: None,
        probability: None,
        numbers: Some(named.collect()),
        novelty: None,
        note: None,
        probabilities: None,
    }
}
