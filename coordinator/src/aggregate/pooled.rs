//! What all devices' held-out rows say of a release together: 33 rows of one
//! device do not see a loss of twelve points, those of twenty devices do.

use common::report::RawReport;

use crate::round::Comparison;

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};

/// A release on the held-out rows of the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooled {
    /// Devices that reported.
    pub devices: u32,
    /// Rows they held out, as they say.
    pub rows: u64,
    /// How it does on them, no device weighing more than a few times the median
    /// one.
    pub found: Found,
    /// The same of the students before it, on the rows of devices that had
    /// one; with the release's own on those.
    pub compared: Option<Compared>,
}

/// How a student does on rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Classes: the share that is right.
    Accuracy(f64),
    /// Numbers, of all values together in their units.
    Error {
        /// Root of the mean squared error.
        rmse: f64,
        /// Mean absolute error.
        mae: f64,
    },
}

/// Two students on the same rows: their accuracies, or the roots of their mean
/// squared errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// Of the release.
    pub now: f64,
    /// Of the one before it.
    pub previous: f64,
    /// Whether the release is worse, beyond what devices differ by chance.
    pub is_worse: bool,
    /// Whether it is better at all.
    pub is_better: bool,
    /// Whether more devices lose by it than gain: a few of them, with a word for
    /// many rows, hold no release back.
    pub most_lose: bool,
}

impl Compared {
    /// What is to follow from it.
    pub fn comparison(&self) -> Comparison {
        match (self.is_better, self.is_worse && self.most_lose) {
            (true, _) => Comparison::Better,
            (false, true) => Comparison::Worse,
            (false, false) => Comparison::NoBetter,
        }
    }
}

/// Pools reports; nothing of none.
///
/// Of numbers the gain is the fall of the mean squared error, and a loss counts
/// from `LOSS_MIN` of that error on.
///
/// With the gain dₖ of device k on nₖ rows, the mean gain is D = Σnₖdₖ/Σnₖ and
/// its standard error √(K/(K−1)·Σnₖ²(dₖ−D)²)/Σnₖ (the ratio estimator of a
/// cluster sample: Cochran 1977, chapter 6). A release is worse if it loses
/// more than `LOSS_MIN`, and more than `ERRORS` standard errors.
pub fn pooled(reports: &[RawReport]) -> Option<Pooled> {
    let rows: Vec<u64> = reports.iter().map(|report| report.rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let weight = |report: &RawReport| report.rows as f64 * cap.share(report.rows);
    let mean = |of: &dyn Fn(&RawReport) -> Option<f64>| {
        let (mut sum, mut all) = (0.0, 0.0);
        for report in reports {
            if let Some(found) = of(report) {
                sum += weight(report) * found / report.rows.max(1) as f64;
                all += weight(report);
            }
        }
        (all > 0.0).then(|| sum / all)
    };
    let numbers = reports.iter().any(|report| report.errors.0.is_some());
    let (now, before): (&Sum, &Sum) = match numbers {
        true => (&squared, &squared_before),
        false => (&correct, &correct_before),
    };
    let root = |mean: f64| if numbers { mean.sqrt() } else { mean };
    let had_one = |report: &RawReport| before(report).and(now(report));
    let compared = mean(&had_one).zip(mean(before));
    let compared = compared.map(|(now_mean, previous)| {
        let (gain, least) = match numbers {
            true => (previous - now_mean, LOSS_MIN * previous),
            false => (now_mean - previous, LOSS_MIN),
        };
        let sign = if numbers { -1.0 } else { 1.0 };
        let gains = |report: &RawReport| Some(sign * (now(report)? - before(report)?));
        Compared {
            now: root(now_mean),
            previous: root(previous),
            is_worse: gain < -least && is_below_chance(reports, &weight, &gains, gain),
            is_better: gain > 0.0,
            most_lose: {
                let gains = || reports.iter().filter_map(gains);
                let losers = gains().filter(|gain| *gain < 0.0).count();
                losers > gains().filter(|gain| *gain > 0.0).count()
            },
        }
    });
    let found = match numbers {
        true => Found::Error {
            rmse: mean(&squared)?.sqrt(),
            mae: mean(&absolute)?,
        },
        false => Found::Accuracy(mean(&correct)?),
    };
    Some(Pooled {
        devices: reports.len() as u32,
        rows: rows.iter().fold(0, |sum, rows| sum.saturating_add(*rows)),
        found,
        compared,
    })
}

/// A sum over a device's rows, if it has one.
type Sum = dyn Fn(&RawReport) -> Option<f64>;

fn correct(report: &RawReport) -> Option<f64> {
    Some(report.correct as f64)
}

fn correct_before(report: &RawReport) -> Option<f64> {
    report.previous_correct.map(|correct| correct as f64)
}

fn squared(report: &RawReport) -> Option<f64> {
    Some(mean_of(&report.errors.0.as_ref()?.squared))
}

fn squared_before(report: &RawReport) -> Option<f64> {
    let errors = report.errors.0.as_ref()?;
    errors.previous_squared.as_deref().map(mean_of)
}

fn absolute(report: &RawReport) -> Option<f64> {
    Some(mean_of(&report.errors.0.as_ref()?.absolute))
}

/// Over the values of a row.
fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn is_below_chance(
    reports: &[RawReport],
    weight: &dyn Fn(&RawReport) -> f64,
    gains: &dyn Fn(&RawReport) -> Option<f64>,
    gain: f64,
) -> bool {
    let (mut devices, mut all, mut squares) = (0.0, 0.0, 0.0);
    for report in reports {
        let Some(own) = gains(report) else {
            continue;
        };
        let own = own / report.rows.max(1) as f64;
        devices += 1.0;
        all += weight(report);
        squares += (weight(report) * (own - gain)).powi(2);
    }
    if devices < 2.0 || all <= 0.0 {
        return false;
    }
    let error = (squares * devices / (devices - 1.0)).sqrt() / all;
    gain + ERRORS * error < 0.0
}

/// A loss that nobody would go back for.
const LOSS_MIN: f64 = 0.01;
/// One release in a hundred of equal ones is taken for a worse one.
const ERRORS: f64 = 2.5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::Version;
    use common::math::random::rng;
    use common::report::RawErrors;
    use common::wire::codec::Trailing;
    use rand::Rng;

    fn report(rows: u64, correct: u64, previous: Option<u64>) -> RawReport {
        RawReport {
            version: Version {
                epoch: 1,
                number: 2,
            },
            rows,
            correct,
            previous_correct: previous,
            installed: true,
            errors: Trailing(None),
        }
    }

    fn fleet(seed: u64, now: f64, before: f64) -> Vec<RawReport> {
        let mut random = rng(seed, "reports");
        let mut right = |share: f64| (0..33).filter(|_| random.random_bool(share)).count() as u64;
        let mut one = |_| report(33, right(now), Some(right(before)));
        (0..21).map(&mut one).collect()
    }

    #[test]
    fn a_loss_that_no_device_sees_is_seen_by_all_together() {
        let seen = |seed| pooled(&fleet(seed, 0.82, 0.94)).unwrap().compared.unwrap();
        assert!((0..50).all(|seed| seen(seed).is_worse));
    }

    #[test]
    fn an_equal_student_is_hardly_ever_worse() {
        let seen = |seed| pooled(&fleet(seed, 0.9, 0.9)).unwrap().compared.unwrap();
        assert!((0..200).filter(|&seed| seen(seed).is_worse).count() <= 6);
    }

    #[test]
    fn a_huge_device_weighs_three_times_the_median() {
        let mut reports = vec![report(30, 27, None); 9];
        reports.push(report(1_000_000, 0, None));
        let found = pooled(&reports).unwrap();
        let Found::Accuracy(accuracy) = found.found else {
            panic!("{found:?}");
        };
        assert!((accuracy - 0.9 * 270.0 / 360.0).abs() < 1e-9);
        assert_eq!((found.devices, found.compared), (10, None));
        assert_eq!(pooled(&[]), None);
    }

    fn numbers(seed: u64, now: f64, before: f64) -> Vec<RawReport> {
        let mut random = rng(seed, "numbers");
        let mut one = |_| {
            let mut sum = |error: f64| 33.0 * error * random.random_range(0.7..1.3);
            let mut found = report(33, 0, None);
            found.errors = Trailing(Some(RawErrors {
                squared: vec![sum(now * now)],
                absolute: vec![sum(0.8 * now)],
                previous_squared: Some(vec![sum(before * before)]),
            }));
            found
        };
        (0..21).map(&mut one).collect()
    }

    #[test]
    fn larger_errors_of_numbers_are_found_worse() {
        let worse = |now, before| {
            let of = |seed| {
                pooled(&numbers(seed, now, before))
                    .unwrap()
                    .compared
                    .unwrap()
            };
            (0..100).filter(|&seed| of(seed).is_worse).count()
        };
        assert_eq!(worse(12.0, 10.0), 100);
        assert!(worse(10.0, 10.0) <= 3);
        assert_eq!(worse(9.0, 10.0), 0);
        let found = pooled(&numbers(1, 10.0, 11.0)).unwrap().found;
        let Found::Error { rmse, mae } = found else {
            panic!("{found:?}");
        };
        assert!((rmse - 10.0).abs() < 1.0 && (mae - 8.0).abs() < 1.0);
    }
}
