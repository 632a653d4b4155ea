//! Until when an identity is good, and when to speak of it: the same in every
//! room, so that none is alarmed while another is not.

use common::ids::Time;
use maud::{Markup, html};

use super::layout::{self, Tone};
use super::words;

/// Whose time runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Renewed at a start, so a coordinator that is never restarted keeps it.
    Server,
    /// An exchange of it takes until every device has been there.
    Authority,
    /// The charter of release keys, for which the root key is fetched.
    Charter,
    /// Renewed when the device connects, even if it is over.
    Device,
}

impl Holder {
    /// How an end is that is near enough to speak of.
    pub(super) fn ending(self, ends: Time, now: Time) -> Option<Tone> {
        match ends.since_ms(now) {
            0 if self == Self::Device => Some(Tone::Warn),
            0 => Some(Tone::Bad),
            left if left < self.days_min() * DAY_MS => Some(Tone::Warn),
            _ => None,
        }
    }

    /// With fewer days left, a person should know.
    fn days_min(self) -> u64 {
        match self {
            Self::Server => 30,
            Self::Authority => 365,
            Self::Charter => 90,
            Self::Device => 7,
        }
    }
}

/// What is left of one's time.
pub(super) fn tile(label: &str, holder: Holder, ends: Option<Time>, now: Time) -> Markup {
    let Some(ends) = ends else {
        return layout::tile(label, "unreadable", "", Tone::Bad);
    };
    let tone = holder.ending(ends, now).unwrap_or(Tone::Good);
    match ends.since_ms(now) {
        0 => layout::tile(
            label,
            "over",
            html! { "since " time { (words::date(ends)) } },
            tone,
        ),
        left => layout::tile(
            label,
            &words::span(left),
            html! { "left, until " time { (words::date(ends)) } },
            tone,
        ),
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_spoken_of_in_time_and_no_device_is_worse_than_a_warning() {
        let now = Time(DAY_MS);
        for holder in [Holder::Server, Holder::Authority, Holder::Charter] {
            let days = holder.days_min();
            assert_eq!(holder.ending(now, now), Some(Tone::Bad));
            assert_eq!(holder.ending(Time(days * DAY_MS), now), Some(Tone::Warn));
            assert_eq!(holder.ending(Time((days + 1) * DAY_MS), now), None);
        }
        assert_eq!(Holder::Device.ending(Time(0), now), Some(Tone::Warn));
    }
}
