//! A curious coordinator asks of a row it holds whether a device described
//! it. The rows it is tried with are those that devices described and, of the
//! same devices, some that were kept from them.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis, concatenate};
use rand::seq::SliceRandom;

use common::math::random::rng;

use super::fleet::{Fleet, accuracy, parts};
use super::gradients::{is_of_gradient, of_gradient};
use super::observed::Observed;
use super::roc::{area, true_positives};
use super::statistic::{Asked, Everyone, Scores, statistics};
use super::{Attack, AttackError, Finding, Kind, Scene};
use crate::data::Dataset;
use crate::progress::Progress;

pub(super) const MEMBERSHIP: Attack = Attack {
    name: "membership",
    about: "the coordinator asks whether a row was in a device's contributions",
    kind: Kind::Curious(attack),
};

fn attack(scene: &Scene<'_>, progress: &mut Progress) -> Result<Finding, AttackError> {
    let (held, withheld): (Vec<_>, Vec<_>) = parts(scene)?
        .into_iter()
        .map(|part| withhold(&part, scene.seed))
        .unzip();
    progress.stage(&format!("seed {}: {} devices", scene.seed, held.len()));
    let mut fleet = Fleet::of(scene, held, scene.seed)?;
    let ran = fleet.run(scene, progress)?;
    let Some(last) = &ran.last else {
        let why = ran.ended.unwrap_or_default();
        return Err(scene.fleet_error(format!("nothing was contributed to look at: {why}")));
    };
    let observed = Observed::of(&fleet.simulation, last)?;
    progress.stage("  looking for rows in what devices sent");
    progress.bar(observed.devices.len() as u64);
    let everyone = Everyone::of(&observed)?;
    let mut trials = Vec::new();
    for (device, received) in observed.devices.iter().enumerate() {
        progress.advance();
        let asked = asked(&fleet, scene.data, &observed, device, &withheld[device])?;
        let Some((asked, members)) = asked else {
            continue;
        };
        let mut scores = statistics(received, &everyone, &asked)?;
        let (inputs, labels) = (asked.inputs.view(), &asked.labels);
        scores.extend(of_gradient(device, &observed, inputs, labels)?);
        if !scores.is_empty() {
            trials.push(Trial { scores, members });
        }
    }
    let best = chosen_and_tried(&trials, scene.seed).ok_or_else(|| {
        scene.fleet_error(format!(
            "{} devices sent something and had rows kept from them, at least 2 are needed; \
             more --agents or a lower --rows-min help",
            trials.len()
        ))
    })?;
    let mut finding = Finding {
        student_accuracy: Some(accuracy(scene.data, ran.release.as_deref())?),
        auc: Some(best.area),
        true_positives_at_1_percent: Some(best.true_positives),
        uplink_bytes_max: ran.uplink_bytes_max,
        ..Finding::default()
    };
    finding.honest_accuracy = finding.student_accuracy;
    finding.note("devices looked at", trials.len().to_string());
    for name in best.names {
        finding.note("best statistic of half the devices", name);
    }
    // What a kind tells alone is hidden where another tells more.
    let by_gradient: Vec<Trial> = trials.into_iter().filter_map(Trial::by_gradient).collect();
    if let Some(best) = chosen_and_tried(&by_gradient, scene.seed) {
        finding.note("area by gradients alone", format!("{:.3}", best.area));
        for name in best.names {
            finding.note("best of gradients for half the devices", name);
        }
    }
    Ok(finding)
}

/// Rows a device keeps, and rows kept from it: of blocks of consecutive rows
/// one in six, so that windows that overlap are not on both sides.
fn withhold(part: &[usize], seed: u64) -> (Vec<usize>, Vec<usize>) {
    let block = (part.len() / (2 * WITHHELD)).clamp(1, BLOCK);
    let blocks: Vec<&[usize]> = part.chunks(block).collect();
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    let first = part.first().copied().unwrap_or(0);
    order.shuffle(&mut rng(seed, &format!("withheld beside {first}")));
    let away = blocks.len() / WITHHELD;
    let (mut held, mut withheld) = (Vec::new(), Vec::new());
    for (at, block) in blocks.into_iter().enumerate() {
        match order[at] < away {
            true => withheld.extend_from_slice(block),
            false => held.extend_from_slice(block),
        }
    }
    (held, withheld)
}

/// What a device described, then what was kept from it of the same classes;
/// and how many rows the former are. None if there are none of either.
fn asked(
    fleet: &Fleet,
    data: &Dataset,
    observed: &Observed,
    device: usize,
    withheld: &[usize],
) -> Result<Option<(Asked, usize)>, AttackError> {
    let own = fleet.described(device);
    let counts = own.class_counts(data.classes.len());
    let others: Vec<usize> = { withheld.iter().copied() }
        .filter(|&row| counts[usize::from(data.train.labels[row])] > 0)
        .collect();
    if own.is_empty() || others.is_empty() {
        return Ok(None);
    }
    let other = data.train.select(&others);
    let inputs: Array2<f32> = concatenate(Axis(0), &[own.inputs(), other.inputs.view()])
        .expect("both are inputs of one data set");
    let labels = own.labels().iter().flatten().copied().chain(other.labels);
    let asked = Asked::of(observed, inputs.view(), labels.collect())?;
    Ok(Some((asked, own.rows())))
}

/// One device's rows under every statistic, its members first.
struct Trial {
    scores: Scores,
    members: usize,
}

impl Trial {
    /// What the device's gradient tells; nothing if it sent none.
    fn by_gradient(self) -> Option<Self> {
        let mut scores = self.scores;
        scores.retain(|(name, _)| is_of_gradient(name));
        (!scores.is_empty()).then_some(Self { scores, ..self })
    }

    /// The area under a statistic's curve; its complement if it is turned.
    fn area(&self, name: &str, turned: bool) -> Option<f64> {
        let (members, others) = self.sides(name, turned)?;
        area(&members, &others)
    }

    fn sides(&self, name: &str, turned: bool) -> Option<(Vec<f64>, Vec<f64>)> {
        let (_, values) = self.scores.iter().find(|(known, _)| known == name)?;
        let sign = if turned { -1.0 } else { 1.0 };
        let values: Vec<f64> = values.iter().map(|value| sign * value).collect();
        let (members, others) = values.split_at(self.members);
        Some((members.to_vec(), others.to_vec()))
    }
}

struct Best {
    area: f64,
    true_positives: f64,
    names: Vec<String>,
}

/// The statistic that does best on one half of the devices, tried on the
/// other, and the same with the halves exchanged: means over all devices.
fn chosen_and_tried(trials: &[Trial], seed: u64) -> Option<Best> {
    let mut order: Vec<&Trial> = trials.iter().collect();
    order.shuffle(&mut rng(seed, "halves of the devices"));
    let (first, second) = order.split_at(order.len() / 2);
    if first.is_empty() {
        return None;
    }
    let (mut areas, mut found, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (choosing, trying) in [(first, second), (second, first)] {
        let (name, turned) = choose(choosing)?;
        for trial in trying {
            let Some((members, others)) = trial.sides(&name, turned) else {
                continue;
            };
            areas.extend(area(&members, &others));
            found.push(true_positives(&members, &others, 0.01));
        }
        names.push(if turned {
            format!("{name}, turned")
        } else {
            name
        });
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Some(Best {
        area: mean(&areas),
        true_positives: mean(&found),
        names,
    })
}

fn choose(trials: &[&Trial]) -> Option<(String, bool)> {
    // Not every device sends every kind.
    let names: BTreeSet<&String> = { trials.iter() }
        .flat_map(|trial| trial.scores.iter().map(|(name, _)| name))
        .collect();
    let candidates = names
        .into_iter()
        .flat_map(|name| [(name.clone(), false), (name.clone(), true)]);
    let rated = candidates.map(|(name, turned)| {
        // A device of which it says nothing is a coin.
        let areas = { trials.iter() }.map(|trial| trial.area(&name, turned).unwrap_or(0.5));
        (areas.sum::<f64>(), name, turned)
    });
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some((best.1, best.2))
}

/// One block in this many is kept from a device.
const WITHHELD: usize = 6;
/// Most rows of a block.
const BLOCK: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(members: &[f64], others: &[f64]) -> Trial {
        let values = members.iter().chain(others).copied().collect();
        let useless = vec![0.0; members.len() + others.len()];
        Trial {
            scores: vec![("none".to_owned(), useless), ("some".to_owned(), values)],
            members: members.len(),
        }
    }

    #[test]
    fn a_statistic_is_tried_where_it_was_not_chosen() {
        let good = || trial(&[1.0, 2.0], &[0.0, -1.0]);
        let best = chosen_and_tried(&[good(), good()], 0).map(|best| best.area);
        assert_eq!(best, Some(1.0));
        let bad = trial(&[0.0, -1.0], &[1.0, 2.0]);
        let best = chosen_and_tried(&[good(), bad], 0).map(|best| best.area);
        assert_eq!(best, Some(0.0), "chosen on one, and wrong on the other");
        assert!(chosen_and_tried(&[good()], 0).is_none());
    }

    #[test]
    fn some_blocks_are_kept_from_a_device() {
        let rows: Vec<usize> = (100..460).collect();
        let (held, withheld) = withhold(&rows, 3);
        assert_eq!((held.len(), withheld.len()), (300, 60));
        let mut both = [held, withheld].concat();
        both.sort_unstable();
        assert_eq!(both, rows);
        let (held, withheld) = withhold(&rows[..20], 3);
        assert_eq!((held.len(), withheld.len()), (17, 3));
    }
}
