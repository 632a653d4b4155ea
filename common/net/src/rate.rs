//! How often something may happen: a bucket that fills at a steady rate.

use std::time::{Duration, Instant};

/// A rate a second on average, and a burst after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Average, a second.
    pub per_second: u32,
    /// At once after a quiet time.
    pub burst: u32,
}

/// What is left of a [`Rate`]. It may fall below zero: who does not ask
/// before taking pays with a longer wait.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self {
            left: rate.burst.into(),
            at: now,
        }
    }

    /// Takes `amount` if it is there.
    pub fn try_take(&mut self, rate: Rate, now: Instant, amount: u32) -> bool {
        self.fill(rate, now);
        let amount = f64::from(amount);
        let is_there = self.left >= amount;
        if is_there {
            self.left -= amount;
        }
        is_there
    }

    /// Takes `amount` whether it is there or not, and says how long to wait
    /// until the bucket is out of debt. The debt is a burst at most, so that
    /// nobody waits for ever.
    pub fn take(&mut self, rate: Rate, now: Instant, amount: u32) -> Duration {
        self.fill(rate, now);
        let left = self.left - f64::from(amount);
        self.left = left.max(-f64::from(rate.burst));
        if self.left >= 0.0 || rate.per_second == 0 {
            return Duration::ZERO;
        }
        let wait = -self.left / f64::from(rate.per_second);
        Duration::from_secs_f64(wait.min(WAIT_S_MAX))
    }

    /// Whether nothing is missing, so that the bucket says no more than a new
    /// one would.
    pub fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= f64::from(rate.burst)
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * f64::from(rate.per_second)).min(rate.burst.into());
        self.at = self.at.max(now);
    }
}

/// Longest that a debt may make anyone wait; below the no-progress timeout of
/// the peer that waits.
const WAIT_S_MAX: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate {
        per_second: 2,
        burst: 4,
    };

    #[test]
    fn a_burst_is_there_at_once_and_the_rest_as_time_passes() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(RATE, begin);
        assert!((0..4).all(|_| bucket.try_take(RATE, begin, 1)));
        assert!(!bucket.try_take(RATE, begin, 1));
        let later = begin + Duration::from_millis(500);
        assert!(bucket.try_take(RATE, later, 1));
        assert!(!bucket.try_take(RATE, later, 1));
        assert!(bucket.is_full(RATE, begin + Duration::from_secs(60)));
    }

    #[test]
    fn debts_are_paid_by_waiting_and_end() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(RATE, begin);
        assert_eq!(bucket.take(RATE, begin, 4), Duration::ZERO);
        assert_eq!(bucket.take(RATE, begin, 1), Duration::from_millis(500));
        assert_eq!(
            bucket.take(RATE, begin, 1_000_000_000),
            Duration::from_secs(2)
        );
        assert!(!bucket.try_take(RATE, begin + Duration::from_secs(2), 1));
        assert!(bucket.try_take(RATE, begin + Duration::from_secs(3), 2));
    }

    proptest! {
        #[test]
        fn no_more_is_had_than_rate_and_burst_allow(
            steps in proptest::collection::vec((0u64..400, 1u32..4), 1..60),
        ) {
            let begin = Instant::now();
            let (mut bucket, mut now, mut had) = (Bucket::full(RATE, begin), begin, 0.0);
            for (ms, amount) in steps {
                now += Duration::from_millis(ms);
                if bucket.try_take(RATE, now, amount) {
                    had += f64::from(amount);
                }
            }
            let passed = now.duration_since(begin).as_secs_f64();
            let most = f64::from(RATE.burst) + passed * f64::from(RATE.per_second);
            prop_assert!(had <= most + 1e-6);
        }
    }
}
