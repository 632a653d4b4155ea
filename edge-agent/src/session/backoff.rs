//! How long to wait before the next attempt to connect.

/// Exponential waits with jitter. The jitter comes from a hash of the
/// device's own seed, so a fleet spreads out and a simulation repeats itself.
#[derive(Clone, Debug)]
pub struct Backoff {
    seed: u64,
    attempt: u32,
}

/// First wait, in milliseconds.
const FIRST_MS: u64 = 250;
/// Longest wait, in milliseconds.
const LONGEST_MS: u64 = 30_000;
/// Attempts that a short link leaves counted: a wait of a second at most.
const SHORTENED: u32 = 2;

impl Backoff {
    /// A fresh sequence of waits.
    pub fn new(seed: u64) -> Self {
        Self { seed, attempt: 0 }
    }

    /// The next wait in milliseconds: between half and all of the doubled
    /// base.
    pub fn next_ms(&mut self) -> u64 {
        let base = FIRST_MS
            .saturating_mul(1 << self.attempt.min(16))
            .min(LONGEST_MS);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.attempt.to_le_bytes());
        let mut word = [0u8; 8];
        word.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        self.attempt = self.attempt.saturating_add(1);
        base / 2 + u64::from_le_bytes(word) % (base / 2 + 1)
    }

    /// The link worked, though not for long: wait a second at most.
    pub fn shorten(&mut self) {
        self.attempt = self.attempt.min(SHORTENED);
    }

    /// The link worked: start over.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<u64> = (0..40).map(|_| backoff.next_ms()).collect();
        assert!(waits[0] <= FIRST_MS);
        assert!(waits.iter().all(|wait| *wait <= LONGEST_MS));
        assert!(waits[39] >= LONGEST_MS / 2);
        backoff.shorten();
        assert_eq!(backoff.next_ms(), waits[2]);
        assert!((500..=1_000).contains(&waits[2]));
        backoff.reset();
        backoff.shorten();
        assert_eq!(backoff.next_ms(), waits[0]);
    }

    #[test]
    fn two_devices_wait_differently() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..5).map(|_| backoff.next_ms()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
    }
}
