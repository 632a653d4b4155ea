//! Numbers and times as people read them.

use protocol::ids::Time;

use crate::round::PlannedBudget;
use crate::status::DeviceName;

/// An error of numbers in their unit, to four digits: `12.34`, `0.05123`.
pub fn error(error: f64) -> String {
    let digits = if error > 0.0 {
        error.log10().floor()
    } else {
        0.0
    };
    let places = (3.0 - digits).clamp(0.0, 9.0) as usize;
    format!("{error:.places$}")
}

/// `2026-11-23 23:49:05`, UTC; the raw number for a time out of the calendar.
pub fn instant(time: Time) -> String {
    let seconds = (time.0 / 1000) as i64;
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
        Err(_) => time.0.to_string(),
    }
}

/// `just now`, `4 s ago`, `3 min ago`, `5 h ago`, `9 days ago`.
pub fn ago(now: Time, then: Time) -> String {
    match now.since_ms(then) {
        0..2_000 => "just now".to_owned(),
        ms @ 2_000..10_000 => format!("{} s ago", ms / 1000),
        ms => format!("{} ago", span(ms)),
    }
}

/// `180 ms`, `4.2 s`, `90 s`, `3 min`, `5 h`, `9 days`, `2 years`.
pub fn span(ms: u64) -> String {
    protocol::human::span(ms)
}

/// `512 B`, `28.6 kB`, `3.2 MB`, `1.1 GB`.
pub fn bytes(bytes: u64) -> String {
    let scaled = |unit: f64| bytes as f64 / unit;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1e6)),
        _ => format!("{:.1} GB", scaled(1e9)),
    }
}

/// `12 345` with thin spaces that do not break.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// What a coordinator planned that bytes are spent on, a line each.
pub fn budget(budget: &PlannedBudget) -> Vec<String> {
    let (plan, reasons) = (&budget.plan, &budget.reasons);
    let mut lines = vec![format!(
        "budget planned for {} with {}: {}, {} a device ({}); {} bits a value ({})",
        count(budget.devices as usize, "device"),
        count(usize::try_from(budget.rows).unwrap_or(usize::MAX), "row"),
        count(plan.points_max as usize, "point"),
        plan.points_per_device,
        reasons.points,
        plan.bits,
        reasons.bits,
    )];
    let kinds: Vec<_> = { plan.contribute.kinds().iter() }
        .map(ToString::to_string)
        .collect();
    lines.push(match kinds.as_slice() {
        [] => format!("nothing beside points ({})", reasons.contribute),
        kinds => format!(
            "{} beside points ({}): rank {} ({}), {} ({})",
            kinds.join(" and "),
            reasons.contribute,
            plan.rank_max,
            reasons.rank,
            count(plan.landmarks_max as usize, "landmark"),
            reasons.landmarks,
        ),
    });
    lines
}

/// `1 device`, `3 devices`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", self::number(number as u64))
}

/// `does not` of one, `do not` of several.
pub fn do_not(number: usize) -> &'static str {
    if number == 1 { "does not" } else { "do not" }
}

/// `a`, `a and b`, `a, b and 3 more`.
pub fn names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

/// What people call a device, or else the beginning of its id.
pub fn name(device: &DeviceName) -> String {
    if device.label.is_empty() {
        device.device.short()
    } else {
        device.label.clone()
    }
}

/// `96.4 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The Wilson interval of a share of `rows` at 95 % (Wilson 1927), in 0..=1.
/// Rows of one device resemble each other, so the truth may lie a little
/// further out.
pub fn interval(share: f64, rows: u64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let n = rows.max(1) as f64;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// A factor with as many digits as one reads: 1,000, 12.3, 0.0012.
pub fn factor(value: f64) -> String {
    match value.abs() {
        size if size >= 1e7 || (size > 0.0 && size < 1e-4) => format!("{value:.1e}"),
        size if size >= 100.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = match digits.strip_prefix('-') {
                Some(rest) => ("-", rest),
                None => ("", digits.as_str()),
            };
            let first = digits.len() % 3;
            let mut text = digits[..first].to_owned();
            for at in (first..digits.len()).step_by(3) {
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(&digits[at..at + 3]);
            }
            format!("{sign}{text}")
        }
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_read_as_people_write_them() {
        assert_eq!(instant(Time(1_763_942_945_999)), "2025-11-24 00:09:05");
        assert_eq!(ago(Time(100_000), Time(99_000)), "just now");
        assert_eq!(ago(Time(100_000), Time(97_500)), "2 s ago");
        assert_eq!(ago(Time(100_000), Time(40_000)), "60 s ago");
        assert_eq!(span(63_071_999_999), "729 days");
        assert_eq!(span(20 * 366 * 86_400_000), "20 years");
        assert_eq!(bytes(28_600), "28.6 kB");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(1, "device"), "1 device");
    }

    #[test]
    fn the_interval_holds_the_share_and_narrows_with_rows() {
        let (low, high) = interval(0.96, 100);
        let (lower, higher) = interval(0.96, 10_000);
        assert!(low < lower && lower < 0.96 && 0.96 < higher && higher < high);
        assert!((low - 0.902).abs() < 0.001 && (high - 0.984).abs() < 0.001);
        assert!(interval(1.0, 10).1 > 0.999_999 && interval(1.0, 10).1 <= 1.0);
    }
}
