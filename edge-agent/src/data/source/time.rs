//! Times as files write them, as nanoseconds.

use std::fmt;

use super::super::schema::{Problem, shortened};
use super::pattern::Pattern;

/// How times are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum TimeFormat {
    /// What the first time of a file looks like: a number is seconds,
    /// milliseconds, microseconds or nanoseconds by its size, anything else a
    /// date and time.
    #[default]
    Auto,
    /// `2026-11-29T20:13:35.5+01:00`, with `T` or a blank; without a zone UTC.
    Iso8601,
    /// Seconds, with a fraction or without.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Days since the end of 1899, as spreadsheets count them.
    Spreadsheet,
    /// As the owner says.
    Own(Pattern),
}

/// The words of a configuration.
const WORDS: [(&str, TimeFormat); 7] = [
    ("auto", TimeFormat::Auto),
    ("iso8601", TimeFormat::Iso8601),
    ("s", TimeFormat::Seconds),
    ("ms", TimeFormat::Milliseconds),
    ("us", TimeFormat::Microseconds),
    ("ns", TimeFormat::Nanoseconds),
    ("spreadsheet", TimeFormat::Spreadsheet),
];

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(pattern) => pattern.fmt(f),
            known => {
                let found = WORDS.iter().find(|(_, format)| format == known);
                f.write_str(found.map_or("auto", |(word, _)| word))
            }
        }
    }
}

impl<'de> serde::Deserialize<'de> for TimeFormat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let text = String::deserialize(deserializer)?;
        if let Some((_, format)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(format.clone());
        }
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        if !text.contains('%') {
            return Err(D::Error::custom(format!(
                "{text:?} is not known: write one of {}, or a pattern such as \"%d.%m.%Y %H:%M:%S\"",
                words.join(", ")
            )));
        }
        let pattern = text.parse();
        pattern
            .map(Self::Own)
            .map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    }
}

impl TimeFormat {
    /// Takes the format that one written time shows for [`Self::Auto`]; the others
    /// stay what they are. Numbers below 10¹¹ are seconds, which lasts as
    /// seconds since 1970 until the year 5138; each unit below takes the
    /// numbers a thousand times as large.
    pub fn settle(&mut self, first: &str) {
        if *self != Self::Auto {
            return;
        }
        // Words that are no time show nothing.
        let shown = Self::shown_by(first);
        if shown.parse(first).is_ok() {
            *self = shown;
        }
    }

    /// Whether it counts a unit since some moment.
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Seconds | Self::Milliseconds | Self::Microseconds | Self::Nanoseconds
        )
    }

    /// The format that a written time shows.
    pub fn shown_by(first: &str) -> Self {
        let Ok(number) = first.trim().parse::<f64>() else {
            return Self::Iso8601;
        };
        // 20261129201335 would be milliseconds of the year 2612.
        if is_compact(first.trim()) {
            return Self::Iso8601;
        }
        match number.abs() {
            size if size < 1e11 => Self::Seconds,
            size if size < 1e14 => Self::Milliseconds,
            size if size < 1e17 => Self::Microseconds,
            _ => Self::Nanoseconds,
        }
    }

    /// Whether a text is a time of day alone.
    pub fn is_clock(text: &str) -> bool {
        let text = text.trim();
        text.contains(':') && clock_ns(text).is_some()
    }

    /// A written time in nanoseconds, since 1970 where it is a date.
    ///
    /// # Errors
    /// [`Problem::Time`].
    pub fn parse(&self, text: &str) -> Result<i64, Problem> {
        let text = text.trim();
        let read = match self {
            Self::Auto => return Self::shown_by(text).parse(text),
            Self::Iso8601 => date_and_time(text),
            Self::Spreadsheet => spreadsheet(text),
            Self::Own(pattern) => pattern.parse(text),
            Self::Seconds => decimal(text, 9),
            Self::Milliseconds => decimal(text, 6),
            Self::Microseconds => decimal(text, 3),
            Self::Nanoseconds => decimal(text, 0),
        };
        read.ok_or_else(|| Problem::Time {
            found: shortened(text),
        })
    }
}

/// Whether digits are a date and a time of day, to the second, from 1970 to 2099.
fn is_compact(text: &str) -> bool {
    let whole = text.split(['.', ',']).next().unwrap_or_default();
    let century = whole.starts_with("19") || whole.starts_with("20");
    whole.len() == 14 && century && date_and_time(text).is_some_and(|time| time >= 0)
}

/// Days since 30 December 1899, to the microsecond: a day in double precision knows no
/// more of this century. Spreadsheets that count from 1904 are 1,462 days behind.
fn spreadsheet(text: &str) -> Option<i64> {
    let days = text.replace(',', ".").parse::<f64>().ok()?;
    let micros = ((days - 25_569.0) * 86_400e6).round();
    (micros.abs() < 9e15).then(|| micros as i64 * 1_000)
}

/// A decimal number times 10^`shift`, exactly where it has no exponent.
fn decimal(text: &str, shift: usize) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || whole.is_empty() {
        let value = text.parse::<f64>().ok()? * 10f64.powi(shift as i32);
        // What an i64 holds, with room to spare.
        return (value.is_finite() && value.abs() < 9e18).then_some(value.round() as i64);
    }
    let mut value: i64 = 0;
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(shift);
    for digit in whole.bytes().chain(fraction) {
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(sign * value)
}

/// ISO 8601's extended and basic forms (also without anything between date and
/// time), and `29.11.2026 20:13:35`, which can be read in
/// one way only.
fn date_and_time(text: &str) -> Option<i64> {
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (date, rest) = match text.split_once(['T', 't', ' ', '_']) {
        Some((date, rest)) => (date, rest.trim()),
        None if text.len() >= 14 && text.get(..14).is_some_and(all_digits) => text.split_at(8),
        None => (text, ""),
    };
    let days = days(date)?;
    let (clock, zone) = clock_zone(rest)?;
    let nanoseconds = match clock {
        "" => 0,
        clock => clock_ns(clock)?,
    };
    days.checked_mul(DAY_NS)?
        .checked_add(nanoseconds)?
        .checked_sub(zone)
}

fn days(date: &str) -> Option<i64> {
    let parts: Vec<&str> = date.split(['-', '.', '/']).collect();
    let (first, month, last) = match parts[..] {
        [first, month, last] => (first, month, last),
        [basic] if basic.len() == 8 => (basic.get(..4)?, basic.get(4..6)?, basic.get(6..)?),
        _ => return None,
    };
    let (year, day) = match (first.len(), last.len()) {
        (4, 1..=2) if !date.contains('.') => (first, last),
        (1..=2, 4) if date.contains('.') => (last, first),
        _ => return None,
    };
    days_since_1970(whole(year)?, whole(month)?, whole(day)?)
}

/// Days from 1 January 1970 to a day of the Gregorian calendar, if there is one such.
pub(super) fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The time of day and how far its zone is ahead of UTC, in nanoseconds.
pub(super) fn clock_zone(text: &str) -> Option<(&str, i64)> {
    for utc in ["Z", "z", "UTC", "GMT"] {
        if let Some(clock) = text.strip_suffix(utc) {
            return Some((clock.trim_end(), 0));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    let (clock, offset) = (text[..at].trim_end(), &text[at + 1..]);
    let digits: String = offset.chars().filter(|&c| c != ':').collect();
    if !(digits.len() == 2 || digits.len() == 4) {
        return None;
    }
    let hours = whole(digits.get(..2)?)?;
    let minutes = match digits.get(2..)? {
        "" => 0,
        minutes => whole(minutes)?,
    };
    let fits = hours <= 23 && minutes <= 59;
    fits.then_some((clock, sign * (hours * 60 + minutes) * 60_000_000_000))
}

fn clock_ns(clock: &str) -> Option<i64> {
    if !clock.contains(':') && clock.len() >= 6 && clock.is_char_boundary(4) {
        let (hours, rest) = clock.split_at_checked(2)?;
        let (minutes, seconds) = rest.split_at_checked(2)?;
        return clock_ns(&format!("{hours}:{minutes}:{seconds}"));
    }
    let mut parts = clock.split(':');
    let (hours, minutes) = (whole(parts.next()?)?, whole(parts.next()?)?);
    let seconds = match parts.next() {
        Some(seconds) if seconds.starts_with(|c: char| c.is_ascii_digit()) => decimal(seconds, 9)?,
        Some(_) => return None,
        None => 0,
    };
    // A leap second is the first of the next minute.
    let fits = hours <= 24 && minutes <= 59 && (0..61_000_000_000).contains(&seconds);
    let ended = parts.next().is_none();
    (fits && ended).then_some((hours * 60 + minutes) * 60_000_000_000 + seconds)
}

/// One to nine digits and nothing else.
fn whole(text: &str) -> Option<i64> {
    let fits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// A day.
pub(super) const DAY_NS: i64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn the_configuration_says_which() {
        #[derive(serde::Deserialize)]
        struct Table {
            format: TimeFormat,
        }
        let read = |word: &str| {
            let table = toml::from_str::<Table>(&format!("format = {word:?}"));
            table
                .map(|table| table.format)
                .map_err(|error| error.to_string())
        };
        for (word, format) in WORDS {
            assert_eq!(
                (read(word).unwrap(), format.to_string()),
                (format, word.to_owned())
            );
        }
        let own = read("%d.%m.%Y %H:%M").unwrap();
        assert_eq!(own.to_string(), "%d.%m.%Y %H:%M");
        assert_eq!(own.parse("29.11.2026 20:13"), Ok(1_795_983_180 * S));
        assert!(read("minutes").unwrap_err().contains("spreadsheet"));
        assert!(read("%d.%m.%Y %k").unwrap_err().contains("%k is not known"));
        let days = TimeFormat::Spreadsheet;
        assert_eq!(days.parse("25569"), Ok(0));
        assert_eq!(days.parse("46355.84276620370"), Ok(1_795_983_215 * S));
        assert!(days.parse("29.11.2026").is_err());
    }

    #[test]
    fn dates_are_read_with_zones_and_fractions() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("2026-11-29T20:13:35Z", 1_795_983_215 * S),
            ("2026-11-29 20:13:35", 1_795_983_215 * S),
            ("2026-11-29T21:13:35+01:00", 1_795_983_215 * S),
            ("2026-11-29T14:43:35.25-0530", 1_795_983_215 * S + S / 4),
            ("29.11.2026 20:13:35,5", 1_795_983_215 * S + S / 2),
            ("2024-02-29 00:00", 1_709_164_800 * S),
            ("1969-12-31T23:59:59.999999999", -1),
            ("20261129T201335Z", 1_795_983_215 * S),
            ("20261129T211335.5+0100", 1_795_983_215 * S + S / 2),
            ("20261129201335", 1_795_983_215 * S),
            ("20261129201335.25", 1_795_983_215 * S + S / 4),
            ("2026-11-29 20:13:35 UTC", 1_795_983_215 * S),
        ] {
            assert_eq!(TimeFormat::Auto.parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_by_their_size_or_as_told() {
        for (text, expected) in [
            ("0.02", 20_000_000),
            ("1795983215.02", 1_795_983_215 * S + 20_000_000),
            ("1795983215020", 1_795_983_215 * S + 20_000_000),
            ("1795983215020000", 1_795_983_215 * S + 20_000_000),
            ("1795983215020000000", 1_795_983_215 * S + 20_000_000),
            ("-1.5", -3 * S / 2),
            ("1.795983215e9", 1_795_983_215 * S),
        ] {
            assert_eq!(TimeFormat::Auto.parse(text), Ok(expected), "{text}");
        }
        assert_eq!(TimeFormat::Milliseconds.parse("20"), Ok(20_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "noon",
            "2026-02-30",
            "2026-13-01",
            "11/12/2026",
            "2026-11-29 25:00",
            "2026-11-29 20:13:35+1",
            "2026-11-29T20:-1",
            "1e300",
            "99999999999999999999",
            "é.é.éé",
            "2026-11-29 08:13:35 PM",
            "2026-11-29 20:13:35 CET",
            "20261129T2013é5",
            "20261329T201335",
        ] {
            assert!(TimeFormat::Auto.parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_panic(text in ".{0,40}", digits in "[0-9T:+. -]{0,30}") {
            for format in [TimeFormat::Auto, TimeFormat::Iso8601, TimeFormat::Seconds, TimeFormat::Nanoseconds] {
                let _ = format.parse(&text);
                let _ = format.parse(&digits);
            }
        }
    }
}
