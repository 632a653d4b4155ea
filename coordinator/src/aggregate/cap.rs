//! How much one device may weigh: rows are a claim that nobody can check, so
//! they count only as far as those of an ordinary device go.

/// How many times the rows of the median device one may count for. With three,
/// one liar in a fleet of twenty has an eighth of the weight at most, and a
/// device of many honest rows still counts for more than the others.
pub const ROWS_OVER_MEDIAN_MAX: f64 = 3.0;

/// The most rows that count of one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowsCap {
    rows_max: f64,
}

impl RowsCap {
    /// `over_median_max` times the median of the rows that devices claim. Of
    /// an even number the lower of the two in the middle, so that one of two
    /// devices cannot raise it. Without devices there is no cap.
    ///
    /// Half of the devices would have to claim more to move it; any one of
    /// them moves it by one place.
    pub fn of(rows: &[u64], over_median_max: f64) -> Self {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        let median = match sorted.len() {
            0 => return Self::none(),
            devices => sorted[(devices - 1) / 2],
        };
        Self {
            rows_max: over_median_max * median as f64,
        }
    }

    /// A cap that nobody reaches.
    pub fn none() -> Self {
        Self {
            rows_max: f64::INFINITY,
        }
    }

    /// What a device of `rows` rows counts for each of them, above 0 and at
    /// most 1.
    pub fn share(&self, rows: u64) -> f64 {
        let rows = rows.max(1) as f64;
        (self.rows_max / rows).min(1.0)
    }

    /// How many of `rows` rows count: at least one, at most all.
    pub fn rows(&self, rows: u64) -> u64 {
        scaled(rows, self.share(rows))
    }
}

/// A count that weighs `share`: rounded, and 1 at least where there was one.
pub(super) fn scaled(count: u64, share: f64) -> u64 {
    if share >= 1.0 || count == 0 {
        return count;
    }
    ((count as f64 * share).round() as u64).clamp(1, count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_of_two_devices_cannot_raise_the_cap() {
        let cap = RowsCap::of(&[9_000_000, 100], 3.0);
        assert_eq!(cap.rows(9_000_000), 300);
        assert_eq!(cap.rows(100), 100);
        assert_eq!(RowsCap::of(&[], 3.0).rows(7), 7);
    }

    #[test]
    fn small_counts_stay_above_zero() {
        assert_eq!(scaled(5, 1e-9), 1);
        assert_eq!(scaled(0, 0.5), 0);
        assert_eq!(scaled(9, 1.0), 9);
    }

    proptest! {
        #[test]
        fn a_minority_cannot_raise_the_cap(
            honest in proptest::collection::vec(1u64..10_000, 3..30),
            claims in proptest::collection::vec(1u64..1_000_000_000, 1..30),
        ) {
            let liars = claims.len().min(honest.len() - 1);
            let most = *honest.iter().max().unwrap();
            let all: Vec<u64> = honest.iter().chain(&claims[..liars]).copied().collect();
            let cap = RowsCap::of(&all, 3.0);
            for &claim in &claims[..liars] {
                prop_assert!(cap.rows(claim) <= 3 * most);
            }
        }
    }
}
