//! Spans of time and dates as people read them.

use crate::ids::Time;

/// `180 ms`, `4.2 s`, `90 s`, `3 min`, `5 h`, `9 days`, `2 years`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{:.1} s", ms as f64 / 1000.0),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        172_800_000..63_072_000_000 => format!("{} days", ms / 86_400_000),
        _ => format!("{} years", ms / 31_557_600_000),
    }
}

/// `2026-11-23T23:49:05Z`; the raw number for a time past the year 9999.
pub fn date(time: Time) -> String {
    if time.0 > LAST_MS {
        return time.0.to_string();
    }
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time.0);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The end of the year 9999.
const LAST_MS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_dates_are_read_without_counting() {
        assert_eq!(span(141_955_201_737), "4 years");
        assert_eq!(span(31_536_000_000), "365 days");
        assert_eq!(span(61_000), "61 s");
        assert_eq!(date(Time(1_795_477_745_000)), "2026-11-23T23:49:05Z");
        assert_eq!(date(Time(u64::MAX)), u64::MAX.to_string());
    }
}
