//! Methods that average weights after a pass over each device's rows.

use rand::seq::SliceRandom;

use common::math::network::{Network, NetworkError, Student};
use common::math::random::rng;

use super::fleet::{Descent, Fleet, one_hot};
use super::{FederatedError, Rival, right, traffic};
use crate::baseline::BaselineError;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The mean of the devices' weights, by rows.
    FedAvg,
    /// The same where devices are pulled to where they began.
    FedProx,
    /// The same where the server keeps a momentum of the changes.
    FedAvgM,
}

/// Every method.
pub(super) const ALL: [Method; 3] = [Method::FedAvg, Method::FedProx, Method::FedAvgM];

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FedAvg => "FedAvg",
            Self::FedProx => "FedProx",
            Self::FedAvgM => "FedAvgM",
        }
    }

    fn settings(self) -> Vec<Setting> {
        let [pulls, momenta]: [&[f32]; 2] = match self {
            Self::FedAvg => [&[0.0], &[0.0]],
            Self::FedProx => [&[0.01, 0.1, 1.0], &[0.0]],
            Self::FedAvgM => [&[0.0], &[0.7, 0.9]],
        };
        let mut settings = Vec::new();
        for &rate in &RATES {
            for &pull in pulls {
                settings.extend(momenta.iter().map(|&momentum| Setting {
                    rate,
                    pull,
                    momentum,
                }));
            }
        }
        settings
    }
}

/// What is chosen on held-out rows.
#[derive(Clone, Copy, Debug)]
struct Setting {
    rate: f32,
    pull: f32,
    momentum: f32,
}

/// Runs a method with the setting that reaches most on held-out rows after a third of the
/// rounds.
pub(super) fn run(
    fleet: &Fleet,
    method: Method,
    rounds: u32,
    seed: u64,
) -> Result<Rival, FederatedError> {
    let trial = rounds.div_ceil(3).max(2).min(rounds);
    let mut best: Option<(f64, Setting)> = None;
    for setting in method.settings() {
        let (network, _) = train(fleet, setting, trial, seed, false)?;
        let said = network
            .predict(fleet.held_out.inputs.view())
            .map_err(BaselineError::from)?;
        let score = right(&said, &fleet.held_out.labels);
        if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
            best = Some((score, setting));
        }
    }
    let setting = best.map_or_else(|| method.settings()[0], |(_, setting)| setting);
    let (network, by_round) = train(fleet, setting, rounds, seed, true)?;
    let bytes = 4 * network.parameters().len() as u64;
    let (uplink_bytes, downlink_bytes) = traffic(rounds, bytes, bytes);
    let chosen = match method {
        Method::FedAvg => format!("rate {}", setting.rate),
        Method::FedProx => format!("rate {}, µ {}", setting.rate, setting.pull),
        Method::FedAvgM => format!("rate {}, momentum {}", setting.rate, setting.momentum),
    };
    Ok(Rival {
        name: method.name(),
        accuracy: by_round.last().copied().unwrap_or(0.0),
        rounds,
        uplink_bytes,
        downlink_bytes,
        by_round,
        chosen,
        note: "the task's student; every device passes once over its rows in each round, batches of 32",
    })
}

/// The network after some rounds and, if they are watched, its accuracy on the test set
/// after each.
fn train(
    fleet: &Fleet,
    setting: Setting,
    rounds: u32,
    seed: u64,
    watched: bool,
) -> Result<(Student, Vec<f64>), BaselineError> {
    let mut random = rng(seed, "federated");
    let mut network = Student::new(&fleet.shape, &mut random)?;
    let descent = Descent {
        rate: setting.rate,
        pull: setting.pull,
        batch: BATCH,
    };
    let targets: Vec<_> = { fleet.devices.iter() }
        .map(|device| one_hot(&device.labels, fleet.classes))
        .collect();
    let mut workspace = network.workspace(BATCH);
    let all = fleet.rows().max(1) as f32;
    let mut velocity = vec![0f32; network.parameters().len()];
    let mut by_round = Vec::new();
    for _ in 0..rounds {
        let mut change = vec![0f32; velocity.len()];
        for (device, targets) in fleet.devices.iter().zip(&targets) {
            let mut local = network.clone();
            let mut order: Vec<usize> = (0..device.labels.len()).collect();
            order.shuffle(&mut random);
            let inputs = device.inputs.view();
            descent.pass(&mut local, inputs, targets.view(), &order, &mut workspace)?;
            let share = device.labels.len() as f32 / all;
            let weights = local.parameters().iter().zip(network.parameters());
            for (change, (after, before)) in change.iter_mut().zip(weights) {
                *change += share * (after - before);
            }
        }
        for (velocity, change) in velocity.iter_mut().zip(&change) {
            *velocity = setting.momentum * *velocity + change;
        }
        let moved: Vec<f32> = { network.parameters().iter().zip(&velocity) }
            .map(|(weight, velocity)| weight + velocity)
            .collect();
        match network.load_flat(&moved) {
            // A rate that leads to infinity reaches what the round before did.
            Err(NetworkError::NonFinite { .. }) => {}
            other => other?,
        }
        if watched {
            let said = network.predict(fleet.test.inputs.view())?;
            by_round.push(right(&said, &fleet.test.labels));
        }
    }
    Ok((network, by_round))
}

/// Learning rates that are tried.
const RATES: [f32; 4] = [0.01, 0.03, 0.1, 0.3];
const BATCH: usize = 32;
