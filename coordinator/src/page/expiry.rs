//! Until when an identity is good, and when to speak of it: the same in every
//! room, so that none is alarmed while another is not.

use common::ids::Time;
use maud::{Markup, html};

use super::layout::{self, Tone};
use super::words;
use crate::identity::CertificateTerms;

/// Whose time runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Renewed at a start, so a coordinator that is never restarted keeps it.
    Server,
    /// An exchange of it takes until every device has been there.
    Authority,
    /// The trust root of release keys, for which the root key is fetched.
    TrustRoot,
    /// Renewed when the device connects, even if it is over.
    Device {
        /// How long it lasts as a whole.
        lifetime_ms: u64,
    },
}

impl Holder {
    /// A device under these terms.
    pub(super) fn device(terms: CertificateTerms) -> Self {
        let lifetime_ms = terms.device_lifetime_ms;
        Self::Device { lifetime_ms }
    }

    /// How an end is that is near enough to speak of.
    pub(super) fn ending(self, ends: Time, now: Time) -> Option<Tone> {
        match ends.since_ms(now) {
            0 if matches!(self, Self::Device { .. }) => Some(Tone::Warn),
            0 => Some(Tone::Bad),
            left if left < self.left_ms_min() => Some(Tone::Warn),
            _ => None,
        }
    }

    /// With less left, a person should know. A device renews from half of its
    /// certificate's time on: with a quarter left it is late.
    fn left_ms_min(self) -> u64 {
        match self {
            Self::Server => 30 * DAY_MS,
            Self::Authority => 365 * DAY_MS,
            Self::TrustRoot => 90 * DAY_MS,
            Self::Device { lifetime_ms } => (lifetime_ms / 4).min(7 * DAY_MS),
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
    fn an_expiry_is_announced_in_time() {
        let now = Time(DAY_MS);
        for holder in [Holder::Server, Holder::Authority, Holder::TrustRoot] {
            let left = holder.left_ms_min();
            assert_eq!(holder.ending(now, now), Some(Tone::Bad));
            assert_eq!(holder.ending(Time(left), now), Some(Tone::Warn));
            assert_eq!(holder.ending(Time(left + DAY_MS), now), None);
        }
        let device = |lifetime_ms| Holder::Device { lifetime_ms };
        let month = device(30 * DAY_MS);
        assert_eq!(month.ending(Time(0), now), Some(Tone::Warn));
        assert_eq!(month.ending(Time(7 * DAY_MS), now), Some(Tone::Warn));
        assert_eq!(month.ending(Time(9 * DAY_MS), now), None);
        // One that lasts an hour is no reason to speak of it all day.
        let hour = device(3_600_000);
        assert_eq!(hour.ending(now.after_ms(1_800_000), now), None);
        assert_eq!(hour.ending(now.after_ms(600_000), now), Some(Tone::Warn));
    }
}
