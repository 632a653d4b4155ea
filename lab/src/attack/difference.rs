//! A curious coordinator has a device describe its rows for two tasks, the
//! second time with one row more, and subtracts.

use ndarray::{Array1, Array2, Axis};

use super::fleet::{Fleet, accuracy, parts, trained_on};
use super::observed::{Observed, Received};
use super::search::{distance, typical_distance};
use super::{Attack, AttackError, Finding, Kind, Scene};
use crate::progress::Progress;

pub(super) const DIFFERENCE: Attack = Attack {
    name: "difference",
    about: "two tasks, the second with one row more (--rows, else 60, then 61); what differs",
    kind: Kind::Curious(attack),
};

fn attack(scene: &Scene<'_>, progress: &mut Progress) -> Result<Finding, AttackError> {
    let grown = grown(scene)?;
    let folder = tempfile::tempdir()?;
    let mut runs = Vec::new();
    let tasks = [("first", scene.seed), ("second", scene.seed ^ OTHER_TASK)];
    for (at, (name, seed)) in tasks.into_iter().enumerate() {
        progress.stage(&format!("seed {}: the {name} task", scene.seed));
        let held = grown.iter().map(|one| one.rows(at)).collect();
        let mut fleet = Fleet::of(scene, held, seed)?;
        fleet.simulation.remember(folder.path().to_owned());
        let ran = fleet.run(scene, progress)?;
        let Some(last) = &ran.last else {
            let why = ran.ended.unwrap_or_default();
            let problem = format!("the {name} task came to nothing: {why}");
            return Err(scene.fleet_error(problem));
        };
        let observed = Observed::of(&fleet.simulation, last)?;
        runs.push((observed, ran));
    }
    let [(before, _), (after, ran)] = &runs[..] else {
        return Err(scene.fleet_error("there were not two tasks".to_owned()));
    };
    progress.stage("  measuring how far neighbours lie");
    let [_, normalised] = after.normalised(scene.data.train.inputs.view())?;
    let typical = typical_distance(&after.seen(normalised.view()));
    let mut finding = Finding {
        student_accuracy: Some(accuracy(scene.data, ran.release.as_deref())?),
        uplink_bytes_max: ran.uplink_bytes_max,
        ..Finding::default()
    };
    finding.honest_accuracy = finding.student_accuracy;
    let mut told = Told::default();
    for (device, grown) in grown.iter().enumerate() {
        let Some(new) = grown.new else { continue };
        let pair = (&before.devices[device], &after.devices[device]);
        let (Some(first), Some(second)) = (pair.0.rows(), pair.1.rows()) else {
            continue;
        };
        told.devices += 1;
        told.grew += usize::from(second == first + 1);
        let label = scene.data.train.labels[new];
        told.labels += usize::from(new_class(pair.0, pair.1) == Some(label));
        let row = scene.data.train.inputs.select(Axis(0), &[new]);
        let [_, row] = after.normalised(row.view())?;
        let row = after.seen(row.view());
        let candidates = candidates(pair, after)?;
        let nearest = { candidates.iter() }
            .map(|one| distance(row.row(0), one.row(0)))
            .fold(f64::INFINITY, f64::min);
        told.half += usize::from(nearest < 0.5 * typical);
        told.tenth += usize::from(nearest < 0.1 * typical);
    }
    if told.devices == 0 {
        let problem = "no device described its rows for both tasks; more --rows, a lower \
                       --rows-min or another --partition help";
        return Err(scene.fleet_error(problem.to_owned()));
    }
    let share = |count: usize| count as f64 / told.devices as f64;
    finding.rebuilt_half = Some(share(told.half));
    finding.rebuilt_tenth = Some(share(told.tenth));
    finding.note("devices looked at", told.devices.to_string());
    finding.note("that described one row more", told.grew.to_string());
    finding.note("whose new row's class is told", told.labels.to_string());
    Ok(finding)
}

#[derive(Default)]
struct Told {
    devices: usize,
    grew: usize,
    labels: usize,
    half: usize,
    tenth: usize,
}

/// What a device holds for the first task, and the row that comes then.
struct Grown {
    first: Vec<usize>,
    /// Rows that come for the second task; the last of them is learnt from.
    more: Vec<usize>,
    new: Option<usize>,
}

impl Grown {
    fn rows(&self, task: usize) -> Vec<usize> {
        match task {
            0 => self.first.clone(),
            _ => [&self.first[..], &self.more[..]].concat(),
        }
    }
}

fn grown(scene: &Scene<'_>) -> Result<Vec<Grown>, AttackError> {
    let asked = super::AttackOptions {
        rows: Some(scene.options.rows.unwrap_or(ROWS)),
        ..scene.options.clone()
    };
    let narrow = Scene {
        options: &asked,
        ..*scene
    };
    let wide_options = super::AttackOptions {
        rows: None,
        ..scene.options.clone()
    };
    let wide = Scene {
        options: &wide_options,
        ..*scene
    };
    let pairs = parts(&narrow)?.into_iter().zip(parts(&wide)?);
    Ok(pairs
        .map(|(first, all)| grow(scene, &first, &all))
        .collect())
}

/// The same rows and, of the device's others, as many as it takes until it
/// learns from one more: of a class that it has many rows of, so that its
/// policy does not leave it out.
fn grow(scene: &Scene<'_>, first: &[usize], all: &[usize]) -> Grown {
    let labels = &scene.data.train.labels;
    let mut counts = vec![0usize; scene.data.classes.len()];
    for &row in first {
        counts[usize::from(labels[row])] += 1;
    }
    let most = (0..counts.len()).max_by_key(|&class| counts[class]);
    let spare = all
        .iter()
        .copied()
        .filter(|row| Some(usize::from(labels[*row])) == most && !first.contains(row));
    let learnt = trained_on(scene.data, first);
    let mut grown = Grown {
        first: first.to_vec(),
        more: Vec::new(),
        new: None,
    };
    for row in spare {
        grown.more.push(row);
        if trained_on(scene.data, &grown.rows(1)) == learnt + 1 {
            grown.new = Some(row);
            break;
        }
    }
    if grown.new.is_none() {
        grown.more.clear();
    }
    grown
}

/// What may be the new row, as the kernel sees it, one row each: what the
/// sums of both tasks' profiles differ by, and of their points.
fn candidates(
    (first, second): (&Received, &Received),
    after: &Observed,
) -> Result<Vec<Array2<f64>>, AttackError> {
    let mut candidates = Vec::new();
    if let (Some(first), Some(second)) = (profile_sum(first), profile_sum(second)) {
        let row = (second - first).mapv(|value| value as f32);
        let row = row.insert_axis(Axis(0));
        let normalised = after.normaliser.apply(row.view());
        if let Ok(normalised) = normalised {
            candidates.push(after.seen(normalised.view()));
        }
    }
    let classes = after.task.classes();
    if let Some(class) = new_class(first, second)
        && let (Some(first), Some(second)) =
            (point_sums(first, classes), point_sums(second, classes))
    {
        let row = &second.row(usize::from(class)) - &first.row(usize::from(class));
        let row = row.mapv(|value| value as f32).insert_axis(Axis(0));
        candidates.push(after.seen(row.view()));
    }
    Ok(candidates)
}

/// Σx before the normaliser.
fn profile_sum(device: &Received) -> Option<Array1<f64>> {
    let profile = device.profile.as_ref()?;
    let moments = profile.moments()?;
    let mean: Array1<f64> = moments.mean.iter().map(|&value| f64::from(value)).collect();
    Some(mean * profile.rows() as f64)
}

/// Σx of each class after the normaliser, to the rounding of points.
fn point_sums(device: &Received, classes: usize) -> Option<Array2<f64>> {
    let points = device.points.as_ref()?;
    let mut sums = Array2::zeros((classes, points.inputs.ncols()));
    let rows = points.inputs.rows().into_iter();
    for ((point, &class), &count) in rows.zip(&points.classes).zip(&points.counts) {
        let mut sum = sums.row_mut(usize::from(class));
        sum.scaled_add(f64::from(count), &point.mapv(f64::from));
    }
    Some(sums)
}

/// The class of which there is one row more.
fn new_class(first: &Received, second: &Received) -> Option<u16> {
    let (first, second) = (first.profile.as_ref()?, second.profile.as_ref()?);
    let counts = first.class_counts().iter().zip(second.class_counts());
    let differ = counts.map(|(first, second)| (*second).checked_sub(*first));
    let differ: Option<Vec<u64>> = differ.collect();
    let differ = differ?;
    let grew = differ.iter().position(|&more| more == 1)?;
    (differ.iter().sum::<u64>() == 1).then_some(grew as u16)
}

/// Rows learnt from for the first task.
const ROWS: usize = 60;
const OTHER_TASK: u64 = 0x5eed_0000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::profile::{Profile, RawFeatureMoments, RawProfile};

    /// What a device of these rows sends, the first `ones` of class 1.
    fn described(rows: &Array2<f32>, ones: u64) -> Received {
        let count = rows.nrows() as u64;
        let raw = RawProfile {
            rows: count,
            class_counts: vec![count - ones, ones],
            moments: RawFeatureMoments::of(rows.view()),
        };
        Received {
            profile: Some(Profile::check(raw, rows.ncols(), 2, true).unwrap()),
            ..Received::default()
        }
    }

    #[test]
    fn one_row_more_is_the_difference_of_two_sums() {
        let rows = Array2::from_shape_fn((61, 3), |(row, column)| {
            ((7 * row + 3 * column) % 11) as f32 / 3.0 - 1.5
        });
        let fewer = rows.slice(ndarray::s![..60, ..]).to_owned();
        let (before, after) = (described(&fewer, 30), described(&rows, 31));
        let row = profile_sum(&after).unwrap() - profile_sum(&before).unwrap();
        for (found, value) in row.iter().zip(rows.row(60)) {
            assert!((found - f64::from(*value)).abs() < 1e-3, "{row}");
        }
        assert_eq!(new_class(&before, &after), Some(1));
    }

    #[test]
    fn many_rows_more_tell_no_class() {
        let rows = Array2::zeros((90, 2));
        let fewer = rows.slice(ndarray::s![..60, ..]).to_owned();
        let before = described(&fewer, 30);
        assert_eq!(new_class(&before, &described(&rows, 31)), None);
        assert_eq!(new_class(&before, &before), None);
    }
}
