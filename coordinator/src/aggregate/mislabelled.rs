//! Devices that agree with the others but for one class.

use ndarray::{Array2, ArrayView1};

use common::math::regression::RegressionError;

use super::robust::{median, usual_and_deviation};
use super::trimmed::{Evidence, Sum, answers};

/// A device whose rows of a class are another class to all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mislabelled {
    /// Its place.
    pub device: usize,
    /// The class that it gives them.
    pub class: usize,
    /// The class that the others' teacher takes most of the rest for.
    pub taken_for: usize,
    /// How much of them, in the mean.
    pub share: f64,
    /// The same on the median device.
    pub usual: f64,
}

/// The devices, beside those that are `out` already, of which the teacher of
/// the `core`, solved from its sums without the device's and with this ridge, takes rows of
/// one class for another as of no other device.
///
/// The mean answer of a teacher α on a device's rows of class c is
/// αᵀ·Σφ / n_c, and Σφ over those rows follows from the device's sums: it is
/// what B holds of c, and 1/C of G·u, where uᵀφ = 1. So every device has a
/// confusion matrix without being asked. An entry stands out that exceeds the
/// median of the other devices by [`EXCESS_MIN`] and by [`DEVIATIONS`] of
/// their deviations ([`usual_and_deviation`]): classes that honest devices confuse have a wide
/// spread, classes that nobody confuses none.
///
/// # Errors
/// If the others' sums cannot be solved.
pub(super) fn mislabelled(
    devices: &[Evidence],
    out: &[usize],
    core: (&[bool], Sum, f64),
    constant: ArrayView1<'_, f64>,
) -> Result<Vec<Mislabelled>, RegressionError> {
    let (core, mut sum, lambda) = core;
    let classes = devices.first().map_or(0, |one| one.cross.ncols());
    let kept: Vec<usize> = (0..devices.len()).filter(|at| !out.contains(at)).collect();
    let mut answers = Vec::with_capacity(kept.len());
    for &at in &kept {
        let device = &devices[at];
        let times = f64::from(u8::from(core[at]));
        sum.add(device, -times);
        let alpha = sum.alpha(lambda);
        let others = sum.class_rows.clone();
        sum.add(device, times);
        answers.push(confusion(device, &alpha?, &others, constant));
    }
    let mut found = Vec::new();
    let comparable = |(_, device): &(usize, &usize)| devices[**device].is_comparable();
    for (place, &device) in kept.iter().enumerate().filter(comparable) {
        let given = (0..classes).filter_map(|class| stands_out(&answers, place, class));
        let missed = (0..classes).filter_map(|class| misses(&answers, place, class));
        let worst = given.chain(missed);
        let worst = worst.max_by(|one, other| one.0.total_cmp(&other.0));
        if let Some((_, mut one)) = worst {
            one.device = device;
            found.push(one);
        }
    }
    Ok(found)
}

/// What a teacher makes of a device's rows.
struct Answers {
    /// Mean answers for each class of the device that has rows enough, C×C with
    /// NaN elsewhere.
    mean: Array2<f64>,
    /// Of the rows that the teacher surely takes for a class, the share that the
    /// device calls another; NaN where they are too few.
    missed: Vec<f64>,
    /// The class that the device calls most of those.
    called: Vec<usize>,
}

/// What the teacher α of `others` rows of each class makes of a device's rows.
fn confusion(
    device: &Evidence,
    alpha: &Array2<f64>,
    others: &[f64],
    constant: ArrayView1<'_, f64>,
) -> Answers {
    let classes = device.cross.ncols();
    let centre = 1.0 / classes as f64;
    let sums = answers(device, alpha.view(), constant);
    let mut mean = Array2::from_elem((classes, classes), f64::NAN);
    for (class, &rows) in device.class_rows.iter().enumerate() {
        if rows >= ROWS_MIN {
            mean.row_mut(class).assign(&(&sums.row(class) / rows));
        }
    }
    let mut missed = vec![f64::NAN; classes];
    let mut called = vec![0; classes];
    for class in 0..classes {
        let answer = &alpha.column(class) + &(&constant * centre);
        let sure = device.gram.dot(&answer).dot(&answer);
        if sure >= ROWS_MIN {
            let missing = (sure - sums[[class, class]].max(0.0)) / sure;
            // Rows of a class that the others hardly have they must take for
            // another: what is missing counts as far as it is called what they
            // know.
            let rest = || (0..classes).filter(|other| *other != class);
            let enough = |other: usize| KNOWN_TIMES * device.class_rows[other].max(ROWS_MIN);
            let knows = |other: &usize| others[*other] >= enough(*other);
            let given = |other: usize| sums[[other, class]].max(0.0);
            let all: f64 = rest().map(given).sum();
            let known: f64 = rest().filter(knows).map(given).sum();
            let share = if all > 0.0 { known / all } else { 0.0 };
            missed[class] = (missing * share).max(0.0);
            let most = rest().max_by(|&a, &b| sums[[a, class]].total_cmp(&sums[[b, class]]));
            called[class] = most.unwrap_or(class);
        }
    }
    Answers {
        mean,
        missed,
        called,
    }
}

/// How much more a device than others calls rows another class that their
/// teacher surely takes for this one, if it does.
///
/// Rows that f answers for surely are as many as Σf², which rows that it only
/// leans to hardly enter, and the sum of f over the device's own rows of the
/// class takes off those that it calls so too. One device that gives all its
/// rows of one class to another has a share near one there, though honest rows of the
/// other class stand beside them. A device without rows of the class has that share
/// too, where the teacher takes some of its rows for it; so of the rows that it calls
/// otherwise the teacher has to take more for the class than on the median of the
/// other devices, by [`LEANS_MIN`] in the mean.
fn misses(answers: &[Answers], place: usize, class: usize) -> Option<(f64, Mislabelled)> {
    let own = &answers[place];
    let share = own.missed[class];
    let peers = answers.iter().enumerate();
    let peers = peers.filter(|(at, one)| *at != place && !one.missed[class].is_nan());
    let peers: Vec<f64> = peers.map(|(_, one)| one.missed[class]).collect();
    if share.is_nan() || peers.len() < PEERS_MIN {
        return None;
    }
    let (usual, deviation) = usual_and_deviation(&peers);
    let excess = share - usual;
    let called = own.called[class];
    // Classes that are hard to tell apart are so on every device.
    let leans = |one: &Answers| one.mean[[called, class]];
    let others = answers.iter().enumerate().filter(|(at, _)| *at != place);
    let others = others
        .map(|(_, one)| leans(one))
        .filter(|one| !one.is_nan());
    let others: Vec<f64> = others.collect();
    let beyond = leans(own)
        - if others.is_empty() {
            0.0
        } else {
            median(others)
        };
    if beyond.is_nan() || beyond < LEANS_MIN {
        return None;
    }
    let found = Mislabelled {
        device: place,
        class: called,
        taken_for: class,
        share: share.min(1.0),
        usual: usual.max(0.0),
    };
    (excess >= MISSED_MIN && excess >= MISSED_DEVIATIONS * deviation)
        .then_some((excess / deviation, found))
}

/// How far the rows of a class stand out, if they do.
fn stands_out(answers: &[Answers], place: usize, class: usize) -> Option<(f64, Mislabelled)> {
    let own = answers[place].mean.row(class);
    let peers = answers.iter().enumerate();
    let peers: Vec<_> = peers
        .filter(|(at, one)| *at != place && !one.mean[[class, class]].is_nan())
        .map(|(_, one)| one.mean.row(class))
        .collect();
    if own[class].is_nan() || peers.len() < PEERS_MIN {
        return None;
    }
    // That the class itself is missed counts as much as what for.
    let wrong = |row: &ArrayView1<'_, f64>, taken_for: usize| match taken_for == class {
        true => 1.0 - row[class],
        false => row[taken_for],
    };
    let entry = |taken_for: usize| {
        let values: Vec<f64> = peers.iter().map(|row| wrong(row, taken_for)).collect();
        let (usual, deviation) = usual_and_deviation(&values);
        let share = wrong(&own, taken_for);
        let excess = share - usual;
        (excess >= EXCESS_MIN && excess >= DEVIATIONS * deviation).then_some((
            excess / deviation,
            share,
            usual,
        ))
    };
    let found = (0..own.len()).filter_map(|taken_for| Some((taken_for, entry(taken_for)?)));
    let (worst, (by, share, usual)) = found.max_by(|one, other| one.1.0.total_cmp(&other.1.0))?;
    let mostly = (0..own.len()).filter(|at| *at != class);
    let mostly = mostly.max_by(|one, other| own[*one].total_cmp(&own[*other]));
    let taken_for = if worst == class { mostly? } else { worst };
    let one = Mislabelled {
        device: place,
        class,
        taken_for,
        share,
        usual,
    };
    Some((by, one))
}

/// Rows of a class below which its mean answer is chance.
const ROWS_MIN: f64 = 15.0;
/// Other devices with the class of which a majority can be told.
const PEERS_MIN: usize = 5;
/// What another class may have more of than on the median device: honest
/// persons' own ways of doing a thing come near it.
const EXCESS_MIN: f64 = 0.4;
/// Honest devices have heavy tails: persons with their own way of sitting
/// reach eight.
const DEVIATIONS: f64 = 10.0;
/// The share of the rows that are surely of a class to the others which a device
/// calls another, more than the median device: of two classes that are one to
/// the others, half.
const MISSED_MIN: f64 = 0.7;
const MISSED_DEVIATIONS: f64 = 5.0;
/// How much more, in the mean, the teacher takes the rows for that class than rows of
/// that name on other devices.
const LEANS_MIN: f64 = 0.2;
/// The others know a class of which they have so many times a device's rows.
const KNOWN_TIMES: f64 = 2.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Devices of two classes, each class in a direction of its own and a
    /// third direction that is one for every row; `flipped` of the rows of the
    /// first class, which has three times as many, are labelled as the second.
    fn device(rows: f64, flipped: f64) -> Evidence {
        let own = [rows - flipped, flipped, rows / 3.0];
        let mut gram = Array2::zeros((3, 3));
        let mut cross = Array2::zeros((3, 2));
        let places = [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]];
        let labels = [[0.5, -0.5], [-0.5, 0.5], [-0.5, 0.5]];
        for ((count, phi), target) in own.into_iter().zip(places).zip(labels) {
            for row in 0..3 {
                for column in 0..3 {
                    gram[[row, column]] += count * phi[row] * phi[column];
                }
                for class in 0..2 {
                    cross[[row, class]] += count * phi[row] * target[class];
                }
            }
        }
        Evidence {
            gram,
            cross,
            target_square: 2.0 / 3.0 * rows,
            unanswered: 2.0 / 3.0 * rows,
            rows: 4.0 / 3.0 * rows,
            class_rows: vec![rows - flipped, rows / 3.0 + flipped],
            certainty: 1.0,
        }
    }

    fn found(devices: &[Evidence]) -> Vec<Mislabelled> {
        let core: Vec<bool> = (0..devices.len())
            .map(|at| at < devices.len() / 2 + 1)
            .collect();
        let constant = ndarray::array![0.0, 0.0, 1.0];
        let mut sum = Sum::empty(3, 2);
        for device in &devices[..devices.len() / 2 + 1] {
            sum.add(device, 1.0);
        }
        mislabelled(devices, &[], (&core, sum, 0.1), constant.view()).unwrap()
    }

    #[test]
    fn a_class_that_is_another_to_all_others_is_named() {
        let mut devices = vec![device(60.0, 0.0); 20];
        assert_eq!(found(&devices), []);
        devices[15] = device(60.0, 59.0);
        devices[17] = device(60.0, 4.0);
        let [only] = found(&devices).try_into().unwrap();
        assert_eq!((only.device, only.class), (15, 1));
        assert_eq!(only.taken_for, 0);
        assert!(only.share > 0.4 && only.usual < 0.1, "{only:?}");
    }

    #[test]
    fn a_class_given_away_to_another_is_named() {
        let mut devices = vec![device(60.0, 0.0); 20];
        // Three times as many honest rows of the class that gets them hide them
        // from its mean answer.
        devices[16] = given_away(20.0, 60.0);
        let [only] = found(&devices).try_into().unwrap();
        assert_eq!((only.device, only.class, only.taken_for), (16, 1, 0));
        assert!(only.share > 0.9 && only.usual < 0.2, "{only:?}");
        // One that has no rows of the class at all gives none away.
        devices[16] = given_away(0.0, 60.0);
        assert_eq!(found(&devices), []);
        // Nor one that alone knows the class that its rows are called: the others
        // cannot but take them for theirs.
        let mut devices = vec![only_first(60.0); 20];
        devices[16] = given_away(60.0, 0.0);
        assert_eq!(found(&devices), []);
    }

    /// Rows of the first class alone.
    fn only_first(rows: f64) -> Evidence {
        let mut one = given_away(rows, 0.0);
        one.cross.mapv_inplace(|value| -value);
        one.class_rows = vec![rows, 0.0];
        one
    }

    /// `given` rows of the first class that are labelled as the second, beside
    /// `true_rows` of the second.
    fn given_away(given: f64, true_rows: f64) -> Evidence {
        let places = [(given, [1.0, 0.0, 1.0]), (true_rows, [0.0, 1.0, 1.0])];
        let mut gram = Array2::zeros((3, 3));
        let mut cross = Array2::zeros((3, 2));
        for (count, phi) in places {
            for row in 0..3 {
                for column in 0..3 {
                    gram[[row, column]] += count * phi[row] * phi[column];
                }
                for (class, target) in [-0.5, 0.5].into_iter().enumerate() {
                    cross[[row, class]] += count * phi[row] * target;
                }
            }
        }
        let rows = given + true_rows;
        Evidence {
            gram,
            cross,
            target_square: 0.5 * rows,
            rows,
            class_rows: vec![0.0, rows],
            unanswered: 2.0 / 3.0 * rows,
            certainty: 1.0,
        }
    }

    #[test]
    fn few_devices_have_no_majority_for_a_class() {
        let mut devices = vec![device(60.0, 0.0); 5];
        devices[4] = device(60.0, 59.0);
        assert_eq!(found(&devices), []);
    }
}
