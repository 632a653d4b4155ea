//! The words of a page: those of [`crate::status::format`], in which a number stays on
//! one line with its unit however narrow the page is.

use common::ids::Time;

use crate::status::format;
pub(super) use crate::status::format::{instant, interval, name, number};

/// `2026-11-23`, UTC.
pub(super) fn date(time: Time) -> String {
    instant(time).chars().take(10).collect()
}

/// As [`format::ago`].
pub(super) fn ago(now: Time, then: Time) -> String {
    tied(&format::ago(now, then))
}

/// As [`format::span`].
pub(super) fn span(ms: u64) -> String {
    tied(&format::span(ms))
}

/// As [`format::bytes`].
pub(super) fn bytes(bytes: u64) -> String {
    tied(&format::bytes(bytes))
}

/// As [`format::percent`].
pub(super) fn percent(share: f64) -> String {
    tied(&format::percent(share))
}

/// `96.7 to 98.4 %`.
pub(super) fn range(low: f64, high: f64) -> String {
    tied(&format!("{:.1} to {}", 100.0 * low, format::percent(high)))
}

/// As [`format::count`].
pub(super) fn count(number: usize, noun: &str) -> String {
    tied(&format::count(number, noun))
}

/// `1 device is`, `3 devices are`.
pub(super) fn are(number: usize, noun: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", count(number, noun))
}

/// `1 of 2 devices is`, `3 of 21 devices are`.
pub(super) fn part_are(some: usize, all: usize, noun: &str) -> String {
    let verb = if some == 1 { "is" } else { "are" };
    format!("{} of {} {verb}", number(some as u64), count(all, noun))
}

/// `1 device waits`, `3 devices wait`.
pub(super) fn verb(number: usize, noun: &str, verb: &str) -> String {
    let ending = if number == 1 { "s" } else { "" };
    format!("{} {verb}{ending}", count(number, noun))
}

/// `1 of 1 device does not`, `2 of 21 devices do not`.
pub(super) fn do_not(some: usize, all: usize, noun: &str) -> String {
    let verb = format::do_not(some);
    format!("{} of {} {verb}", number(some as u64), count(all, noun))
}

fn tied(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unit_leaves_its_number() {
        for text in [
            ago(Time(60_000), Time(10_000)),
            span(1_000),
            bytes(28_600),
            percent(0.964),
            range(0.94, 0.965),
            count(12_000, "device"),
        ] {
            assert!(!text.contains(' '), "{text}");
        }
    }

    #[test]
    fn one_device_is_one_and_several_are_several() {
        assert_eq!(are(1, "device"), "1\u{a0}device is");
        assert_eq!(part_are(1, 2, "device"), "1 of 2\u{a0}devices is");
        assert_eq!(part_are(2, 2, "device"), "2 of 2\u{a0}devices are");
        assert_eq!(verb(3, "device", "wait"), "3\u{a0}devices wait");
        assert_eq!(do_not(1, 1, "device"), "1 of 1\u{a0}device does not");
        assert_eq!(do_not(2, 21, "device"), "2 of 21\u{a0}devices do not");
    }
}
