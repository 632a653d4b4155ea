//! How values are written along an axis.

use super::time::TimeUnit;

/// How values are written along an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Numbers, thousands and millions short.
    Number,
    /// Whole numbers; nothing stands between them.
    Count,
    /// Shares of 1 as per cent; nothing below 0 or above 1.
    Percent,
    /// The name of each place 0, 1, 2 ….
    Names(Vec<String>),
    /// Times since the beginning of 1970, UTC, in this unit.
    Time(TimeUnit),
}

impl Scale {
    /// What stands at a tick of an axis that runs over `bounds`; empty where
    /// nothing should.
    pub(super) fn label(&self, value: f64, bounds: [f64; 2]) -> String {
        let span = bounds[1] - bounds[0];
        match self {
            Self::Number => number(value, span),
            Self::Count if (value - value.round()).abs() > 1e-6 => String::new(),
            Self::Count => number(value.round(), span.max(10.0)),
            Self::Percent => {
                let digits = if span > 0.05 { 0 } else { 1 };
                format!("{:.digits$}\u{a0}%", 100.0 * value)
            }
            Self::Time(unit) => unit.label(value),
            Self::Names(names) => {
                let place = value.round();
                let is_whole = (value - place).abs() < 1e-6 && value > -0.25;
                let name = names.get(place.max(0.0) as usize);
                name.filter(|_| is_whole).cloned().unwrap_or_default()
            }
        }
    }

    /// Ticks to ask for, where this many names have room side by side.
    pub(super) fn ticks(&self, names_max: usize) -> usize {
        match self {
            // One at each name, and those between that stay empty.
            Self::Names(names) => names.len().clamp(1, names_max) * 2 + 1,
            // They are long: `Tue 04:00`.
            Self::Time(_) => (names_max / 2).max(1) + 1,
            _ => 6,
        }
    }

    /// The axis on which values from `low` to `high` do not touch the sides.
    pub(super) fn room(&self, [low, high]: [f64; 2]) -> [f64; 2] {
        let wide = |least: f64| {
            let room = (0.1 * (high - low)).max(least);
            [low - room, high + room]
        };
        match self {
            Self::Number | Self::Count => {
                let [from, to] = wide(0.05 * high.abs().max(1e-9));
                [if low >= 0.0 { from.max(0.0) } else { from }, to]
            }
            Self::Percent => {
                let [from, to] = wide(0.01);
                [from.max(0.0), to.min(1.0)]
            }
            Self::Time(_) => {
                let room = (0.03 * (high - low)).max(0.5);
                [low - room, high + room]
            }
            Self::Names(names) => [-0.5, names.len().max(1) as f64 - 0.5],
        }
    }
}

/// A number with as many digits as tell ticks of such a span apart.
fn number(value: f64, span: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 1e3 => format!("{:.1} k", value / 1e3),
        _ => {
            let digits = (1.0 - span.max(1e-12).log10()).ceil().clamp(0.0, 9.0) as usize;
            let text = format!("{value:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_their_span_needs() {
        assert_eq!(number(0.012, 0.05), "0.012");
        assert_eq!(number(2.0, 6.0), "2");
        assert_eq!(number(100.0, 400.0), "100");
        assert_eq!(number(14_000.0, 10_000.0), "14 k");
        assert_eq!(number(1_500_000.0, 1e6), "1.5 M");
    }

    #[test]
    fn counts_are_whole() {
        let label = |value: f64| Scale::Count.label(value, [0.0, 1.1]);
        assert_eq!([label(0.0), label(0.5), label(1.0)], ["0", "", "1"]);
        assert_eq!(Scale::Count.label(12_000.0, [0.0, 13_000.0]), "12 k");
    }

    #[test]
    fn only_places_have_names() {
        let names = Scale::Names(vec!["1.1".to_owned(), "1.2".to_owned()]);
        let label = |at: f64| names.label(at, [-0.5, 1.5]);
        assert_eq!([label(0.0), label(1.0)], ["1.1", "1.2"]);
        assert_eq!([label(0.5), label(-0.5), label(2.0)], ["", "", ""]);
    }

    #[test]
    fn shares_stay_between_none_and_all() {
        assert_eq!(Scale::Percent.room([0.999, 1.0]), [0.989, 1.0]);
        assert_eq!(Scale::Percent.room([0.0, 0.0]), [0.0, 0.01]);
    }
}
