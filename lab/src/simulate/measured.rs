//! A round's teacher and student, tried on the test set.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use common::model::Release;
use common::scales::Scales;
use common::teacher::Teacher;
use common::transfer::TransferSet;
use common::wire::codec::decode_blob;
use coordinator::validation;

use super::SimulateError;
use crate::data::{Dataset, Part};
use crate::metrics::{accuracy, auc, rmse};
use crate::outcome::RoundOutcome;
use crate::reached::reached;
use crate::simulation::{DeviceBytes, RoundResult, Simulation};

/// What the coordinator published of a round.
pub(super) struct Opened {
    pub(super) teacher: Teacher,
    pub(super) set: TransferSet,
    pub(super) scales: Scales,
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
        teacher: Teacher::on(raw, &set, task.outputs()).map_err(|e| unusable(&e))?,
        scales: validation::scales(task, &normaliser).map_err(|e| unusable(&e))?,
        set,
    })
}

pub(super) fn measure(
    (data, novel): (&Dataset, Option<&Part>),
    result: &RoundResult,
    opened: &Opened,
    wall_ms: u64,
) -> Result<RoundOutcome, SimulateError> {
    let reached = reached(data, &result.release, &opened.teacher, &opened.scales);
    let reached = reached.map_err(|e| unusable(&e))?;
    let score = |part: &Part| {
        let scores = result.release.novelty(part.inputs.view());
        scores.map_err(|e| unusable(&e))
    };
    let novelty_auc = match novel {
        Some(novel) => {
            let (known, new) = (score(&data.test)?, score(novel)?);
            known.zip(new).map(|(known, new)| auc(&known, &new))
        }
        None => None,
    };
    let mean = |of: &dyn Fn(&DeviceBytes) -> u64| {
        result.bytes.iter().map(|one| of(one) as f64).sum::<f64>()
            / result.bytes.len().max(1) as f64
    };
    let sent = result.bytes.iter().map(|one| one.up.udp_bytes());
    Ok(RoundOutcome {
        round: result.round,
        reached,
        accuracy_by_refinement: match data.test.numbers {
            None => by_refinement(data, &result.releases)?,
            Some(_) => Vec::new(),
        },
        rmse_by_refinement: match data.test.numbers {
            None => Vec::new(),
            Some(_) => by_refinement(data, &result.releases)?,
        },
        classes_untold: untold(data, &opened.set).len(),
        novelty_auc,
        uplink_bytes_mean: mean(&|one| one.up.udp_bytes()),
        uplink_bytes_max: sent.max().unwrap_or(0),
        downlink_bytes_mean: mean(&|one| one.down.udp_bytes()),
        handshake_bytes_mean: 0.0,
        wall_ms,
    })
}

/// The classes of which no device sent a sample.
pub(super) fn untold<'a>(data: &'a Dataset, set: &TransferSet) -> Vec<&'a str> {
    let told: BTreeSet<usize> = set
        .points
        .classes
        .iter()
        .map(|&class| usize::from(class))
        .collect();
    let names = data.classes.iter().enumerate();
    let silent = names.filter(|(class, _)| !told.contains(class));
    match data.numbers.is_empty() {
        true => silent.map(|(_, name)| name.as_str()).collect(),
        false => Vec::new(),
    }
}

/// The accuracy, or root mean squared error, of a student and of what it was refined to;
/// nothing of one that was not.
fn by_refinement(data: &Dataset, releases: &[Arc<Release>]) -> Result<Vec<f64>, SimulateError> {
    if releases.len() < 2 {
        return Ok(Vec::new());
    }
    let inputs = data.test.inputs.view();
    let of = |release: &Arc<Release>| match &data.test.numbers {
        Some(truth) => {
            let said = release.numbers(inputs).map_err(|e| unusable(&e))?;
            Ok(rmse(&said, truth))
        }
        None => {
            let said = release.predict(inputs).map_err(|e| unusable(&e))?;
            Ok(accuracy(&said, &data.test.labels))
        }
    };
    releases.iter().map(of).collect()
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
