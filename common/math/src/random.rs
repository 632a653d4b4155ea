//! Seeded randomness: the same seed and stream give the same numbers on
//! every machine.

use rand::SeedableRng;
pub use rand_chacha::ChaCha8Rng;

/// A generator for one purpose. `stream` names the purpose, so that two uses
/// of one seed never see the same numbers.
pub fn rng(seed: u64, stream: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(stream.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
