//! A round's teacher and student, tried on the test set.

use ndarray::Array2;
use serde_json::{Value, json};

use common::task::Task;
use common::teacher::Teacher;
use common::transfer::TransferSet;
use common::wire::codec::decode_blob;
use coordinator::validation;

use super::SimulateError;
use crate::data::Dataset;
use crate::metrics::{accuracy, macro_f1};
use crate::outcome::RoundOutcome;
use crate::simulation::{DeviceBytes, RoundResult, Simulation};

/// What the coordinator published of a round.
pub(super) struct Opened {
    pub(super) teacher: Teacher,
    pub(super) set: TransferSet,
    pub(super) normaliser: common::features::Normaliser,
}

pub(super) fn open_teacher(
    simulation: &Simulation,
    result: &RoundResult,
) -> Result<Opened, SimulateError> {
    let task = simulation.task();
    let [teacher, transfer, normaliser] = result
        .teacher
        .map(|name| simulation.blob(name).unwrap_or_default());
    let set = validation::transfer_set(task, &transfer).map_err(|e| unusable(&e))?;
    let raw = decode_blob(&teacher).map_err(|e| unusable(&e))?;
    Ok(Opened {
        teacher: Teacher::on(raw, &set, task.classes()).map_err(|e| unusable(&e))?,
        normaliser: validation::normaliser(task, &normaliser).map_err(|e| unusable(&e))?,
        set,
    })
}

pub(super) fn measure(
    task: &Task,
    data: &Dataset,
    result: &RoundResult,
    opened: &Opened,
    wall_ms: u64,
) -> Result<RoundOutcome, SimulateError> {
    let inputs = data.test.inputs.view();
    let said = result.release.predict(inputs).map_err(|e| unusable(&e))?;
    let stage = &task.definition().features;
    let features = stage
        .compute(task.input_shape(), inputs)
        .map_err(|e| unusable(&e))?;
    let view = opened
        .normaliser
        .apply(features.view())
        .map_err(|e| unusable(&e))?;
    let answers: Array2<f32> = opened
        .teacher
        .answers(view.view())
        .map_err(|e| unusable(&e))?;
    let largest = |row: ndarray::ArrayView1<'_, f32>| {
        (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u16
    };
    let taught: Vec<u16> = answers.rows().into_iter().map(largest).collect();
    let mean = |of: &dyn Fn(&DeviceBytes) -> u64| {
        result.bytes.iter().map(|one| of(one) as f64).sum::<f64>()
            / result.bytes.len().max(1) as f64
    };
    let sent = result.bytes.iter().map(|one| one.up.udp_bytes());
    Ok(RoundOutcome {
        round: result.round,
        student_accuracy: accuracy(&said, &data.test.labels),
        student_macro_f1: macro_f1(&said, &data.test.labels, data.classes.len()),
        teacher_accuracy: accuracy(&taught, &data.test.labels),
        student_teacher_agreement: accuracy(&said, &taught),
        uplink_bytes_mean: mean(&|one| one.up.udp_bytes()),
        uplink_bytes_max: sent.max().unwrap_or(0),
        downlink_bytes_mean: mean(&|one| one.down.udp_bytes()),
        handshake_bytes_mean: 0.0,
        wall_ms,
    })
}

fn unusable(cause: &dyn std::fmt::Display) -> SimulateError {
    SimulateError::Result(cause.to_string())
}

/// Mean messages and packets of a device, beside the UDP bytes.
pub(super) fn wire(bytes: &[DeviceBytes]) -> Value {
    let mean = |of: &dyn Fn(&DeviceBytes) -> u64| {
        bytes.iter().map(|one| of(one) as f64).sum::<f64>() / bytes.len().max(1) as f64
    };
    json!({
        "uplink_message_bytes": mean(&|one| one.up.message_bytes),
        "uplink_packets": mean(&|one| one.up.packets),
        "uplink_acknowledgements": mean(&|one| one.up.acknowledgements),
        "downlink_message_bytes": mean(&|one| one.down.message_bytes),
        "downlink_packets": mean(&|one| one.down.packets),
        "downlink_acknowledgements": mean(&|one| one.down.acknowledgements),
    })
}
