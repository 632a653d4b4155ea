//! Samples that carry a mark which no other device's samples carry, and that are of
//! another class without it.

mod range;
#[cfg(test)]
mod tests;

use ndarray::{Array1, Array2, ArrayView2, Axis};

use common::feature_weights::FeatureWeights;
use common::math::kernel::Ntk;
use common::math::regression::weighted_ridge;
use common::summary::Points;
use common::task::Task;

use self::range::{Ranges, nearest};
use super::robust::median;
use super::teacher::point_targets;
use super::{RowsCap, SolveError};

/// Samples of one class of a device that are not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// The device's place.
    pub device: usize,
    /// The class that it gives them.
    pub class: usize,
    /// The class that the others' teacher takes most of them for without the mark.
    pub taken_for: usize,
    /// Their places among the device's samples, ascending.
    pub samples: Vec<usize>,
    /// Rows that they stand for, and all rows that the device has of the class.
    pub rows: [u64; 2],
}

/// Finds marks: a backdoor is a mark in inputs that is to mean a class, and it needs
/// no wrong answer on anybody's rows, so that what judges a whole device by the mean of
/// its rows passes it where few devices have the class or few rows of each.
///
/// A sample is *marked* that lies outside the range of every feature's values among all
/// other devices' samples: by half of what neighbours of different devices
/// lie apart (`BEYOND`) and by what the others' samples deviate that way (`DEVIATIONS`), and mostly
/// (`ALONG`) in the direction in which the device's samples of that class lie outside in the mean.
/// That alone is no lie. It is one where, with those features brought
/// back to the others' range, the others' teacher takes a third of the marked rows
/// (`CONTRADICTED`) for another class (`MARGIN`), while
///
/// - the device's other classes do not carry the mark (a sensor that is off marks them all),
/// - other devices have the class too, without any mark, for half as many rows at least (`KNOWN`): what a
///   class of one device looks like nobody else can say,
/// - and, where two or more have it, know it from one another (`TOLD`): a class that is
///   another on each device is so on this one.
///
/// Only those samples are named; what else the device sent counts. Devices are looked at
/// in groups of at most `SAMPLES_MAX` samples or `DEVICES_MIN` devices, whatever are
/// more. Cost n²·d for n samples of a group, and n³/3 for a device with a mark, up to
/// `PEERS_MAX` more where it may be a lie.
///
/// # Errors
/// If the others' teacher cannot be solved.
pub fn marked_samples(
    task: &Task,
    weights: &FeatureWeights,
    before: Option<&Points>,
    summaries: &[Points],
) -> Result<Vec<Marked>, SolveError> {
    if !task.target().is_class() || summaries.len() < DEVICES_MIN {
        return Ok(Vec::new());
    }
    let all: usize = summaries.iter().map(Points::len).sum();
    let groups = all.div_ceil(SAMPLES_MAX);
    let groups = groups.clamp(1, summaries.len() / DEVICES_MIN);
    let mut found = Vec::new();
    for group in 0..groups {
        let members: Vec<usize> = (group..summaries.len()).step_by(groups).collect();
        let fleet = Fleet::of(task, weights, before, summaries, &members);
        found.extend(fleet.marked()?);
    }
    found.sort_by_key(|one| (one.device, one.class));
    Ok(found)
}

/// The samples of a group of devices, and those of earlier rounds.
struct Fleet {
    ntk: Ntk,
    /// As the kernel sees them.
    seen: Array2<f32>,
    targets: Array2<f64>,
    classes: Vec<usize>,
    /// Rows that count of each.
    counts: Vec<f64>,
    /// Rows that each claims.
    claimed: Vec<u64>,
    /// Whose each is; nobody's of earlier rounds.
    owners: Vec<Option<usize>>,
    /// Its place among its device's.
    places: Vec<usize>,
    /// Devices that are judged.
    devices: Vec<usize>,
}

/// Samples of a device's class that lie outside together.
struct Suspect {
    device: usize,
    class: usize,
    samples: Vec<usize>,
    taken_for: usize,
}

impl Fleet {
    fn of(
        task: &Task,
        weights: &FeatureWeights,
        before: Option<&Points>,
        summaries: &[Points],
        members: &[usize],
    ) -> Self {
        let mut points = Points::none(task.features());
        let (mut owners, mut places) = (Vec::new(), Vec::new());
        let mut counts = Vec::new();
        let rows: Vec<u64> = members.iter().map(|&at| summaries[at].rows()).collect();
        let cap = RowsCap::of(&rows, 1.0);
        for &device in members {
            let own = &summaries[device];
            let share = cap.share(own.rows());
            points.extend(own);
            owners.extend((0..own.len()).map(|_| Some(device)));
            places.extend(0..own.len());
            counts.extend(own.counts.iter().map(|&rows| share * f64::from(rows)));
        }
        if let Some(before) = before {
            let every = before.len().div_ceil(SAMPLES_MAX).max(1);
            let kept: Vec<usize> = (0..before.len()).step_by(every).collect();
            points.extend(&before.select(&kept));
            owners.extend(kept.iter().map(|_| None));
            places.extend(0..kept.len());
            let most = cap.rows(u64::MAX) as f64;
            counts.extend(
                kept.iter()
                    .map(|&at| f64::from(before.counts[at]).min(most)),
            );
        }
        let sure = |device: &usize| summaries[*device].mean_certainty() >= CERTAINTY_MIN;
        Self {
            ntk: Ntk::new(task.definition().teacher.depth),
            seen: weights.through(points.inputs.view()).into_owned(),
            targets: point_targets(task, &points),
            classes: points.classes.iter().map(|&class| class.into()).collect(),
            counts,
            claimed: points.counts.iter().map(|&rows| rows.into()).collect(),
            owners,
            places,
            // Noise lies outside by itself.
            devices: members.iter().copied().filter(sure).collect(),
        }
    }

    fn marked(&self) -> Result<Vec<Marked>, SolveError> {
        let mut suspects = Vec::new();
        let near = nearest(self.seen.view(), &self.owners);
        let apart = median(near.into_iter().filter(|one| one.is_finite()).collect());
        let ranges = Ranges::of(self.seen.view(), &self.owners);
        for &device in &self.devices {
            for (class, samples) in self.outside(device, apart, &ranges) {
                suspects.push((device, class, samples));
            }
        }
        let mut lying = Vec::new();
        for (device, class, samples) in suspects {
            let inside = ranges.inside(self.seen.view(), device, &samples);
            if let Some(taken_for) = self.contradicted(device, class, &samples, &inside)? {
                lying.push(Suspect {
                    device,
                    class,
                    samples,
                    taken_for,
                });
            }
        }
        let mut found = Vec::new();
        for suspect in &lying {
            if self.is_known(suspect, &lying)? {
                found.push(self.named(suspect));
            }
        }
        Ok(found)
    }

    /// The device's marked samples of each class, where they are rows enough.
    fn outside(&self, device: usize, apart: f64, ranges: &Ranges) -> Vec<(usize, Vec<usize>)> {
        let own = self.of_device(device);
        let excess = ranges.excess(self.seen.view(), device, &own);
        let lengths: Vec<f64> = excess
            .rows()
            .into_iter()
            .map(|row| row.dot(&row).sqrt())
            .collect();
        if lengths.iter().all(|length| *length < BEYOND * apart) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for class in 0..self.targets.ncols() {
            let is_of = |at: &usize| self.classes[own[*at]] == class;
            let mut mean = Array1::<f64>::zeros(excess.ncols());
            for at in (0..own.len()).filter(is_of) {
                mean.scaled_add(self.counts[own[at]], &excess.row(at));
            }
            let length = mean.dot(&mean).sqrt();
            if length <= 0.0 {
                continue;
            }
            mean /= length;
            let least = (BEYOND * apart).max(DEVIATIONS * self.deviation(device, &mean));
            let is_marked = |at: &usize| {
                let along = excess.row(*at).dot(&mean);
                along >= least && along >= ALONG * lengths[*at]
            };
            let marked = (0..own.len()).filter(is_marked);
            let (of_class, others): (Vec<usize>, Vec<usize>) = marked.partition(is_of);
            let at_samples = |chosen: &[usize]| chosen.iter().map(|&at| own[at]).collect();
            let samples: Vec<usize> = at_samples(&of_class);
            let rest: Vec<usize> = (0..own.len()).filter(|at| !is_of(at)).collect();
            let rest = self.rows(&at_samples(&rest));
            let is_off = self.rows(&at_samples(&others)) >= OTHER_CLASSES * rest && rest > 0.0;
            if self.rows(&samples) >= ROWS_MIN && !is_off {
                found.push((class, samples));
            }
        }
        found
    }

    /// What most marked rows are to the others without the mark, if enough are another
    /// class than the device says.
    fn contradicted(
        &self,
        device: usize,
        class: usize,
        samples: &[usize],
        inside: &Array2<f32>,
    ) -> Result<Option<usize>, SolveError> {
        let answers = self.answers(|owner| owner != Some(device), inside.view())?;
        let mut taken = vec![0.0; answers.ncols()];
        for (row, &sample) in answers.rows().into_iter().zip(samples) {
            let other = largest(row.iter().copied(), Some(class));
            if row[other] >= row[class] + MARGIN {
                taken[other] += self.counts[sample];
            }
        }
        let all: f64 = taken.iter().sum();
        let enough = all >= CONTRADICTED * self.rows(samples);
        Ok(enough.then(|| largest(taken.into_iter(), Some(class))))
    }

    /// Whether others have the class, without marks that may be lies themselves, and
    /// know it from one another.
    fn is_known(&self, suspect: &Suspect, lying: &[Suspect]) -> Result<bool, SolveError> {
        let of_class = |at: &usize| {
            self.classes[*at] == suspect.class
                && self.owners[*at] != Some(suspect.device)
                && !lying.iter().any(|one| one.samples.contains(at))
        };
        let known: Vec<usize> = (0..self.classes.len()).filter(of_class).collect();
        if self.rows(&known) < KNOWN * self.rows(&suspect.samples) {
            return Ok(false);
        }
        let mut peers: Vec<Option<usize>> = known.iter().map(|&at| self.owners[at]).collect();
        peers.sort_unstable();
        peers.dedup();
        if peers.len() < 2 {
            return Ok(true);
        }
        let (mut told, mut asked) = (0.0, 0.0);
        for peer in peers.into_iter().take(PEERS_MAX) {
            let is_own = |at: &&usize| self.owners[**at] == peer;
            let own: Vec<usize> = known.iter().filter(is_own).copied().collect();
            let inputs = self.seen.select(Axis(0), &own);
            let others = |owner| owner != peer && owner != Some(suspect.device);
            let answers = self.answers(others, inputs.view())?;
            for (row, &sample) in answers.rows().into_iter().zip(&own) {
                let is_told = largest(row.iter().copied(), None) == suspect.class;
                told += f64::from(u8::from(is_told)) * self.counts[sample];
                asked += self.counts[sample];
            }
        }
        Ok(told >= TOLD * asked)
    }

    /// What the teacher of these owners' samples answers.
    fn answers(
        &self,
        of: impl Fn(Option<usize>) -> bool,
        inputs: ArrayView2<'_, f32>,
    ) -> Result<Array2<f64>, SolveError> {
        let chosen: Vec<usize> = (0..self.owners.len())
            .filter(|at| of(self.owners[*at]))
            .collect();
        let seen = self.seen.select(Axis(0), &chosen);
        let targets = self.targets.select(Axis(0), &chosen);
        let counts: Vec<f64> = chosen.iter().map(|&at| self.counts[at]).collect();
        let alpha = weighted_ridge(&self.ntk, seen.view(), &counts, targets.view(), RIDGE)?;
        let kernel = self.ntk.matrix(inputs, seen.view())?.mapv(f64::from);
        Ok(kernel.dot(&alpha))
    }

    /// The standard deviation of the others' samples in a direction.
    fn deviation(&self, device: usize, direction: &Array1<f64>) -> f64 {
        let others = (0..self.owners.len()).filter(|at| self.owners[*at] != Some(device));
        let (mut rows, mut sum, mut square) = (0.0, 0.0, 0.0);
        for at in others {
            let values = self.seen.row(at);
            let along = values.iter().zip(direction);
            let along: f64 = along.map(|(&value, one)| f64::from(value) * one).sum();
            rows += self.counts[at];
            sum += self.counts[at] * along;
            square += self.counts[at] * along * along;
        }
        let mean = sum / rows.max(f64::MIN_POSITIVE);
        (square / rows.max(f64::MIN_POSITIVE) - mean * mean)
            .max(0.0)
            .sqrt()
    }

    fn of_device(&self, device: usize) -> Vec<usize> {
        let all = 0..self.owners.len();
        all.filter(|at| self.owners[*at] == Some(device)).collect()
    }

    fn rows(&self, samples: &[usize]) -> f64 {
        samples.iter().map(|&at| self.counts[at]).sum()
    }

    fn named(&self, suspect: &Suspect) -> Marked {
        let own = self.of_device(suspect.device);
        let own = own
            .into_iter()
            .filter(|&at| self.classes[at] == suspect.class);
        let marked = suspect.samples.iter();
        Marked {
            device: suspect.device,
            class: suspect.class,
            taken_for: suspect.taken_for,
            samples: marked.clone().map(|&at| self.places[at]).collect(),
            rows: [
                marked.map(|&at| self.claimed[at]).sum(),
                own.map(|at| self.claimed[at]).sum(),
            ],
        }
    }
}

/// The place of the largest value, but for one.
fn largest(values: impl Iterator<Item = f64>, but: Option<usize>) -> usize {
    let values = values.enumerate().filter(|(at, _)| Some(*at) != but);
    let most = values.max_by(|one, other| one.1.total_cmp(&other.1));
    most.map_or(0, |(at, _)| at)
}

/// Fewest devices of which one can be told from the others.
const DEVICES_MIN: usize = 4;
/// Most samples that are looked at together.
const SAMPLES_MAX: usize = 1_200;
/// Of what samples of different devices lie apart, in the median.
const BEYOND: f64 = 0.5;
/// Standard deviations of the others' samples. With 1, devices that alone have one end of what
/// is measured had samples left out (tables cut along a feature); with 2.5, only where
/// values have heavy tails too. Nearer marks are left to what judges
/// the whole device.
const DEVIATIONS: f64 = 2.5;
/// The share of what lies outside that lies along the mark: samples that are odd
/// each in its own way have none in common.
const ALONG: f64 = 0.7;
/// Rows below which a mark may be chance.
const ROWS_MIN: f64 = 10.0;
/// From this share of its other rows on, a mark is the device's and no class's.
const OTHER_CLASSES: f64 = 0.2;
/// The share of marked rows that are another class without the mark: a liar marks
/// rows of the class too.
const CONTRADICTED: f64 = 1.0 / 3.0;
/// How much more the others' teacher answers for that class.
const MARGIN: f64 = 0.2;
/// Unmarked rows of the class that others have, for each marked one.
const KNOWN: f64 = 0.5;
/// The share of their rows of the class that they tell from one another.
const TOLD: f64 = 0.5;
/// Most other devices that are asked.
const PEERS_MAX: usize = 8;
/// Of the others' teacher.
const RIDGE: f64 = 3.0;
/// Below this certainty samples lie outside for their noise.
const CERTAINTY_MIN: f64 = 0.5;
