//! A pattern by which an owner says how times are written, in the signs of C's
//! `strptime` that every language knows.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use super::time::{DAY_NS, clock_zone, days_since_1970};

/// A pattern that can be read by: `%m/%d/%Y %I:%M %p`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pattern(String);

/// Why a pattern cannot be read by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A sign that is not known.
    #[error(
        "%{0} is not known; there are %Y %y %m %b %d %H %I %p %M %S (with a fraction where there \
         is one) %z and %%"
    )]
    Sign(char),
    /// Nothing says which day it is.
    #[error("it does not say which day: write %d, %m or %b, and %Y or %y")]
    Day,
    /// Half a day is not said.
    #[error("%I counts to twelve, and %p says of which half of the day")]
    Half,
    /// A sign is missing after the last `%`.
    #[error("it ends with %; write %% for a percent sign, or complete the last sign")]
    Ends,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut signs = Vec::new();
        let mut rest = text.chars();
        while let Some(one) = rest.next() {
            if one != '%' {
                continue;
            }
            match rest.next() {
                None => return Err(PatternError::Ends),
                Some(sign) if SIGNS.contains(sign) => signs.push(sign),
                Some(sign) => return Err(PatternError::Sign(sign)),
            }
        }
        let has = |any: &str| signs.iter().any(|sign| any.contains(*sign));
        if !(has("d") && has("mb") && has("Yy")) {
            return Err(PatternError::Day);
        }
        if has("I") != has("p") {
            return Err(PatternError::Half);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// A time so written, in nanoseconds since 1970; without a zone it is UTC.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let mut read = Read::default();
        let mut text = text;
        let mut pattern = self.0.chars();
        while let Some(one) = pattern.next() {
            match one {
                '%' => text = read.sign(pattern.next()?, text)?,
                // As many blanks as there are.
                one if one.is_whitespace() => text = text.trim_start(),
                one => text = text.strip_prefix(one)?,
            }
        }
        if !text.trim().is_empty() {
            return None;
        }
        let hour = match (read.hour, read.afternoon) {
            (hour, None) => hour,
            (hour @ 1..=12, Some(afternoon)) => hour % 12 + if afternoon { 12 } else { 0 },
            _ => return None,
        };
        // A leap second is the first of the next minute.
        let fits = hour <= 24 && read.minute <= 59 && read.second_ns < 61_000_000_000;
        let clock = (hour * 60 + read.minute) * 60_000_000_000 + read.second_ns;
        let days = days_since_1970(read.year, read.month, read.day)?;
        let time = days.checked_mul(DAY_NS)?.checked_add(clock)?;
        time.checked_sub(read.zone).filter(|_| fits)
    }
}

/// What was read so far.
#[derive(Default)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second_ns: i64,
    zone: i64,
}

impl Read {
    /// Reads what a sign stands for, and returns what follows.
    fn sign<'a>(&mut self, sign: char, text: &'a str) -> Option<&'a str> {
        let (into, most) = match sign {
            'Y' => (&mut self.year, 4),
            'y' => {
                let (year, rest) = digits(text, 2)?;
                // As POSIX divides the centuries.
                self.year = year + if year < 69 { 2000 } else { 1900 };
                return Some(rest);
            }
            'm' => (&mut self.month, 2),
            'd' => (&mut self.day, 2),
            'H' | 'I' => (&mut self.hour, 2),
            'M' => (&mut self.minute, 2),
            'b' => {
                let name = text.get(..3)?;
                let at = MONTHS
                    .iter()
                    .position(|month| month.eq_ignore_ascii_case(name))?;
                self.month = at as i64 + 1;
                return Some(text[3..].trim_start_matches(|c: char| c.is_alphabetic() || c == '.'));
            }
            'p' => {
                let half = text.get(..2)?;
                self.afternoon = Some(match half {
                    half if half.eq_ignore_ascii_case("pm") => true,
                    half if half.eq_ignore_ascii_case("am") => false,
                    _ => return None,
                });
                return Some(&text[2..]);
            }
            'S' => {
                let (second, rest) = digits(text, 2)?;
                self.second_ns = second * 1_000_000_000;
                let Some(fraction) = rest.strip_prefix(['.', ',']) else {
                    return Some(rest);
                };
                let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
                let nine = fraction[..length]
                    .bytes()
                    .chain(std::iter::repeat(b'0'))
                    .take(9);
                self.second_ns += nine.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
                return Some(&fraction[length..]);
            }
            'z' => {
                let (clock, zone) = clock_zone(text.trim())?;
                self.zone = zone;
                return clock.is_empty().then_some("");
            }
            '%' => return text.strip_prefix('%'),
            _ => return None,
        };
        let (value, rest) = digits(text, most)?;
        *into = value;
        Some(rest)
    }
}

/// One digit to this many, and what follows.
fn digits(text: &str, most: usize) -> Option<(i64, &str)> {
    let length = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    let (number, rest) = text.split_at(length);
    Some((number.parse().ok()?, rest))
}

const SIGNS: &str = "YymbdHIpMSz%";
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn times_are_read_as_their_owner_says() {
        for (pattern, text, expected) in [
            (
                "%m/%d/%Y %I:%M:%S %p",
                "11/29/2026 8:13:35 PM",
                1_795_983_215 * S,
            ),
            ("%m/%d/%Y %I:%M %p", "1/1/1970 12:00 am", 0),
            ("%d/%m/%y %H:%M", "29/11/26 20:13", 1_795_983_180 * S),
            (
                "%d-%b-%Y %H:%M:%S",
                "29-November-2026  20:13:35.25",
                1_795_983_215 * S + S / 4,
            ),
            ("%Y%m%d%H%M", "202611292013", 1_795_983_180 * S),
            (
                "%Y-%m-%d %H:%M:%S%z",
                "2026-11-29 21:13:35+01:00",
                1_795_983_215 * S,
            ),
            ("day %d of %m, %Y", "day 29 of 11, 2026", 1_795_910_400 * S),
        ] {
            let read = pattern.parse::<Pattern>().unwrap().parse(text);
            assert_eq!(read, Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_none() {
        let pattern: Pattern = "%m/%d/%Y %I:%M %p".parse().unwrap();
        for text in [
            "",
            "29/11/2026 8:13 PM",
            "11/29/2026 20:13 PM",
            "11/29/2026 8:13",
            "11/31/2026 8:13 AM",
            "11/29/2026 8:13 PM more",
            "11/29/2026 8:6é PM",
        ] {
            assert_eq!(pattern.parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_that_says_too_little_is_refused() {
        for (pattern, error) in [
            ("%Y-%q", PatternError::Sign('q')),
            ("%H:%M", PatternError::Day),
            ("%Y-%m-%d %I:%M", PatternError::Half),
            ("%Y-%m-%d %", PatternError::Ends),
        ] {
            assert_eq!(pattern.parse::<Pattern>(), Err(error), "{pattern}");
        }
    }
}
