//! Times along an axis, in a unit whose round numbers are round times.

/// What an axis of times counts, from the beginning of 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Minutes, for some hours.
    Minutes,
    /// Hours, for some days.
    Hours,
    /// Days.
    Days,
}

impl TimeUnit {
    /// The largest unit that fits at least six times into `ms` milliseconds, so that
    /// ticks stand at whole units.
    pub fn of_span(ms: u64) -> Self {
        let six = |unit: Self| ms as f64 >= 6.0 * unit.ms();
        match (six(Self::Days), six(Self::Hours)) {
            (true, _) => Self::Days,
            (false, true) => Self::Hours,
            (false, false) => Self::Minutes,
        }
    }

    /// Milliseconds of one.
    pub fn ms(self) -> f64 {
        match self {
            Self::Minutes => 60_000.0,
            Self::Hours => 3_600_000.0,
            Self::Days => 86_400_000.0,
        }
    }

    /// `12:40`, `Tue 04:00` or `14 Nov`; empty between whole ones.
    pub(super) fn label(self, value: f64) -> String {
        let whole = value.round();
        if (value - whole).abs() > 1e-6 || whole < 0.0 {
            return String::new();
        }
        let minutes = (whole * self.ms() / 60_000.0) as u64;
        let (days, clock) = (minutes / 1_440, minutes % 1_440);
        let clock = format!("{:02}:{:02}", clock / 60, clock % 60);
        match self {
            Self::Minutes => clock,
            // The first day of 1970 was a Thursday.
            Self::Hours => format!("{} {clock}", WEEKDAYS[(days % 7) as usize]),
            Self::Days => {
                let (day, month) = date(days);
                format!("{day}\u{a0}{}", MONTHS[month])
            }
        }
    }
}

/// The day of the month, from 1, and the month, from 0, of a number of days since
/// 1 January 1970.
fn date(mut days: u64) -> (u64, usize) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // 400 years have the same calendar again.
    days %= 146_097;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    for (month, length) in DAYS.into_iter().enumerate() {
        let length = length + u64::from(month == 1 && is_leap(year));
        if days < length {
            return (days + 1, month);
        }
        days -= length;
    }
    // Unreachable: the days of a year are those of its months.
    (31, 11)
}

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        for (days, expected) in [
            (0, (1, 0)),
            (58, (28, 1)),
            (59, (1, 2)),
            // 29 February and 1 March 2024, 31 December 2026.
            (19_782, (29, 1)),
            (19_783, (1, 2)),
            (20_818, (31, 11)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn times_are_written_as_their_unit_asks() {
        // 23 November 2026, a Monday.
        let day = 20_780.0;
        assert_eq!(TimeUnit::Days.label(day), "23\u{a0}Nov");
        assert_eq!(TimeUnit::Days.label(day + 0.5), "");
        assert_eq!(TimeUnit::Hours.label(day * 24.0 + 4.0), "Mon 04:00");
        assert_eq!(TimeUnit::Minutes.label(day * 1_440.0 + 760.0), "12:40");
    }

    #[test]
    fn an_axis_has_six_units_or_more() {
        assert_eq!(TimeUnit::of_span(60_000), TimeUnit::Minutes);
        assert_eq!(TimeUnit::of_span(6 * 3_600_000), TimeUnit::Hours);
        assert_eq!(TimeUnit::of_span(6 * 86_400_000 - 1), TimeUnit::Hours);
        assert_eq!(TimeUnit::of_span(6 * 86_400_000), TimeUnit::Days);
    }
}
