//! How a database answers, as Prometheus is told.

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
}

impl Default for DatabaseMetrics {
    fn default() -> Self {
        Self {
            seconds: Family::new_with_constructor(histogram),
            failures: Family::default(),
            connects: Counter::default(),
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

/// From a quarter of a millisecond to eight seconds.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}
