//! How a fleet chooses the feature stage that nobody names: each device judges
//! candidates on rows of its own, and tells counts.

use common::features::FeatureStage;
use common::stage_trial::StageTrial;
use common::wire::codec::encode;
use coordinator::aggregate::{StageChoice, choose_stage};
use edge_agent::data::{Dataset as DeviceRows, SplitRule};
use edge_agent::teacher::{StageRows, try_stages};
use edge_agent::work::Privacy;
use serde_json::{Value, json};

use super::{SimulateError, SimulateOptions};
use crate::data::Dataset;
use crate::labelling;
use crate::progress::Progress;
use crate::stage::candidates;

/// What the devices chose, and what each sent for it.
#[derive(Clone, Debug)]
pub(crate) struct ChosenStage {
    pub(super) choice: StageChoice,
    /// Bytes of each device's trial; 0 of one that could not judge.
    pub(super) sent: Vec<u64>,
}

/// The stage that devices choose by their own rows; none where somebody named it, or
/// where there is nothing to choose or to judge by: under differential privacy, which
/// no counts of theirs are under, without labels, and where a convolution or few labels
/// are asked for.
///
/// # Errors
/// If a device's teacher fails.
pub(crate) fn chosen_stage(
    data: &Dataset,
    options: &SimulateOptions,
    (parts, privacy): (&[Vec<usize>], Privacy),
    seed: u64,
    progress: &mut Progress,
) -> Result<Option<ChosenStage>, SimulateError> {
    let asked = options
        .features
        .as_deref()
        .is_some_and(|stage| stage != "auto");
    let untold = options.protection.is_some() || options.labels != labelling::Asked::default();
    if asked || untold || options.convolves() {
        return Ok(None);
    }
    let Some((shape, candidates)) = candidates(data, options.scores_novelty()) else {
        return Ok(None);
    };
    progress.stage(&format!(
        "seed {seed}: {} devices judge {} feature stages on rows of theirs",
        parts.len(),
        candidates.len()
    ));
    let mut trials = Vec::new();
    let mut sent = vec![0; parts.len()];
    for (device, part) in parts.iter().enumerate() {
        let Some(rows) = held(data, part) else {
            continue;
        };
        // In the laboratory every row has a label.
        let labels: Vec<u16> = rows.labels().iter().flatten().copied().collect();
        let rows = StageRows {
            shape: &shape,
            inputs: rows.inputs(),
            labels: &labels,
            classes: data.classes.len(),
            numbers: rows.numbers(),
            range: data.range,
        };
        let told = try_stages(&candidates, rows, privacy.rows_min, seed ^ device as u64)
            .map_err(|error| SimulateError::Result(error.to_string()))?;
        if let Some(told) = told {
            sent[device] = encode(&told).len() as u64;
            let checked = StageTrial::check(told, candidates.len());
            trials.push(checked.map_err(|error| SimulateError::Result(error.to_string()))?);
        }
    }
    let choice = choose_stage(&candidates, &trials);
    progress.stage(&format!("  features {}: {choice}", choice.stage()));
    Ok(Some(ChosenStage { choice, sent }))
}

/// What a device learns from, copies counted once.
fn held(data: &Dataset, part: &[usize]) -> Option<DeviceRows> {
    let mine = data.train.select(part);
    let labels = mine.labels.into_iter().map(Some).collect();
    let rows = DeviceRows::new(mine.inputs, labels)?;
    let rows = match mine.numbers {
        Some(numbers) => rows.with_numbers(numbers)?,
        None => rows,
    };
    Some(rows.split(SplitRule::default()).without_copies().training)
}

impl ChosenStage {
    /// The stage, where it is another than the default.
    pub(super) fn other(&self) -> Option<FeatureStage> {
        self.choice.departs().then(|| self.choice.stage())
    }

    /// Most bytes that a device sent for it.
    pub(super) fn sent_max(&self) -> u64 {
        self.sent.iter().copied().max().unwrap_or(0)
    }

    /// Each candidate with what devices found, and why one was chosen.
    pub(super) fn told(&self) -> Value {
        let choice = &self.choice;
        let found = choice.candidates.iter().enumerate().map(|(at, stage)| {
            json!({
                "stage": stage.to_string(),
                "score": choice.scores[at],
                "deviations": choice.deviations[at],
            })
        });
        json!({
            "value": choice.stage().to_string(),
            "reason": choice.to_string(),
            "devices": choice.devices,
            "rows": choice.rows,
            "candidates": found.collect::<Vec<_>>(),
        })
    }
}
