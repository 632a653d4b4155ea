//! Which feature stage suits a folder's rows.

use std::fmt::Write as _;
use std::path::Path;

use common::features::FeatureStage;
use common::stage_trial::StageTrial;
use common::task::{Normalisation, Task};
use serde::Serialize;

use crate::cli::{ExitCode, Failure};
use crate::config::Config;
use crate::data::{Folder, SplitRule};
use crate::teacher::{StageRows, try_stages};

/// What came of trying stages on the rows of a folder.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    task: String,
    /// Rows that every stage was judged on; 0 if they cannot tell.
    rows: u64,
    /// The task's own first.
    stages: Vec<Tried>,
    /// The stage that these rows call better than the task's own.
    better: Option<String>,
    /// Whether numbers are asked for.
    #[serde(skip)]
    numbers: bool,
}

#[derive(Debug, Serialize)]
struct Tried {
    stage: String,
    features: usize,
    /// The share of rows that are right; of numbers, the share of their variance that
    /// is explained, no row less than none.
    score: Option<f64>,
    /// Rows that are right here and wrong by the first stage, or the other way round.
    differing: Option<f64>,
}

impl Trial {
    pub(super) fn of(config: &Config, task: &Task, path: &Path) -> Result<Self, Failure> {
        let usage = |error: String| Failure::new(ExitCode::Usage, error);
        let definition = task.definition();
        if definition.backbone.is_some() {
            let message = "the task puts inputs through a frozen model, whose outputs no other \
                           stage takes";
            return Err(usage(message.to_owned()));
        }
        let schema = config.reading().schema(task);
        let schema = schema.map_err(|error| usage(error.to_string()))?;
        let mut folder = Folder::new(path, schema);
        folder.scan().map_err(|error| usage(error.to_string()))?;
        let split = folder.into_split(SplitRule::default().for_input(task.input()));
        let training = split.without_copies().training;
        let labelled: Vec<usize> = (0..training.rows())
            .filter(|&row| training.labels()[row].is_some())
            .collect();
        let rows = training.select(&labelled);
        let labels: Vec<u16> = rows.labels().iter().flatten().copied().collect();
        let own = definition.features;
        let candidates = own.candidates(task.input_shape());
        let range = match definition.normalisation {
            // Of values as they are; of features of another stage it says nothing.
            Normalisation::Range { low, high } if own == FeatureStage::Raw => Some([low, high]),
            _ => None,
        };
        let asked = StageRows {
            shape: task.input_shape(),
            inputs: rows.inputs(),
            labels: &labels,
            classes: task.classes(),
            numbers: rows.numbers(),
            range,
        };
        // Nothing leaves, so that no policy keeps rows back.
        let found = try_stages(&candidates, asked, 1, 0)
            .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
        let checked = found.map(|found| StageTrial::check(found, candidates.len()));
        let checked = { checked.transpose() }
            .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
        let tried = candidates.iter().enumerate().map(|(at, stage)| Tried {
            stage: stage.to_string(),
            features: stage.features(task.input_shape()).unwrap_or_default(),
            score: checked
                .as_ref()
                .map(|trial| f64::from(trial.scores()[at]) / trial.rows() as f64),
            differing: checked
                .as_ref()
                .map(|trial| f64::from(trial.differences()[at])),
        });
        let best = checked.as_ref().map_or(0, StageTrial::best);
        Ok(Self {
            task: definition.name.clone(),
            rows: checked.as_ref().map_or(0, StageTrial::rows),
            stages: tried.collect(),
            better: (best > 0).then(|| candidates[best].to_string()),
            numbers: rows.numbers().is_some(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "task {}, {} labelled rows judged",
            self.task, self.rows
        );
        if self.rows == 0 {
            let _ = writeln!(
                text,
                "nothing can be judged here: it takes two classes, or numbers that vary, and 20 \
                 labelled rows to learn from"
            );
            return text;
        }
        let what = match self.numbers {
            true => "of the variance explained",
            false => "right",
        };
        for (at, one) in self.stages.iter().enumerate() {
            let score = 100.0 * one.score.unwrap_or_default();
            let own = if at == 0 { " (the task's)" } else { "" };
            let _ = writeln!(
                text,
                "  {:<14} {:>5} features  {score:5.1} % {what}{own}",
                one.stage, one.features
            );
        }
        let _ = match &self.better {
            Some(stage) => writeln!(
                text,
                "{stage} is better than the task's stage beyond chance; where other devices agree, \
                 write into the task:\n\n[features]\nstage = \"{stage}\""
            ),
            None => writeln!(text, "none is better than the task's stage beyond chance"),
        };
        text
    }
}
