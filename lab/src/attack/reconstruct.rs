//! A curious coordinator rebuilds rows from what one device sent: inputs whose
//! features its moments hold, and points that are rows.

use ndarray::{Array2, Axis, concatenate};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use common::math::random::rng;

use super::fleet::{Fleet, accuracy, parts};
use super::observed::{Observed, Received};
use super::search::{Candidate, Search, common_length, distinct, misses, typical_distance};
use super::{Attack, AttackError, Finding, Kind, Scene};
use crate::progress::Progress;

pub(super) const RECONSTRUCT: Attack = Attack {
    name: "reconstruct",
    about: "the coordinator rebuilds rows of the devices with fewest (--rows, --victims)",
    kind: Kind::Curious(attack),
};

fn attack(scene: &Scene<'_>, progress: &mut Progress) -> Result<Finding, AttackError> {
    let held = parts(scene)?;
    progress.stage(&format!("seed {}: {} devices", scene.seed, held.len()));
    let mut fleet = Fleet::of(scene, held, scene.seed)?;
    let ran = fleet.run(scene, progress)?;
    let Some(last) = &ran.last else {
        let why = ran.ended.unwrap_or_default();
        return Err(scene.fleet_error(format!("nothing was contributed to look at: {why}")));
    };
    let observed = Observed::of(&fleet.simulation, last)?;
    let victims = victims(scene, &fleet, &observed)?;
    progress.stage("  measuring how far neighbours lie");
    let everyone = everyone(scene, &observed)?;
    let typical = typical_distance(&everyone);
    let mut finding = Finding {
        student_accuracy: Some(accuracy(scene.data, ran.release.as_deref())?),
        uplink_bytes_max: ran.uplink_bytes_max,
        ..Finding::default()
    };
    finding.honest_accuracy = finding.student_accuracy;
    let (mut all, mut half, mut tenth, mut by_chance) = (0, 0, 0, 0);
    for (device, rows) in victims {
        let received = &observed.devices[device];
        progress.stage(&format!(
            "  rebuilding {} rows of device {device}",
            rows.nrows()
        ));
        let look = Look {
            observed: &observed,
            received,
            typical,
            length: common_length(&everyone),
            seed: scene.seed,
        };
        let candidates = look.candidates(progress)?;
        let views: Vec<_> = candidates.iter().map(|one| one.row.view()).collect();
        let near = |rows: &Array2<f64>, share: f64| {
            let misses = misses(rows, &views);
            misses
                .iter()
                .filter(|&&miss| miss < share * typical)
                .count()
        };
        let others = others(scene, &fleet, &observed, device, rows.nrows())?;
        let counts = (near(&rows, 0.5), near(&rows, 0.1), near(&others, 0.5));
        all += rows.nrows();
        half += counts.0;
        tenth += counts.1;
        by_chance += counts.2;
        finding.note(
            &format!("device {device}, of {} rows", rows.nrows()),
            format!("{} rebuilt, {} nearly exactly", counts.0, counts.1),
        );
    }
    let share = |count: usize| count as f64 / all.max(1) as f64;
    finding.rebuilt_half = Some(share(half));
    finding.rebuilt_tenth = Some(share(tenth));
    finding.note(
        "rows of other devices that lie as near to what was rebuilt",
        format!("{:.2} %", 100.0 * share(by_chance)),
    );
    Ok(finding)
}

/// The devices of fewest rows, with the rows they described as the kernel sees
/// them.
fn victims(
    scene: &Scene<'_>,
    fleet: &Fleet,
    observed: &Observed,
) -> Result<Vec<(usize, Array2<f64>)>, AttackError> {
    let mut victims = Vec::new();
    for (device, received) in observed.devices.iter().enumerate() {
        if received.moments.is_none() && received.points.is_none() {
            continue;
        }
        let rows = fleet.described(device);
        let [_, normalised] = observed.normalised(rows.inputs())?;
        victims.push((device, observed.seen(normalised.view())));
    }
    victims.sort_by_key(|(device, rows)| (rows.nrows(), *device));
    victims.truncate(scene.options.victims.unwrap_or(VICTIMS));
    if victims.is_empty() {
        let problem = "no device sent anything to rebuild rows from; a lower --rows-min or \
                       fewer --agents help";
        return Err(scene.fleet_error(problem.to_owned()));
    }
    Ok(victims)
}

/// Rows of the whole fleet as the kernel sees them.
fn everyone(scene: &Scene<'_>, observed: &Observed) -> Result<Array2<f64>, AttackError> {
    let [_, normalised] = observed.normalised(scene.data.train.inputs.view())?;
    Ok(observed.seen(normalised.view()))
}

/// As many rows of other devices, of the classes that the device described.
fn others(
    scene: &Scene<'_>,
    fleet: &Fleet,
    observed: &Observed,
    device: usize,
    count: usize,
) -> Result<Array2<f64>, AttackError> {
    let train = &scene.data.train;
    let own = fleet
        .described(device)
        .class_counts(scene.data.classes.len());
    let of_class = |row: &usize| own[usize::from(train.labels[*row])] > 0;
    let strangers = { fleet.parts.iter().enumerate() }
        .filter(|(other, _)| *other != device)
        .flat_map(|(_, rows)| rows.iter().copied())
        .filter(of_class);
    let strangers: Vec<usize> = strangers.collect();
    let step = (strangers.len() / count.max(1)).max(1);
    let chosen: Vec<usize> = strangers.into_iter().step_by(step).take(count).collect();
    let [_, normalised] = observed.normalised(train.select(&chosen).inputs.view())?;
    Ok(observed.seen(normalised.view()))
}

/// A look at what one device sent.
struct Look<'a> {
    observed: &'a Observed,
    received: &'a Received,
    typical: f64,
    length: Option<f64>,
    seed: u64,
}

impl Look<'_> {
    /// Its points, and as many inputs as it says there are rows.
    fn candidates(&self, progress: &mut Progress) -> Result<Vec<Candidate>, AttackError> {
        let points = self.received.points.as_ref();
        let points = points.map(|points| self.observed.seen(points.inputs.view()));
        let mut candidates: Vec<Candidate> = { points.iter() }
            .flat_map(|points| points.rows())
            .map(|row| Candidate {
                row: row.to_owned(),
                missed: 0.0,
            })
            .collect();
        if let (Some(gram), Some(moments)) = (self.received.gram(), &self.received.moments) {
            let rows = usize::try_from(moments.rows).unwrap_or(usize::MAX);
            let rank = moments.rank().min(rows);
            let search = Search::of(&self.observed.embedding, &gram, rank, self.length)?;
            let count = rows
                .saturating_mul(STARTS_A_ROW)
                .clamp(STARTS_MIN, STARTS_MAX);
            let starts = self.starts(points.as_ref(), count);
            progress.bar(super::search::STEPS as u64);
            let found = search.descend(starts, || progress.advance())?;
            candidates.extend(distinct(found, 0.2 * self.typical, rows));
        }
        Ok(candidates)
    }

    /// Mixtures of the device's points and of the transfer set's, and a little
    /// noise.
    fn starts(&self, points: Option<&Array2<f64>>, count: usize) -> Array2<f64> {
        let shared = self.observed.seen(self.observed.set.points.inputs.view());
        let own = points
            .filter(|points| !points.is_empty())
            .unwrap_or(&shared);
        let both = concatenate(Axis(0), &[own.view(), shared.view()])
            .expect("both have the task's features");
        let mut random = rng(self.seed, "starts of a search");
        let mut starts = Array2::zeros((count, shared.ncols()));
        for mut start in starts.rows_mut() {
            let one = own.row(random.random_range(0..own.nrows()));
            let other = both.row(random.random_range(0..both.nrows()));
            let share: f64 = random.random_range(0.0..0.6);
            start.scaled_add(1.0 - share, &one);
            start.scaled_add(share, &other);
            for value in &mut start {
                let noise: f64 = StandardNormal.sample(&mut random);
                *value += 0.1 * noise;
            }
        }
        starts
    }
}

/// Devices whose rows are looked for, where nobody says.
const VICTIMS: usize = 4;
const STARTS_A_ROW: usize = 8;
const STARTS_MIN: usize = 64;
const STARTS_MAX: usize = 256;
