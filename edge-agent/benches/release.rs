//! How long a device takes to believe a release of some 200 KB: its signature
//! by a key of the trust root, its content, and that its weights are finite and
//! fit their task. Beside it, one pass of BLAKE3 over the same bytes, as a
//! measure of the machine. At most 5 ms are wanted.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use common::features::Normaliser;
use common::ids::{BlobHash, RoundId, Time, Version};
use common::model::{RawRelease, Release};
use common::task::RawTask;
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::weights::RawWeights;
use edge_agent::driver::local::verified;

fn main() {
    let tiny = std::env::var_os("ALAMBIC_BENCH_TINY").is_some();
    let rounds = if tiny { 3 } else { 200 };
    let text = "name = \"image\"\n[input]\nshape = [784]\n[classes]\nnames = [\"0\", \"1\", \"2\", \
         \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n[student]\nhidden = [250]\n";
    let task = RawTask::parse(text).unwrap();
    let parameters = task.student().parameters();
    let weights: Vec<f32> = (0..parameters).map(|at| (at as f32 * 0.37).sin()).collect();
    let release = Release::check(RawRelease {
        task: task.bytes().to_vec(),
        version: Version {
            epoch: 1,
            number: 1,
        },
        round: RoundId(1),
        released: Time(1),
        expires: Time(2),
        lineage: common::model::Lineage::of(&[]),
        normaliser: Normaliser::of_range(task.features(), 0.0, 1.0).unwrap(),
        weights: RawWeights::encode(task.student(), &weights).unwrap(),
        extras: common::wire::codec::Trailing(None),
    });
    let key = SigningKey::generate().unwrap();
    let signed = SignedRelease::sign(&key, release.unwrap().to_bytes()).unwrap();
    let bytes = signed.to_bytes();
    let signers = [key.verifying_key()];
    let whole = median(rounds, || {
        black_box(verified(black_box(&bytes), &signers).unwrap());
    });
    let signature = median(rounds, || {
        let signed = SignedRelease::from_bytes(black_box(&bytes)).unwrap();
        black_box(signed.verify(&signers).unwrap());
    });
    let hash = median(rounds, || {
        black_box(BlobHash::of(black_box(&bytes)));
    });
    println!(
        "release of {} bytes: {whole:.3} ms to believe ({:.1} x one BLAKE3), of that {signature:.3} ms \
         for the signature",
        bytes.len(),
        whole / hash
    );
}

/// In milliseconds.
fn median(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
