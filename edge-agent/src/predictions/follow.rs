//! Predictions for a stream, one line of JSON for each of its inputs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ndarray::ArrayView2;
use serde::Serialize;

use super::answer::{Refusal, Row, answer_rows};
use super::steady::Steady;
use super::student_cache::StudentCache;
use crate::data::LiveInput;

/// Asks the student in use about one input after the other. A new student
/// answers from the input after its installation on; nothing waits for it.
pub struct Follower {
    students: StudentCache,
    task: Option<String>,
    steady: Steady,
}

/// What is said of an input.
#[derive(Debug, Serialize)]
pub struct Prediction {
    /// The student's task.
    task: String,
    /// Its version.
    version: String,
    /// When the input begins and ends (RFC 3339), where the stream has times.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    /// Where its last sample stands.
    line: u64,
    #[serde(flatten)]
    row: Row,
    /// The class that the group is held to be of, after smoothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// Probabilities by class.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<BTreeMap<String, f32>>,
    /// Milliseconds that the student took, its features included.
    took_ms: f64,
}

impl Follower {
    /// Of the students in a cache, that of `task`, whose classes must hold for
    /// `hold` inputs.
    pub fn new(students: StudentCache, task: Option<String>, hold: u32) -> Self {
        Self {
            students,
            task,
            steady: Steady::new(hold),
        }
    }

    /// Another recording begins.
    pub fn begin(&mut self) {
        self.steady.begin();
    }

    /// What the student in use says of an input.
    ///
    /// # Errors
    /// [`Refusal`], if there is no student, or its task has another input than
    /// the one that the stream was begun with.
    pub fn predict(&mut self, input: &LiveInput) -> Result<Prediction, Refusal> {
        let begun = Instant::now();
        let release = self.students.student(self.task.as_deref())?;
        let values = (1, input.values.len());
        let inputs = ArrayView2::from_shape(values, &input.values)
            .map_err(|error| Refusal::Student(error.to_string()))?;
        let mut answered = answer_rows((&release, Some(self.students.models())), inputs, true)?;
        let mut row = (answered.rows.pop())
            .ok_or_else(|| Refusal::Student("no answer to one row".to_owned()))?;
        let names = &release.task().definition().classes;
        let classes = row.probabilities.take();
        let classes = classes.map(|all| names.iter().cloned().zip(all).collect());
        let class = row.class.as_deref();
        let held = class.and_then(|class| self.steady.take(&input.group, class));
        Ok(Prediction {
            task: release.task().definition().name.clone(),
            version: answered.version,
            from: input.span.and_then(|(from, _)| written(from)),
            to: input.span.and_then(|(_, to)| written(to)),
            group: input.group.clone(),
            line: input.line,
            held: held.map(str::to_owned),
            row,
            classes,
            took_ms: begun.elapsed().as_secs_f64() * 1e3,
        })
    }
}

/// A time after 1970 as RFC 3339.
fn written(nanoseconds: i64) -> Option<String> {
    let since = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    let time: SystemTime = UNIX_EPOCH.checked_add(since)?;
    Some(humantime::format_rfc3339_millis(time).to_string())
}
