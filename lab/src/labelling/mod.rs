//! Which rows of a simulated device have a label, and a model of the device's
//! own that labels the others.

mod server;

use std::collections::BTreeMap;

use ndarray::{Axis, concatenate};
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use common::math::random::rng;
use common::task::Task;
use common::wire::codec::encode;
use edge_agent::teacher::{ComparisonError, TeacherComparison, tried};
use edge_agent::work::Privacy;
use onnx::{ClassMap, MODEL_BYTES_MAX, Model, Settings, probabilities};

use self::server::Question;
use crate::backbone::{BackboneError, Inputs, outputs};
use crate::data::{Dataset, Labelling};
use crate::progress::Progress;

/// Why rows could not be labelled.
#[derive(Debug, thiserror::Error)]
pub enum LabellingError {
    /// The model, or an input in it.
    #[error(transparent)]
    Model(#[from] BackboneError),
    /// A local teacher failed.
    #[error(transparent)]
    Local(#[from] ComparisonError),
    /// What spreads the labels failed.
    #[error(transparent)]
    Spread(#[from] edge_agent::teacher::TeacherError),
    /// Rows that do not fit the task.
    #[error("the data does not fit the task: {0}")]
    Features(#[from] common::features::FeatureError),
    /// Rows cannot be grouped.
    #[error("the rows cannot be grouped: {0}")]
    Cluster(#[from] common::math::cluster::ClusterError),
    /// Means of rows cannot be sent.
    #[error("means of rows cannot be sent: {0}")]
    Quantise(#[from] common::math::quantise::QuantiseError),
    /// Rows are labelled with numbers.
    #[error("--labelled, --device-teacher and --server-teacher are for classes")]
    Numbers,
}

/// What is asked of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Labelled rows that a device keeps; none for all.
    pub labelled: Option<usize>,
    /// A classifier on each device, as [`Settings::of_option`] reads it.
    pub device_teacher: Option<String>,
    /// A classifier at the coordinator, which labels means of rows.
    pub server_teacher: Option<String>,
}

/// A fleet, before its rows are labelled.
#[derive(Clone, Copy, Debug)]
pub struct Fleet<'a> {
    /// Its data.
    pub data: &'a Dataset,
    /// Its task.
    pub task: &'a Task,
    /// Rows of each device.
    pub parts: &'a [Vec<usize>],
    /// The devices' policy.
    pub privacy: Privacy,
    /// Bytes that a device may spend on means of rows.
    pub uplink_bytes: u64,
}

/// What came of labelling a fleet's rows.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// What devices know.
    pub labelling: Labelling,
    /// What is told of it.
    pub told: Value,
    /// Messages of each device, in bytes.
    pub sent: Vec<Vec<u64>>,
    /// Messages to each device, in bytes.
    pub received: Vec<Vec<u64>>,
}

/// Labels of a fleet's rows, and what is told of them; none if nothing is
/// asked.
///
/// A model labels a device's rows without a label if it is right on as many
/// of the device's labelled rows, which it has not seen, as a local teacher
/// that learnt from the others (five folds), or if those are too few to tell. The
/// coordinator's model sees means of groups of rows alone.
///
/// # Errors
/// If the model cannot be run on the rows, or has other classes.
pub fn label(
    fleet: Fleet<'_>,
    asked: &Asked,
    seed: u64,
    progress: &mut Progress,
) -> Result<Option<Labelled>, LabellingError> {
    if asked == &Asked::default() {
        return Ok(None);
    }
    if !fleet.data.numbers.is_empty() {
        return Err(LabellingError::Numbers);
    }
    let Fleet { data, parts, .. } = fleet;
    let truth = &data.train.labels;
    let mut labelling = Labelling {
        learnt: vec![None; truth.len()],
        own: vec![false; truth.len()],
    };
    for (device, rows) in parts.iter().enumerate() {
        let mut chosen = rows.clone();
        if let Some(labelled) = asked.labelled {
            chosen.shuffle(&mut rng(seed, &format!("labelled rows of device {device}")));
            chosen.truncate(labelled);
        }
        for row in chosen {
            labelling.learnt[row] = Some(truth[row]);
            labelling.own[row] = true;
        }
    }
    let mut labelled = Labelled {
        told: json!({ "labelled": labelling.own.iter().filter(|own| **own).count() }),
        labelling,
        sent: vec![Vec::new(); parts.len()],
        received: vec![Vec::new(); parts.len()],
    };
    if let Some(option) = &asked.device_teacher {
        let inputs = Inputs::of(data.train.inputs.clone(), data);
        let said = said(data, inputs, option, progress)?;
        labelled.take(fleet, ("device_teacher", option), &said, seed)?;
    }
    if let Some(option) = &asked.server_teacher {
        let said = labelled.ask(fleet, option, seed, progress)?;
        labelled.take(fleet, ("server_teacher", option), &said, seed)?;
    }
    for who in ["device_teacher", "server_teacher"] {
        let told = &labelled.told[who];
        if told.is_object() {
            progress.stage(&format!(
                "  {who}: labels {} rows of {} devices; no better than the local teacher on {}",
                told["rows_labelled"], told["devices_used"], told["devices_refused"]
            ));
        }
    }
    Ok(Some(labelled))
}

impl Labelled {
    /// Bytes that a device sent at most, with their packets.
    pub fn spent(&self) -> u64 {
        let sent = self.sent.iter().map(|sent| sent.iter().sum::<u64>());
        (sent.max().unwrap_or(0) as f64 * FRAMING) as u64
    }

    /// Labels rows without a label by what a model said of all, on the devices
    /// where it is as good as the local teacher.
    fn take(
        &mut self,
        fleet: Fleet<'_>,
        (who, option): (&str, &str),
        said: &[Option<u16>],
        seed: u64,
    ) -> Result<(), LabellingError> {
        let truth = &fleet.data.train.labels;
        let (mut used, mut refused, mut labelled, mut right) = (0usize, 0usize, 0usize, 0usize);
        for rows in fleet.parts {
            let open = |row: &usize| self.labelling.learnt[*row].is_none();
            let open: Vec<usize> = rows.iter().copied().filter(open).collect();
            let own = |row: &usize| self.labelling.own[*row];
            let own: Vec<usize> = rows.iter().copied().filter(own).collect();
            if open.is_empty() {
                continue;
            }
            if !is_as_good(fleet.data, fleet.task, &own, said, seed)? {
                refused += 1;
                continue;
            }
            used += 1;
            for row in open {
                self.labelling.learnt[row] = said[row];
                labelled += usize::from(said[row].is_some());
                right += usize::from(said[row] == Some(truth[row]));
            }
        }
        self.told[who] = json!({
            "file": option, "devices_used": used, "devices_refused": refused,
            "rows_labelled": labelled,
            "labels_right": right as f64 / labelled.max(1) as f64,
        });
        Ok(())
    }

    /// What the coordinator's model says of each row: of the mean of its group.
    fn ask(
        &mut self,
        fleet: Fleet<'_>,
        option: &str,
        seed: u64,
        progress: &mut Progress,
    ) -> Result<Vec<Option<u16>>, LabellingError> {
        let data = fleet.data;
        let mut asked = Vec::new();
        progress.stage("  devices group their rows for the coordinator's teacher");
        progress.bar(fleet.parts.len() as u64);
        for (device, rows) in fleet.parts.iter().enumerate() {
            let of = (data, fleet.task, rows.as_slice());
            let seed = seed ^ device as u64;
            let question = Question::of(of, fleet.privacy, fleet.uplink_bytes, seed)?;
            if let Some(question) = question {
                self.sent[device].push(question.bytes);
                asked.push((device, question));
            }
            progress.advance();
        }
        let views: Vec<_> = asked.iter().map(|(_, one)| one.means.view()).collect();
        let mut answers = vec![None; data.train.labels.len()];
        let Ok(means) = concatenate(Axis(0), &views) else {
            // Nobody has rows enough.
            return Ok(answers);
        };
        let said = said(data, Inputs::of(means, data), option, progress)?;
        let mut first = 0;
        for (device, question) in asked {
            let here = &said[first..first + question.means.nrows()];
            first += here.len();
            self.received[device].push(encode(&here.to_vec()).len() as u64);
            let rows = fleet.parts[device].as_slice();
            let answered = question.answers((data, fleet.task, rows), here, seed)?;
            for (&row, answer) in rows.iter().zip(answered) {
                answers[row] = answer;
            }
        }
        Ok(answers)
    }
}

/// The class that a model gives each input; none for a class that the task has
/// not.
fn said(
    data: &Dataset,
    inputs: Inputs,
    option: &str,
    progress: &mut Progress,
) -> Result<Vec<Option<u16>>, LabellingError> {
    let (path, settings) = Settings::of_option(option).map_err(BackboneError::from)?;
    let answers = settings.answers;
    let open = || Model::open(&path, settings.clone(), MODEL_BYTES_MAX);
    let rows = outputs(&open, &inputs, "teacher", progress)?;
    let rows: Vec<Vec<f32>> = rows.rows().into_iter().map(|row| row.to_vec()).collect();
    let rows = probabilities(&rows, answers);
    let found = rows.first().map_or(0, Vec::len);
    let map = ClassMap::of(
        &path.display().to_string(),
        found,
        &settings.classes,
        &BTreeMap::new(),
        &data.classes,
    )
    .map_err(BackboneError::from)?;
    let class = |row: &Vec<f32>| map.answer(row).map(|(class, _)| class);
    Ok(rows.iter().map(class).collect())
}

/// Whether a model is right on as many labelled rows as a local teacher.
fn is_as_good(
    data: &Dataset,
    task: &Task,
    own: &[usize],
    said: &[Option<u16>],
    seed: u64,
) -> Result<bool, LabellingError> {
    let chosen: Vec<usize> = tried(own.len(), seed)
        .into_iter()
        .map(|at| own[at])
        .collect();
    let truth: Vec<u16> = chosen.iter().map(|&row| data.train.labels[row]).collect();
    let said: Vec<Option<u16>> = chosen.iter().map(|&row| said[row]).collect();
    let raw = data.train.inputs.select(Axis(0), &chosen);
    Ok(TeacherComparison::of(task, raw.view(), &truth, &said, seed)?.is_as_good())
}

/// Packets and acknowledgements of what was sent.
const FRAMING: f64 = 1.05;

#[cfg(test)]
mod tests;
