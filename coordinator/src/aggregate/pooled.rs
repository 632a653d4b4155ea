//! What all devices' held-out rows say of a release together: 33 rows of one
//! device do not see a loss of twelve points, those of twenty devices do.

use common::report::RawReport;

use super::cap::{ROWS_OVER_MEDIAN_MAX, RowsCap};

/// A release on the held-out rows of the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooled {
    /// Devices that reported.
    pub devices: u32,
    /// Rows they held out, as they say.
    pub rows: u64,
    /// Share that the release gets right, no device weighing more than a few
    /// times the median one.
    pub accuracy: f64,
    /// The same of the students before it, on the rows of devices that had
    /// one; with the release's own on those.
    pub compared: Option<Compared>,
}

/// Two students on the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// Accuracy of the release.
    pub accuracy: f64,
    /// Accuracy of the one before it.
    pub previous: f64,
    /// Whether the release is worse, beyond what devices differ by chance.
    pub is_worse: bool,
}

/// Pools reports; nothing of none.
///
/// With the gain dₖ of device k on nₖ rows, the mean gain is D = Σnₖdₖ/Σnₖ and
/// its standard error √(K/(K−1)·Σnₖ²(dₖ−D)²)/Σnₖ (the ratio estimator of a
/// cluster sample: Cochran 1977, chapter 6). A release is worse if it loses
/// more than `LOSS_MIN`, and more than `ERRORS` standard errors.
pub fn pooled(reports: &[RawReport]) -> Option<Pooled> {
    let rows: Vec<u64> = reports.iter().map(|report| report.rows).collect();
    let cap = RowsCap::of(&rows, ROWS_OVER_MEDIAN_MAX);
    let weight = |report: &RawReport| report.rows as f64 * cap.share(report.rows);
    let mean = |of: &dyn Fn(&RawReport) -> Option<u64>| {
        let (mut right, mut all) = (0.0, 0.0);
        for report in reports {
            if let Some(correct) = of(report) {
                right += weight(report) * correct as f64 / report.rows.max(1) as f64;
                all += weight(report);
            }
        }
        (all > 0.0).then(|| right / all)
    };
    let had_one = |report: &RawReport| report.previous_correct.map(|_| report.correct);
    let compared = mean(&had_one)
        .zip(mean(&|report| report.previous_correct))
        .map(|(accuracy, previous)| Compared {
            accuracy,
            previous,
            is_worse: is_worse(reports, &weight, accuracy - previous),
        });
    Some(Pooled {
        devices: reports.len() as u32,
        rows: rows.iter().fold(0, |sum, rows| sum.saturating_add(*rows)),
        accuracy: mean(&|report| Some(report.correct))?,
        compared,
    })
}

fn is_worse(reports: &[RawReport], weight: &dyn Fn(&RawReport) -> f64, gain: f64) -> bool {
    let (mut devices, mut all, mut squares) = (0.0, 0.0, 0.0);
    for report in reports {
        let Some(previous) = report.previous_correct else {
            continue;
        };
        let own = (report.correct as f64 - previous as f64) / report.rows.max(1) as f64;
        devices += 1.0;
        all += weight(report);
        squares += (weight(report) * (own - gain)).powi(2);
    }
    if devices < 2.0 || all <= 0.0 {
        return false;
    }
    let error = (squares * devices / (devices - 1.0)).sqrt() / all;
    gain < -LOSS_MIN && gain + ERRORS * error < 0.0
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
    fn a_device_of_a_million_rows_weighs_three_times_the_median_one() {
        let mut reports = vec![report(30, 27, None); 9];
        reports.push(report(1_000_000, 0, None));
        let found = pooled(&reports).unwrap();
        assert!((found.accuracy - 0.9 * 270.0 / 360.0).abs() < 1e-9);
        assert_eq!((found.devices, found.compared), (10, None));
        assert_eq!(pooled(&[]), None);
    }
}
