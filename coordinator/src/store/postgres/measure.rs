//! How a database answers, as Prometheus is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

type Labels = Vec<(&'static str, String)>;

/// Counts and times of calls. A copy counts into the same.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    /// How long answered calls took, by call.
    pub seconds: Family<Labels, Histogram, fn() -> Histogram>,
    /// Calls that failed, by reason.
    pub failures: Family<Labels, Counter>,
    /// Connections that were made anew.
    pub connects: Counter,
    /// The lease, if coordinators take turns.
    pub lease: LeaseTimes,
}

impl Default for DatabaseMetrics {
    fn default() -> Self {
        Self {
            seconds: Family::new_with_constructor(histogram),
            failures: Family::default(),
            connects: Counter::default(),
            lease: LeaseTimes::default(),
        }
    }
}

impl DatabaseMetrics {
    pub(super) fn answered(&self, call: &str, took: Duration) {
        let labels = vec![("call", call.to_owned())];
        self.seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, reason: &str) {
        let labels = vec![("reason", reason.to_owned())];
        self.failures.get_or_create(&labels).inc();
    }

    pub(super) fn connected(&self) {
        self.connects.inc();
    }
}

/// Until when this process holds the lease, by its own uptime. A copy shows
/// the same.
#[derive(Clone, Debug, Default)]
pub struct LeaseTimes {
    times: Arc<Times>,
}

#[derive(Debug, Default)]
struct Times {
    length_ms: AtomicU64,
    renewed: AtomicU64,
    until: AtomicU64,
}

/// A lease that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseNow {
    /// How long it lasts from each renewal.
    pub length_ms: u64,
    /// How long ago it was renewed.
    pub age_ms: u64,
    /// How long it is still trusted.
    pub left_ms: u64,
}

impl LeaseTimes {
    /// It was taken or renewed: asked for at this uptime, for so long, and is
    /// trusted until that uptime.
    pub fn extended(&self, asked: u64, length_ms: u64, until: u64) {
        self.times.renewed.store(asked, Ordering::Relaxed);
        self.times.until.store(until, Ordering::Relaxed);
        self.times.length_ms.store(length_ms, Ordering::Relaxed);
    }

    /// Until which uptime it is trusted; 0 if it was never taken.
    pub fn until(&self) -> u64 {
        self.times.until.load(Ordering::Relaxed)
    }

    /// How it stands at this uptime; none if it was never taken.
    pub fn at(&self, uptime: u64) -> Option<LeaseNow> {
        let length_ms = self.times.length_ms.load(Ordering::Relaxed);
        let renewed = self.times.renewed.load(Ordering::Relaxed);
        (length_ms > 0).then(|| LeaseNow {
            length_ms,
            age_ms: uptime.saturating_sub(renewed),
            left_ms: self.until().saturating_sub(uptime),
        })
    }
}

/// From a quarter of a millisecond to eight seconds.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ages_from_the_moment_it_was_asked_for() {
        let lease = LeaseTimes::default();
        assert_eq!(lease.at(1_000), None);
        lease.clone().extended(1_000, 3_000, 3_400);
        let now = |age_ms, left_ms| {
            Some(LeaseNow {
                length_ms: 3_000,
                age_ms,
                left_ms,
            })
        };
        assert_eq!(lease.at(1_500), now(500, 1_900));
        assert_eq!(lease.at(5_000), now(4_000, 0));
    }
}
