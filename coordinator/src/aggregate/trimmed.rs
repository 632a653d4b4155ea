//! Which devices contradict the others: least trimmed squares over devices.

mod answers;
mod ridge;

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rand::seq::index::sample;

use common::math::linalg::Cholesky;
use common::math::random::rng;
use common::math::regression::RegressionError;

use super::robust::{median, usual_and_deviation};
pub(super) use answers::answers;
use answers::{Answered, TOLD_APART};

/// What one device says, in the few directions in which devices are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// ΣφφT, p×p.
    pub gram: Array2<f64>,
    /// Σφtᵀ with centred targets, p×C.
    pub cross: Array2<f64>,
    /// Σ‖t‖².
    pub target_square: f64,
    /// The squared error of no answer at all: Σ‖t‖², and for numbers no less
    /// than a variance a row.
    pub unanswered: f64,
    /// Rows it counts for.
    pub rows: f64,
    /// Rows of each class, as far as they can be told, not negative.
    pub class_rows: Vec<f64>,
    /// How surely its rows lie where it says, 0 to 1: less under differential
    /// privacy.
    pub certainty: f64,
}

impl Evidence {
    /// Whether it can be held to what other devices' rows are like.
    pub(super) fn is_comparable(&self) -> bool {
        self.certainty >= CERTAINTY_MIN && self.class_rows.len() > 1
    }
}

/// A device that contradicts the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contradiction {
    /// Its place.
    pub device: usize,
    /// The others' squared error on its rows of known classes, relative to
    /// that of no answer at all.
    pub error: f64,
    /// The same of the median device that is trusted.
    pub usual: f64,
}

/// Who agrees with whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Agreement {
    /// Whether each device is in the half that agrees best with itself.
    pub(super) core: Vec<bool>,
    /// The devices that contradict the others, in their order.
    pub(super) contradictions: Vec<Contradiction>,
}

/// Judges devices by what the others' teacher makes of their rows.
///
/// For a device with the sums G, B, T² and a solution α of other devices, the
/// squared error of α on its rows is T² − 2·tr(αᵀB) + tr(αᵀGα), without asking
/// it. Relative to T² that is 0 for a perfect answer and 1 for none at all. A
/// class that the others do not know explains the error of a sure wrong answer for
/// each of its rows, and is taken off.
///
/// *Least trimmed squares* (Rousseeuw & Van Driessen 1999, FAST-LTS): from
/// many small random subsets, concentration steps (solve on the subset, keep
/// the half of the devices with the smallest error) lead to the half that
/// agrees best with itself. From there every device is let in again that the
/// others' teacher serves at least as well as no answer ([`ERROR_MAX`]): the
/// error of those that were not in the solution is that of a forecast, so
/// honest outliers have room. Labels that contradict the others', shifted or
/// drawn at random or put to rows of noise, do worse than no answer, and no
/// honest row does, whatever its device: that is a bound of principle, not one
/// that was fitted. Labels of which a part is wrong may do better than no answer.
/// So a device is left out too whose error lies [`EXCESS_MIN`] and
/// [`DEVIATIONS`] above what devices that are trusted have, if the others know its
/// classes well ([`KNOWN_WELL_TIMES`]). Where something was known before, no other device
/// is judged: later samples are of rows that the teacher before has wrong, and honest
/// devices whose classes are theirs alone do worse on them than no answer.
#[derive(Debug)]
pub(super) struct Trimmed<'a> {
    devices: &'a [Evidence],
    lambda: f64,
    directions: usize,
    /// What was known before these devices spoke, which every solution has.
    before: Option<&'a Evidence>,
    /// u with uᵀφ = 1 for every row, where targets are classes.
    constant: Option<Array1<f64>>,
}

impl<'a> Trimmed<'a> {
    /// With the ridge by which devices forecast one another best
    /// ([`Self::forecasting_ridge`]), and what was known before.
    ///
    /// # Errors
    /// If the devices' sums differ in shape or cannot be solved.
    pub(super) fn new(
        devices: &'a [Evidence],
        before: Option<&'a Evidence>,
    ) -> Result<Self, RegressionError> {
        let mut trimmed = Self {
            devices,
            lambda: 1.0,
            directions: devices.first().map_or(0, |one| one.gram.nrows()),
            before,
            constant: None,
        };
        if devices.len() >= DEVICES_MIN {
            trimmed.lambda = trimmed.forecasting_ridge()?;
        }
        Ok(trimmed)
    }

    /// Judges a device by those classes alone that the others can tell, with
    /// uᵀφ = 1 for every row.
    ///
    /// Rows of a class are rows of the others' teacher only as far as it can tell
    /// them ([`Self::told_apart`]): where each class lies all over the inputs and
    /// most devices hold one class alone, it answers the class of most of them to
    /// everything, and its error says nothing of the rest.
    pub(super) fn of_classes(mut self, constant: ArrayView1<'_, f64>) -> Self {
        self.constant = Some(constant.to_owned());
        self
    }

    /// The ridge of every solution.
    pub(super) fn lambda(&self) -> f64 {
        self.lambda
    }

    /// The half of the devices that agrees best with itself, and the devices
    /// that contradict the others; none where there are too few to have a
    /// majority. The same devices give the same answer.
    ///
    /// Cost: some [`STARTS`]·[`STEPS`]·K·p³/3 for K devices in p directions.
    ///
    /// # Errors
    /// If a subset's sums cannot be solved.
    pub(super) fn agreement(&self) -> Result<Option<Agreement>, RegressionError> {
        let count = self.devices.len();
        if count < DEVICES_MIN {
            return Ok(None);
        }
        let core = self.concentrated()?;
        let mut trusted = core.clone();
        let mut errors = Vec::new();
        for _ in 0..REWEIGHTS {
            let told = self.told_apart(&trusted)?;
            errors = self.errors(&trusted, &told)?;
            let compared = self.compared(&trusted);
            let outlying = outlying(&errors, &trusted, &compared);
            let agrees = |(&error, &compared): (&f64, &bool)| match compared {
                true => error <= ERROR_MAX.min(outlying),
                // What was known before is wrong on the rows that later samples are of.
                false => self.before.is_some() || error <= ERROR_MAX,
            };
            let next: Vec<bool> = errors.iter().zip(&compared).map(agrees).collect();
            // Without a majority there is nobody to say who lies.
            if next.iter().filter(|one| **one).count() * 2 <= count {
                return Ok(None);
            }
            if next == trusted {
                break;
            }
            trusted = next;
        }
        let kept = errors.iter().zip(&trusted).filter(|(_, one)| **one);
        let usual = median(kept.map(|(error, _)| *error).collect());
        let out = errors.iter().enumerate().filter(|(at, _)| !trusted[*at]);
        let contradictions = out.map(|(device, &error)| Contradiction {
            device,
            error,
            usual,
        });
        Ok(Some(Agreement {
            core,
            contradictions: contradictions.collect(),
        }))
    }

    /// The devices that are held to what others' errors are: those whose classes the
    /// trusted others know well.
    fn compared(&self, trusted: &[bool]) -> Vec<bool> {
        let all = self.sum(trusted).class_rows;
        let compared = |(device, &trusted): (&Evidence, &bool)| {
            let own = f64::from(u8::from(trusted));
            let others = all.iter().enumerate().map(|(class, rows)| {
                let own = own * device.class_rows.get(class).copied().unwrap_or(0.0);
                (rows - own).max(0.0)
            });
            let others: Vec<f64> = others.collect();
            let share = share_known(device, (&others, &[]), KNOWN_WELL_TIMES);
            device.is_comparable() && share >= KNOWN_WELL_MIN
        };
        self.devices.iter().zip(trusted).map(compared).collect()
    }

    /// The half of the devices that agrees best with itself.
    fn concentrated(&self) -> Result<Vec<bool>, RegressionError> {
        let count = self.devices.len();
        let half = count / 2 + 1;
        let first = (count / 4).max(SUBSET_MIN).min(half);
        let mut random = rng(SEED, "trimmed");
        let mut tried = BTreeSet::new();
        let mut best: Option<(f64, Vec<bool>)> = None;
        // Of thousands of devices, the subsets are as large as small fleets.
        let starts = (STARTS * DEVICES_MANY / count).clamp(STARTS_MIN, STARTS);
        for _ in 0..starts {
            let mut chosen = vec![false; count];
            for at in sample(&mut random, count, first) {
                chosen[at] = true;
            }
            let mut sum = f64::INFINITY;
            for _ in 0..STEPS {
                let errors = self.errors(&chosen, &[])?;
                let next = smallest(&errors, half);
                sum = chosen_sum(&errors, &next);
                let settled = next == chosen;
                chosen = next;
                if settled || !tried.insert(chosen.clone()) {
                    break;
                }
            }
            if best.as_ref().is_none_or(|(least, _)| sum < *least) {
                best = Some((sum, chosen));
            }
        }
        Ok(best.map_or_else(|| vec![true; count], |(_, chosen)| chosen))
    }

    /// Each device's error under the solution of the others that are chosen.
    /// Beyond [`LEFT_OUT_MAX`] devices one more or less is no difference, and
    /// a device is judged by a solution that it is in.
    fn errors(&self, chosen: &[bool], told: &[f64]) -> Result<Vec<f64>, RegressionError> {
        let sum = self.sum(chosen);
        let whole = sum.alpha(self.lambda)?;
        let few = chosen.iter().filter(|one| **one).count() <= LEFT_OUT_MAX;
        let mut errors = Vec::with_capacity(self.devices.len());
        for (device, &inside) in self.devices.iter().zip(chosen) {
            let error = match (inside, few) {
                (true, true) => {
                    let others = sum.without(device);
                    error(device, others.alpha(self.lambda)?.view(), &others, told)
                }
                (true, false) => error(device, whole.view(), &sum.without(device), told),
                (false, _) => error(device, whole.view(), &sum, told),
            };
            errors.push(error);
        }
        Ok(errors)
    }

    /// How well the trusted devices tell each class from the rest, 0 for not at all
    /// and 1 for well enough; nothing where targets are no classes.
    ///
    /// That is Youden's J, the mean answer for the class on its own rows less the
    /// same on all others, as a share of [`TOLD_APART`]. Rows are asked about
    /// without the device that has them where the others have enough of the class,
    /// else with it.
    fn told_apart(&self, trusted: &[bool]) -> Result<Vec<f64>, RegressionError> {
        let Some(constant) = &self.constant else {
            return Ok(Vec::new());
        };
        let sum = self.sum(trusted);
        let whole = sum.alpha(self.lambda)?;
        let few = trusted.iter().filter(|one| **one).count() <= LEFT_OUT_MAX;
        let classes = sum.cross.ncols();
        // Rows and answers of classes that others know, and of those that they do not.
        let mut asked = [Answered::none(classes), Answered::none(classes)];
        for (device, _) in self.devices.iter().zip(trusted).filter(|(_, one)| **one) {
            let others = sum.without(device);
            let alpha = match few {
                true => others.alpha(self.lambda)?,
                false => whole.clone(),
            };
            let of_others = answers(device, alpha.view(), constant.view());
            let of_all = answers(device, whole.view(), constant.view());
            for class in 0..classes {
                let own = device.class_rows.get(class).copied().unwrap_or(0.0);
                let rest = others.class_rows.get(class).copied().unwrap_or(0.0);
                asked[0].add(class, own, of_others.row(class), rest >= KNOWN_TIMES * own);
                asked[1].add(class, own, of_all.row(class), true);
            }
        }
        let [by_others, by_all] = &asked;
        let told = |class: usize| {
            let index = by_others.index(class).or_else(|| by_all.index(class));
            (index.unwrap_or(1.0) / TOLD_APART).clamp(0.0, 1.0)
        };
        Ok((0..classes).map(told).collect())
    }

    /// The sums of the devices that are chosen, and of what was known before.
    pub(super) fn sum(&self, chosen: &[bool]) -> Sum {
        let classes = self.devices.first().map_or(0, |one| one.cross.ncols());
        let mut sum = Sum::empty(self.directions, classes);
        if let Some(before) = self.before {
            sum.add(before, 1.0);
        }
        for (device, _) in self.devices.iter().zip(chosen).filter(|(_, one)| **one) {
            sum.add(device, 1.0);
        }
        sum
    }
}

/// The error from which on a device is no part of what the trusted ones have that are
/// compared.
fn outlying(errors: &[f64], trusted: &[bool], compared: &[bool]) -> f64 {
    let all = errors.iter().zip(trusted).zip(compared);
    let usual = all.filter(|((_, trusted), compared)| **trusted && **compared);
    let usual: Vec<f64> = usual.map(|((error, _), _)| *error).collect();
    if usual.len() < PEERS_MIN {
        return ERROR_MAX;
    }
    let (middle, deviation) = usual_and_deviation(&usual);
    middle + EXCESS_MIN.max(DEVIATIONS * deviation)
}

/// The sums of some devices.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) gram: Array2<f64>,
    pub(super) cross: Array2<f64>,
    target_square: f64,
    rows: f64,
    pub(super) class_rows: Vec<f64>,
}

impl Sum {
    pub(super) fn empty(directions: usize, classes: usize) -> Self {
        Self {
            gram: Array2::zeros((directions, directions)),
            cross: Array2::zeros((directions, classes)),
            target_square: 0.0,
            rows: 0.0,
            class_rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, device: &Evidence, times: f64) {
        self.gram.scaled_add(times, &device.gram);
        self.cross.scaled_add(times, &device.cross);
        self.target_square += times * device.target_square;
        self.rows += times * device.rows;
        if self.class_rows.len() < device.class_rows.len() {
            self.class_rows.resize(device.class_rows.len(), 0.0);
        }
        for (sum, rows) in self.class_rows.iter_mut().zip(&device.class_rows) {
            *sum += times * rows;
        }
    }

    fn without(&self, device: &Evidence) -> Self {
        let mut rest = self.clone();
        rest.add(device, -1.0);
        rest
    }

    pub(super) fn alpha(&self, lambda: f64) -> Result<Array2<f64>, RegressionError> {
        let mut system = self.gram.clone();
        system.diag_mut().map_inplace(|value| *value += lambda);
        let factor = Cholesky::factor(system.view())?;
        Ok(factor.solve(self.cross.view())?)
    }
}

/// The error of α on a device's rows of classes that `others` know, and tell apart so
/// well (`told`, of each class; empty for all), relative to no answer; what cannot be
/// told counts as 0.
///
/// Where noise has moved what a device sends, answers are the less sure the less
/// certain it is where its rows lie: they count as far as serves the device best,
/// between its certainty and whole. What points away from its labels is an error
/// at any scale, so noise excuses no wrong label.
fn error(device: &Evidence, alpha: ArrayView2<'_, f64>, others: &Sum, told: &[f64]) -> f64 {
    let known = share_known(device, (&others.class_rows, told), KNOWN_TIMES);
    if known < KNOWN_MIN || device.unanswered <= 0.0 {
        return 0.0;
    }
    let linear = (&device.cross * &alpha).sum();
    let quadratic = (&device.gram.dot(&alpha) * &alpha).sum();
    let best = linear / quadratic.max(f64::MIN_POSITIVE);
    let scale = best.max(device.certainty).min(1.0);
    let answered = scale * scale * quadratic - 2.0 * scale * linear;
    let error = (device.target_square + answered) / device.unanswered;
    ((error - unknown_error(device) * (1.0 - known)) / known).max(0.0)
}

/// The error of a row of a class that nobody else has, relative to its square 1 − 1/C:
/// they answer another of C classes, and a teacher that knows no third one is sure.
fn unknown_error(device: &Evidence) -> f64 {
    match device.class_rows.len() {
        0 | 1 => UNKNOWN_ERROR_OF_NUMBERS,
        classes => 2.0 / (1.0 - 1.0 / classes as f64),
    }
}

/// The share of a device's rows of classes of which the others have so many times
/// as many rows at least, each as far as they tell it from the rest; in between in
/// proportion.
fn share_known(device: &Evidence, (others, told): (&[f64], &[f64]), times: f64) -> f64 {
    let all: f64 = device.class_rows.iter().sum();
    if all <= 0.0 {
        return 0.0;
    }
    let known = device.class_rows.iter().zip(others).enumerate();
    let known = known.map(|(class, (own, others))| {
        let enough = times * own.max(1.0);
        let told = told.get(class).copied().unwrap_or(1.0);
        own * told * (others / enough).clamp(0.0, 1.0)
    });
    known.sum::<f64>() / all
}

fn smallest(errors: &[f64], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..errors.len()).collect();
    order.sort_by(|&one, &other| errors[one].total_cmp(&errors[other]).then(one.cmp(&other)));
    let mut chosen = vec![false; errors.len()];
    for at in order.into_iter().take(count) {
        chosen[at] = true;
    }
    chosen
}

fn chosen_sum(errors: &[f64], chosen: &[bool]) -> f64 {
    let kept = errors.iter().zip(chosen).filter(|(_, one)| **one);
    kept.map(|(error, _)| error).sum()
}

/// The others' teacher may be as wrong on a device's rows as one that always
/// gives the mean of all targets.
const ERROR_MAX: f64 = 1.0;
/// Errors of honest devices reach 0.5 above the median: persons with ways of
/// their own, and devices with the only rows of a class's kind. Two wrong labels
/// of five make 0.7.
const EXCESS_MIN: f64 = 0.55;
const DEVIATIONS: f64 = 5.0;
/// Fewest devices that say what is usual.
const PEERS_MIN: usize = 6;
/// Below this certainty noise explains what a device has of its own.
const CERTAINTY_MIN: f64 = 0.5;
/// The others know a class of which they have so many times a device's rows: with 0.5
/// an honest device with 120 of 217 rows of a class (satellite, Dirichlet 0.1) had an
/// error of 1.04; with 2 liars pass where a class is two or three devices'.
const KNOWN_TIMES: f64 = 1.0;
/// A device is compared with the others where they have so many times as many rows of
/// its classes, for this share of its rows: on what few others know an honest device
/// has any error up to that of no answer. Of ten devices with tables (satellite,
/// Dirichlet 0.1), where most classes are two or three devices', up to three were
/// left out without this.
const KNOWN_WELL_TIMES: f64 = 4.0;
const KNOWN_WELL_MIN: f64 = 0.9;
/// The same where targets are numbers.
const UNKNOWN_ERROR_OF_NUMBERS: f64 = 2.0;
/// Below this share of known rows a device cannot be judged.
const KNOWN_MIN: f64 = 0.3;
/// Fewest devices of which some can be told from the others.
const DEVICES_MIN: usize = 4;
/// Fewest devices of a first subset.
const SUBSET_MIN: usize = 3;
/// First subsets, and concentration steps from each.
const STARTS: usize = 24;
const STARTS_MIN: usize = 4;
/// From so many devices on there are fewer.
const DEVICES_MANY: usize = 200;
const STEPS: usize = 6;
/// Rounds of letting devices in again.
const REWEIGHTS: usize = 6;
/// Up to so many devices each is judged without itself.
const LEFT_OUT_MAX: usize = 128;
/// Of the first subsets: a fleet is judged the same whenever it is.
const SEED: u64 = 0;

#[cfg(test)]
mod tests;
